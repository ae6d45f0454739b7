"""A recording of frames, decoded as it would have been live.

In: a recorder's file or folder. Out: a Recording. Never here: another decoder than the live one, a
frame that is dropped without being counted.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from msgspec import structs

from fairwind.core.errors import BadInput
from fairwind.core.events import ASSETS, Events, Kind
from fairwind.core.units import MILLISECOND_NS, SECOND_NS
from fairwind.feeds import kpis
from fairwind.feeds.books import Market
from fairwind.feeds.discovery import (
    GammaMarket,
    end_ns,
    from_gamma,
    gamma_market,
    is_over,
    result_e4,
)
from fairwind.feeds.frames import BadFrame
from fairwind.feeds.recorded import raw
from fairwind.feeds.recorded.raw import Cut, Mark, Record
from fairwind.feeds.recorded.recording import Problems, Recording, Window
from fairwind.feeds.socket import Frame, Lost
from fairwind.run.inbox import Inbox, Line
from fairwind.run.known import Known

TURN_NS = 10 * MILLISECOND_NS
"""What came in such a time is decoded together, as in a turn of the live loop."""
LONGEST_TURN_NS = SECOND_NS
"""Two lines may be recorded out of order by so much."""
_NOTHING = Known(0, 0, {}, (), {}, {}, {}, ())


def recording_of(path: Path) -> Recording:
    """What the frames in `path` say, in the events of a live session that begins with them.

    Raises BadInput for an empty recording and what raw.read raises.
    """
    problems = Problems()
    decoder: _Decoder | None = None
    for turn in _turns(_in_order(raw.read(path), problems)):
        decoder = decoder or _Decoder(turn[0].ts_ns, problems)
        decoder.take(turn)
    if decoder is None:
        raise BadInput(f"{path}: expected recorded frames, found none; record some first")
    for line, channel in decoder.inbox.channels.items():
        for reason, times in kpis.health(line, channel.kpis).refused.items():
            problems.note(reason, f"{times} frames of {line}")
    return Recording(
        events=np.concatenate(decoder.events),
        windows=tuple(
            Window(slug=slug, payout_e4=decoder.payouts.get(market.number))
            for slug, market in decoder.listed.items()
        ),
        problems=problems.listed(),
    )


class _Decoder:
    """An inbox that is told what the live one was told."""

    def __init__(self, first_ns: int, problems: Problems) -> None:
        self.inbox = Inbox(range(len(ASSETS)), _NOTHING, first_ns)
        self.events: list[Events] = []
        self.listed: dict[str, Market] = {}
        self.payouts: dict[int, int] = {}
        self._problems = problems
        self._followed: dict[str, Market] = {}
        self._tidied_ns = first_ns

    def take(self, turn: list[Record]) -> None:
        """Decode the records of a turn."""
        found: dict[Line, list[Frame | Lost]] = defaultdict(list)
        for one in turn:
            if one.line == raw.GAMMA:
                self._discover(one)
            elif one.line not in self.inbox.channels:
                self._problems.note("UNKNOWN_LINE", f"{one.line} at {one.ts_ns}")
            elif one.mark == Mark.FRAME:
                found[Line(one.line)].append(Frame(one.ts_ns, one.payload))
            elif one.mark == Mark.LOST:
                found[Line(one.line)].append(Lost(one.ts_ns, one.payload.decode()))
        now_ns = max(one.ts_ns for one in turn)
        events = self.inbox.take(found, now_ns)
        self.inbox.errands(now_ns)
        self.events.append(events)
        for result in events[events["kind"] == Kind.RESOLVED]:
            self.payouts[int(result["market"])] = int(result["price"])
        if now_ns >= self._tidied_ns + SECOND_NS:
            self._tidied_ns = now_ns
            self._forget(now_ns)

    def _discover(self, record: Record) -> None:
        """A market that was found, or asked for again because its result did not come."""
        try:
            found = gamma_market(record.payload)
            payout_e4 = result_e4(found)
            if found.slug not in self.listed:
                self._watch(found, record.ts_ns)
        except BadFrame as error:
            self._problems.note(error.reason, f"{record.line} at {record.ts_ns}: {error}")
            return
        market = self._followed.get(found.slug)
        if market and payout_e4 is not None and market.number not in self.inbox.resolved:
            self.inbox.result(market, payout_e4, record.ts_ns)

    def _watch(self, found: GammaMarket, ts_ns: int) -> None:
        window = from_gamma(found, 0)
        number = self.inbox.number(window.series, window.start_ns)
        market = structs.replace(window, number=number)
        self.listed[found.slug] = self._followed[found.slug] = market
        self.inbox.watch(market, ts_ns)

    def _forget(self, now_ns: int) -> None:
        for slug, market in list(self._followed.items()):
            if is_over(end_ns(market), market.number in self.inbox.resolved, now_ns):
                self.inbox.forget(market)
                del self._followed[slug]


def _turns(records: Iterator[Record]) -> Iterator[list[Record]]:
    """The records in lists of what came together."""
    turn: list[Record] = []
    for one in records:
        if turn and abs(one.ts_ns - turn[0].ts_ns) >= TURN_NS:
            yield turn
            turn = []
        turn.append(one)
    if turn:
        yield turn


def _in_order(found: Iterator[Record | Cut], problems: Problems) -> Iterator[Record]:
    """The records by receipt. Those of one line keep their order, even when a clock was set back.

    Lines were recorded one after the other, each with what had come since the turn before.
    """
    waiting: list[tuple[int, int, Record]] = []
    latest: dict[str, int] = {}
    newest_ns = 0
    for place, one in enumerate(found):
        if isinstance(one, Cut):
            problems.note("CUT", f"{one.path}: {one.size} bytes from byte {one.offset} on")
            continue
        at_ns = latest[one.line] = max(one.ts_ns, latest.get(one.line, 0))
        newest_ns = max(newest_ns, at_ns)
        heapq.heappush(waiting, (at_ns, place, one))
        while waiting[0][0] <= newest_ns - LONGEST_TURN_NS:
            yield heapq.heappop(waiting)[2]
    yield from (one for _, _, one in sorted(waiting))
