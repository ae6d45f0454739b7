"""The executable checklist: every point once, honest counts, and checks that can fail."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SHARED, needs_shared

from fairwind import cli
from fairwind.api.ui import reports
from fairwind.research import checks, progress, verify
from fairwind.research.progress import POINTS

NONE = {point.id: False for point in POINTS}


def test_every_point_stands_once_with_its_phase() -> None:
    assert sorted(point.id for point in POINTS) == [f"N{n:02}" for n in range(1, 78)]
    assert {phase: total.total for phase, total in progress.counted(NONE).phases.items()} == {
        "P1": 37,
        "P2": 27,
        "P3": 10,
        "S": 3,
    }


@needs_shared
def test_phases_are_those_of_the_mission() -> None:
    text = (SHARED / "spec" / "checklist.md").read_text(encoding="utf-8")
    points = re.findall(r"^- \*\*(N\d\d) ", text, re.MULTILINE)
    phases = dict(re.findall(r"^- \*\*(N\d\d) (P\d)", text, re.MULTILINE))
    ours = {point.id: point.phase for point in POINTS if point.id > "N03"}
    assert {point: phases.get(point, "S") for point in points if point > "N03"} == ours


def test_a_point_that_holds_counts_in_its_phase_only() -> None:
    found = progress.counted({**NONE, "N15": True, "N02": True})
    assert {phase: one.passed for phase, one in found.phases.items()} == {
        "P1": 1,
        "P2": 1,
        "P3": 0,
        "S": 0,
    }
    assert found.points["N15"] and not found.points["N16"]


def test_json_has_phases_and_points_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks, "CHECKS", {})
    monkeypatch.setattr(sys, "argv", ["fairwind", "progress", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["phases", "points"]
    assert found["points"] == NONE
    assert found["phases"]["P1"] == {"passed": 0, "total": 37}


@pytest.mark.parametrize(
    ("code", "seconds", "holds"),
    [("pass", 60, True), ("assert 1 == 2", 60, False), ("import time; time.sleep(9)", 0.2, False)],
)
def test_a_check_holds_only_if_it_ends_well_and_in_time(
    code: str, seconds: float, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = subprocess.run

    def instead(command: list[str], **more: object) -> object:
        assert command[1:3] == ["-m", "fairwind.research.checks"]
        return run([sys.executable, "-c", code], **more)

    monkeypatch.setattr(progress.subprocess, "run", instead)
    monkeypatch.setattr(progress, "CHECK_SECONDS_MAX", seconds)
    monkeypatch.setattr(checks, "CHECKS", {"N15": None})
    assert [point.id for point, fine in progress.run_checks() if fine] == ["N15"] * holds


def test_a_run_that_is_derived_again_passes_its_check(tmp_path: Path) -> None:
    checks.same_again(tmp_path)


def test_the_check_fails_when_nothing_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved = verify.verify
    done: list[verify.Verdict] = []

    def once(run: Path) -> verify.Verdict:
        if not done:
            done.append(proved(run, batch_sizes=()))
        return done[0]

    monkeypatch.setattr(checks, "verify", once)
    with pytest.raises(AssertionError, match="a changed byte was not noticed"):
        checks.same_again(tmp_path)


def test_the_check_fails_when_another_machine_says_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "elsewhere", lambda run, seed: 1)
    with pytest.raises(AssertionError, match="another machine, another result"):
        checks.same_again(tmp_path)


def test_checks_are_for_points_that_there_are() -> None:
    assert set(checks.CHECKS) <= {point.id for point in POINTS}


@pytest.mark.parametrize(
    ("test", "shows"),
    [
        ("def test_so(): pass", True),
        ("def test_not(): assert 1 == 2", False),
        ("import pytest\ndef test_skips(): pytest.skip('no browser')", False),
        ("", False),
    ],
)
def test_a_point_is_shown_by_tests_that_ran_and_passed(
    test: str, shows: bool, tmp_path: Path
) -> None:
    place = tmp_path / "test_one.py"
    place.write_text(test, encoding="utf-8")
    (tmp_path / "check").mkdir()
    check = checks.shown_by(str(place))
    if shows:
        check(tmp_path / "check")
    else:
        with pytest.raises(AssertionError):
            check(tmp_path / "check")


def test_what_was_counted_last_lies_beside_the_runs_where_the_pages_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reports.progress(tmp_path / "runs" / "one") is None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks, "CHECKS", {})
    monkeypatch.setattr(sys, "argv", ["fairwind", "progress", "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    found = reports.progress(tmp_path / "runs" / "one")
    assert found is not None and found.progress == progress.counted(NONE)
