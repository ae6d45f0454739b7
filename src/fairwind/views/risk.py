"""Risk: what each cap allows, what is in use, and what it refused last; the kill switch.

In: a state, refused orders as told. Out: one row for each bucket of capital, and the switch's
values. Never here: a decision about an order.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fairwind.core.events import ASSETS, HORIZONS_S, Outcome
from fairwind.core.holds import Hold
from fairwind.core.ids import series_name
from fairwind.core.outputs import Family, OrderState
from fairwind.engine.ledger import BY_ASSET, BY_DIRECTION, BY_FAMILY
from fairwind.engine.risk import DAY_NS
from fairwind.engine.run import roster
from fairwind.engine.state import CASH, MARKETS, POSITIONS, RESERVED, State
from fairwind.views.ledger import drawdown
from fairwind.views.orders import mask_codes
from fairwind.views.shapes import Rows, Scalar, Values
from fairwind.views.told import Look, View
from fairwind.views.told import Rows as Tables

ALL = -1
"""The bucket of everything that is reserved or held."""
CAPS = {
    Hold.CAP_STRATEGY: "cap_strategy",
    Hold.CAP_FAMILY: "cap_family",
    Hold.CAP_UNDERLYING: "cap_underlying",
    Hold.CAP_CORRELATED: "cap_direction",
    Hold.CAP_UTILIZATION: "cap_utilization",
}
"""Each cap's hold code, and the state's field that sets it."""


class Bucket(NamedTuple):
    """Capital that one cap counts together; `place` is its index in the state's `used`."""

    place: int
    cap: Hold
    name: str


class Refusals:
    """The newest order that each bucket's cap refused: (ts_ns, order)."""

    def __init__(self) -> None:
        self.newest: dict[int, tuple[int, int]] = {}

    def take(self, rows: Tables, state: State) -> None:
        """As Fold.take."""
        orders = rows["orders"]
        for row in orders[orders["state"] == OrderState.REFUSED]:
            for code in mask_codes(row):
                if code in CAPS:
                    place = _place(code, row, state)
                    self.newest[place] = int(row["ts_ns"]), int(row["order"])


def _place(cap: Hold, order: np.void, state: State) -> int:
    """The bucket that a cap counts an order in."""
    market = state.record.markets[int(order["market"]) % MARKETS]
    places = {
        Hold.CAP_STRATEGY: int(order["strategy"]),
        Hold.CAP_FAMILY: BY_FAMILY + int(state.record.strategies[order["strategy"]]["family"]),
        Hold.CAP_UNDERLYING: BY_ASSET + int(market["asset"]),
        Hold.CAP_CORRELATED: BY_DIRECTION + int(market["series"]) * 2 + int(order["outcome"]),
    }
    return places.get(cap, ALL)


def buckets() -> Iterator[Bucket]:
    """Every bucket that a strategy of the roster can use."""
    series = sorted({spec.series for spec in roster() if spec.series >= 0})
    for number, spec in enumerate(roster()):
        yield Bucket(number, Hold.CAP_STRATEGY, spec.id)
    for family in sorted({spec.family for spec in roster()}):
        yield Bucket(BY_FAMILY + family, Hold.CAP_FAMILY, Family(family).name)
    for asset in sorted({number // len(HORIZONS_S) for number in series}):
        yield Bucket(BY_ASSET + asset, Hold.CAP_UNDERLYING, ASSETS[asset])
    for number in series:
        for outcome in Outcome:
            name = f"{series_name(number)} {outcome.name}"
            yield Bucket(BY_DIRECTION + number * 2 + outcome, Hold.CAP_CORRELATED, name)
    yield Bucket(ALL, Hold.CAP_UTILIZATION, "everything")


def limit_micro(state: State, cap: Hold) -> int:
    """What a cap allows at the equity of now."""
    record = state.record
    return int(float(record[CAPS[cap]]) * float(record["equity_micro"]))


def used_micro(state: State, place: int) -> int:
    """What of it is reserved or held."""
    accounts = state.record.accounts
    both = int(accounts[RESERVED] + accounts[POSITIONS])
    return both if place == ALL else int(state.record.used[place])


COLUMNS = (
    *("bucket", "cap", "name", "limit_micro", "used_micro", "remaining_micro", "use_share"),
    *("refused_ns", "refused_order"),
)


def _risk(look: Look, _argument: str) -> Rows:
    rows = [_bucket(look, bucket) for bucket in buckets()]
    return Rows(key="bucket", columns=COLUMNS, rows=rows, total=len(rows))


def _bucket(look: Look, bucket: Bucket) -> list[Scalar]:
    limit = limit_micro(look.state, bucket.cap)
    used = used_micro(look.state, bucket.place)
    refused = look.told.of(Refusals).newest.get(bucket.place, (None, None))
    return [
        *(f"{bucket.cap.name} {bucket.name}", bucket.cap.name, bucket.name),
        *(limit, used, limit - used, used / limit if limit > 0 else None, *refused),
    ]


def _kill(look: Look, _argument: str) -> Values:
    record = look.state.record
    peak = int(record["peak_micro"])
    stop = float(record["drawdown_stop"])
    return Values(
        values={
            "halted": bool(record["halted"]),
            "drawdown_stopped": bool(record["drawdown"]),
            "drawdown_share": drawdown(look.state),
            "drawdown_stop_share": stop,
            "stop_equity_micro": int(peak * (1.0 - stop)),
            "peak_micro": peak,
            "equity_micro": int(record["equity_micro"]),
            "cash_micro": int(record.accounts[CASH]),
            "day_start_ns": int(record["day"]) * DAY_NS,
        }
    )


VIEWS = (
    View("risk", "what each cap allows, what is in use, and what it refused last", _risk),
    View("kill", "the kill switch and the day's trailing stop", _kill),
)
