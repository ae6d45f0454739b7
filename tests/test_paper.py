"""A paper session as an operator runs it: from the command to a run that proves itself."""

import asyncio
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from live_sessions import market

from fairwind.cli import live
from fairwind.core.errors import Fault
from fairwind.feeds.recorded import raw
from fairwind.feeds.recorded.raw import Mark, Record
from fairwind.journal import file
from fairwind.research.audit import audit
from fairwind.research.journaled import result_of_run
from fairwind.research.verify import verify
from fairwind.run import trading

PROGRAM = [sys.executable, "-c", "from fairwind.cli import main; main()"]
MARKET = ["--series=BTC_5M", "--windows=2", "--knob=quote_rate=0.02", "--knob=history_s=120"]
LIMIT_S = 120
"""A cold machine compiles first."""


def begin(*arguments: str, limit_bytes: int | None = None) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    if limit_bytes is not None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    return process


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code and all that it said; a process that does not end is killed, and fails the test."""
    try:
        said, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, said


def started(run: Path, process: "subprocess.Popen[str]") -> str:
    """Where the status of a session is served."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        log = run / "log.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        if lines:
            return str(json.loads(lines[0])["status"])
        time.sleep(0.05)
    process.kill()
    raise AssertionError(process.communicate()[0])


def test_a_session_trades_until_its_end_tells_how_it_is_and_proves_itself(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = begin("paper", f"--run={run}", "--speed=30", "--for=8m", "--record", *MARKET)
    address = started(run, process)
    heard = set()
    while process.poll() is None and not {"market", "rtds", "coinbase"} <= heard:
        with urlopen(f"{address}/status", timeout=5) as answer:
            status = json.load(answer)
        heard |= {feed["feed"] for feed in status["feeds"] if feed["messages"]}
        time.sleep(0.1)
    with urlopen(f"{address}/metrics", timeout=5) as answer:
        assert b'fairwind_feed_messages_total{feed="market"}' in answer.read()
    code, said = ended(process)
    assert code == 0, said
    verdict = verify(run)
    assert verdict.divergence is None and verdict.proved_events == verdict.events > 1000
    assert f"{verdict.digest:016x}" in said
    assert audit(run).first is None
    assert result_of_run(run).tables["scans"].size > 0
    opened = [one.line for one in records(run) if one.mark == Mark.CONNECTED]
    assert {"market", "rtds", "coinbase"} <= set(opened)


def records(run: Path) -> list[Record]:
    """What a session has recorded."""
    return [one for one in raw.read(run / trading.RECORDING) if isinstance(one, Record)]


@pytest.mark.parametrize("seed", [0, 7])
def test_a_run_that_goes_on_says_what_it_keeps_when_another_market_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int
) -> None:
    plan = trading.Plan(run=tmp_path / "run", market=(f"--seed={seed}",))
    kept = trading.Plan(run=tmp_path / "run", market=("--seed=0",))
    meta = file.Meta(code="1", created_ns=1, source=trading.source_of(kept), strategies=())
    file.Journal(plan.run, meta).close()
    live.say_if_continued(plan)
    said = capfd.readouterr().err
    assert said.startswith("goes on as it began: built-in --seed=0;") if seed else said == ""


@pytest.mark.parametrize("way", ["address", "folder", "port", "page"])
def test_what_keeps_a_session_from_starting_is_said_in_one_line(tmp_path: Path, way: str) -> None:
    (tmp_path / "file").touch()
    with page() as port:
        arguments = {
            "address": ["--address=http://127.0.0.1:1"],
            "folder": [f"--run={tmp_path}/file/run"],
            "port": [f"--port={port}", *MARKET],
            "page": [f"--address=http://127.0.0.1:{port}"],
        }[way]
        code, said = ended(begin("paper", f"--run={tmp_path}/run", *arguments))
    expected = {
        "address": "start it with `fairwind venue`",
        "folder": "a file stands where a folder has to be",
        "port": "take port 0 for any free one",
        "page": "expected the built-in market, found '<html>log in</html>'",
    }[way]
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == 1 and len(errors) == 1 and expected in errors[0], said
    assert "Traceback" not in said


def test_a_machine_whose_clock_is_not_the_venues_does_not_trade() -> None:
    with market(*MARKET) as place, pytest.raises(Fault, match="set it by a time service first"):
        asyncio.run(trading.right_clock(place.address))


def test_a_full_disk_stops_the_session_and_nothing_is_lost(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ("paper", f"--run={run}", "--speed=30", "--for=8m", *MARKET)
    process = begin(*arguments, "--no-pages", limit_bytes=150_000)
    alerts = alerts_of(started(run, process))
    code, said = ended(process)
    assert "DISK_FAULT" in alerts
    assert code == 1 and "error: " in said and "raise the file size limit" in said, said
    verdict = verify(run)
    assert verdict.divergence is None and verdict.events > 100
    code, said = ended(begin(*arguments))  # there is room again
    assert code == 0, said
    again = verify(run)
    assert again.divergence is None and again.events > verdict.events


def alerts_of(address: str) -> set[str]:
    """All that fired, as somebody hears it who asks twice a second for as long as it is served."""
    found: set[str] = set()
    with suppress(URLError, ConnectionError):
        while True:
            with urlopen(f"{address}/status", timeout=5) as answer:
                found |= {one["kind"] for one in json.load(answer)["alerts"]}
            time.sleep(0.5)
    return found


@contextmanager
def page() -> Iterator[int]:
    """A port on which every request is answered by a web page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>log in</html>")

        def log_message(self, format: str, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
