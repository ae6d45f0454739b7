"""Compiled code is kept between processes, and never used after its sources changed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fairwind.core.compiled import CACHES_KEPT, cache_folder, source_hash

PROBE = """
from fairwind.core.rules import fee_micro
fee_micro(25_000_000, 6_400, 70_000, 1)
print(sum(fee_micro.stats.cache_hits.values()), sum(fee_micro.stats.cache_misses.values()))
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)


def test_a_second_process_loads_compiled_code_from_the_cache(tmp_path: Path) -> None:
    runs = [
        subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True)
        for _ in range(2)
    ]
    assert [run.stdout.split() for run in runs] == [["0", "1"], ["1", "0"]]
    assert len(list((tmp_path / "fairwind" / "numba").iterdir())) == 1


def test_a_change_in_any_source_file_names_another_cache(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "engine" / "strategies").mkdir(parents=True)
    callee = tmp_path / "engine" / "strategies" / "callee.py"
    callee.write_text("one = 1\n")
    before = source_hash(tmp_path)
    assert source_hash(tmp_path) == before
    callee.write_text("one = 2\n")
    assert source_hash(tmp_path) != before


def test_only_the_caches_used_last_are_kept() -> None:
    folders = [cache_folder(f"cache{i}") for i in range(CACHES_KEPT)]
    for age, folder in enumerate(folders):
        os.utime(folder, (age, age))
    assert cache_folder("cache0") == folders[0]  # used again, so cache1 is now the oldest
    newest = cache_folder("new")
    kept = {folder.name for folder in newest.parent.iterdir()}
    assert kept == {"cache0", "cache2", "cache3", "cache4", "new"}


def test_without_a_writable_cache_home_a_private_temporary_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = cache_folder("name")
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o077 == 0
    assert cache_folder("name") == folder
