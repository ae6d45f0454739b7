"""Log lines: both times, no secrets, files that do not grow without bound."""

import io
import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fairwind.core.errors import DiskFault
from fairwind.run import logs
from fairwind.run.health import Part

MARKET_NS = 1_791_201_600_123_456_789
KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"


def logged(path: Path, /, **figures: Any) -> dict[str, Any]:
    """What the file holds of one line."""
    logs.configure(path, market_ns=lambda: MARKET_NS).info("a feed is down", **figures)
    (line,) = path.read_text(encoding="utf-8").splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_is_one_json_object_with_both_times(tmp_path: Path) -> None:
    found = logged(tmp_path / "logs" / "run.jsonl", feed="market", gaps=np.int64(3), age=0.5)
    assert list(found)[:4] == ["wall", "market", "feed", "gaps"]
    assert found["market"] == "2026-10-05T12:00:00.123456Z"
    assert found["wall"].endswith("Z") and found["wall"] != found["market"]
    assert (found["event"], found["level"]) == ("a feed is down", "info")
    assert (found["feed"], found["gaps"], found["age"]) == ("market", 3, 0.5)


def test_no_secret_reaches_a_line_at_any_depth(tmp_path: Path) -> None:
    class Credentials(msgspec.Struct):
        apiKey: str
        host: str

    path = tmp_path / "run.jsonl"
    logger = logs.configure(path, market_ns=lambda: MARKET_NS).bind(passphrase="s3cret")
    logger.info(
        f"signed by 0x{KEY}",
        headers={"POLY_SIGNATURE": "s3cret", "Authorization": "s3cret", "Accept": "text"},
        credentials=[Credentials("s3cret", "here")],
        url="wss://user:s3cret@host/path",
        token_id="71321",
        private_key=b"s3cret",
    )
    try:
        raise ValueError(f"bad key {KEY}")
    except ValueError:
        logger.exception("failed")
    text = path.read_text(encoding="utf-8")
    assert "s3cret" not in text and KEY not in text
    first, second = map(json.loads, text.splitlines())
    assert first["event"] == "signed by 0x4c0883a6…"
    assert first["headers"]["Accept"] == "text" and first["token_id"] == "71321"
    assert first["credentials"] == [{"apiKey": "***", "host": "here"}]
    assert first["url"] == "wss://user:***@host/path"
    assert "ValueError: bad key 4c0883a6…" in second["exception"]


def test_anything_can_be_logged(tmp_path: Path) -> None:
    part = Part(name="loop", beat_ns=1)
    found = logged(
        tmp_path / "run.jsonl", part=part, path=Path("/x"), many={1, 2}, by_number={1: None}
    )
    assert found["part"]["name"] == "loop"
    assert (found["path"], found["many"], found["by_number"]) == ("/x", [1, 2], {"1": None})


def test_a_terminal_gets_a_readable_line(tmp_path: Path) -> None:
    terminal = io.StringIO()
    logger = logs.configure(tmp_path / "run.jsonl", market_ns=lambda: MARKET_NS, terminal=terminal)
    logger.warning("a feed is down", feed="market", secret="s3cret")
    logger.debug("not said")
    line = terminal.getvalue()
    assert line.startswith("2026-10-05T12:00:00.123456Z") and line.count("\n") == 1
    assert "a feed is down" in line and "feed=market" in line and "s3cret" not in line


def test_files_are_bounded_in_size_and_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 2000)
    logger = logs.configure(tmp_path / "run.jsonl", market_ns=lambda: MARKET_NS)
    for number in range(500):
        logger.info("a line", number=number)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 1 + logs.FILES_KEPT
    assert all(file.stat().st_size <= 2000 for file in files)
    assert json.loads((tmp_path / "run.jsonl").read_text().splitlines()[-1])["number"] == 499


def test_another_run_gets_its_own_file(tmp_path: Path) -> None:
    first = logged(tmp_path / "a.jsonl")
    second = logged(tmp_path / "b.jsonl")
    assert first["event"] == second["event"]
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1


def test_a_path_that_cannot_be_is_a_fault_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskFault, match="a file stands where a folder has to be"):
        logs.configure(tmp_path / "file" / "run.jsonl", market_ns=lambda: MARKET_NS)


@pytest.fixture(autouse=True)
def closed() -> Any:
    """Close what the test has opened."""
    yield
    for handler in logging.getLogger(logs.NAME).handlers[:]:
        logging.getLogger(logs.NAME).removeHandler(handler)
        handler.close()
