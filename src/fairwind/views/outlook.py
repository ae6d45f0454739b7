"""What one strategy sees at this moment, and what it would do: the head of its page.

In: the state, the strategy's newest scan. Out: the window, its inputs with their ages, fair value
against the book, the edge and what it costs, the stake and what limits it. Never here: a formula
that the engine has, a change of the state.
"""

import math
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from fairwind.core.events import Outcome
from fairwind.core.holds import CATEGORY, NO_HOLD, Hold
from fairwind.core.ids import series_name
from fairwind.core.outputs import WindowState
from fairwind.core.units import DOLLAR_MICRO, PRICE_ONE_E4, SECOND_NS
from fairwind.engine import features, gates, scan, sizing
from fairwind.engine.run import roster
from fairwind.engine.state import GRID_E4, SIGNAL, TOP_LEVEL, State
from fairwind.views.curves import implied_up
from fairwind.views.names import codes, number_of, of_strategies, slug_of
from fairwind.views.scans import Scans
from fairwind.views.shapes import Scalar, Values
from fairwind.views.told import Look, View

EASTERN = ZoneInfo("America/New_York")
HALF_E4_MICRO = DOLLAR_MICRO // (2 * PRICE_ONE_E4)
"""Micro-dollars in half of 1/10 000 dollar."""
Figures = dict[str, Scalar]


class Window(NamedTuple):
    """The window that a strategy looks at."""

    slot: int
    row: Any
    phase: str  # open, upcoming or ended


def label_of(start_ns: int, end_ns: int) -> str:
    """A window as the venue names it, such as `Aug 20, 9:40AM-9:45AM ET`."""
    start, end = (
        datetime.fromtimestamp(at_ns // SECOND_NS, UTC).astimezone(EASTERN)
        for at_ns in (start_ns, end_ns)
    )
    return f"{start:%b} {start.day}, {_clock(start)}-{_clock(end)} ET"


def _clock(at: datetime) -> str:
    return f"{at.hour % 12 or 12}:{at.minute:02}{'AM' if at.hour < 12 else 'PM'}"


def window_of(state: State, series: int, now_ns: int) -> Window | None:
    """The open window of the series, else the next one, else the last one; -1 is any series."""
    rows = state.record.markets
    known = rows["number"] >= 0
    own = np.flatnonzero(known & ((rows["series"] == series) | (series < 0)))
    if not len(own):
        return None
    start_ns, end_ns = rows["start_ns"][own], rows["end_ns"][own]
    running = np.flatnonzero((start_ns <= now_ns) & (now_ns < end_ns))
    to_come = np.flatnonzero(start_ns > now_ns)
    if len(running):
        place, phase = running[end_ns[running].argmin()], "open"
    elif len(to_come):
        place, phase = to_come[start_ns[to_come].argmin()], "upcoming"
    else:
        place, phase = end_ns.argmax(), "ended"
    slot = int(own[place])
    return Window(slot, rows[slot], phase)


def _strategy(look: Look, argument: str) -> Values:
    number = number_of(argument) or 0
    spec, held = roster()[number], look.state.record.strategies[number]
    found = window_of(look.state, spec.series, look.now_ns)
    newest = int(look.told.of(Scans).seen_ns[number].max())
    values: Figures = {
        "id": spec.id,
        "series": "all" if spec.series < 0 else series_name(spec.series),
        "enabled": bool(held["enabled"]),
        "multiplier": float(held["multiplier"]),
        "now_ns": look.now_ns,
        "heatmap_at_ns": newest or None,
    }
    if found is not None:
        values |= _window(found, look.now_ns)
        values |= _inputs(look.state, number, found, look.now_ns)
        values |= _scan(look, number, found)
    if found is not None and found.phase == "open":
        values |= _quotes(found.row)
        values |= _intent(look.state, number, found)
    return Values(values=dict.fromkeys(NAMES) | values)


def _window(found: Window, now_ns: int) -> Figures:
    row, start_ns, end_ns = found.row, int(found.row["start_ns"]), int(found.row["end_ns"])
    return {
        "slug": slug_of(row),
        "phase": found.phase,
        "window_state": WindowState(int(row["window_state"])).name,
        "start_ns": start_ns,
        "end_ns": end_ns,
        "left_ns": max(end_ns - now_ns, 0),
        "et": label_of(start_ns, end_ns),
    }


def _inputs(state: State, number: int, found: Window, now_ns: int) -> Figures:
    """Prices with their ages, and for how long each may be used."""
    row, parameter = found.row, state.record.parameters[number]
    asset = state.record.assets[int(row["asset"])]
    stream = state.record.references[int(row["asset"]) * 3 + int(row["averaging_s"]) // 30]
    values: Figures = {}
    for name, at_ns, budget in (
        ("book", int(row["book_ts_ns"]), gates.BOOK_BUDGET),
        ("spot", int(asset["spot_ts_ns"]), gates.SPOT_BUDGET),
        ("reference", int(stream["ts_ns"]), gates.REFERENCE_BUDGET),
    ):
        values[f"{name}_age_ns"] = now_ns - at_ns if at_ns else None
        values[f"{name}_budget_ns"] = round(float(parameter[budget]) * SECOND_NS)
    values["spot"] = float(asset["spot"]) if asset["spot_ts_ns"] else None
    values["reference"] = float(stream["value"]) if stream["ts_ns"] else None
    values["strike"] = float(row["strike"]) if row["strike_e8"] >= 0 else None
    spot, strike = values["spot"], values["strike"]
    if isinstance(spot, float) and isinstance(strike, float):
        values["distance_micro"] = round((spot - strike) * DOLLAR_MICRO)
    return values


def _quotes(row: Any) -> Figures:
    """Fair value and the book; the distance in the deviations that the fair value is made of."""
    bid, ask = int(row["bid"]), int(row["ask"])
    values: Figures = {
        "book_valid": bool(row["valid"] == 1 and row["gap"] == 0 and bid < ask),
        "bid_e4": bid * GRID_E4 if bid > 0 else None,
        "ask_e4": ask * GRID_E4 if ask < TOP_LEVEL else None,
        "spread_e4": (ask - bid) * GRID_E4 if 0 < bid < ask < TOP_LEVEL else None,
        "implied_up": implied_up(row),
    }
    if math.isnan(row["fair_up"]):
        return values
    deviation = math.sqrt(float(row["variance"]) + float(row["level_variance"]))
    distance = float(row["expected"]) - float(row["strike"])
    return values | {
        "fair_up": float(row["fair_up"]),
        "fair_stderr": float(row["fair_stderr"]),
        "distance_deviations": distance / deviation if deviation > 0.0 else None,
    }


def _scan(look: Look, number: int, found: Window) -> Figures:
    """What the strategy last said of the window, as it is in the journal."""
    row = look.told.scans.get((number, found.slot))
    if row is None or row["market"] != found.row["number"]:
        return {}
    code, side = int(row["hold"]), int(row["side"])
    sided = side < len(Outcome)
    return {
        "scanned_ns": int(row["ts_ns"]),
        "scan_age_ns": look.now_ns - int(row["ts_ns"]),
        "side": Outcome(side).name if sided else None,
        "net_edge_e4": int(row["net_edge_e4"]) if sided else None,
        "required_edge_e4": int(row["required_edge_e4"]),
        "edge_stderr_e4": int(row["edge_stderr_e4"]) if sided else None,
        "hold": "NONE" if code == NO_HOLD else Hold(code).name,
        "category": None if code == NO_HOLD else CATEGORY[Hold(code)].value,
        "mask": ", ".join(one.name for one in codes(int(row["mask"]))),
    }


def _intent(state: State, number: int, found: Window) -> Figures:
    """What the strategy says now, what its edge is made of, and the stake that this would give.

    The engine's scratch signal is lent to its own sizing, and left as it was.
    """
    record, slot = state.record, found.slot
    signal = np.zeros(1, SIGNAL).view(np.recarray)[0]
    scan.clear(signal)
    parameter = record.parameters[number]
    arguments = found.row, record.positions[number, slot], parameter, record.memory[number].copy()
    roster()[number].scan(*arguments, signal)
    if signal.side == scan.NO_SIDE or not scan.sound(signal):
        return {}
    scan.round_limit(found.row, parameter, signal)
    lent = record.signal.copy()
    record["signal"] = signal
    try:
        shares, mask = sizing.size(record, number, slot)
        room = sizing.rooms(record, number, slot, signal.side)
        stakes = sizing.stakes(record, number, slot, room)
    finally:
        record["signal"] = lent
    limits = codes(int(mask))
    stake = _stake(found.row, signal, parameter, shares, stakes)
    return _edge(found.row, signal) | stake | {"size_hold": limits[0].name if limits else None}


def _edge(row: Any, signal: Any) -> Figures:
    """Expected profit per share in micro-dollars: gross less spread, slippage and fee is net.

    Gross is the fair value against the mid; what is rounded away counts as gross.
    """
    up = signal.side == Outcome.UP
    half_e4 = int(row["mid_half_e4"]) if up else 2 * PRICE_ONE_E4 - int(row["mid_half_e4"])
    best_e4 = int(row["ask_e4"]) if up else PRICE_ONE_E4 - int(row["bid_e4"])
    price = round(float(signal.price) * DOLLAR_MICRO)
    fee = round(_fee(row, signal) * DOLLAR_MICRO)
    net = round(float(signal.net_edge) * DOLLAR_MICRO)
    spread = (2 * best_e4 - half_e4) * HALF_E4_MICRO
    slippage = price - 2 * best_e4 * HALF_E4_MICRO
    return {
        "ev_side": Outcome(int(signal.side)).name,
        "ev_gross_micro": net + spread + slippage + fee,
        "ev_spread_micro": spread,
        "ev_slippage_micro": slippage,
        "ev_fee_micro": fee,
        "ev_net_micro": net,
        "ev_price_micro": price,
    }


def _stake(row: Any, signal: Any, parameter: Any, shares: int, stakes: Any) -> Figures:
    """Kelly's fraction of equity for the edge as it is, what is applied, and what limits that."""
    cost = float(signal.price) + _fee(row, signal)
    fraction = float(parameter[gates.KELLY_FRACTION])
    edge, stderr = float(signal.net_edge), float(signal.stderr)
    stake = min(stakes)
    wanted = int(float(signal.shares) * DOLLAR_MICRO + 0.5) // sizing.LOT_MICRO * sizing.LOT_MICRO
    limit = sizing.LIMITS[stakes.index(stake)]
    return {
        "kelly_share": float(sizing.kelly(edge, 0.0, cost, 1.0)),
        "kelly_applied_share": float(sizing.kelly(edge, stderr, cost, fraction)),
        "kelly_stake_micro": int(stakes[0]),
        "stake_micro": max(int(stake), 0),
        "size_micro": int(shares),
        "binding": "WISH" if 0 < wanted == shares else limit,
    }


def _fee(row: Any, signal: Any) -> float:
    form, rate_e6 = int(row["fee_form"]), int(row["fee_rate_e6"])
    return float(features.fee_per_share(float(signal.price), rate_e6, form))


NAMES = (
    *("id", "series", "enabled", "multiplier", "slug", "phase", "window_state"),
    *("start_ns", "end_ns", "left_ns", "et", "now_ns"),
    *("strike", "spot", "reference", "distance_micro", "distance_deviations"),
    *("spot_age_ns", "spot_budget_ns", "reference_age_ns", "reference_budget_ns"),
    *("book_age_ns", "book_budget_ns", "book_valid"),
    *("fair_up", "fair_stderr", "implied_up", "bid_e4", "ask_e4", "spread_e4"),
    *("side", "net_edge_e4", "required_edge_e4", "edge_stderr_e4", "scanned_ns", "scan_age_ns"),
    *("hold", "category", "mask"),
    *("ev_side", "ev_gross_micro", "ev_spread_micro", "ev_slippage_micro", "ev_fee_micro"),
    *("ev_net_micro", "ev_price_micro", "kelly_share", "kelly_applied_share"),
    *("kelly_stake_micro", "stake_micro", "size_micro", "size_hold", "binding", "heatmap_at_ns"),
)
"""Every figure of the view; those that are not known are None."""

VIEWS = (
    View("strategy", "what a strategy sees now and what it would do", _strategy, of_strategies),
)
