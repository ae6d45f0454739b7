"""What the engine has said so far, as much of it as views need: the one fold that has a memory.

In: the engine's rows in order, and its state after each of them. Out: newest scans, counts, recent
orders, fills, postings and windows. Never here: a clock, more than the named maxima, a judgement.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fairwind.core.events import Events
from fairwind.core.outputs import OrderState
from fairwind.core.units import SECOND_NS
from fairwind.engine.state import MARKETS, State
from fairwind.views.shapes import Snapshot

Rows = dict[str, NDArray[Any]]
"""Output rows by table name."""
FILLS_MAX = POSTINGS_MAX = WINDOWS_MAX = 2_000
ORDERS_MAX = REFUSALS_MAX = 5_000
"""Older ones are in the journal, and history queries find them there."""


class Fold(Protocol):
    """A part of the memory that a family of views needs."""

    def take(self, rows: Rows, state: State) -> None:
        """Rows that the engine has said, and its state behind them. Once a second at least."""


F = TypeVar("F")


class Told:
    """What was said since the run began. `folds` are given the same rows, by type."""

    def __init__(self, *folds: Fold) -> None:
        self.counts = dict.fromkeys(("scans", "orders", "fills", "postings", "windows"), 0)
        self.scans: dict[tuple[int, int], np.void] = {}
        """The newest by strategy and slot of the market."""
        self.orders: OrderedDict[int, list[np.void]] = OrderedDict()
        """All rows of a decided order by its number, the order that changed last at the end."""
        self.refusals: OrderedDict[int, np.void] = OrderedDict()
        """The row of each order that gates or the submit check refused, by its number."""
        self.fills: deque[np.void] = deque(maxlen=FILLS_MAX)
        self.postings: deque[np.void] = deque(maxlen=POSTINGS_MAX)
        self.windows: deque[np.void] = deque(maxlen=WINDOWS_MAX)
        self.folds: dict[type, Fold] = {type(one): one for one in folds}

    def take(self, rows: Rows, state: State) -> None:
        """As Fold.take. Rows may be views that hold during the call only."""
        for name, part in rows.items():
            self.counts[name] += len(part)
        for scan in rows["scans"].copy():
            self.scans[int(scan["strategy"]), int(scan["market"]) % MARKETS] = scan
        for order in rows["orders"].copy():
            self._order(int(order["order"]), order)
        self.fills.extend(rows["fills"].copy())
        self.postings.extend(rows["postings"].copy())
        self.windows.extend(rows["windows"].copy())
        for fold in self.folds.values():
            fold.take(rows, state)

    def of(self, kind: type[F]) -> F:
        """The fold of that type."""
        fold = self.folds[kind]
        assert isinstance(fold, kind)
        return fold

    def _order(self, number: int, row: np.void) -> None:
        if row["state"] == OrderState.REFUSED:
            self.refusals[number] = row
        if row["state"] != OrderState.REFUSED or number in self.orders:
            self.orders.setdefault(number, []).append(row)
            self.orders.move_to_end(number)
        if len(self.refusals) > REFUSALS_MAX:
            self.refusals.popitem(last=False)
        if len(self.orders) > ORDERS_MAX:
            self.orders.popitem(last=False)


class Look(NamedTuple):
    """What a view is folded from. `now_ns` is market time, of the newest event."""

    state: State
    told: Told
    now_ns: int


class View(NamedTuple):
    """One view. `arguments` lists what may stand behind the slash; None: nothing may."""

    topic: str
    says: str  # in a few words, for the documentation
    fold: Callable[[Look, str], Snapshot]
    arguments: Callable[[Look], Sequence[str]] | None = None
    alone: bool = False  # whether the topic may also stand without an argument


def seconds(events: Events) -> Iterator[Events]:
    """The events in parts that end with a second of receipt time: a fold that samples the state
    once a second then finds the same however the events come in batches."""
    ends = np.flatnonzero(np.diff(events["ts_ns"] // SECOND_NS)) + 1
    yield from np.split(events, ends)
