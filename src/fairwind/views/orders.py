"""Orders, refusals and fills: what was decided, what became of it, and why it was not sent.

In: a state, rows as told. Out: typed orders and fills for a terminal, and the views of them.
Never here: a refusal among the orders that no gate stopped, a window's name that is guessed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import islice
from typing import Any

import numpy as np

from fairwind.core.events import Outcome
from fairwind.core.holds import CATEGORY, NO_HOLD, Hold
from fairwind.core.outputs import Action, OrderState, OrderType
from fairwind.engine.run import roster
from fairwind.engine.state import State
from fairwind.views import names
from fairwind.views.names import ROWS_SHOWN, Made, Shown, slug_at, slug_in, slug_of
from fairwind.views.shapes import Rows, Scalar
from fairwind.views.told import Look, View
from fairwind.views.told import Rows as Tables


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
    """A fill as it was told."""

    ts_ns: int
    strategy: str
    slug: str | None
    action: Action
    outcome: int
    size_micro: int
    price_e4: int
    fee_micro: int


class Decided:
    """How many decisions and fills there were, by strategy, and when each order was decided."""

    def __init__(self) -> None:
        self.orders: Counter[int] = Counter()
        self.refusals: Counter[int] = Counter()
        self.fills: Counter[int] = Counter()
        self.shown: Made[tuple[int, int], Any] = Made()

    def take(self, rows: Tables, state: State) -> None:
        """As Fold.take."""
        orders = rows["orders"]
        for counter, part in (
            (self.orders, orders[orders["state"] == OrderState.DECIDED]),
            (self.refusals, orders[orders["state"] == OrderState.REFUSED]),
            (self.fills, rows["fills"]),
        ):
            counter.update(part["strategy"].tolist())


def orders(state: State) -> tuple[Order, ...]:
    """Orders that are not finished, in the order of their table."""
    rows = state.record.orders[: int(state.record["orders_end"])]
    return tuple(
        Order(
            strategy=roster()[int(row["strategy"])].id,
            slug=slug_of(state.record.markets[int(row["slot"])]),
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
        yield Fill(
            ts_ns=int(row["ts_ns"]),
            strategy=roster()[int(row["strategy"])].id,
            slug=slug_in(state, int(row["market"])),
            action=Action(int(row["action"])),
            outcome=int(row["outcome"]),
            size_micro=int(row["size_micro"]),
            price_e4=int(row["price_e4"]),
            fee_micro=int(row["fee_micro"]),
        )


def life(changes: Sequence[np.void]) -> str:
    """The states of an order one after the other: `DECIDED>SENT>FILLED`."""
    return ">".join(OrderState(int(row["state"])).name for row in changes)


def mask_codes(row: np.void) -> list[Hold]:
    """All that stood against a refused order; the submit check says one thing only."""
    return _codes(int(row["mask"]), int(row["code"]))


def _codes(mask: int, code: int) -> list[Hold]:
    held = names.codes(mask)
    return held if held or code == NO_HOLD else [Hold(code)]


@lru_cache(maxsize=4_096)
def _words(mask: int, code: int) -> str:
    return " ".join(one.name for one in _codes(mask, code))


ORDER_COLUMNS = (
    *("order", "ts_ns", "strategy", "slug", "action", "outcome", "type", "state"),
    *("size_micro", "filled_micro", "limit_e4", "code", "changed_ns", "changes"),
)
REFUSAL_COLUMNS = (
    *("order", "ts_ns", "strategy", "slug", "action", "outcome", "code", "category", "codes"),
    *("net_edge_e4", "limit_e4", "book_age_ns", "spot_age_ns", "reference_age_ns"),
)
FILL_COLUMNS = (
    *("fill", "ts_ns", "order", "strategy", "slug", "action", "outcome", "size_micro"),
    *("price_e4", "fee_micro", "maker", "latency_ns"),
)


def _orders(look: Look, argument: str) -> Rows:
    number = names.number_of(argument)
    newest = (
        changes
        for changes in reversed(look.told.orders.values())
        if number is None or changes[0]["strategy"] == number
    )
    shown = sorted(islice(newest, ROWS_SHOWN), key=lambda changes: int(changes[0]["ts_ns"]))
    keyed = [((int(one[0]["order"]), len(one)), one) for one in shown]
    decided = look.told.of(Decided)
    rows = decided.shown.rows(f"orders/{argument}", keyed, partial(_order, look))
    total = _total(decided.orders, number)
    return Rows(key="order", columns=ORDER_COLUMNS, rows=rows, total=total)


def _order(look: Look, changes: Sequence[np.void]) -> list[Scalar]:
    last = changes[-1]
    return [
        *(int(last["order"]), int(changes[0]["ts_ns"]), names.strategy(int(last["strategy"]))),
        *(slug_at(look.told, changes[0]), *_what(last), OrderType(int(last["type"])).name),
        *(OrderState(int(last["state"])).name, int(last["size_micro"]), int(last["filled_micro"])),
        *(int(last["limit_e4"]), names.hold(int(last["code"])), int(last["ts_ns"]), life(changes)),
    ]


def _refusals(look: Look, argument: str) -> Rows:
    number = names.number_of(argument)
    newest = (
        ((order, 0), row)
        for order, row in reversed(look.told.refusals.items())
        if number is None or row["strategy"] == number
    )
    keyed, decided = [*islice(newest, ROWS_SHOWN)][::-1], look.told.of(Decided)
    rows = decided.shown.rows(f"refusals/{argument}", keyed, partial(_refusal, look))
    total = _total(decided.refusals, number)
    return Rows(key="order", columns=REFUSAL_COLUMNS, rows=rows, total=total)


def _refusal(look: Look, row: np.void) -> list[Scalar]:
    code = Hold(int(row["code"]))
    ages = [
        int(row["ts_ns"]) - int(row[f"{name}_ts_ns"]) if row[f"{name}_ts_ns"] > 0 else None
        for name in ("book", "spot", "reference")
    ]
    return [
        *(int(row["order"]), int(row["ts_ns"]), names.strategy(int(row["strategy"]))),
        *(slug_at(look.told, row), *_what(row), code.name, CATEGORY[code].value),
        *(_words(int(row["mask"]), int(row["code"])), int(row["net_edge_e4"])),
        *(int(row["limit_e4"]), *ages),
    ]


def _fills(look: Look, argument: str) -> Rows:
    number, told = names.number_of(argument), look.told
    first = told.counts["fills"] - len(told.fills)
    newest = (
        ((first + place, 0), (first + place, row))
        for place, row in zip(reversed(range(len(told.fills))), reversed(told.fills), strict=True)
        if number is None or row["strategy"] == number
    )
    keyed, decided = [*islice(newest, ROWS_SHOWN)][::-1], told.of(Decided)
    rows = decided.shown.rows(f"fills/{argument}", keyed, partial(_fill, look))
    total = _total(decided.fills, number)
    return Rows(key="fill", columns=FILL_COLUMNS, rows=rows, total=total)


def _fill(look: Look, numbered: tuple[int, np.void]) -> list[Scalar]:
    number, row = numbered
    order = look.told.orders.get(int(row["order"]))
    return [
        *(number, int(row["ts_ns"]), int(row["order"]), names.strategy(int(row["strategy"]))),
        *(slug_at(look.told, row), *_what(row), int(row["size_micro"]), int(row["price_e4"])),
        *(int(row["fee_micro"]), bool(row["maker"])),
        int(row["ts_ns"]) - int(order[0]["ts_ns"]) if order else None,
    ]


def _what(row: np.void) -> tuple[str, str]:
    return Action(int(row["action"])).name, Outcome(int(row["outcome"])).name


def _total(counted: Counter[int], number: int | None) -> int:
    return counted.total() if number is None else counted[number]


VIEWS = tuple(
    View(topic, says, fold, names.of_strategies, alone=True)
    for topic, says, fold in (
        ("orders", "orders that no gate stopped, with their life cycle", _orders),
        ("refusals", "orders that a gate or the submit check refused, and why", _refusals),
        ("fills", "executions", _fills),
    )
)
