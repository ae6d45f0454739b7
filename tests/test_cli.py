"""The command line as its user meets it: what it says, one clear message for each bad input."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from conftest import ROOT, SHARED, needs_shared

from fairwind import cli
from fairwind.cli import screen
from fairwind.core.config import Config
from fairwind.feeds.recorded import eventfile
from fairwind.feeds.recorded.source import open_source
from fairwind.journal import file
from fairwind.research import replay, synthetic
from fairwind.research.verify import verify

WINDOWS = SHARED / "data" / "btc5m_events"
WHOLE = ("missing_print_rate=0",)
SLUG = "btc-updown-5m-1791158400"


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def fairwind(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs one command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(screen.shown, "width", 200)

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["fairwind", *map(str, arguments)])
        monkeypatch.setattr(screen.shown, "file", None)
        with pytest.raises(SystemExit) as ended:
            cli.main()
            raise SystemExit(0)
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An event file in which there is something to trade."""
    path = tmp_path_factory.mktemp("world") / "world.events.npy"
    knobs = synthetic.knobs({"seed": "5", "windows": "2", "planted_edge": "0.1"}, WHOLE)
    eventfile.save(path, synthetic.recording_of(knobs))
    return path


def line_of(said: Said, head: str) -> str:
    """What stands behind `head` on the only line that starts with it."""
    (line,) = [line for line in said.out.splitlines() if line.split(" ")[0] == head]
    return line.removeprefix(head).strip()


def refused(said: Said, *parts: str) -> None:
    """One message on one line, with all of `parts`, and exit code 1."""
    assert said.code == 1
    messages = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1 and said.err.rstrip().endswith(messages[0])
    assert [part for part in parts if part not in messages[0]] == []


def test_a_generated_market_is_replayed_reported_and_proved(fairwind, tmp_path: Path) -> None:
    wishes = (f"--set={wish}" for wish in WHOLE)
    made = fairwind(
        "generate", "-o", "w.events.npy", "--seed=5", "--windows=2", "--edge=.1", *wishes
    )
    assert (made.code, made.out.count("assumed")) == (0, 5)
    said = fairwind("replay", "w.events.npy")
    assert said.code == 0, said.err
    page = tmp_path / line_of(said, "report")
    report = json.loads(page.with_name("report.json").read_text())
    assert page.name == "report.html" and page.parent == (tmp_path / "runs" / "latest").resolve()
    assert report["windows"][0]["slug"] == SLUG
    assert report["totals"]["labels_agree"] == 2
    assert report["totals"]["trades"] > 0
    assert "realism  latency_ms 75.0, taker_delay True" in said.out
    proved = fairwind("verify", "runs/latest")
    assert proved.code == 0
    assert f"digest   {report['digest']}" in proved.out


def test_the_same_replay_finds_its_run_and_another_gets_its_own(fairwind, world: Path) -> None:
    first = fairwind("replay", world)
    again = fairwind("replay", world)
    other = fairwind("replay", world, "--set", "BTC_5M.edge_min=900")
    assert again.out == first.out
    assert "this run exists" in again.err and "this run exists" not in other.err
    assert line_of(other, "run") != line_of(first, "run")


def test_without_a_journal_the_result_is_the_same_and_nothing_is_left(
    fairwind, world: Path, tmp_path: Path
) -> None:
    said = fairwind("replay", world, "--no-journal")
    kept = fairwind("replay", world, "--batch", 777)
    assert line_of(said, "digest") == line_of(kept, "digest")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_switched_off_strategy_holds_and_says_why(fairwind, world: Path, tmp_path: Path) -> None:
    said = fairwind(
        *("replay", world, "--no-journal", "--report", "out", "--set", "BTC_5M.enabled=false")
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    strategy = report["strategies"]["BTC_5M"]
    assert said.code == 0
    assert list(strategy["holds"]) == ["DISABLED"]
    assert (strategy["trades"], report["totals"]["net_pnl"]) == (0, 0)


def test_a_window_and_an_order_are_shown_from_inputs_to_result(fairwind, world: Path) -> None:
    replayed = fairwind("replay", world)
    assert replayed.out.splitlines()[-1].startswith("inspect  fairwind inspect runs/world-")
    window = fairwind("inspect", "runs/latest", "--window", SLUG)
    assert fairwind(*line_of(replayed, "inspect").split()[1:]).out == window.out
    assert window.code == 0
    for part in ("STRUCK", "prints of the settlement stream", "EDGE_BELOW_THRESHOLD", "SETTLE"):
        assert part in window.out
    order = fairwind("inspect", "runs/latest", "--order", 1)
    for part in ("decided on", "freshness certificate", "DECIDED", "RESERVE", "REDEEM"):
        assert part in order.out
    assert fairwind("inspect", world, "--order", 1).out == order.out


@needs_shared
def test_the_recorded_windows_settle_as_their_labels_say(fairwind, tmp_path: Path) -> None:
    said = fairwind("replay", WINDOWS, "--report", "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert said.code == 0
    assert "2 windows, 2 settled; 1 of 1 labels agree, 1 published value;" in said.out
    assert "label    " not in said.out
    assert [(one["settled_by"], one["agrees"]) for one in report["windows"]] == [
        ("REFERENCE", True),
        ("PUBLISHED", None),
    ]
    for window in report["windows"]:
        assert window["averaging_s"] == 60
        assert window["strike"] == window["label"]["strike"] is not None


@needs_shared
def test_a_wrong_label_is_shown(fairwind, tmp_path: Path) -> None:
    (one, _) = sorted(WINDOWS.glob("*.json.gz"))
    data = json.loads(gzip.decompress(one.read_bytes()))
    data["label"]["price_to_beat"] = 1.5
    (tmp_path / "wrong.json").write_text(json.dumps(data))
    said = fairwind("replay", "wrong.json", "--no-journal")
    assert said.code == 0
    assert "0 of 1 labels agree" in said.out
    assert f"label    {data['cid']}: expected strike 1.5" in said.out


@needs_shared
def test_an_import_replays_as_its_source_does(fairwind) -> None:
    assert fairwind("import", WINDOWS, "-o", "both.events.npy").code == 0
    direct, imported = fairwind("replay", WINDOWS), fairwind("replay", "both.events.npy")
    assert line_of(direct, "run") != line_of(imported, "run")
    place = (line_of(said, "run") for said in (direct, imported))
    assert direct.out.replace(next(place), "") == imported.out.replace(next(place), "")


def test_a_real_sample_is_replayed(fairwind) -> None:
    said = fairwind("replay", "resolvedkit", "--no-journal")
    assert said.code == 0
    assert "windows, " in said.out and "label    " not in said.out


def test_the_doctor_finds_this_installation_fit(fairwind) -> None:
    said = fairwind("doctor")
    assert said.code == 0
    assert "BAD" not in said.out and "6 strategies, ready" in said.out


def test_a_missing_compiler_is_a_finding_with_a_fix(fairwind, monkeypatch) -> None:
    monkeypatch.setattr("fairwind.research.doctor.INTERPRETED", True)
    refused(fairwind("doctor"), "numba", "switched off", "unset NUMBA_DISABLE_JIT")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--set", "BTC_5N.edge_min=1"], ["'BTC_5N'", "nearest valid name is 'BTC_5M'"]),
        (["--set", "BTC_5M.edge_mim=1"], ["'edge_mim'", "nearest valid name is 'edge_min'"]),
        (["--set", "BTC_5M.kelly_fraction=7"], ["kelly_fraction", "expected 0 to 1", "found 7"]),
        (["--set", "BTC_5M.edge_min=nan"], ["edge_min", "expected", "found nan"]),
        (["--set", "BTC_5M.edge_min=low"], ["edge_min", "expected a number", "'low'"]),
        (["--set", "BTC_5M.enabled=1"], ["enabled", "expected true or false", "'1'"]),
        (["--set", "edge_min"], ["STRATEGY.parameter=value", "'edge_min'"]),
        (["--config", "none.toml"], ["none.toml", "expected a TOML file"]),
    ],
)
def test_a_bad_option_is_one_clear_message(fairwind, world: Path, arguments, parts) -> None:
    refused(fairwind("replay", world, *arguments), *parts)


def test_an_unknown_key_of_the_settings_names_the_nearest(fairwind, world: Path) -> None:
    Path("f.toml").write_text("[realism]\nlatency = 5\n")
    said = fairwind("replay", world, "--config", "f.toml")
    refused(said, "f.toml", "'realism.latency'", "'realism.latency_ms'")


def test_an_unknown_strategy_in_the_settings_is_refused(fairwind, world: Path) -> None:
    Path("f.toml").write_text("[strategies.BTC_15]\nedge_min = 80\n")
    refused(fairwind("replay", world, "--config", "f.toml"), "'BTC_15'", "'BTC_15M'")


@pytest.mark.parametrize(
    "arguments",
    [["replay"], ["replay", "x", "--batch", "0"], ["inspect", "x"], ["nonsense"], ["generate"]],
)
def test_wrong_usage_ends_with_2(fairwind, arguments: list[str]) -> None:
    assert fairwind(*arguments).code == 2


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["seeed=1"], ["'seeed'", "nearest valid name is 'seed'"]),
        (["volatility=99"], ["volatility", "expected 0.01 to 10", "found 99"]),
        (["volatility=high"], ["volatility: expected `float`, found 'high'"]),
        (["series=BTC_5M,LTC_5M"], ["series", "'LTC_5M'"]),
    ],
)
def test_a_bad_knob_is_one_clear_message(fairwind, arguments: list[str], parts) -> None:
    refused(fairwind("generate", "-o", "w.events.npy", "--set", *arguments), *parts)


def test_an_unknown_window_or_order_names_what_there_is(fairwind, world: Path) -> None:
    near = fairwind("inspect", world, "--window", "eth-updown-5m-1791158400")
    refused(near, "eth-updown-5m-1791158400", f"nearest valid name is '{SLUG}'")
    refused(fairwind("inspect", world, "--window", "btc"), "expected a window slug", "'btc'")
    refused(fairwind("inspect", world, "--order", 1 << 50), f"no order {1 << 50}", "has: 1")


def test_a_truncated_or_foreign_event_file_is_refused(fairwind, world: Path) -> None:
    Path("cut.events.npy").write_bytes(world.read_bytes()[:-1000])
    refused(fairwind("replay", "cut.events.npy"), "cut.events.npy", "damaged")
    np.save("floats.events.npy", np.zeros(5))
    refused(fairwind("replay", "floats.events.npy"), "expected a non-empty array of events")


def test_a_truncated_gzip_or_a_missing_column_is_refused(fairwind) -> None:
    Path("w.json.gz").write_bytes(gzip.compress(b'{"window_ts": 1, "events": []}' * 50)[:-20])
    refused(fairwind("replay", "w.json.gz"), "w.json.gz", "whole gzip file")
    name = "BTCUSD-prices-2026-06-08.csv"
    Path(name).write_text("feed_ts_ms,value,server_ts_ms,recv_ms\n1,2,3,4\n")
    refused(fairwind("replay", name), f"{name}: expected column full_accuracy_value")


@needs_shared
def test_garbage_in_row_1000_is_refused_or_counted(fairwind) -> None:
    for path in (SHARED / "data" / "chainlink_btc").glob("*.gz"):
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()[:2000]
        if ".csv" in path.name:
            lines[1000] = "garbage"
        Path(path.name.removesuffix(".gz")).write_text("\n".join(lines) + "\n")
    refused(fairwind("replay", ".", "--no-journal"), ".csv row 1000", "'garbage'")
    said = fairwind("replay", ".", "--no-journal", "--tolerate")
    assert said.code == 0
    assert "BAD_ROW: 1 rows" in said.out


def test_a_missing_sample_says_how_to_get_it(fairwind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairwind.feeds.recorded.samples.find_spec", lambda name: None)
    refused(fairwind("replay", "resolvedkit"), "resolvedkit", "pip install 'fairwind[samples]'")


def test_a_run_of_another_source_is_not_continued(fairwind, world: Path) -> None:
    assert fairwind("replay", world, "--journal", "mine").code == 0
    fairwind("generate", "-o", "other.events.npy", "--seed", 6, "--windows", 1)
    said = fairwind("replay", "other.events.npy", "--journal", "mine")
    refused(said, "mine", "other.events.npy", str(world), "choose another --journal")
    assert verify(Path("mine")).proved


def test_a_flipped_byte_is_found_and_named(fairwind, world: Path) -> None:
    fairwind("replay", world, "--journal", "mine")
    (segment,) = Path("mine/journal").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[4000] ^= 1
    segment.write_bytes(data)
    refused(fairwind("verify", "mine"), "mine: event", "byte 4000 was changed")


def test_a_folder_that_is_no_run_is_refused(fairwind) -> None:
    refused(fairwind("verify", "."), "expected a run directory")


def started(folder: Path, *arguments: object, kib_max: int = 1 << 30) -> subprocess.Popen[str]:
    """A command in a process of its own, which may not write a file larger than `kib_max`."""
    limited = ["bash", "-c", f'ulimit -f {kib_max}; exec "$@"', "bash"]
    program = [sys.executable, "-c", "from fairwind.cli import main; main()"]
    return subprocess.Popen(
        [*limited, *program, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_full_disk_is_one_message_and_the_run_goes_on_later(
    fairwind, world: Path, tmp_path: Path
) -> None:
    replay.warm_up()
    command = ("replay", world, "--journal", "mine", "--batch", 1000)
    process = started(tmp_path, *command, kib_max=400)
    out, err = process.communicate(timeout=120)
    refused(Said(process.returncode, out, err), "mine", "file size limit")
    written = sum(len(part) for part in file.inputs(Path("mine")) if not hasattr(part, "digest"))
    assert 1000 < written < replay.inputs_of(open_source(str(world)), Config()).total
    said = fairwind(*command)
    assert said.code == 0 and "this run exists" in said.err
    assert verify(Path("mine")).proved


def test_ctrl_c_stops_between_two_batches_and_the_run_goes_on_later(
    fairwind, world: Path, tmp_path: Path
) -> None:
    replay.warm_up()
    command = ("replay", world, "--journal", "mine", "--batch", 1)
    process = started(tmp_path, *command)
    wait_for_events(tmp_path / "mine" / "journal", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == screen.INTERRUPTED, err
    assert "the same command goes on from there" in err and "Traceback" not in err
    partly = verify(Path("mine"))
    assert partly.proved and partly.proved_events == partly.events
    said = fairwind("replay", world, "--journal", "mine")
    assert said.code == 0 and "this run exists" in said.err
    undisturbed = fairwind("replay", world, "--no-journal")
    assert line_of(undisturbed, "digest") == line_of(said, "digest")


def wait_for_events(journal: Path, process: subprocess.Popen[str]) -> None:
    """Until the process has written some of its run."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if any(path.stat().st_size > 20_000 for path in journal.glob("*.seg")):
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate())
