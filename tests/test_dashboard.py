"""What the terminal shows of a session: figures that are the state's, signs that are words."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog
from msgspec.structs import replace
from rich.console import Console
from test_crash import a_market
from test_loop import META

from fairwind.cli import dashboard
from fairwind.cli import watch as watching
from fairwind.cli.dashboard import line, render, share, span
from fairwind.cli.view import View, view_of
from fairwind.cli.watch import Frames, watch
from fairwind.core.holds import Hold
from fairwind.core.outputs import WindowState
from fairwind.core.units import SECOND_NS
from fairwind.engine.state import CASH, POSITIONS, RESERVED
from fairwind.run.alerts import Alert, Kind, Severity, State
from fairwind.run.health import Health
from fairwind.run.inbox import Line
from fairwind.run.loop import Rows, Session
from fairwind.run.paper import Addresses, Paper
from fairwind.run.status import Looking
from fairwind.views.told import Told
from fairwind.views.windows import scans
from fairwind.world.clock import MarketClock

ADDRESS = "http://127.0.0.1:1"
STATES = (
    *("fresh", "STALE", "INVALID", "none yet"),
    *("no result yet", "Up won", "Down won", "begins in", "NO STRIKE"),
)
SIZES = [(100, 40), (160, 45), (100, 0), (160, 24)]


def looking_at(run: Path, events: int) -> Looking:
    """A session that has got the first `events` of a market with an edge, between two turns."""
    told = Told()
    session: Session = Session(run, META, tell=lambda rows: told.take(rows, session.state))
    rows, payloads = a_market()
    session.feed(rows[:events], payloads)
    clock = MarketClock(int(session.state.record.now_ns), stepped=True)
    paper = Paper(session, Addresses(), clock, [0])
    return Looking(paper, told, structlog.stdlib.get_logger())


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looking]:
    """Between a fill and the window's result."""
    found = looking_at(tmp_path_factory.mktemp("session") / "run", len(a_market()[0]) * 2 // 3)
    yield found
    found.paper.session.close()


@pytest.fixture
def seen(looking: Looking) -> View:
    return view_of(looking, ADDRESS, {})


def text(found: View, width: int = 160, height: int = 0) -> str:
    """The screen as a terminal without colours shows it."""
    console = Console(width=width, file=io.StringIO(), no_color=True, record=True)
    console.print(render(found, width, height))
    return console.export_text()


def test_the_figures_of_a_view_are_those_of_the_state(looking: Looking, seen: View) -> None:
    record = looking.paper.session.state.record
    (window,) = seen.windows
    slot = int(record.active[0])
    market = record.markets[slot]
    assert (window.bid_e4, window.ask_e4) == (market["bid"] * 5, market["ask"] * 5)
    assert (window.strike, window.fair_up) == (market["strike"], market["fair_up"])
    assert window.spot == record.assets[0]["spot"]
    assert window.book_ns == market["book_ts_ns"]
    assert seen.money.cash_micro == record.accounts[CASH]
    assert seen.money.reserved_micro == record.accounts[RESERVED]
    assert seen.money.equity_micro == record["equity_micro"]
    assert seen.money.deposits_micro == 1_000_000_000
    assert sum(one.cost_micro for one in seen.positions) == record.accounts[POSITIONS] > 0
    assert (seen.events, seen.digest) == (
        looking.paper.session.events,
        looking.paper.session.state.digest(),
    )
    assert seen.trades == looking.told.counts["fills"] == len(seen.fills) > 0


def test_a_position_is_worth_its_shares_at_the_mid(seen: View) -> None:
    (window,), (position,) = seen.windows, seen.positions
    assert window.bid_e4 is not None and window.ask_e4 is not None
    up = (window.bid_e4 + window.ask_e4) / 20_000
    middle = 1 - up if position.outcome else up
    assert position.worth_micro == pytest.approx(position.shares_micro * middle, abs=1)


def test_a_scan_shows_the_hold_and_the_edges_that_were_told_last(tmp_path: Path) -> None:
    told: dict[tuple[int, int], np.void] = {}

    def tell(rows: Rows) -> None:
        told.update({(int(row["strategy"]), 0): row.copy() for row in rows["scans"]})

    session = Session(tmp_path / "run", META, tell=tell)
    rows, payloads = a_market()
    session.feed(rows[:7_000], payloads)
    state = session.state
    first, *others = scans(state, int(state.record.now_ns), told)
    session.close()
    newest = told[0, 0]
    assert (first.strategy, first.slug) == ("BTC_5M", "btc-updown-5m-1791158400")
    assert first.hold == Hold(int(newest["hold"])) and first.side == newest["side"]
    assert first.net_edge_e4 == newest["net_edge_e4"] < 0
    assert first.required_edge_e4 == newest["required_edge_e4"] > 0
    assert scans(state, int(state.record.now_ns), {})[0] == replace(
        first, net_edge_e4=None, required_edge_e4=None
    )
    assert [(one.strategy, one.slug) for one in others] == [
        (name, None) for name in ("ETH_5M", "SOL_5M", "BTC_15M", "ETH_15M")
    ]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_screen_keeps_to_its_size_and_shows_the_figures(
    seen: View, width: int, height: int
) -> None:
    lines = text(seen, width, height).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= (height or 60)
    shown = "\n".join(lines)
    (window,) = seen.windows
    assert window.strike is not None and window.fair_up is not None
    for figure in (
        "PAPER",
        f"{seen.events:,} events",
        f"{seen.digest:016x}",
        f"{window.strike:,.2f}",
        f"{window.fair_up:.3f}",
        f"{share(window.bid_e4)}/{share(window.ask_e4)}",
        f"{seen.money.equity_micro / 1e6:,.2f}",
        f"{seen.money.cash_micro / 1e6:,.2f}",
        f"holds {('Up', 'Down')[seen.positions[0].outcome]}",
    ):
        assert figure in shown
    assert (window.slug in shown) == (width >= dashboard.WIDE)


def test_a_session_that_has_seen_nothing_shows_dashes_and_no_figures(tmp_path: Path) -> None:
    looking = looking_at(tmp_path / "run", 0)
    empty = view_of(looking, ADDRESS, {})
    looking.paper.session.close()
    shown = text(empty)
    assert "no window is known yet" in shown
    assert empty.money.drawdown is None and "drawdown  – of" in " ".join(shown.split("  "))
    assert [one.per_s for one in empty.feeds] == [None] * 3
    assert "nan" not in shown and "None" not in shown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"book_fresh": True}, ["fresh"]),
        ({"book_fresh": False}, ["STALE"]),
        ({"book_fresh": False, "book_valid": False}, ["INVALID"]),
        ({"book_ns": None}, ["none yet"]),
        ({"end_ns": 1}, ["no result yet"]),
        ({"end_ns": 1, "payout_e4": 10_000}, ["Up won"]),
        ({"end_ns": 1, "payout_e4": 0}, ["Down won"]),
        ({"start_ns": 2**62, "end_ns": 2**62, "book_ns": None}, ["none yet", "begins in"]),
        ({"state": WindowState.STRIKE_MISSED, "book_ns": None}, ["none yet", "NO STRIKE"]),
    ],
)
def test_the_states_of_a_window_differ_in_words(
    seen: View, change: dict[str, int | None], words: list[str]
) -> None:
    window = replace(seen.windows[0], book_valid=True)
    shown = text(replace(seen, windows=(replace(window, **change),)))
    assert [word for word in STATES if word in shown] == words


def test_health_alerts_and_lost_feeds_are_told_in_words(seen: View) -> None:
    alert = Alert(
        kind=Kind.FEED_DOWN,
        severity=Severity.CRITICAL,
        category="feed",
        subject="rtds",
        text="a connection is down",
        detail="refused",
        state=State.FIRING,
        since_ns=seen.now_ns - 65 * SECOND_NS,
        fired_ns=seen.now_ns,
        last_ns=seen.now_ns,
        count=1,
        playbook="",
        id="1",
    )
    down = replace(seen.feeds[0], connected=False, problem="closed by the venue with 1013")
    status = replace(seen.status, overall=Health.FAILED, alerts=(alert,))
    shown = text(replace(seen, status=status, feeds=(down, *seen.feeds[1:])))
    for words in ("FAILED", "critical", "FEED_DOWN", "1:05", "DOWN closed by"):
        assert words in shown
    assert "FAILED, 1 alerts" in line(replace(seen, status=status))


def test_a_list_that_is_too_long_says_how_many_are_left_out(seen: View) -> None:
    crowded = replace(seen, windows=seen.windows * 30)
    assert "30 more" not in text(crowded)
    assert "15 more" in text(crowded)
    assert len(text(crowded, 100, 40).splitlines()) <= 40


def test_a_window_that_should_be_open_and_is_not_found_is_shown_with_the_reason(
    looking: Looking,
) -> None:
    late, coming = "btc-updown-5m-1791158400", "btc-updown-5m-9999999900"
    looking.paper.discovery.missing.update({late: "not listed yet", coming: "not listed yet"})
    found = view_of(looking, ADDRESS, {})
    looking.paper.discovery.missing.clear()
    assert found.missing == ((late, "not listed yet"),)
    assert late in text(found) and coming not in text(found)


def test_messages_are_counted_per_second_of_market_time(looking: Looking) -> None:
    frames = Frames(looking, ADDRESS)
    first = asyncio.run(frames.next())
    looking.paper.inbox.market.kpis.add("messages", 30)
    before_ns = looking.paper.clock.now_ns()
    looking.paper.clock.move(before_ns + 2 * SECOND_NS)
    second = asyncio.run(frames.next())
    looking.paper.clock.move(before_ns)
    assert [one.per_s for one in first.feeds] == [None] * 3
    assert [one.per_s for one in second.feeds] == [15.0, 0.0, 0.0]


def test_an_engine_that_does_not_return_leaves_the_last_frame_with_the_newest_status(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PATIENCE_S", 0.02)
    frames = Frames(looking, ADDRESS)

    async def stalled() -> tuple[View, View]:
        before = await frames.next()
        looking.paper.feeding_since_ns = looking.paper.clock.now_ns()
        looking.status = replace(looking.status, overall=Health.OK)
        return before, await frames.next()

    before, after = asyncio.run(stalled())
    looking.paper.feeding_since_ns = None
    looking.status = replace(looking.status, overall=before.status.overall)
    assert after == replace(before, status=after.status)
    assert after.status.overall == Health.OK != before.status.overall


def watched(looking: Looking, monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> str:
    """What `watch` writes until the session stops, which closes its connections."""
    paper = io.StringIO()
    console = Console(file=paper, force_terminal=terminal, width=100, height=40)
    monkeypatch.setattr(watching, "said", console)
    monkeypatch.setattr(watching, "LINE_S", 0.02)
    monkeypatch.setattr(watching, "FRAME_S", 0.02)

    async def some_time() -> None:
        socket = looking.paper.sockets[Line.MARKET]
        socket.connected = True
        shown = asyncio.create_task(watch(looking, ADDRESS))
        await asyncio.sleep(0.3)
        looking.paper.stop.set()
        socket.connected = False
        await shown
        looking.paper.stop.clear()

    asyncio.run(some_time())
    return paper.getvalue()


def test_without_a_terminal_a_line_is_written_now_and_then(
    looking: Looking, monkeypatch: pytest.MonkeyPatch, seen: View
) -> None:
    lines = watched(looking, monkeypatch, terminal=False).splitlines()
    assert 2 <= len(lines) <= 16
    assert set(lines) == {line(seen)}
    assert "\x1b" not in lines[0]


def test_on_a_terminal_the_last_frame_stays(
    looking: Looking, monkeypatch: pytest.MonkeyPatch, seen: View
) -> None:
    written = watched(looking, monkeypatch, terminal=True)
    screen, _, left = written.rpartition("\x1b[?1049l")
    assert "\x1b[?1049h" in screen
    assert "PAPER" in left and f"{seen.digest:016x}" in left
    assert left.count("● connected") == 1


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (share(4_500), "0.45"),
        (share(4_510), "0.451"),
        (share(4_515), "0.4515"),
        (share(None), "–"),
        (span(59 * SECOND_NS), "0:59"),
        (span(3_661 * SECOND_NS), "1:01:01"),
        (span(-1), "0:00"),
    ],
)
def test_a_figure_is_as_fine_as_it_has_to_be(made: str, wanted: str) -> None:
    assert made == wanted


def test_a_link_to_the_pages_stands_in_the_header(seen: View) -> None:
    link = "http://127.0.0.1:1/login?token=x"
    assert f"pages {link}" in text(replace(seen, pages=link))
    assert "pages" not in text(seen).splitlines()[2]
