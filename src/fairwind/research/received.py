"""What had been received at each moment of a run: a window's book, and prices.

In: input events. Out: the book after any of them, and which prices came when. Never here: the
engine, whose folds of the same events are audited by these.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairwind.core.events import Events, Flag, Kind, Side
from fairwind.core.units import PRICE_ONE_E4

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
