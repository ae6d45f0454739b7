"""The checks behind the checklist: each runs the product on a small made-up world and asserts.

In: a point's id, as the only argument. Out: success, or an error that says what does not hold.
Never here: reading the source, a check of a part of a point.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from fairwind.core.config import Config
from fairwind.journal import log, record
from fairwind.research import replay, synthetic
from fairwind.research.verify import verify

ROOT = Path(__file__).parents[3]
"""Of the checkout, where the tests are."""
PLAIN_CPU = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "PYTHONHASHSEED": "1"}
"""Makes a process compile for another machine than this one."""


def same_again(folder: Path) -> None:
    """N15: a run is derived again byte for byte, here and elsewhere; a first fault is named."""
    run = folder / "run"
    digest = replayed(run, seed=5)
    verdict = verify(run)
    assert verdict.proved, str(verdict.divergence)
    assert verdict.events == verdict.proved_events > 10_000
    assert verdict.digest == digest
    assert digest == elsewhere(folder / "elsewhere", seed=5), "another machine, another result"
    assert digest != replayed(folder / "other", seed=6)
    event = flip_an_input(run)
    divergence = verify(run).divergence
    assert divergence is not None, "a changed byte was not noticed"
    assert divergence.event == event, f"expected event {event}, found {divergence.event}"


def shown_by(*tests: str) -> Callable[[Path], None]:
    """A check that runs tests of this checkout; one that is missing or skipped shows nothing."""

    def check(folder: Path) -> None:
        told = folder / "tests.xml"
        options = ("-p", "no:cacheprovider", f"--basetemp={folder / 'tests'}", f"--junitxml={told}")
        command = [sys.executable, "-m", "pytest", "-q", *options, *tests]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        cases = ElementTree.parse(told).findall(".//testcase")
        assert cases and not any(case.findall("skipped") for case in cases), "skipped is not shown"

    return check


_counting = shown_by(
    "tests/test_progress.py::test_every_point_stands_once_with_its_phase",
    "tests/test_progress.py::test_json_has_phases_and_points_and_nothing_else",
    "tests/test_progress.py::test_a_check_holds_only_if_it_ends_well_and_in_time",
    "tests/test_pages.py::test_the_checklist_is_shown_as_it_was_counted",
)
_RUNNING, _REPLAY = "tests/test_browser_running.py::", "tests/test_browser_replay.py::"
CHECKS: dict[str, Callable[[Path], None]] = {
    **dict.fromkeys(("N01", "N02", "N03"), _counting),
    "N06": shown_by(
        f"{_RUNNING}test_a_frozen_feed_is_an_alert_within_two_seconds_and_strategies_hold"
    ),
    "N15": same_again,
    "N34": shown_by(
        "tests/test_health.py",
        f"{_RUNNING}test_a_page_of_a_running_session_opens_and_lacks_nothing_that_is_known",
    ),
    "N39": shown_by(
        "tests/test_views_provenance.py",
        f"{_REPLAY}test_one_can_walk_from_a_table_to_the_whole_story_of",
    ),
}
"""Check by point; it gets an empty folder and raises if the point does not hold, in full."""


def replayed(run: Path, seed: int) -> int:
    """Digest of a journaled replay of a small world in which there is something to trade."""
    recording = synthetic.recording_of(
        synthetic.knobs({"seed": str(seed), "windows": "2", "planted_edge": "0.1"}, ())
    )
    job = replay.Journaled(run, "a check", replay.inputs_of(recording, Config()))
    for _ in job.steps(4096):
        pass
    job.close()
    assert len(job.tables()["fills"]) > 0, "the check's world has to make the engine trade"
    return job.at.digest


def elsewhere(run: Path, seed: int) -> int:
    """The same digest from a process that compiles for a plain CPU."""
    command = [sys.executable, "-m", "fairwind.research.checks", "replayed", str(run), str(seed)]
    done = subprocess.run(
        command, env={**os.environ, **PLAIN_CPU}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(json.loads(done.stdout))


def flip_an_input(run: Path) -> int:
    """Change one byte of a journaled event; returns that event's number."""
    path = log.segment_path(run / "journal", 1)
    data = bytearray(path.read_bytes())
    offset, first = record.SEGMENT_HEADER.size, 0
    while (frame := record.decode(memoryview(data), offset)) is not None:
        body = offset + record.FRAME_HEADER.size
        count = record.events_in(frame.kind, len(frame.payload))
        if count > 100:
            size = len(frame.payload) // count
            data[body + 50 * size] ^= 1
            path.write_bytes(data)
            return first + 50
        first += count
        offset = frame.stop
    raise AssertionError("expected inputs in the journal, found none")


if __name__ == "__main__":
    if sys.argv[1] == "replayed":
        print(replayed(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        with tempfile.TemporaryDirectory() as place:
            CHECKS[sys.argv[1]](Path(place))
