"""The offline auditor: proves from a run's journal alone that nothing was traded on a stale book.

In: a run directory. Out: a verdict, with the first order that should not have been. Never here:
the engine. What each book was at each moment is folded anew from the inputs, by other code.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fairwind.core.events import ALL_MARKETS, EVENT, HORIZONS_S, Events, Kind, Side, empty
from fairwind.core.holds import NO_HOLD, Hold
from fairwind.core.outputs import FILL, ORDER, Action, OrderState
from fairwind.core.rules import RuleKind, in_force
from fairwind.core.units import MILLISECOND_NS, PRICE_ONE_E4, SECOND_NS
from fairwind.journal import file, record
from fairwind.research.received import BUDGETS, Budgets, History, Prices

CHUNK_EVENTS = 1 << 20
"""Events that are read together; beside them only those of open windows are held."""
KEPT_NS = 60 * SECOND_NS
"""How long after its end a window is closed: no order outlives it."""
GRID_E4 = 5
"""Prices lie on this grid; a level off it counts for nobody."""
CERTIFICATE = [
    "book_ts_ns",
    "book_ts_source_ns",
    "book_sequence",
    "spot_ts_ns",
    "reference_ts_ns",
    *(f"{name}_ms" for name in BUDGETS),
]
_OF_A_WINDOW = (Kind.LISTED, Kind.LEVEL, Kind.CLEAR, Kind.TRADE, Kind.GAP)
_COUNTED = ("events", "unmarked", "orders", "exits", "fills")
_ACCEPTED = (OrderState.DELAYED, OrderState.RESTING)


class Offence(msgspec.Struct, frozen=True, kw_only=True):
    """One order or fill that the inputs do not justify."""

    ts_ns: int
    order: int
    market: int
    what: str  # with its figures

    def __str__(self) -> str:
        return f"order {self.order} in market {self.market} at ts_ns {self.ts_ns}: {self.what}"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit found. A run without orders proves nothing, and is not called proved."""

    events: int
    unmarked: int  # of them, the last ones, whose outputs the journal does not hold (yet)
    orders: int  # that were sent
    exits: int  # of them; an exit may be sent at any time, and is checked where it is matched
    fills: int
    refused: dict[str, int]  # orders that were not sent, by hold code
    killed: dict[str, int]  # orders that were sent and not matched for a reason, by hold code
    budgets_ms: dict[str, int]  # the largest that a certificate has
    offences: int
    first: Offence | None

    @property
    def proved(self) -> bool:
        """Whether there was something to prove, and all of it holds."""
        return self.orders > 0 and self.first is None

    def __str__(self) -> str:
        if self.first is not None:
            return f"FAILED: {self.offences} offences, the first: {self.first}"
        if not self.orders:
            return f"NOTHING TO AUDIT: no order was sent in {self.events} events"
        return f"PROVED: {self.orders} orders and {self.fills} fills, none on a stale or bad book"


class Window:
    """One market from its listing on: its events, and what the engine says of it."""

    def __init__(self, listing: np.void) -> None:
        self.asset, self.horizon = divmod(int(listing["ref"]), len(HORIZONS_S))
        self.start_ns = int(listing["ts_source_ns"])
        self.end_ns = self.start_ns + HORIZONS_S[self.horizon] * SECOND_NS
        self.events: list[Events] = [empty(0)]
        self.orders: list[NDArray[Any]] = [np.zeros(0, ORDER)]
        self.fills: list[NDArray[Any]] = [np.zeros(0, FILL)]

    def offences(self, prices: Prices, budgets: Budgets) -> Iterator[Offence]:
        """Every order sent, accepted or filled that the inputs do not justify."""
        orders, fills = np.concatenate(self.orders), np.concatenate(self.fills)
        sent = orders[orders["state"] == OrderState.SENT]
        accepted = orders[np.isin(orders["state"], _ACCEPTED)]
        if len(sent) + len(accepted) + len(fills) == 0:
            return
        history = History(np.concatenate(self.events))
        stops = {history.named(int(order["book_sequence"])) for order in sent}
        for row in (*accepted, *fills):
            ts_ns = int(row["ts_ns"])
            stops.update(range(history.before(ts_ns), history.until(ts_ns) + 1))
        history.fold(stops)
        by_id: dict[int, np.void] = {}
        for order in sent:
            yield from _offence(order, "sent twice" if int(order["order"]) in by_id else "")
            yield from _offence(order, budgets.fault(order))
            yield from _offence(order, next(self._doubts(order, history, prices), ""))
            by_id[int(order["order"])] = order
        for row in (*accepted, *fills):
            yield from _offence(row, _unjust(row, by_id.get(int(row["order"])), history))

    def _doubts(self, order: np.void, history: History, prices: Prices) -> Iterator[str]:
        """What is wrong with a decision, the worst first."""
        now_ns, sequence = int(order["ts_ns"]), int(order["book_sequence"])
        stop = history.named(sequence)
        if not stop:
            yield f"its certificate names book event {sequence}, and there is none"
            return
        told = int(order["book_ts_ns"]), int(order["book_ts_source_ns"])
        found = int(history.event(stop)["ts_ns"]), int(history.event(stop)["ts_source_ns"])
        if told != found or found[0] > now_ns:
            yield f"its certificate gives book event {sequence} the times {told}, found {found}"
        later = history.named(sequence + 1)
        if later and int(history.event(later)["ts_ns"]) < now_ns:
            yield f"book event {sequence + 1} was known and not looked at"
        if order["action"] == Action.SELL:
            return
        if history.lost_between(stop, now_ns):
            yield "the book lost data after the certificate's event"
        if fault := history.books[stop].fault():
            yield fault
        for name, at_ns in (
            ("book", found[0]),
            ("spot", int(order["spot_ts_ns"])),
            ("reference", int(order["reference_ts_ns"])),
        ):
            yield from _too_old(name, now_ns - at_ns, int(order[f"{name}_budget_ms"]))
        averaging_s = in_force(RuleKind.SETTLEMENT, self.horizon, self.start_ns).a
        spot_ns, print_ns = int(order["spot_ts_ns"]), int(order["reference_ts_ns"])
        if not prices.has(Kind.SPOT, self.asset, 0, spot_ns):
            yield f"its certificate names a spot price of {spot_ns}, and none came then"
        if not prices.has(Kind.REFERENCE, self.asset, averaging_s, print_ns):
            yield f"its certificate names an oracle print of {print_ns}, and none came then"


def audit(run: Path) -> Verdict:
    """Check every order that was sent, and every acceptance and fill, against the inputs.

    Sent: the certificate names the window's newest book event with its times, and a spot price
    and an oracle print that came; that book was whole; none was older than its budget, which is
    the strategy's. Accepted or filled: the book of that moment was whole and within the budget; a
    maker's fill has a book event or a print at its very moment instead. Exits are checked where
    they meet the book only. Ages are compared in whole milliseconds, as certificates give them.

    Events of one moment have no order among themselves that rows could refer to: where an order
    falls on such a moment, it is enough that one of the states within it justifies it.

    Raises BadInput when `run` is no run, Corrupt when its journal or a payload is damaged.
    """
    auditor = _Auditor(run)
    for chunk in _chunks(run):
        auditor.take(chunk)
    return auditor.verdict()


class _Chunk(NamedTuple):
    events: Events
    orders: NDArray[Any]
    fills: NDArray[Any]
    unmarked: int


class _Auditor:
    def __init__(self, run: Path) -> None:
        self._prices, self._budgets = Prices(), Budgets(run)
        self._windows: dict[int, Window] = {}
        self._counts: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._killed: Counter[str] = Counter()
        self._largest = dict.fromkeys(BUDGETS, 0)
        self._first: Offence | None = None

    def take(self, chunk: _Chunk) -> None:
        """The next events, and the rows that the engine made of them."""
        events, orders, fills, self._counts["unmarked"] = chunk
        self._prices.take(events)
        self._budgets.take(events)
        self._distribute(events)
        self._count(len(events), orders, fills)
        for rows, name in ((orders, "orders"), (fills, "fills")):
            for market in np.unique(rows["market"]).tolist():
                ours = rows[rows["market"] == market]
                if market in self._windows:
                    getattr(self._windows[market], name).append(ours)
                else:
                    self._note(_offence(ours[0], "its market was not listed or is long over"))
        over_ns = int(events["ts_ns"][-1]) - KEPT_NS if len(events) else 0
        for market, window in list(self._windows.items()):
            if window.end_ns < over_ns:
                self._note(self._windows.pop(market).offences(self._prices, self._budgets))

    def verdict(self) -> Verdict:
        """Close what is still open."""
        for window in self._windows.values():
            self._note(window.offences(self._prices, self._budgets))
        return Verdict(
            **{name: self._counts[name] for name in _COUNTED},
            refused=dict(self._refused),
            killed=dict(self._killed),
            budgets_ms=self._largest,
            offences=self._counts["offences"],
            first=self._first,
        )

    def _distribute(self, events: Events) -> None:
        """Give each window its events; a listing begins one, a loss of all data concerns all."""
        level = events["kind"] == Kind.LEVEL
        price, size = events["price"], events["size"]
        counts = (price > 0) & (price < PRICE_ONE_E4) & (price % GRID_E4 == 0) & (size >= 0)
        counts &= events["side"] <= Side.ASK
        ours = events[np.isin(events["kind"], _OF_A_WINDOW) & (~level | counts)]
        everywhere = (ours["kind"] == Kind.GAP) & (ours["market"] == ALL_MARKETS)
        first = 0
        for at in np.flatnonzero((ours["kind"] == Kind.LISTED) | everywhere).tolist():
            self._split(ours[first:at])
            if everywhere[at]:
                for window in self._windows.values():
                    window.events.append(ours[at : at + 1])
            else:
                self._list(ours[at])
            first = at + 1
        self._split(ours[first:])

    def _list(self, listing: np.void) -> None:
        known = self._windows.get(int(listing["market"]))
        if known is None or known.start_ns != int(listing["ts_source_ns"]):
            self._windows[int(listing["market"])] = Window(listing)

    def _split(self, events: Events) -> None:
        by_market = events[np.argsort(events["market"], kind="stable")]
        starts = np.flatnonzero(np.diff(by_market["market"], prepend=-1))
        for part in np.split(by_market, starts[1:]):
            if len(part) and int(part["market"][0]) in self._windows:
                self._windows[int(part["market"][0])].events.append(part)

    def _count(self, events: int, orders: NDArray[Any], fills: NDArray[Any]) -> None:
        sent = orders[orders["state"] == OrderState.SENT]
        exits = int((sent["action"] == Action.SELL).sum())
        self._counts.update(events=events, orders=len(sent), exits=exits, fills=len(fills))
        for state, counter in (
            (OrderState.REFUSED, self._refused),
            (OrderState.KILLED, self._killed),
        ):
            codes = orders["code"][(orders["state"] == state) & (orders["code"] != NO_HOLD)]
            counter.update(Hold(code).name for code in codes.tolist())
        for name in BUDGETS:
            largest = int(sent[f"{name}_ms"].max(initial=0))
            self._largest[name] = max(self._largest[name], largest)

    def _note(self, offences: Iterable[Offence]) -> None:
        for offence in offences:
            self._counts["offences"] += 1
            if self._first is None or offence.ts_ns < self._first.ts_ns:
                self._first = offence


def _chunks(run: Path) -> Iterator[_Chunk]:
    """Events with the rows made of them, cut at marks."""
    parts: dict[str, list[NDArray[Any]]] = {"events": [], "orders": [], "fills": []}
    held = unmarked = 0
    for frame in file.frames(run):
        if frame.kind == record.Kind.INPUT:
            parts["events"].append(record.events_of(frame))
            held += len(parts["events"][-1])
            unmarked += len(parts["events"][-1])
        elif frame.kind == record.Kind.OUTPUT:
            name, rows = record.rows_of(frame)
            parts.get(name, []).append(rows)
        elif frame.kind == record.Kind.MARK:
            unmarked = 0
            if held >= CHUNK_EVENTS:
                yield _taken(parts, unmarked)
                held = 0
    yield _taken(parts, unmarked)


def _taken(parts: dict[str, list[NDArray[Any]]], unmarked: int) -> _Chunk:
    """The parts joined, which are empty afterwards."""
    events, orders, fills = (
        np.concatenate([np.zeros(0, dtype), *parts[name]])
        for name, dtype in (("events", EVENT), ("orders", ORDER), ("fills", FILL))
    )
    for part in parts.values():
        part.clear()
    return _Chunk(events, orders, fills, unmarked)


def _offence(row: np.void, what: str) -> Iterator[Offence]:
    if what:
        ts_ns, order, market = (int(row[name]) for name in ("ts_ns", "order", "market"))
        yield Offence(ts_ns=ts_ns, order=order, market=market, what=what)


def _too_old(name: str, age_ns: int, budget_ms: int) -> Iterator[str]:
    if not 0 <= age_ns // MILLISECOND_NS <= budget_ms:
        yield f"the {name} was {age_ns / MILLISECOND_NS:.3f} ms old, its budget is {budget_ms} ms"


def _unjust(row: np.void, order: np.void | None, history: History) -> str:
    """Why an order could not be accepted or filled at the row's moment; empty if it could."""
    what = "filled" if row.dtype == FILL else "accepted"
    if order is None:
        return f"{what}, and never sent: it has no certificate"
    if row.dtype == ORDER and any(row[name] != order[name] for name in CERTIFICATE):
        return f"{what} with another certificate than it was sent with"
    ts_ns = int(row["ts_ns"])
    if row.dtype == FILL and row["maker"]:
        return _unjust_maker(ts_ns, history)
    # What is due at a moment meets the book ahead of that moment's events; an order without
    # latency is due at the very moment of its decision.
    last = history.before(ts_ns) if ts_ns > order["ts_ns"] else history.until(ts_ns)
    found = [_unusable(history, stop, order, ts_ns) for stop in _stops(history, ts_ns, last)]
    return f"{what}, but {found[0]}" if all(found) else ""


def _stops(history: History, ts_ns: int, last: int) -> range:
    return range(history.before(ts_ns), last + 1)


def _unusable(history: History, stop: int, order: np.void, ts_ns: int) -> str:
    age_ns = ts_ns - history.newest_ns(stop)
    too_old = _too_old("book", age_ns, int(order["book_budget_ms"]))
    return history.books[stop].fault() or next(too_old, "")


def _unjust_maker(ts_ns: int, history: History) -> str:
    if not history.happened(ts_ns):
        return "filled as a maker, but neither the book changed nor a trade was printed then"
    stops = range(history.before(ts_ns) + 1, history.until(ts_ns) + 1)
    if any(history.books[stop].complete for stop in stops):
        return ""
    return "filled as a maker, but the book could not be used"
