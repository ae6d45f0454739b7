"""What had been received at each moment of a run: a window's book, prices, budgets.

In: input events. Out: the book after any of them, which prices came when, and which budgets were
in force. Never here: the engine, whose folds of the same events are audited by these.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairwind.core import controls
from fairwind.core.events import Events, Flag, Kind, Side
from fairwind.core.units import MILLISECOND_NS, PRICE_ONE_E4, SECOND_NS
from fairwind.journal import file

BUDGETS = ("book_budget", "spot_budget", "reference_budget")
BUDGET_BOUNDS_S = (0.001, 1e6)
"""A control that wants another budget is refused by the engine."""
_NO_TIMES = np.zeros(0, np.int64)


class Book(NamedTuple):
    """A window's book after some of its events; 0 and 10 000 for an empty side."""

    gap: bool  # data was lost, and no snapshot has come since
    complete: bool  # a change was completed since the book was emptied, and none is half done
    bid_e4: int
    ask_e4: int

    def fault(self) -> str:
        """Why nothing may be decided or matched on it; empty when something may."""
        if self.gap:
            return "the book had lost data and got no snapshot since"
        if not self.complete:
            return "the book was not complete"
        if self.bid_e4 >= self.ask_e4:
            return f"the book was crossed: bid {self.bid_e4}, ask {self.ask_e4} e4"
        return ""


class History:
    """One window's book events, prints and gaps in receipt order, and its book after any of them.

    A `stop` is a number of events: what was known when so many had come.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._times = np.ascontiguousarray(events["ts_ns"])
        self._book_at = np.flatnonzero(np.isin(events["kind"], (Kind.LEVEL, Kind.CLEAR)))
        self._gap_at = np.flatnonzero(events["kind"] == Kind.GAP)
        self.books: dict[int, Book] = {}

    def before(self, ts_ns: int) -> int:
        """The stop ahead of every event of that moment."""
        return int(np.searchsorted(self._times, ts_ns, "left"))

    def until(self, ts_ns: int) -> int:
        """The stop behind every event of that moment."""
        return int(np.searchsorted(self._times, ts_ns, "right"))

    def named(self, sequence: int) -> int:
        """The stop behind the book event of that number, counted from 1; 0 if there is none."""
        return int(self._book_at[sequence - 1]) + 1 if 0 < sequence <= len(self._book_at) else 0

    def event(self, stop: int) -> np.void:
        """The last event before the stop."""
        return self._events[stop - 1]  # type: ignore[no-any-return]

    def newest_ns(self, stop: int) -> int:
        """Receipt of the newest book event before the stop; 0 if there is none."""
        number = int(np.searchsorted(self._book_at, stop))
        return int(self._times[self._book_at[number - 1]]) if number else 0

    def lost_between(self, stop: int, ts_ns: int) -> bool:
        """Whether data was lost after the stop and before that moment."""
        gaps = self._gap_at[self._gap_at >= stop]
        return len(gaps) > 0 and int(self._times[gaps[0]]) < ts_ns

    def fold(self, stops: Iterable[int]) -> None:
        """Make `books` at the given stops."""
        sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        gap = complete = False
        done = 0
        for stop in sorted(set(stops)):
            for kind, side, price, size, flags in self._rows(done, stop):
                if kind == Kind.LEVEL:
                    sides[side][price] = size
                    complete = not gap and not flags & Flag.MORE
                elif kind == Kind.CLEAR:
                    sides[Side.BID].clear()
                    sides[Side.ASK].clear()
                    gap = complete = False
                elif kind == Kind.GAP:
                    gap, complete = True, False
            done = stop
            bid = max((price for price, size in sides[Side.BID].items() if size), default=0)
            asks = (price for price, size in sides[Side.ASK].items() if size)
            self.books[stop] = Book(gap, complete, bid, min(asks, default=PRICE_ONE_E4))

    def happened(self, ts_ns: int) -> bool:
        """Whether a book event or a print came at exactly that moment."""
        kinds = self._events["kind"][self.before(ts_ns) : self.until(ts_ns)]
        return bool((kinds != Kind.GAP).any())

    def _rows(self, first: int, last: int) -> list[tuple[int, int, int, int, int]]:
        part = self._events[first:last]
        names = "kind", "side", "price", "size", "flags"
        return list(zip(*(part[name].tolist() for name in names), strict=True))


class Prices:
    """Receipt times of spot prices by asset, and of oracle prints by asset and averaging."""

    def __init__(self) -> None:
        self._times: dict[tuple[int, int, int], NDArray[np.int64]] = {}

    def take(self, events: Events) -> None:
        """Add the chunk's prices."""
        for kind in Kind.SPOT, Kind.REFERENCE:
            ours = events[(events["kind"] == kind) & (events["price"] > 0)]
            refs = ours["ref"] if kind == Kind.REFERENCE else np.zeros_like(ours["ref"])
            for asset, ref in set(zip(ours["market"].tolist(), refs.tolist(), strict=True)):
                new = ours["ts_ns"][(ours["market"] == asset) & (refs == ref)]
                before = self._times.get((kind, asset, ref), _NO_TIMES)
                self._times[kind, asset, ref] = np.concatenate([before, new])

    def has(self, kind: Kind, asset: int, averaging_s: int, ts_ns: int) -> bool:
        """Whether such a price was received at exactly that moment."""
        times = self._times.get((kind, asset, averaging_s), _NO_TIMES)
        at = int(np.searchsorted(times, ts_ns))
        return at < len(times) and int(times[at]) == ts_ns


class Budgets:
    """What the inputs say of the budgets that a certificate may have.

    A strategy's own budget is not among the inputs: it is the one of its first order, and only a
    control may change it.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._numbers = {name: at for at, name in enumerate(file.meta_of(run).strategies)}
        self._own: dict[tuple[int, str], int] = {}
        self._set: dict[tuple[int, str], list[tuple[int, int | None]]] = {}

    def take(self, events: Events) -> None:
        """Add the chunk's controls; None stands for a return to the strategy's own budget."""
        for event in events[events["kind"] == Kind.CONTROL]:
            number, ts_ns = int(event["price"]), int(event["ts_ns"])
            match controls.decode(file.payload_of(self._run, number), number):
                case controls.SetParameter(strategy=strategy, name=name, value=value):
                    low, high = BUDGET_BOUNDS_S
                    if name in BUDGETS and strategy in self._numbers and low <= value <= high:
                        key = self._numbers[strategy], name
                        budget_ms = int(value * SECOND_NS) // MILLISECOND_NS
                        self._set.setdefault(key, []).append((ts_ns, budget_ms))
                case controls.Reset(force_defaults=True):
                    for values in self._set.values():
                        values.append((ts_ns, None))

    def fault(self, order: np.void) -> str:
        """What is wrong with the budgets of an order that was sent; empty when nothing is."""
        for name in BUDGETS:
            key, found = (int(order["strategy"]), name), int(order[f"{name}_ms"])
            allowed = self._in_force(key, int(order["ts_ns"]))
            if None in allowed:
                allowed = allowed - {None} | {self._own.setdefault(key, found)}
            if found not in allowed:
                wanted = " or ".join(f"{budget_ms} ms" for budget_ms in allowed)
                return f"its {name} was {found} ms, expected {wanted}"
        return ""

    def _in_force(self, key: tuple[int, str], ts_ns: int) -> set[int | None]:
        """The budgets of that moment; more than one when a control came at the same moment."""
        before = [value for at_ns, value in self._set.get(key, ()) if at_ns < ts_ns]
        return {value for at_ns, value in self._set.get(key, ()) if at_ns == ts_ns} | {
            before[-1] if before else None
        }
