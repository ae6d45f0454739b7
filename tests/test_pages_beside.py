"""The pages beside a session: they come with it and go with it, and their death costs nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import httpx
import pytest
from webhook import SECRET, listening

from fairwind import cli
from fairwind.cli import beside
from fairwind.core import controls
from fairwind.core.events import Kind
from fairwind.core.units import SECOND_NS
from fairwind.journal import file
from fairwind.journal.record import Mark
from fairwind.research.verify import verify
from fairwind.run import desk

MARKET = ["--series=BTC_5M", "--windows=3", "--knob=quote_rate=0.02", "--knob=history_s=120"]
PROGRAM = [sys.executable, "-c", "from fairwind.cli import main; main()"]
WITHIN_S = 90.0
"""A cold machine compiles first."""
LAG_MAX_NS = 2 * SECOND_NS
"""Of market time at speed 4: half a second of this busy machine."""

Process = subprocess.Popen[str]


@contextmanager
def session(run: Path, *options: str) -> Iterator[Process]:
    """`fairwind paper`, killed at the end if it is still there."""
    process = subprocess.Popen(
        [*PROGRAM, "paper", f"--run={run}", *MARKET, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def link_of(process: Process) -> str:
    """The login link that it prints."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("pages "):
            return line.split()[1]
    raise AssertionError("expected a link to the pages")


def place(run: Path) -> Any:
    """Where its pages say that they are; nothing when they do not."""
    path = run / "pages.json"
    return json.loads(path.read_text()) if path.exists() else {}


def when(happened: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
    """Wait for something."""
    until_s = time.monotonic() + within_s
    while not (found := happened()):
        assert time.monotonic() < until_s, "it did not happen"
        time.sleep(0.05)
    return found


def status(run: Path) -> Any:
    """What the session says of itself."""
    running = desk.found(run)
    assert running is not None
    with urlopen(f"{running.address}/status", timeout=5) as answer:
        return json.load(answer)


def part(run: Path) -> Any:
    """What it says of its pages, once it says something."""
    found = (one for one in status(run)["modules"] if one["name"] == "pages")
    return next(found, {"phase": "", "errors": 0})


def lives(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def fairwind(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )


def test_pages_that_hang_or_die_neither_stop_nor_slow_trading_and_come_back(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    with session(run, "--speed=4") as process:
        link_of(process)
        first = place(run)["pid"]
        when(lambda: part(run)["phase"] == "running", 10)
        os.kill(first, signal.SIGSTOP)
        lags = [status(run)["engine"]["lag_ns"] for _ in range(20) if time.sleep(0.1) is None]
        os.kill(first, signal.SIGKILL)
        when(lambda: part(run)["errors"] == 1, 10)
        lags += [status(run)["engine"]["lag_ns"] for _ in range(20) if time.sleep(0.1) is None]
        when(lambda: place(run).get("pid", first) != first, 30)
        again = when(lambda: (found := part(run))["phase"] == "running" and found, 10)
        assert (again["health"], again["detail"]) == ("ok", "1 times begun anew")
        assert max(lags) < LAG_MAX_NS, lags
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=WITHIN_S)
        assert process.returncode == 0, said
    assert not lives(first) and not (run / "pages.json").exists()
    assert verify(run).divergence is None
    kinds = {json.loads(line)["event"] for line in (run / "log.jsonl").read_text().splitlines()}
    assert "LOOP_LAG" not in kinds and "failed" not in kinds


def test_pages_that_cannot_be_served_are_degraded_and_nothing_else(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with (
        listening() as taken,
        session(run, "--speed=10", f"--pages-port={taken.port}") as process,
    ):
        when((run / desk.FILE).exists)
        found = when(lambda: (one := part(run))["errors"] >= 2 and one, 30)
        assert found["health"] == "degraded" and "pages.log says why" in found["reason"]
        assert status(run)["engine"]["halted"] == ""
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=WITHIN_S)
        assert process.returncode == 0, said
    assert "port: expected" in (run / "pages.log").read_text()


def test_an_operator_logs_in_steers_by_command_and_keeps_the_pages(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with session(run, "--speed=5", "--stay") as process:
        first = link_of(process)
        with httpx.Client(trust_env=False) as browser:
            assert browser.get(first).status_code == 200
            assert browser.get(place(run)["address"] + "/api/session").json()["mode"] == "PAPER"
        second = fairwind("login", run).stdout.strip()
        assert second != first and second.startswith(place(run)["address"])
        with httpx.Client(trust_env=False) as other:
            assert other.get(first).status_code == 401
            assert other.get(second).status_code == 200
        halted = fairwind("control", run, "halt", "--reason", "a test", "--operator", "ada")
        assert halted.returncode == 0 and "by ada" in halted.stdout, halted
        refused = fairwind("control", run, "set", "BTC_5M.edge_min=1e9")
        assert refused.returncode == 1 and "expected" in refused.stderr
        known = fairwind("control", run, "acknowledge", "HALTED", "engine", "--operator", "bob")
        assert known.returncode == 0 and "acknowledged by bob" in known.stdout, known
        alert = next(one for one in status(run)["alerts"] if one["kind"] == "HALTED")
        assert (alert["operator"], alert["state"]) == ("bob", "acknowledged")
        process.send_signal(signal.SIGINT)
        when(lambda: (found := desk.found(run)) and found.ended)
        with urlopen(place(run)["address"] + "/health", timeout=5) as answer:
            assert answer.status == 200
        late = fairwind("control", run, "resume")
        assert late.returncode == 1 and "expected a run that trades" in late.stderr
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=WITHIN_S)
        assert process.returncode == 0, said
    assert controls.Halt(operator="ada", reason="a test") in asked(run)


def asked(run: Path) -> list[controls.AnyControl]:
    """All controls of a run."""
    found = []
    for events in file.inputs(run):
        if not isinstance(events, Mark):
            for number in events["price"][events["kind"] == Kind.CONTROL].tolist():
                found.append(controls.decode(file.payload_of(run, number), number))
    return found


WRONG = [
    (["hlt"], "the nearest valid name is 'halt'"),
    (["halt", "now"], "expected `halt`"),
    (["enable"], "expected `enable STRATEGY`"),
    (["enable", "BTC_6M"], "no strategy 'BTC_6M'"),
    (["set", "BTC_5M.edge_mn=1"], "edge_min"),
    (["set", "BTC_5M.edge_min=high"], "expected a number, found 'high'"),
    (["multiplier", "BTC_5M", "3"], "expected 0 to 2, found 3"),
    (["acknowledge", "HALTD", "engine"], "the nearest valid name is 'HALTED'"),
    (["resume"], "expected a run that trades, found one that is over"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_a_wish_that_cannot_be_understood_is_answered_in_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["fairwind", "control", str(tmp_path), *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1 and message in said and said.count("\n") == 1


def test_a_session_that_is_killed_is_told_by_its_pages_before_they_end(tmp_path: Path) -> None:
    run, settings = tmp_path / "run", tmp_path / "fairwind.toml"
    with listening() as webhook:
        url = webhook.target().url
        settings.write_text(f'[alerts]\ntargets = [{{url = "{url}", severities = ["critical"]}}]')
        with session(run, "--speed=5", f"--config={settings}") as process:
            link_of(process)
            pages = place(run)["pid"]
            time.sleep(1.5)
            process.kill()
            when(lambda: "[CRITICAL] ENGINE_GONE engine" in webhook.titles(), 30)
            when(lambda: not lives(pages), 30)
    assert SECRET not in (run / "pages.log").read_text() + (run / "log.jsonl").read_text()


def test_pages_that_die_soon_are_given_up_and_those_that_lived_long_are_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "WAITS_S", (0.0,) * 4)

    async def deaths_of(lasted_s: float) -> int:
        monkeypatch.setattr(beside, "LASTED_S", lasted_s)
        pages = beside.Pages(tmp_path / "no such run")
        pages.begin()
        await asyncio.sleep(0.5)
        assert (pages.part(0).phase == "given up") == (lasted_s > 0)
        await pages.close()
        return pages.deaths

    assert asyncio.run(deaths_of(60.0)) == 4
    assert asyncio.run(deaths_of(0.0)) > 4
