"""Execution quality: how many orders were filled, how fast, and what that cost.

In: orders and fills as told, the state's mids. Out: one row of exact sums for each strategy.
Never here: a cost that is defined in another way than the report's (core/costs.py).
"""

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fairwind.core.costs import MICRO_UNITS, PARTS, fill_costs
from fairwind.core.outputs import Action, OrderState
from fairwind.core.units import PRICE_ONE_E4, SECOND_NS
from fairwind.engine.run import roster
from fairwind.engine.state import MARKETS, State
from fairwind.views.positions import mark_half_e4
from fairwind.views.shapes import Rows, Scalar
from fairwind.views.told import Look, View
from fairwind.views.told import Rows as Tables

LATENCIES_MAX = 2_000
"""Latencies of the newest fills, by strategy, that the percentiles are of."""
WAITING_MAX = 2_000
MARKOUT_S = 5
"""The mid that a fill is held against is that of so many seconds later, at the second's end."""
MID_MAX = 2 * PRICE_ONE_E4


@dataclass
class Quality:
    """One strategy's sums. Costs are in money units, see core/costs.py."""

    states: Counter[int] = field(default_factory=Counter)
    sent_micro: int = 0  # shares of all orders that were sent
    fills: int = 0
    shares_micro: int = 0
    maker_micro: int = 0
    notional: int = 0  # e4 x micro
    costs: Counter[str] = field(default_factory=Counter)
    latencies_ns: deque[int] = field(default_factory=lambda: deque(maxlen=LATENCIES_MAX))
    markout: int = 0  # half-e4 x micro, in favour of the fills that are counted below
    markout_micro: int = 0  # their shares
    missing: int = 0


class Waiting:
    """A fill whose markout is still to come."""

    __slots__ = ("due_s", "half_e4", "row")

    def __init__(self, row: np.void) -> None:
        self.row = row
        self.due_s = int(row["ts_ns"]) // SECOND_NS + MARKOUT_S
        self.half_e4: int | None = None


class Executions:
    """Every strategy's quality so far."""

    def __init__(self) -> None:
        self.of = [Quality() for _ in roster()]
        self._decided: dict[int, int] = {}  # when, by number, while the order is open
        self._waiting: deque[Waiting] = deque(maxlen=WAITING_MAX)

    def take(self, rows: Tables, state: State) -> None:
        """As Fold.take."""
        orders, fills = rows["orders"], rows["fills"]
        self._settle_markouts(state)
        for row in orders[orders["state"] == OrderState.DECIDED]:
            self._decided[int(row["order"])] = int(row["ts_ns"])
        for row, costs in zip(fills.copy(), fill_costs(fills), strict=True):
            self._fill(row, costs)
        for row in orders:
            self._order(row)
        self._see_mids(state)

    def _order(self, row: np.void) -> None:
        quality, order_state = self.of[int(row["strategy"])], int(row["state"])
        quality.states[order_state] += 1
        if order_state == OrderState.SENT:
            quality.sent_micro += int(row["size_micro"])
        if order_state >= OrderState.FILLED:
            self._decided.pop(int(row["order"]), None)

    def _fill(self, row: np.void, costs: np.void) -> None:
        quality, size_micro = self.of[int(row["strategy"])], int(row["size_micro"])
        quality.fills += 1
        quality.shares_micro += size_micro
        quality.maker_micro += size_micro if row["maker"] else 0
        quality.notional += size_micro * int(row["price_e4"])
        for part in PARTS:
            quality.costs[part] += int(costs[part])
        decided_ns = self._decided.get(int(row["order"]))
        if decided_ns is not None:
            quality.latencies_ns.append(int(row["ts_ns"]) - decided_ns)
        quality.missing += decided_ns is None or _is_incomplete(row)
        self._waiting.append(Waiting(row))

    def _settle_markouts(self, state: State) -> None:
        """A second is over when an event of a later one has come: the mid seen last counts."""
        second = int(state.record["now_ns"]) // SECOND_NS
        while self._waiting and self._waiting[0].due_s < second:
            waiting = self._waiting.popleft()
            if waiting.half_e4 is None:
                continue
            row, quality = waiting.row, self.of[int(waiting.row["strategy"])]
            gained = waiting.half_e4 - 2 * int(row["price_e4"])
            sign = 1 if row["action"] == Action.BUY else -1
            quality.markout += sign * gained * int(row["size_micro"])
            quality.markout_micro += int(row["size_micro"])

    def _see_mids(self, state: State) -> None:
        for waiting in self._waiting:
            market = state.record.markets[int(waiting.row["market"]) % MARKETS]
            known = market["number"] == waiting.row["market"] and market["active"] == 1
            waiting.half_e4 = mark_half_e4(market, int(waiting.row["outcome"])) if known else None


def _is_incomplete(row: np.void) -> bool:
    """Whether a figure that a cost is made of is not known."""
    mids = [int(row[f"{when}_mid_half_e4"]) for when in ("decision", "arrival", "match")]
    return (
        any(not 0 < mid < MID_MAX for mid in mids)
        or not 0 < row["best_e4"] < PRICE_ONE_E4
        or int(row["probability_e6"]) < 0
    )


def percentile(values: Sequence[int], share: float) -> int | None:
    """The least of the values that so large a share of them does not exceed; None for none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else None


COLUMNS = (
    *("strategy", "decided", "sent", "filled", "killed", "expired", "cancelled", "refused"),
    *("fills", "fill_share", "latency_p50_ns", "latency_p95_ns", "maker_share", "shares_micro"),
    *("notional_micro", *(f"{part}_cost_micro" for part in PARTS), "cost_micro", "cost_drag_bps"),
    *("markout_e4", "markout_fills_share", "missing_fields"),
)


def _execution(look: Look, _argument: str) -> Rows:
    found = look.told.of(Executions).of
    rows = [_row(spec.id, one) for spec, one in zip(roster(), found, strict=True)]
    return Rows(key="strategy", columns=COLUMNS, rows=rows, total=len(rows))


def _row(strategy: str, found: Quality) -> list[Scalar]:
    """Costs are rounded to whole micro-dollars at the very end."""
    states = (
        *(OrderState.DECIDED, OrderState.SENT, OrderState.FILLED, OrderState.KILLED),
        *(OrderState.EXPIRED, OrderState.CANCELLED, OrderState.REFUSED),
    )
    total = found.costs.total()
    notional = found.notional / PRICE_ONE_E4
    shares = found.shares_micro
    return [
        strategy,
        *(found.states[one] for one in states),
        found.fills,
        _ratio(shares, found.sent_micro),
        *(percentile(found.latencies_ns, share) for share in (0.5, 0.95)),
        *(_ratio(found.maker_micro, shares), shares, found.notional // PRICE_ONE_E4),
        *(round(found.costs[part] / MICRO_UNITS) for part in PARTS),
        round(total / MICRO_UNITS),
        total / MICRO_UNITS / notional * 10_000 if notional else None,
        found.markout / 2 / found.markout_micro if found.markout_micro else None,
        *(_ratio(found.markout_micro, shares), found.missing),
    ]


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


VIEWS = (View("execution", "fill rates, latencies, markouts and costs by strategy", _execution),)
