"""Trouble with the disk: one clear message, nothing lost, and the run goes on when it is mended."""

import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import LONG, ROOT
from test_loop import META, journaled, made_events, undisturbed_digest

from fairwind.core.errors import BadInput, DiskFault
from fairwind.core.events import Events
from fairwind.journal import log
from fairwind.research.verify import verify
from fairwind.run.loop import Rows, Session

EVENTS = 1500
STEP = 61
SNAPSHOT_EVENTS = 400
SEGMENT_MAX = 30_000
CALLS = ("open", "write", "fsync", "ftruncate", "rename", "unlink", "mkdir")


class Disk:
    """The system's calls for a run, of which one fails, and all behind it unless it passes."""

    def __init__(
        self, run: Path, patch: pytest.MonkeyPatch, code: int, fails_at: int, passes: bool
    ) -> None:
        self.calls = 0
        self.failed = False
        self._run = str(run)
        self._code, self._fails_at, self._passes = code, fails_at, passes
        for name in CALLS:
            patch.setattr(os, name, self._failing(name, getattr(os, name)))

    def _failing(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if not isinstance(given[0], int) and not str(given[0]).startswith(self._run):
                return plain(*given, **named)
            self.calls += 1
            fails = self.calls == self._fails_at or (self.failed and not self._passes)
            if not fails:
                return plain(*given, **named)
            self.failed = True
            if name == "write":  # a full disk takes what still has room
                plain(given[0], bytes(given[1])[: len(given[1]) // 2])
            raise OSError(self._code, os.strerror(self._code))

        return call


@cache
def some_market() -> tuple[Events, dict[int, bytes]]:
    events, payloads = made_events()
    return events[:EVENTS], payloads


def fed_to_the_end(run: Path) -> None:
    events, payloads = some_market()
    session = Session(run, META, snapshot_events=SNAPSHOT_EVENTS)
    try:
        while session.events < len(events):
            session.feed(events[session.events :][:STEP], payloads)
    finally:
        session.close()


class Undisturbed(NamedTuple):
    """A run on a good disk."""

    calls: int
    journaled: dict[str, bytes]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    run = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "SEGMENT_MAX", SEGMENT_MAX)
        disk = Disk(run, patch, errno.EIO, -1, passes=True)
        fed_to_the_end(run)
    assert len(list((run / "journal").iterdir())) > 2
    assert list((run / "snapshots").iterdir())
    return Undisturbed(disk.calls, dict(journaled(run)))


@pytest.mark.parametrize("passes", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EROFS])
def test_whichever_call_fails_the_run_goes_on_as_if_nothing_had_happened(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: Undisturbed,
    code: int,
    passes: bool,
) -> None:
    monkeypatch.setattr(log, "SEGMENT_MAX", SEGMENT_MAX)
    every = 5 if LONG else 31
    for fails_at in range(1 + code % every, undisturbed.calls + 1, every):
        run = tmp_path / str(fails_at)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(run, patch, code, fails_at, passes)
            named = pytest.raises(DiskFault, match=f"found '{os.strerror(code)}'; ")
            with suppress(DiskFault) if passes else named:
                fed_to_the_end(run)
            assert disk.failed
        fed_to_the_end(run)
        assert dict(journaled(run)) == undisturbed.journaled
    verdict = verify(run, batch_sizes=(256,))
    assert verdict.proved, str(verdict.divergence)
    assert verdict.digest == undisturbed_digest(*some_market())


def test_a_fault_while_a_killed_run_is_opened_loses_nothing_either(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    events, payloads = some_market()
    session = Session(tmp_path / "killed", META, snapshot_events=SNAPSHOT_EVENTS)
    for start in range(0, 1000, STEP):
        session.feed(events[start : start + STEP], payloads)
    session.journal.abandon()
    segment = log.segment_path(tmp_path / "killed" / "journal", 1)
    segment.write_bytes(segment.read_bytes()[:-11])
    for fails_at in range(1, 41, 1 if LONG else 5):
        run = tmp_path / str(fails_at)
        shutil.copytree(tmp_path / "killed", run)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(run, patch, errno.EIO, fails_at, passes=False)
            with suppress(DiskFault):  # of a folder that is there anyway nothing is needed
                fed_to_the_end(run)
            assert disk.failed
        fed_to_the_end(run)
        assert dict(journaled(run)) == undisturbed.journaled


def test_a_batch_that_was_broken_off_leaves_no_outputs_behind(tmp_path: Path) -> None:
    """Neither closing nor the next opening may write its rows twice."""
    events, payloads = some_market()

    def fail(_rows: Rows) -> None:
        raise KeyboardInterrupt

    for name, tell in (("told", fail), ("whole", lambda _rows: None)):
        session = Session(tmp_path / name, META)
        session.feed(events[:500], payloads)
        session._tell = tell
        with suppress(KeyboardInterrupt):
            session.feed(events[500:1000])
        session.close()
        session = Session(tmp_path / name, META)
        assert session.recovery.derived_events == (500 if name == "told" else 0)
        session.feed(events[1000:])
        session.close()
        assert verify(tmp_path / name, batch_sizes=()).proved
    assert dict(journaled(tmp_path / "told")) == dict(journaled(tmp_path / "whole"))


def test_a_file_in_the_place_of_a_folder_is_named_with_what_to_do(tmp_path: Path) -> None:
    for path in (tmp_path / "a", tmp_path / "b" / "journal"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
        with pytest.raises(DiskFault, match=rf"{path}.*a file stands where a folder has to be"):
            Session(tmp_path / path.relative_to(tmp_path).parts[0], META)


def _python(script: str, *given: Path) -> list[str]:
    names = "import pathlib, sys; import test_disk as t; run = pathlib.Path(sys.argv[1])"
    return [sys.executable, "-c", f"{names}; {script}", *map(str, given)]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])}


def _shell(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)


def test_a_disk_that_is_read_only_is_one_clear_message(tmp_path: Path) -> None:
    fed_to_the_end(tmp_path)
    bound = shlex.quote(str(tmp_path))
    mount = f"mount --bind {bound} {bound} && mount -o remount,ro,bind {bound}"
    if _shell(["unshare", "--mount", "sh", "-c", mount]).returncode:
        pytest.skip("needs the right to mount a disk read-only")
    session = _python("t.Session(run, t.META).feed(t.some_market()[0][-1:])", tmp_path)
    done = _shell(["unshare", "--mount", "sh", "-c", f"{mount} && {shlex.join(session)}"])
    assert "DiskFault" in done.stderr.splitlines()[-1]
    assert "Read-only file system'; mount this disk writable" in done.stderr.splitlines()[-1]
    reading = _python("assert t.verify(run, batch_sizes=()).proved", tmp_path)
    done = _shell(["unshare", "--mount", "sh", "-c", f"{mount} && {shlex.join(reading)}"])
    assert done.returncode == 0, done.stderr


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    holding = "session = t.Session(run, t.META); print(session.events, flush=True); input()"
    with subprocess.Popen(
        _python(holding, tmp_path),
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"0\n"
        with pytest.raises(BadInput, match=r"another process writes this run; stop it first"):
            Session(tmp_path, META)
        first.send_signal(signal.SIGKILL)
    Session(tmp_path, META).close()
