"""One window's book as a record shows it, turned into events: a snapshot or what changed since.

In: the levels that stand at an instant, in Up terms. Out: CLEAR, LEVEL and TICK rows, each instant
one atomic group. Never here: an unchanged level repeated within a quarter of a second.
"""

from fairwind.core.events import Flag, Kind, Side
from fairwind.core.units import PRICE_ONE_E4, SECOND_NS
from fairwind.feeds.recorded.recording import TICK_E4, Problems, Rows

GRID_E4 = 5
REPEAT_NS = 250_000_000
"""An unchanged book is shown again after this long, so that its age says when it was last seen."""
HOLE_NS = 5 * SECOND_NS
"""After a silence of this length the book starts anew with a snapshot."""

PARITY_E4 = 200

Levels = dict[tuple[int, int], int]
"""(side, price_e4) -> shares micro."""


def mirrored(bid: int, ask: int) -> tuple[int, int]:
    """Up's (bid, ask) prices from Down's, and the other way round; 0 stands for none."""
    return PRICE_ONE_E4 - ask if ask else 0, PRICE_ONE_E4 - bid if bid else 0


def contradict(up: tuple[int, int], mirrored_down: tuple[int, int]) -> bool:
    """Whether Up's (bid, ask) and Down's mirrored one differ by more than 2 cents on a side."""
    pairs = zip(up, mirrored_down, strict=True)
    return any(a and b and abs(a - b) > PARITY_E4 for a, b in pairs)


class Ladder:
    """The book of `market` as last shown; `show` writes what is new to `rows`."""

    def __init__(self, rows: Rows, market: int, problems: Problems, name: str) -> None:
        self._rows = rows
        self._market = market
        self._problems = problems
        self._name = name
        self._levels: Levels = {}
        self._flags = 0
        self._shown_ns = -2 * HOLE_NS
        self._seen_ns = -2 * HOLE_NS
        self._tick_e4 = TICK_E4

    def show(self, ts_ns: int, ts_source_ns: int, levels: Levels, flags: int = 0) -> None:
        """The book holds exactly `levels` at `ts_ns`; `flags` go on each of its events."""
        levels = self._on_grid(levels, ts_ns)
        fresh = ts_ns - self._seen_ns > HOLE_NS
        self._seen_ns = ts_ns
        tick_e4 = min([self._tick_e4, *(_tick(price) for _, price in levels)])
        if tick_e4 != self._tick_e4:
            self._tick_e4, fresh = tick_e4, True
            self._rows.add(
                Kind.TICK, ts_ns, self._market, tick_e4, ts_source_ns=ts_source_ns, flags=Flag.MORE
            )
        same = not fresh and levels == self._levels and flags == self._flags
        if same and ts_ns - self._shown_ns < REPEAT_NS:
            return
        whole = fresh or same or flags != self._flags
        before = {} if fresh else self._levels
        group = [(*key, 0) for key in before if key not in levels] + [
            (*key, size) for key, size in levels.items() if whole or before.get(key) != size
        ]
        self._write(ts_ns, ts_source_ns, group, flags, fresh)
        self._levels, self._flags, self._shown_ns = levels, flags, ts_ns

    def _write(
        self,
        ts_ns: int,
        ts_source_ns: int,
        group: list[tuple[int, int, int]],
        flags: int,
        fresh: bool,
    ) -> None:
        if fresh:
            more = Flag.MORE if group else 0
            self._rows.add(
                Kind.CLEAR, ts_ns, self._market, ts_source_ns=ts_source_ns, flags=flags | more
            )
        last = len(group) - 1
        for index, (side, price, size) in enumerate(group):
            self._rows.add(
                Kind.LEVEL,
                ts_ns,
                self._market,
                price,
                size,
                ts_source_ns=ts_source_ns,
                side=side,
                flags=flags | (Flag.MORE if index < last else 0),
            )

    def _on_grid(self, levels: Levels, ts_ns: int) -> Levels:
        """The levels that can stand in a book; the others and a crossing are noted."""
        good = {
            key: size
            for key, size in levels.items()
            if 0 < key[1] < PRICE_ONE_E4 and key[1] % GRID_E4 == 0 and size > 0
        }
        for key in sorted(levels.keys() - good.keys()):
            self._problems.note(
                "BAD_LEVEL", f"{self._name} at {ts_ns}: price_e4 {key[1]}, size {levels[key]}"
            )
        bids = [price for side, price in good if side == Side.BID]
        asks = [price for side, price in good if side == Side.ASK]
        if bids and asks and max(bids) >= min(asks):
            self._problems.note(
                "CROSSED_BOOK", f"{self._name} at {ts_ns}: bid {max(bids)}, ask {min(asks)}"
            )
        return good


def _tick(price_e4: int) -> int:
    """The coarsest tick on whose grid the price lies."""
    return TICK_E4 if price_e4 % TICK_E4 == 0 else 10 if price_e4 % 10 == 0 else GRID_E4
