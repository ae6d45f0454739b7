"""What a run earned and why, in exact integers, folded from the engine's output tables.

In: fills, postings, windows and scans as `core.outputs` defines them. Out: positions with their
cost split, the equity curve, intervals and calibration. Never here: a float in a sum of money,
a position without a result counted as zero, a figure that the ledger contradicts.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from fairwind.core.costs import COST, MICRO_UNITS, PARTS, fill_costs, signed_micro
from fairwind.core.errors import Corrupt
from fairwind.core.events import Outcome
from fairwind.core.units import PRICE_ONE_E4, SECOND_NS

BINS = 10
PROBABILITY_FLOOR = 1e-6
"""The log loss of a certain and wrong forecast is finite: p is kept this far from 0 and 1."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Rows = NDArray[np.void]

POSITION = np.dtype(
    [
        ("opened_ns", "<i8"),
        ("window", "<i8"),  # row of WindowIndex; -1 when the run never listed the market
        ("bought_micro", "<i8"),
        ("left_micro", "<i8"),  # shares not sold before the window's end
        ("paid", "<i8"),  # notional of all buys, money units
        ("gross", "<i8"),  # profit at the mids that were seen when deciding, money units
        ("net", "<i8"),  # closed: profit as the ledger books it; open: booked so far
        ("cost", COST),  # closed: gross - net, split
        ("promised", "<i8"),  # net edge at decision x shares bought, e4 x micro
        ("probability_e6", "<i4"),  # P(outcome) at the first buy's decision; -1 when unknown
        ("strategy", "u1"),
        ("outcome", "u1"),
        ("closed", "?"),
    ]
)
"""One trade: all fills of one strategy on one outcome of one window. Entering again in the same
window is the same trade, because both share one result."""


class WindowIndex(msgspec.Struct, frozen=True):
    """The latest row of every window, sorted by (market, start); `first_ns` of its first row."""

    rows: Rows
    first_ns: Ints

    def of(self, table: Rows) -> Ints:
        """The window (row number) that each row of a table with `market` and `ts_ns` belongs to.

        Market numbers are used again after 65 535 windows, so the time decides which one is
        meant: the last that was known by then. -1 where there is none.
        """
        known = len(self.rows)
        if not known:
            return np.full(len(table), -1, np.int64)
        market = np.concatenate((self.rows["market"], table["market"]))
        ts_ns = np.concatenate((self.first_ns, table["ts_ns"]))
        order = np.lexsort((np.arange(len(market)) >= known, ts_ns, market))
        latest = np.maximum.accumulate(np.where(order < known, order, -1))
        window = np.empty(len(market), np.int64)
        window[order] = latest
        of_table = window[known:]
        other = (of_table >= 0) & (self.rows["market"][of_table] != table["market"])
        return np.where(other, -1, of_table)

    def payout_e4(self, window: Ints, outcome: NDArray[np.integer]) -> Ints:
        """What one share of `outcome` pays; -1 while the result is not known."""
        if not len(self.rows):
            return np.full(len(window), -1, np.int64)
        of_up = np.where(window >= 0, self.rows["payout_e4"][window], -1).astype(np.int64)
        of_outcome = np.where(outcome == Outcome.UP, of_up, PRICE_ONE_E4 - of_up)
        return np.where(of_up < 0, -1, of_outcome)


class Bin(msgspec.Struct, frozen=True):
    """One row of a reliability table: forecasts in [low, high) and how often they came true."""

    low: float
    high: float
    n: int
    mean: float | None
    frequency: float | None


class Calibration(msgspec.Struct, frozen=True):
    """Forecasts against results. `windows` is the number of independent results behind `n`."""

    n: int
    windows: int
    brier: float | None
    log_loss: float | None
    bins: tuple[Bin, ...]


class Equity(msgspec.Struct, frozen=True):
    """Equity at cost after each instant that changed it; same length arrays, micro-dollars.

    `drawdown_micro` is the distance below the best profit so far, so that a withdrawal is none.
    """

    ts_ns: Ints
    equity_micro: Ints
    drawdown_micro: Ints


def window_index(windows: Rows) -> WindowIndex:
    """The index of a `windows` table (any number of rows per window, in the order of time)."""
    order = np.lexsort((windows["start_ns"], windows["market"]))
    rows = windows[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (np.diff(rows["start_ns"]) != 0) | (np.diff(rows["market"]) != 0)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(rows))[: len(first)] - 1
    return WindowIndex(rows[last], rows["ts_ns"][first].astype(np.int64))


def positions(fills: Rows, postings: Rows, index: WindowIndex) -> Rows:
    """Every position of a run, dtype POSITION, sorted by window, strategy and outcome.

    Closed means sold out, or settled with a known result. `net` is what the ledger booked, and
    it must be what the fills and the result say: Corrupt otherwise. A notional that is no whole
    micro-dollar is rounded by the ledger; that rounding (under one micro-dollar each) is counted
    as slippage, so the five parts are gross - net exactly.
    """
    keys, first, row = np.unique(_key(fills, index), return_index=True, return_inverse=True)
    count = len(keys)
    found = np.zeros(count, POSITION)
    for name in ("strategy", "outcome", "probability_e6"):
        found[name] = fills[name][first]
    found["opened_ns"] = fills["ts_ns"][first]
    found["window"] = index.of(fills)[first]

    signed = signed_micro(fills)
    bought = np.maximum(signed, 0)
    notional = signed * fills["price_e4"]
    costs = fill_costs(fills)
    at_decision = 2 * notional - (_total(costs) - costs["fee"])
    found["bought_micro"] = _by(row, bought, count)
    found["left_micro"] = _by(row, signed, count)
    found["paid"] = _by(row, 2 * bought * fills["price_e4"], count)
    found["promised"] = _by(row, bought * fills["net_edge_e4"], count)
    for part in PARTS:
        found["cost"][part] = _by(row, costs[part], count)

    payout_e4 = index.payout_e4(found["window"], found["outcome"])
    found["closed"] = (found["left_micro"] == 0) | (payout_e4 >= 0)
    redeemed = found["left_micro"] * np.maximum(payout_e4, 0)
    found["gross"] = 2 * redeemed - _by(row, at_decision, count)
    found["net"] = found["gross"] - _total(found["cost"])
    inexact = _by(row, (notional % PRICE_ONE_E4 != 0).astype(np.int64), count)
    inexact += redeemed % PRICE_ONE_E4 != 0
    return _reconciled(found, keys, inexact, postings, index)


def _key(rows: Rows, index: WindowIndex) -> Ints:
    """One integer for (window, strategy, outcome); markets without a window stay apart."""
    window = index.of(rows)
    place = np.where(window >= 0, window, len(index.rows) + rows["market"].astype(np.int64))
    key: Ints = (place << 9) + (rows["strategy"].astype(np.int64) << 1) + rows["outcome"]
    return key


def _account(key: Ints, index: WindowIndex) -> Ints:
    """The key without its outcome once the window is settled.

    A correction of a result is booked once for both outcomes, so only their sum can be compared.
    """
    place = key >> 9
    window = np.where(place < len(index.rows), place, -1)
    settled = index.payout_e4(window, np.full(len(key), Outcome.UP, np.uint8)) >= 0
    return np.where(settled, key & ~1, key)


def _by(row: NDArray[np.intp], values: NDArray[np.integer], count: int) -> Ints:
    """Sums of `values` by row number, in integers."""
    total = np.zeros(count, np.int64)
    np.add.at(total, row, values)
    return total


def _total(costs: Rows) -> Ints:
    total = np.zeros(len(costs), np.int64)
    for part in PARTS:
        total += costs[part]
    return total


def _reconciled(found: Rows, keys: Ints, inexact: Ints, postings: Rows, index: WindowIndex) -> Rows:
    """The positions with the ledger's own profit; Corrupt where the two do not agree."""
    accounts, first, row = np.unique(_account(keys, index), return_index=True, return_inverse=True)
    count = len(accounts)
    moved = postings[(postings["realised_micro"] != 0) | (postings["fees_micro"] != 0)]
    posted = _account(_key(moved, index), index)
    place = np.searchsorted(accounts, posted)
    strange = ~np.isin(posted, accounts)
    for posting in moved[strange][:1]:
        raise Corrupt(
            f"ledger: expected a fill behind every profit and fee, found none for market "
            f"{posting['market']} at {posting['ts_ns']} ns; run `fairwind verify` on this run"
        )
    fees = _by(place, moved["fees_micro"] * MICRO_UNITS, count)
    booked = -_by(place, moved["realised_micro"] * MICRO_UNITS, count) - fees
    exact = _by(row, found["net"], count)
    closed = found["closed"][first]  # an account with two positions is settled, so closed
    rounding = np.where(closed, exact - booked, 0)
    allowed = np.maximum(_by(row, inexact, count) * MICRO_UNITS, 1)
    wrong = (np.abs(rounding) >= allowed) | (_by(row, found["cost"]["fee"], count) != fees)
    for account in np.flatnonzero(wrong)[:1]:
        position = found[first[account]]
        raise Corrupt(
            f"ledger: strategy {position['strategy']} in window row {position['window']}: fills "
            f"and result give a profit of {exact[account] / MICRO_UNITS:.4f} micro-dollars, the "
            f"postings {booked[account] / MICRO_UNITS:.4f} after fees of "
            f"{fees[account] // MICRO_UNITS}; run `fairwind verify` on this run"
        )
    found["net"][first] -= rounding
    found["cost"]["slippage"][first] += rounding
    found["net"] = np.where(found["closed"], found["net"], booked[row])
    return found


def equity(postings: Rows) -> Equity:
    """The curve of cash + reserved + positions at cost + receivables, one point per instant."""
    assets = postings["cash_micro"] + postings["reserved_micro"]
    assets = np.cumsum(assets + postings["position_micro"] + postings["receivable_micro"])
    profit = -np.cumsum(postings["realised_micro"] + postings["fees_micro"])
    last = np.ones(len(postings), np.bool_)
    last[:-1] = np.diff(postings["ts_ns"]) != 0
    assets, profit = assets[last], profit[last]
    best = np.maximum.accumulate(np.maximum(profit, 0))
    changed = np.ones(len(assets), np.bool_)
    changed[1:] = np.diff(assets) != 0
    ts_ns = postings["ts_ns"][last]
    return Equity(ts_ns[changed], assets[changed], (best - profit)[changed])


def calibration(probability: Floats, came_true: Floats, window: Ints) -> Calibration:
    """Reliability of forecasts: shapes (n,), probabilities in [0, 1], results 0 or 1."""
    n = len(probability)
    place = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    forecast = np.bincount(place, probability, BINS)
    happened = np.bincount(place, came_true, BINS)
    bins = tuple(
        Bin(
            low=b / BINS,
            high=(b + 1) / BINS,
            n=int(counts[b]),
            mean=round(float(forecast[b] / counts[b]), 9) if counts[b] else None,
            frequency=round(float(happened[b] / counts[b]), 9) if counts[b] else None,
        )
        for b in range(BINS)
    )
    if n == 0:
        return Calibration(0, 0, None, None, bins)
    sure = np.clip(probability, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    brier = float(((probability - came_true) ** 2).mean())
    loss = -float(np.log(np.where(came_true == 1, sure, 1 - sure)).mean())
    return Calibration(n, len(np.unique(window)), round(brier, 9), round(loss, 9), bins)


def scan_calibration(scans: Rows, index: WindowIndex) -> Calibration:
    """Calibration of P(Up) on the first scan of each second of each settled Up or Down window."""
    known = scans[np.isfinite(scans["probability"])]
    window = index.of(known)
    payout_e4 = index.payout_e4(window, np.full(len(known), Outcome.UP, np.uint8))
    decided = np.flatnonzero((payout_e4 == 0) | (payout_e4 == PRICE_ONE_E4))
    second = known["ts_ns"][decided] // SECOND_NS
    second -= second.min(initial=2**40)
    _, first = np.unique((window[decided] << 32) + second, return_index=True)
    chosen = decided[first]
    came_true = (payout_e4[chosen] == PRICE_ONE_E4).astype(np.float64)
    return calibration(known["probability"][chosen], came_true, window[chosen])


def trade_calibration(found: Rows, index: WindowIndex) -> Calibration:
    """Calibration of P(outcome bought) at each trade's first buy, over Up or Down windows."""
    payout_e4 = index.payout_e4(found["window"], found["outcome"])
    decided = ((payout_e4 == 0) | (payout_e4 == PRICE_ONE_E4)) & (found["probability_e6"] >= 0)
    came_true = (payout_e4[decided] == PRICE_ONE_E4).astype(np.float64)
    return calibration(found["probability_e6"][decided] / 1e6, came_true, found["window"][decided])
