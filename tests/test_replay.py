"""A replay's inputs, its name, and how it goes on: the parts that the command line is made of."""

from pathlib import Path

import numpy as np
import pytest

from fairwind.core.config import Config, parse
from fairwind.core.errors import BadConfig, BadInput
from fairwind.core.events import Kind, empty
from fairwind.engine.strategies import ROSTER
from fairwind.feeds.recorded.recording import Check, Problem, Recording, Window, closing
from fairwind.research import replay, synthetic
from fairwind.research.replay import Inputs, Journaled, Unjournaled
from fairwind.research.report import RunResult


@pytest.fixture(scope="module")
def recording() -> Recording:
    return synthetic.recording_of(
        synthetic.knobs({"seed": "7", "windows": "1", "planted_edge": "0.1"}, ())
    )


@pytest.fixture(scope="module")
def inputs(recording: Recording) -> Inputs:
    return replay.inputs_of(recording, Config())


def test_wishes_win_over_the_file_and_leave_the_rest() -> None:
    config = parse("[strategies.BTC_5M]\nedge_min = 80\norder_max = 20\n[run]\nbatch = 5")
    changed = replay.overridden(config, ["BTC_5M.edge_min=90", "SOL_15M.enabled=true"])
    assert changed.strategies == {
        "BTC_5M": {"edge_min": 90.0, "order_max": 20},
        "SOL_15M": {"enabled": True},
    }
    assert changed.run.batch == 5
    assert config.strategies["BTC_5M"]["edge_min"] == 80


@pytest.mark.parametrize("spec", ROSTER, ids=lambda spec: spec.id)
def test_every_parameter_is_taken_at_its_bounds_and_refused_beyond(spec) -> None:
    for parameter in spec.parameters:
        key = f"{spec.id}.{parameter.name}"
        for value in (parameter.low, parameter.high):
            replay.overridden(Config(), [f"{key}={value!r}"])
        for value in (parameter.low - 1, parameter.high + 1):
            with pytest.raises(BadConfig, match=parameter.name):
                replay.overridden(Config(), [f"{key}={value!r}"])


def test_settings_come_first_and_everything_at_most_once(inputs: Inputs) -> None:
    assert list(inputs.opening["kind"]) == [Kind.CONTROL, Kind.CONTROL]
    whole = inputs.between(0, inputs.total)
    assert len(whole) == inputs.total
    for first in (0, 1, 2, 3, 1000, inputs.total - 1, inputs.total):
        parts = list(inputs.since(first, 999))
        assert b"".join(part.tobytes() for part in parts) == whole[first:].tobytes()
        assert max(map(len, parts), default=0) <= 999
    for first, last in ((0, 1), (1, 5), (2, 7), (0, 4), (7, 7)):
        assert inputs.between(first, last).tobytes() == whole[first:last].tobytes()


def test_a_source_without_events_is_refused() -> None:
    with pytest.raises(BadInput, match="expected a source with events"):
        replay.inputs_of(Recording(events=empty(0)), Config())


def test_a_run_is_named_by_source_settings_and_events(recording: Recording) -> None:
    def named(source: str = "x/day.csv.gz", text: str = "", events: int = 0) -> str:
        one = Recording(events=recording.events[: len(recording.events) - events])
        return replay.run_name(source, replay.inputs_of(one, parse(text)))

    assert named() == named()
    assert named().startswith("day-")
    assert named("folder/") == named("folder")
    different = {named(), named("y"), named(text="[capital]\ndeposit = 5.0"), named(events=1)}
    assert len(different) == 4


def test_with_and_without_a_journal_the_same_comes_out(inputs: Inputs, tmp_path: Path) -> None:
    kept, unkept = Journaled(tmp_path / "run", "here", inputs), Unjournaled(inputs)
    for job in (kept, unkept):
        for _ in job.steps(4000):
            pass
        job.close()
    assert kept.at == unkept.at
    assert kept.at.events == inputs.total
    for name, rows in unkept.tables().items():
        assert rows.tobytes() == kept.tables()[name].tobytes()


def test_an_interrupted_replay_goes_on_to_the_same_end(inputs: Inputs, tmp_path: Path) -> None:
    whole = Unjournaled(inputs)
    assert [step.events for step in whole.steps(1 << 20)] == [2, inputs.total]
    run = tmp_path / "run"
    first = Journaled(run, "here", inputs)
    next(step for step in first.steps(500) if step.events > 2000)
    first.close()
    again = Journaled(run, "here", inputs)
    assert again.recovery.replayed_events == 2002
    assert next(again.steps(500)).events == 2502
    for _ in again.steps(500):
        pass
    again.close()
    assert again.at == whole.at
    for name, rows in whole.tables().items():
        assert rows.tobytes() == again.tables()[name].tobytes()


def test_a_run_with_other_settings_is_not_continued(
    inputs: Inputs, recording: Recording, tmp_path: Path
) -> None:
    Journaled(tmp_path / "run", "here", inputs).close()
    job = Journaled(tmp_path / "run", "here", inputs)
    next(job.steps(10))
    job.close()
    other = replay.inputs_of(recording, parse("[capital]\ndeposit = 5.0"))
    with pytest.raises(BadInput, match="differs within events 0 to 1; choose another --journal"):
        Journaled(tmp_path / "run", "here", other)


def test_the_newest_run_has_a_name_and_nothing_else_is_overwritten(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        replay.point_latest(tmp_path / name)
        assert (tmp_path / "latest").resolve() == tmp_path / name
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").mkdir()
    with pytest.raises(BadInput, match="found something else"):
        replay.point_latest(tmp_path / "one")


def test_a_result_says_all_that_a_data_set_says_of_itself(inputs: Inputs) -> None:
    said = Recording(
        events=closing(inputs.events),
        windows=(Window(slug="btc-updown-5m-1787236800", payout_e4=0), Window(slug="empty")),
        problems=(Problem("BAD_ROW", 3, "row 7"),),
        checks=(Check("book hash", 10, 9, 1), Check("best prices", 5, 5, 0)),
        assumptions=("sizes are 50",),
    )
    job = Unjournaled(inputs)
    result: RunResult = replay.result_of("here", said, Config(), job.at, job.tables())
    assert {slug: label.outcome for slug, label in result.labels.items()} == {
        "btc-updown-5m-1787236800": "Down"
    }
    assert result.problems == (
        "BAD_ROW: 3 rows, the first: row 7",
        "book hash: 9 of 10 agreed, 1 did not",
    )
    assert replay.checks_of(said)[1] == "best prices: 5 of 5 agreed, 0 did not"
    assert result.assumptions == ("sizes are 50",)
    assert (result.deposit_micro, result.realism["latency_ms"]) == (1_000_000_000, 75.0)


def test_a_world_as_a_recording_keeps_its_truth_as_labels(recording: Recording) -> None:
    (window,) = recording.windows
    assert window.outcome in ("Up", "Down")
    assert window.strike is not None and window.final is not None
    assert (window.final >= window.strike) == (window.outcome == "Up")
    assert recording.events["kind"][-1] == Kind.TIMER
    assert np.all(np.diff(recording.events["ts_ns"]) >= 0)


def test_several_values_of_a_knob_are_separated_by_commas() -> None:
    wanted = synthetic.knobs({"seed": "3"}, ["series=BTC_5M,ETH_15M", "zero_edge=true", "seed=4"])
    assert (wanted.series, wanted.zero_edge, wanted.seed) == (("BTC_5M", "ETH_15M"), True, 4)
