"""What the terminal shows of a running session, as plain values.

In: a session between two turns, its status, what the engine told. Out: a frozen View. Never here:
a colour or a text for the eye, a figure that the session does not hold: what is unknown is None.
"""

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from fairwind.core.holds import NO_HOLD, Hold
from fairwind.core.ids import parse_slug, slug
from fairwind.core.outputs import Action, OrderState, WindowState
from fairwind.core.units import SPOT_ONE_E8
from fairwind.engine.run import roster
from fairwind.engine.state import GRID_E4, MARKETS, TOP_LEVEL, State
from fairwind.feeds import kpis
from fairwind.run import facts
from fairwind.run.health import Market, Status
from fairwind.run.paper import Paper
from fairwind.run.status import Looking

ENDED_SHOWN = 2
"""Windows with a result that are shown beside those without."""


class Shown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what is shown. Prices are in 1/10 000 dollar, money in micro-dollars, time in ns."""


class Window(Shown, frozen=True, kw_only=True):
    """One window; `book_ns` is the receipt of its newest book event."""

    slug: str
    start_ns: int
    end_ns: int
    state: WindowState
    payout_e4: int | None  # of one Up share
    strike: float | None  # dollars, as are spot and reference
    spot: float | None
    reference: float | None  # the final value of a window with a result
    bid_e4: int | None
    ask_e4: int | None
    fair_up: float | None
    book_ns: int | None
    book_valid: bool
    book_fresh: bool


class Scan(Shown, frozen=True, kw_only=True):
    """What a strategy that is on last said of an open window; `slug` is None without one."""

    strategy: str
    slug: str | None = None
    side: int | None = None  # Outcome
    net_edge_e4: int | None = None  # per share, as is the required edge
    required_edge_e4: int | None = None
    hold: Hold | None = None
    scanned: bool = False


class Position(Shown, frozen=True, kw_only=True):
    """Shares of one outcome that one strategy holds."""

    strategy: str
    slug: str
    outcome: int
    shares_micro: int
    cost_micro: int
    worth_micro: int | None  # at the mid; None without a book


class Order(Shown, frozen=True, kw_only=True):
    """An order that is not finished."""

    strategy: str
    slug: str
    action: Action
    outcome: int
    state: OrderState
    size_micro: int
    filled_micro: int
    limit_e4: int


class Fill(Shown, frozen=True, kw_only=True):
    """A fill since the process began."""

    ts_ns: int
    strategy: str
    slug: str | None
    action: Action
    outcome: int
    size_micro: int
    price_e4: int
    fee_micro: int


class Money(Shown, frozen=True, kw_only=True):
    """The accounts, as an owner counts them; `drawdown` is the part lost since the day's peak."""

    cash_micro: int
    reserved_micro: int
    positions_micro: int  # at cost
    receivable_micro: int
    fees_micro: int
    realised_micro: int
    deposits_micro: int
    equity_micro: int
    drawdown: float | None
    drawdown_stop: float


class Feed(Shown, frozen=True, kw_only=True):
    """One connection: `per_s` counts messages per second of market time, lately."""

    connected: bool
    problem: str
    figures: kpis.Health
    per_s: float | None


class View(Shown, frozen=True, kw_only=True):
    """Everything on the screen, at one moment."""

    venue: str
    run: str
    address: str  # of /status and /metrics
    now_ns: int
    speed: float | None  # None: stepped
    events: int
    digest: int
    trades: int
    status: Status
    windows: tuple[Window, ...]
    scans: tuple[Scan, ...]
    positions: tuple[Position, ...]
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]  # newest first
    money: Money
    feeds: tuple[Feed, ...]
    missing: tuple[tuple[str, str], ...]  # windows that should be open and are not found, and why


def view_of(looking: Looking, address: str, per_s: Mapping[str, float]) -> View:
    """The session now. Call it between two turns: while the engine works, its state moves.

    `per_s` gives each feed's messages per second; one that it does not hold is not known.
    """
    paper, told = looking.paper, looking.told
    state, now_ns = paper.session.state, paper.clock.now_ns()
    return View(
        venue=shlex.split(paper.session.journal.meta.source)[0],
        run=str(paper.session.journal.run),
        address=address,
        now_ns=now_ns,
        speed=None if paper.clock.stepped else paper.clock.speed,
        events=paper.session.events,
        digest=state.digest(),
        trades=told.counts["fills"],
        status=looking.status,
        windows=windows(state, now_ns, paper.followed_ns),
        scans=scans(state, now_ns, told.scans),
        positions=positions(state),
        orders=orders(state),
        fills=tuple(fills(state, reversed(told.fills))),
        money=money(state),
        feeds=tuple(_feeds(paper, per_s)),
        missing=tuple(
            (name, why) for name, why in paper.missing.items() if parse_slug(name)[1] <= now_ns
        ),
    )


def windows(state: State, now_ns: int, followed_ns: Mapping[str, int]) -> tuple[Window, ...]:
    """The windows without a result and the last ones with one, by their ends."""
    books = {one.name: one for one in facts.markets(state, followed_ns)}
    rows = state.record.markets
    ended = np.flatnonzero((rows["number"] >= 0) & (rows["active"] == 0))
    newest = ended[np.argsort(rows["end_ns"][ended])][-ENDED_SHOWN:]
    found = [
        _window(rows[slot], state, now_ns, books.get(_slug(rows[slot])))
        for slot in (*newest.tolist(), *_active(state))
    ]
    return tuple(sorted(found, key=lambda one: (one.end_ns, one.slug)))


def scans(state: State, now_ns: int, told: Mapping[tuple[int, int], np.void]) -> tuple[Scan, ...]:
    """The last word of each strategy that is on, by open window that it trades."""
    rows = state.record.markets
    opened = [
        slot for slot in _active(state) if rows[slot]["start_ns"] <= now_ns < rows[slot]["end_ns"]
    ]
    found: list[Scan] = []
    for number, spec in enumerate(roster()):
        strategy = state.record.strategies[number]
        if not strategy["enabled"]:
            continue
        traded = [s for s in opened if strategy["series"] in (-1, rows[s]["series"])]
        found += [_scan(state, number, slot, told.get((number, slot))) for slot in traded]
        if not traded:
            found.append(Scan(strategy=spec.id))
    return tuple(found)


def positions(state: State) -> tuple[Position, ...]:
    """What is held in windows without a result, by window, then strategy."""
    found = []
    for slot in _active(state):
        market = state.record.markets[slot]
        for number, spec in enumerate(roster()):
            held = state.record.positions[number, slot]
            found += [
                Position(
                    strategy=spec.id,
                    slug=_slug(market),
                    outcome=outcome,
                    shares_micro=int(held[f"{name}_micro"]),
                    cost_micro=int(held[f"{name}_cost_micro"]),
                    worth_micro=_worth_micro(market, outcome, int(held[f"{name}_micro"])),
                )
                for outcome, name in enumerate(("up", "down"))
                if held[f"{name}_micro"]
            ]
    return tuple(sorted(found, key=lambda one: (one.slug, one.strategy)))


def orders(state: State) -> tuple[Order, ...]:
    """Orders that are not finished, in the order of their table."""
    rows = state.record.orders[: int(state.record["orders_end"])]
    return tuple(
        Order(
            strategy=roster()[int(row["strategy"])].id,
            slug=_slug(state.record.markets[int(row["slot"])]),
            action=Action(int(row["action"])),
            outcome=int(row["outcome"]),
            state=OrderState(int(row["state"])),
            size_micro=int(row["size_micro"]),
            filled_micro=int(row["filled_micro"]),
            limit_e4=int(row["limit_e4"]),
        )
        for row in rows[rows["order"] != 0]
    )


def fills(state: State, rows: Iterable[np.void]) -> Iterator[Fill]:
    """Rows of the fills' table, with names; a window that was forgotten has none."""
    for row in rows:
        market = state.record.markets[int(row["market"]) % MARKETS]
        yield Fill(
            ts_ns=int(row["ts_ns"]),
            strategy=roster()[int(row["strategy"])].id,
            slug=_slug(market) if market["number"] == row["market"] else None,
            action=Action(int(row["action"])),
            outcome=int(row["outcome"]),
            size_micro=int(row["size_micro"]),
            price_e4=int(row["price_e4"]),
            fee_micro=int(row["fee_micro"]),
        )


def money(state: State) -> Money:
    """The accounts; income and deposits are negative in the ledger and positive here."""
    accounts = state.record.accounts.tolist()
    cash, reserved, positions, receivable, fees, realised, deposits = accounts
    equity, peak = int(state.record["equity_micro"]), int(state.record["peak_micro"])
    return Money(
        cash_micro=cash,
        reserved_micro=reserved,
        positions_micro=positions,
        receivable_micro=receivable,
        fees_micro=fees,
        realised_micro=-realised,
        deposits_micro=-deposits,
        equity_micro=equity,
        drawdown=1.0 - equity / peak if peak > 0 else None,
        drawdown_stop=float(state.record["drawdown_stop"]),
    )


def _feeds(paper: Paper, per_s: Mapping[str, float]) -> Iterator[Feed]:
    for line, socket in paper.sockets.items():
        yield Feed(
            connected=socket.connected,
            problem=socket.problem,
            figures=kpis.health(line, paper.inbox.channels[line].kpis),
            per_s=per_s.get(line),
        )


def _window(row: Any, state: State, now_ns: int, book: Market | None) -> Window:
    latest = state.record.references[int(row["asset"]) * 3 + int(row["averaging_s"]) // 30]
    prints = float(latest["value"]) if latest["ts_ns"] else None
    final = float(row["final_e8"]) / SPOT_ONE_E8 if row["final_e8"] >= 0 else None
    asset = state.record.assets[int(row["asset"])]
    return Window(
        slug=_slug(row),
        start_ns=int(row["start_ns"]),
        end_ns=int(row["end_ns"]),
        state=WindowState(int(row["window_state"])),
        payout_e4=None if row["payout_e4"] < 0 else int(row["payout_e4"]),
        strike=float(row["strike"]) if row["strike_e8"] >= 0 else None,
        spot=float(asset["spot"]) if asset["spot_ts_ns"] and row["active"] else None,
        reference=prints if row["active"] else final,
        bid_e4=int(row["bid"]) * GRID_E4 if row["bid"] > 0 else None,
        ask_e4=int(row["ask"]) * GRID_E4 if row["ask"] < TOP_LEVEL else None,
        fair_up=None if math.isnan(row["fair_up"]) else float(row["fair_up"]),
        book_ns=int(row["book_ts_ns"]) or None,
        book_valid=book is not None and book.valid,
        book_fresh=book is not None and book.is_fresh(now_ns),
    )


def _scan(state: State, number: int, slot: int, told: np.void | None) -> Scan:
    """Side and hold are the state's own; the edges are those of the row that was told last."""
    held, market = state.record.positions[number, slot], state.record.markets[slot]
    known, hold = held["scan_second"] >= 0, int(held["scan_hold"])
    sided = known and held["scan_side"] in (0, 1)
    row = told if sided and told is not None and told["market"] == market["number"] else None
    return Scan(
        strategy=roster()[number].id,
        slug=_slug(market),
        side=int(held["scan_side"]) if sided else None,
        net_edge_e4=None if row is None else int(row["net_edge_e4"]),
        required_edge_e4=None if row is None else int(row["required_edge_e4"]),
        hold=Hold(hold) if known and hold != NO_HOLD else None,
        scanned=bool(known),
    )


def _worth_micro(market: Any, outcome: int, shares_micro: int) -> int | None:
    """At the mid, as the ledger marks it; an empty side stands at 0 or at 1."""
    bid, ask = int(market["bid"]), int(market["ask"])
    if bid >= ask or (bid == 0 and ask == TOP_LEVEL):
        return None
    up_half_e4 = (bid + ask) * GRID_E4
    return shares_micro * (20_000 - up_half_e4 if outcome else up_half_e4) // 20_000


def _active(state: State) -> list[int]:
    used: list[int] = state.record.active[: int(state.record["active_used"])].tolist()
    return used


def _slug(market: Any) -> str:
    return slug(int(market["series"]), int(market["start_ns"]))
