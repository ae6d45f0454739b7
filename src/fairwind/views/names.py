"""Names for the numbers of the engine's rows: strategies, and windows by their market numbers.

In: rows and states. Out: ids and slugs. Never here: a name that may be another window's; where a
number was used again since, there is none.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from fairwind.core.holds import NO_HOLD, Hold
from fairwind.core.ids import slug
from fairwind.core.outputs import WindowState
from fairwind.engine.run import roster
from fairwind.engine.state import MARKETS, State
from fairwind.views.shapes import Scalar
from fairwind.views.told import Look, Rows, Told

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
NAMES_MAX = 8_192
"""Windows whose names are remembered: more than hold all orders that are."""
ROWS_SHOWN = 200
"""Newest rows of a list; history queries find the others."""


class Shown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what is shown. Prices are in 1/10 000 dollar, money in micro-dollars, time in ns."""


class Names:
    """Which window a market number means."""

    def __init__(self) -> None:
        self.windows = 0
        """Windows that were listed."""
        self._known: OrderedDict[int, tuple[int, str]] = OrderedDict()

    def take(self, rows: Rows, state: State) -> None:
        """As Fold.take."""
        for row in rows["windows"][rows["windows"]["state"] == WindowState.LISTED]:
            number, name = int(row["market"]), slug(int(row["series"]), int(row["start_ns"]))
            if self._known.get(number, (0, ""))[1] != name:
                self.windows += 1
                self._known[number] = int(row["ts_ns"]), name
                self._known.move_to_end(number)
        while len(self._known) > NAMES_MAX:
            self._known.popitem(last=False)

    def slug(self, market: int, ts_ns: int) -> str | None:
        """The window that a row with that number and time is about."""
        since_ns, name = self._known.get(market, (0, ""))
        return name if name and since_ns <= ts_ns else None


class Made(Generic[K, T]):
    """Rows of lists that were shown before: only new ones are made, most folds find few."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[K, list[Scalar]]] = {}

    def rows(
        self, topic: str, shown: Iterable[tuple[K, T]], make: Callable[[T], list[Scalar]]
    ) -> list[list[Scalar]]:
        """One row for each of `shown`; what has the same key has the same row for ever."""
        known = self._rows.get(topic, {})
        rows = {key: known[key] if key in known else make(one) for key, one in shown}
        self._rows[topic] = rows
        return list(rows.values())


def strategies() -> list[str]:
    """Ids of all strategies, by number; the arguments of most topics."""
    return [spec.id for spec in roster()]


def of_strategies(_look: Look) -> Sequence[str]:
    """The arguments of a topic that is asked for by strategy."""
    return strategies()


def number_of(argument: str) -> int | None:
    """The strategy's number; None for no argument, which means all of them."""
    return strategies().index(argument) if argument else None


def strategy(number: int) -> str | None:
    """The strategy's id; None for a row that is no strategy's."""
    specs = roster()
    return specs[number].id if number < len(specs) else None


def slug_of(market: Any) -> str:
    """The slug of a row of the state's markets."""
    return slug(int(market["series"]), int(market["start_ns"]))


def slug_in(state: State, market: int) -> str | None:
    """The slug of the window that has the number now; None when it was forgotten."""
    row = state.record.markets[market % MARKETS]
    return slug_of(row) if row["number"] == market else None


def slug_at(told: Told, row: np.void) -> str | None:
    """The slug of the window that an output row is about."""
    return told.of(Names).slug(int(row["market"]), int(row["ts_ns"]))


def active(state: State) -> list[int]:
    """Slots of the windows without a result."""
    used: list[int] = state.record.active[: int(state.record["active_used"])].tolist()
    return used


def hold(code: int) -> str | None:
    """The name of a hold code; None for none."""
    return None if code == NO_HOLD else Hold(code).name


def codes(mask: int) -> list[Hold]:
    """The gates of a mask, in the order of precedence."""
    return [one for one in Hold if mask >> one & 1]
