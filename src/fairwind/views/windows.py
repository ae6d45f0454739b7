"""Windows: what is known of each, its book and its fair value; what strategies last said of it.

In: a state, the time, scans as told. Out: typed windows and scans, and the view of them. Never
here: a figure that the state does not hold: what is unknown is None.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fairwind.core.events import Source
from fairwind.core.holds import NO_HOLD, Hold
from fairwind.core.ids import series_name
from fairwind.core.outputs import WindowState
from fairwind.core.units import SECOND_NS, SPOT_ONE_E8, reference_value
from fairwind.engine import gates
from fairwind.engine.run import roster
from fairwind.engine.state import GRID_E4, TOP_LEVEL, State
from fairwind.views.names import Names, Shown, active, slug_of
from fairwind.views.shapes import Rows, Scalar
from fairwind.views.told import Look, View

ENDED_SHOWN = 2
"""Windows with a result that are shown beside those without on a terminal."""
SHOWN = 100
PUBLISHED = "PUBLISHED"
"""`settled_by` of a window that a value of the venue, fed for a lost print, has decided."""


class Window(Shown, frozen=True, kw_only=True):
    """One window; `book_ns` is the receipt of its newest book event."""

    slug: str
    series: str
    start_ns: int
    end_ns: int
    state: WindowState
    payout_e4: int | None  # of one Up share
    strike: float | None  # dollars, as are spot and reference
    strike_digits: str | None  # with all its digits, as has the final value
    spot: float | None
    reference: float | None  # the final value of a window with a result
    final_digits: str | None
    settled_by: str | None
    confirmed: bool
    anomaly: bool
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


def windows(state: State, ended: int = ENDED_SHOWN) -> tuple[Window, ...]:
    """The windows without a result and the last ones with one, by their ends."""
    rows = state.record.markets
    over = np.flatnonzero((rows["number"] >= 0) & (rows["active"] == 0))
    newest = over[np.argsort(rows["end_ns"][over], kind="stable")][-ended:]
    found = [_window(rows[slot], state) for slot in (*newest.tolist(), *active(state))]
    return tuple(sorted(found, key=lambda one: (one.end_ns, one.slug)))


def scans(state: State, now_ns: int, told: Mapping[tuple[int, int], np.void]) -> tuple[Scan, ...]:
    """The last word of each strategy that is on, by open window that it trades."""
    rows = state.record.markets
    opened = [
        slot for slot in active(state) if rows[slot]["start_ns"] <= now_ns < rows[slot]["end_ns"]
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


def is_valid(market: Any) -> bool:
    """Whether the book of a row of the state's markets can be decided on, if it is fresh."""
    return bool(market["valid"] == 1 and market["gap"] == 0 and market["bid"] < market["ask"])


def budget_ns(state: State, series: int, parameter: int) -> int:
    """The smallest budget of a strategy that trades the series; the first one's if none does."""
    used = int(state.record["strategies_used"])
    strategies, values = state.record.strategies[:used], state.record.parameters[:used, parameter]
    trades = (strategies["series"] == series) | (strategies["series"] < 0)
    concerned = values[trades & (strategies["enabled"] != 0)]
    return round(float(concerned.min() if len(concerned) else values[0]) * SECOND_NS)


def _window(row: Any, state: State) -> Window:
    latest = state.record.references[int(row["asset"]) * 3 + int(row["averaging_s"]) // 30]
    prints = float(latest["value"]) if latest["ts_ns"] else None
    final = float(row["final_e8"]) / SPOT_ONE_E8 if row["final_e8"] >= 0 else None
    asset = state.record.assets[int(row["asset"])]
    valid = bool(row["active"]) and is_valid(row)
    age_ns = int(state.record["now_ns"]) - int(row["book_ts_ns"])
    return Window(
        slug=slug_of(row),
        series=series_name(int(row["series"])),
        start_ns=int(row["start_ns"]),
        end_ns=int(row["end_ns"]),
        state=WindowState(int(row["window_state"])),
        payout_e4=None if row["payout_e4"] < 0 else int(row["payout_e4"]),
        strike=float(row["strike"]) if row["strike_e8"] >= 0 else None,
        strike_digits=_digits(row, "strike"),
        spot=float(asset["spot"]) if asset["spot_ts_ns"] and row["active"] else None,
        reference=prints if row["active"] else final,
        final_digits=_digits(row, "final"),
        settled_by=None if row["payout_e4"] < 0 else settler(int(row["settled_by"])),
        confirmed=bool(row["confirmed"]),
        anomaly=bool(row["anomaly"]),
        bid_e4=int(row["bid"]) * GRID_E4 if row["bid"] > 0 else None,
        ask_e4=int(row["ask"]) * GRID_E4 if row["ask"] < TOP_LEVEL else None,
        fair_up=None if math.isnan(row["fair_up"]) else float(row["fair_up"]),
        book_ns=int(row["book_ts_ns"]) or None,
        book_valid=valid,
        book_fresh=valid and age_ns <= budget_ns(state, int(row["series"]), gates.BOOK_BUDGET),
    )


def settler(source: int) -> str:
    """Who decided a result."""
    return PUBLISHED if source == Source.RECORDED else Source(source).name


def _digits(row: Any, name: str) -> str | None:
    if row[f"{name}_e8"] < 0:
        return None
    return f"{reference_value(int(row[f'{name}_e8']), int(row[f'{name}_remainder'])):f}"


def _scan(state: State, number: int, slot: int, told: np.void | None) -> Scan:
    """Side and hold are the state's own; the edges are those of the row that was told last."""
    held, market = state.record.positions[number, slot], state.record.markets[slot]
    known, hold = held["scan_second"] >= 0, int(held["scan_hold"])
    sided = known and held["scan_side"] in (0, 1)
    row = told if sided and told is not None and told["market"] == market["number"] else None
    return Scan(
        strategy=roster()[number].id,
        slug=slug_of(market),
        side=int(held["scan_side"]) if sided else None,
        net_edge_e4=None if row is None else int(row["net_edge_e4"]),
        required_edge_e4=None if row is None else int(row["required_edge_e4"]),
        hold=Hold(hold) if known and hold != NO_HOLD else None,
        scanned=bool(known),
    )


COLUMNS = (
    *("slug", "series", "state", "start_ns", "end_ns", "strike", "final", "payout_e4"),
    *("settled_by", "confirmed", "anomaly", "bid_e4", "ask_e4", "fair_up"),
    *("book_valid", "book_fresh", "book_age_ns"),
)


def _fold(look: Look, _argument: str) -> Rows:
    """A window with a result shows no prices: they are not followed any more."""
    rows = [_row(one, look.now_ns) for one in windows(look.state, SHOWN)[-SHOWN:]]
    return Rows(key="slug", columns=COLUMNS, rows=rows, total=look.told.of(Names).windows)


def _row(one: Window, now_ns: int) -> list[Scalar]:
    pending = one.payout_e4 is None
    quotes: list[Scalar] = [one.bid_e4, one.ask_e4, one.fair_up, one.book_valid, one.book_fresh]
    age_ns = None if one.book_ns is None else now_ns - one.book_ns
    return [
        *(one.slug, one.series, one.state.name, one.start_ns, one.end_ns),
        *(one.strike_digits, one.final_digits, one.payout_e4),
        *(one.settled_by, one.confirmed, one.anomaly),
        *([*quotes, age_ns] if pending else [None] * 6),
    ]


VIEWS = (View("windows", "every window's state, strike, result and book", _fold),)
