"""A run that was fed live: the report, a window's life and SQL are read from its journal alone."""

import random
from pathlib import Path

import pytest
from test_crash import Market, a_market
from test_loop import META

from fairwind.core.errors import BadInput
from fairwind.engine.run import Out
from fairwind.engine.state import fresh
from fairwind.journal import tables
from fairwind.research.document import build
from fairwind.research.inspect import story_of, window_life
from fairwind.research.journaled import result_of_run
from fairwind.research.report import report_html
from fairwind.research.verify import verify
from fairwind.run.loop import Session, outputs


@pytest.fixture(scope="module")
def market() -> Market:
    return a_market()


def fed_live(run: Path, market: Market, events: int) -> Session:
    """A session that has got the first `events` a few at a time."""
    steps = random.Random(0)
    session = Session(run, META)
    while session.events < events:
        step = min(steps.randint(1, 20), events - session.events)
        session.feed(market[0][session.events :][:step], market[1])
    return session


def test_the_report_of_a_closed_run_is_that_of_what_the_engine_says(
    tmp_path: Path, market: Market
) -> None:
    events, payloads = market
    fed_live(tmp_path, market, len(events)).close()
    result = result_of_run(tmp_path)
    state, out = fresh(), Out.fresh()
    (rows,) = outputs(state, events, out, payloads.__getitem__)
    assert (result.digest, result.events) == (state.digest(), len(events))
    assert {name: part.tobytes() for name, part in result.tables.items()} == {
        name: part.tobytes() for name, part in rows.items()
    }
    assert result.deposit_micro == 1_000_000_000
    assert result.realism["latency_ms"] == 75.0
    assert result.problems == ()
    report = build(result)
    assert report.totals.windows == 1
    assert report.optimistic == []
    assert result.source in report_html(result)


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_that_is_open_or_was_killed_is_read_as_far_as_it_is_durable(
    tmp_path: Path, market: Market, killed: bool
) -> None:
    half = len(market[0]) // 2
    session = fed_live(tmp_path, market, half)
    if killed:
        session.journal.abandon()  # what the system does for a killed process
    result = result_of_run(tmp_path)
    late = half - result.events
    assert 0 < late <= 20
    assert f"the last {late} events is not journaled" in result.problems[0]
    assert result.problems[0] in report_html(result)
    story = story_of(tmp_path)
    assert len(story.events) == half
    slug = tables.query(tmp_path, "SELECT slug FROM windows").to_pylist()[0]["slug"]
    assert any(section.rows for section in window_life(story, slug))
    orders = tables.query(tmp_path, "SELECT count(*) AS n FROM orders").to_pylist()
    assert orders == [{"n": len(story.tables["orders"])}]
    verdict = verify(tmp_path)
    assert verdict.proved
    assert verdict.proved_events == result.events
    if not killed:
        session.close()


def test_a_run_without_events_has_no_report(tmp_path: Path) -> None:
    Session(tmp_path, META).close()
    with pytest.raises(BadInput, match="expected a run with events"):
        result_of_run(tmp_path)
    with pytest.raises(BadInput, match="expected a run directory"):
        result_of_run(tmp_path / "nothing")
