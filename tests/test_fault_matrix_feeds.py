"""What is lost is counted once, asked for anew, and not used until then; and when all is well,
nobody is called."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import structlog
from built_in_market import announced
from fault_sessions import Plan, Played, opened, played
from fault_stages import CONTROLS, SPECS
from test_fault_matrix import inputs

from fairwind.core.controls import SetParameter
from fairwind.core.events import Kind
from fairwind.core.holds import CATEGORY, NO_HOLD, Category, Hold
from fairwind.core.outputs import OrderState
from fairwind.core.units import SECOND_NS
from fairwind.feeds.kpis import Count
from fairwind.research.replay import tables_of
from fairwind.run import built_in
from fairwind.run.alerts import Alert
from fairwind.run.health import Health
from fairwind.run.inbox import Line
from fairwind.run.loop import Rows
from fairwind.run.paper import Paper
from fairwind.run.status import Looking
from fairwind.views.told import Told
from fairwind.world.clock import MarketClock
from fairwind.world.faults import Fault, LineName
from fairwind.world.faults import Kind as Trouble
from fairwind.world.server.app import Market
from fairwind.world.server.venue import Venue

OF_FEEDS = {int(hold) for hold, category in CATEGORY.items() if category is Category.FEED}


class Note(NamedTuple):
    """How a line was after a turn."""

    ts_ns: int
    gaps: int
    connected: bool


def noted(run: Path, line: Line, *faults: Fault) -> tuple[Played, list[Note]]:
    """A session, and how the line was after each turn."""
    notes: list[Note] = []

    def watch(paper: Paper) -> None:
        gaps = paper.inbox.channels[line].kpis.counts[Count.GAPS]
        notes.append(Note(paper.turned_ns, gaps, paper.sockets[line].connected))

    return played(Plan(run=run, faults=faults, watch=watch)), notes


MOVED_S = 64
"""So long after the window's start the whole book moves."""


def dropped(line: LineName, holding: str = "") -> Fault:
    """One frame is lost, a minute after the start of the window."""
    from_ns = Plan(run=Path()).stage.windows[0].start_ns + MOVED_S * SECOND_NS
    return Fault(kind=Trouble.DROP, line=line, from_ns=from_ns, holding=holding)


def between(rows: Any, begin_ns: int, end_ns: int) -> Any:
    """Rows after one moment and before another."""
    return rows[(rows["ts_ns"] > begin_ns) & (rows["ts_ns"] < end_ns)]


def test_a_lost_message_of_coinbase_is_one_gap_and_a_new_connection(tmp_path: Path) -> None:
    session, notes = noted(tmp_path / "run", Line.COINBASE, dropped(LineName.COINBASE))
    assert {note.gaps for note in notes} == {0, 1}
    seen_ns = next(note.ts_ns for note in notes if note.gaps)
    closed = next(note for note in notes if not note.connected)
    open_ns = next(note.ts_ns for note in notes if note.connected and note > closed)
    assert 0 < closed.ts_ns - seen_ns < SECOND_NS and open_ns - seen_ns < 5 * SECOND_NS
    spots = inputs(tmp_path / "run")
    spots = spots[spots["kind"] == Kind.SPOT]
    assert len(between(spots, seen_ns - 1, open_ns)) == 0
    assert len(between(spots, open_ns - 1, open_ns + 5 * SECOND_NS)) > 5
    (why,) = session.paper.sockets[Line.COINBASE].closings
    assert "is missing" in why


def test_a_lost_message_of_polybolt_is_one_gap_and_comes_with_the_next_snapshot(
    tmp_path: Path,
) -> None:
    down = Fault(kind=Trouble.FREEZE, line=LineName.RTDS, times=0)
    faults = dropped(LineName.POLYBOLT), down
    session, notes = noted(tmp_path / "run", Line.BOLT, *faults)
    assert {note.gaps for note in notes} == {0, 1}
    assert not session.paper.sockets[Line.BOLT].closings  # its channel is subscribed anew
    prints = inputs(tmp_path / "run")
    prints = prints[prints["kind"] == Kind.REFERENCE]
    (window,) = session.stage.windows
    at_ns = prints["ts_source_ns"]
    at_ns = at_ns[(at_ns >= window.start_ns) & (at_ns <= window.end_ns)]
    assert (np.diff(at_ns) == SECOND_NS).all() and len(at_ns) == 301


def test_a_lost_book_is_one_gap_and_is_not_traded_on_until_it_came_again(tmp_path: Path) -> None:
    book = dropped(LineName.MARKET, '"event_type":"book"')
    _, notes = noted(tmp_path / "run", Line.MARKET, book)
    assert {note.gaps for note in notes} == {0, 1}
    assert all(note.connected for note in notes[50:])
    events, tables = inputs(tmp_path / "run"), tables_of(tmp_path / "run")
    (gap,) = events[events["kind"] == Kind.GAP]
    clears = events[(events["kind"] == Kind.CLEAR) & (events["ts_ns"] > gap["ts_ns"])]
    until_ns = int(clears["ts_ns"][0])
    assert 0 < until_ns - gap["ts_ns"] < 3 * SECOND_NS
    orders, scans = tables["orders"], between(tables["scans"], gap["ts_ns"], until_ns)
    sent = orders[orders["state"] == OrderState.SENT]
    assert len(between(sent, gap["ts_ns"], until_ns)) == 0
    assert len(between(tables["fills"], gap["ts_ns"], until_ns)) == 0
    assert len(between(tables["fills"], until_ns, until_ns + 10 * SECOND_NS)) > 5
    assert len(scans) > 0 and set(scans["hold"].tolist()) == {Hold.SEQUENCE_GAP} < OF_FEEDS


def test_an_idle_healthy_strategy_raises_no_alert_in_an_hour_of_market_time(
    tmp_path: Path,
) -> None:
    looks: list[tuple[int, Health, tuple[Alert, ...]]] = []
    looking: list[Looking] = []

    def watch(paper: Paper) -> None:
        if not looking:
            looking.append(Looking(paper, Told(), structlog.stdlib.get_logger()))
        now_ns = paper.clock.now_ns()
        if now_ns >= (looks[-1][0] if looks else 0) + SECOND_NS:
            status = looking[0].look(now_ns)
            looks.append((now_ns, status.overall, status.alerts))

    never = SetParameter(strategy=SPECS[0].id, name="edge_min", value=10_000)
    plan = Plan(
        run=tmp_path / "run",
        windows=12,
        specs=SPECS[:1],
        controls=(*CONTROLS[:2], never),
        turn_s=(0.2, 0.45),
        watch=watch,
        live=True,
    )
    session = played(plan)
    first_ns, end_ns = looks[0][0], session.stage.end_ns
    assert end_ns - first_ns >= 3600 * SECOND_NS
    assert {look[1:] for look in looks if look[0] < end_ns} == {(Health.OK, ())}
    tables = tables_of(plan.run)
    assert len(tables["orders"]) == 0
    assert len(tables["scans"]) > 3500 and NO_HOLD not in tables["scans"]["hold"]


def test_a_killed_socket_is_seen_within_three_seconds_and_strategies_hold(tmp_path: Path) -> None:
    asyncio.run(asyncio.wait_for(killed(tmp_path / "run"), 60))


async def killed(run: Path) -> None:
    """Coinbase's socket dies again and again, in a session on a served market; then no more."""
    scene, holds = Plan(run=run).stage, [int(Hold.FEED_DOWN)]
    clock = MarketClock(scene.windows[0].start_ns + 5 * SECOND_NS)
    market = Market(Venue(scene.tape), clock)

    def tell(rows: Rows) -> None:
        holds.extend(rows["scans"]["hold"].tolist())

    session = opened(run, clock.now_ns(), specs=SPECS[:1], controls=CONTROLS[:2], tell=tell)
    async with announced(market) as announcement:
        where = built_in.addresses(announcement.address)
        paper = Paper(session, where, clock, [scene.windows[0].series])
        looking = Looking(paper, Told(), structlog.stdlib.get_logger())
        tasks = [asyncio.create_task(one) for one in (paper.run(scene.end_ns), looking.run())]

        async def until(health: Health, *, held: bool) -> int:
            while looking.status.overall != health or (holds[-1] in OF_FEEDS) != held:
                await asyncio.sleep(0.02)
            return clock.now_ns()

        await until(Health.OK, held=False)
        close = Fault(kind=Trouble.CLOSE, line=LineName.COINBASE, code=1012, times=0)
        killed_ns = clock.now_ns()
        market.faults.add([close])
        assert await until(Health.DEGRADED, held=True) <= killed_ns + 3 * SECOND_NS
        bad = [one for one in looking.status.modules if one.health != Health.OK]
        assert [one.name for one in bad] == [Line.COINBASE]
        assert "closed by the venue with 1012" in bad[0].reason
        market.faults.clear()
        await until(Health.DEGRADED, held=False)  # for a minute: it was closed too often
        paper.stop.set()
        await tasks[0]
        tasks[1].cancel()
    session.close()
