"""Faults of the built-in market: what goes wrong on which line, when and how often. Seeded, pure.

In: a schedule of faults, frames with their times. Out: the frames that come through, changed, late
or not at all. Never here: a socket, a clock, chance that a seed does not repeat.
"""

import random
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from fairwind.core.errors import BadInput
from fairwind.core.units import SECOND_NS

FAULTS = 1_000
"""So many may be set at once."""
NEVER_NS = 2**62
HTML = b"<!DOCTYPE html><html><head><title>Error</title></head><body>Bad gateway</body></html>"
RESULT = b'"market_resolved"'
STATUSES = (425, 429, 500, 503)
CODES = (1000, 1001, 1008, 1011, 1012, 1013, 4002)
BY_NS_MAX = 3600 * SECOND_NS
HELD_FRAMES = 2_000
"""So many may wait behind a delay or in a frozen connection; then it is closed as too slow."""


class LineName(StrEnum):
    """A stream, or a group of REST routes."""

    MARKET = "market"
    USER = "user"
    RTDS = "rtds"
    POLYBOLT = "polybolt"
    COINBASE = "coinbase"
    GAMMA = "rest-gamma"
    CLOB = "rest-clob"
    ORDERS = "orders"


STREAMS = tuple(LineName)[:5]
ROUTES = tuple(LineName)[5:]
STAMPED = (*STREAMS[:1], *STREAMS[2:], LineName.CLOB)


class Kind(StrEnum):
    """What goes wrong."""

    DROP = "drop"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    DELAY = "delay"
    FREEZE = "freeze"
    CLOSE = "close"
    CUT = "cut"
    FLIP = "flip"
    HTML = "html"
    SKEW = "skew"
    JUMP = "jump"
    STATUS = "status"
    STALE = "stale"
    LATE_RESULT = "late-result"
    LOST_RESULT = "lost-result"
    DUPLICATE_RESULT = "duplicate-result"
    MISSING_PRINT = "missing-print"
    DELAYED = "delayed"
    FAILED = "failed"


LINES: dict[Kind, Sequence[LineName]] = {
    Kind.DROP: STREAMS,
    Kind.DUPLICATE: STREAMS,
    Kind.REORDER: STREAMS,
    Kind.DELAY: (*STREAMS, *ROUTES),
    Kind.FREEZE: (*STREAMS, *ROUTES),
    Kind.CLOSE: STREAMS,
    Kind.CUT: (*STREAMS, *ROUTES),
    Kind.FLIP: (*STREAMS, *ROUTES),
    Kind.HTML: (*STREAMS, *ROUTES),
    Kind.SKEW: STAMPED,
    Kind.JUMP: STAMPED,
    Kind.STATUS: ROUTES,
    Kind.STALE: (LineName.GAMMA, LineName.CLOB),
    Kind.LATE_RESULT: (LineName.MARKET,),
    Kind.LOST_RESULT: (LineName.MARKET,),
    Kind.DUPLICATE_RESULT: (LineName.MARKET,),
    Kind.MISSING_PRINT: (LineName.RTDS, LineName.POLYBOLT),
    Kind.DELAYED: (LineName.ORDERS,),
    Kind.FAILED: (LineName.ORDERS,),
}
"""On which lines each kind can be."""
OF_STAMPS = {Kind.SKEW, Kind.JUMP}
OF_VENUE = OF_STAMPS | {Kind.LATE_RESULT, Kind.MISSING_PRINT, Kind.DELAYED, Kind.FAILED}
"""Kinds that act where the venue makes its frames, not on the way."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault. It acts within its time, after `skip` chances, on the next `times` (0: all).

    A chance is a frame, a request, a print, a result or a trade of the line, by kind.
    """

    kind: Kind
    line: LineName
    from_ns: int = 0
    until_ns: int = NEVER_NS
    skip: int = 0
    times: int = 1
    holding: str = ""  # only frames with this text are chances
    by_ns: int = 0  # how late, or how far off
    code: int = 0  # of a close, or HTTP status
    seed: int = 0  # where a frame is cut or flipped

    def active(self, now_ns: int) -> bool:
        """Whether a moment is within its time."""
        return self.from_ns <= now_ns < self.until_ns


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """A fault and how often it has acted."""

    fault: Fault
    fired: int


class Close(NamedTuple):
    """A connection ends with a code and a reason."""

    code: int
    reason: str


SLOW = Close(1013, "slow consumer: send buffer full")


class _Set:
    """A fault that is set, and its counts."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.holding = RESULT if fault.kind.endswith("-result") else fault.holding.encode()
        self.seen = self.fired = 0

    def acts(self, now_ns: int) -> bool:
        """Whether it acts on this chance."""
        fault = self.fault
        if not fault.active(now_ns) or (fault.times and self.fired >= fault.times):
            return False
        self.seen += 1
        self.fired += self.seen > fault.skip
        return self.seen > fault.skip


class Faults:
    """The faults that are set, shared by all lines."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._set: dict[LineName, list[_Set]] = {name: [] for name in LineName}
        self.add(list(faults))

    def add(self, faults: Sequence[Fault]) -> None:
        """Set more of them, or none of them: BadInput for the first that cannot be."""
        for fault in faults:
            check(fault)
        if len(faults) + sum(map(len, self._set.values())) > FAULTS:
            raise BadInput(f"faults: expected at most {FAULTS} at once; clear them first")
        for fault in faults:
            self._set[fault.line].append(_Set(fault))

    def clear(self) -> None:
        """Nothing goes wrong any more; what is on its way stays as it is."""
        for on_line in self._set.values():
            on_line.clear()

    def again(self) -> None:
        """Count from nothing: the market begins anew."""
        faults = [one.fault for one in self.fired()]
        self.clear()
        self.add(faults)

    def fired(self) -> list[Fired]:
        """Each fault that is set, by line, and how often it has acted."""
        sets = (one for on_line in self._set.values() for one in on_line)
        return [Fired(fault=one.fault, fired=one.fired) for one in sets]

    def on_frame(self, line: LineName, frame: bytes, now_ns: int) -> list[tuple[Fault, int]]:
        """What befalls a frame or an answer, each with how often it has acted by now."""
        return [
            (one.fault, one.fired)
            for one in self._set[line]
            if one.fault.kind not in OF_VENUE and one.holding in frame and one.acts(now_ns)
        ]

    def acting(self, kind: Kind, line: LineName, now_ns: int) -> Fault | None:
        """The first fault of a kind that acts now, at a chance of it."""
        for one in self._set[line]:
            if one.fault.kind is kind and one.acts(now_ns):
                return one.fault
        return None

    def off_ns(self, line: LineName, now_ns: int) -> int:
        """How far off the stamps of a line are: a jump at once, a skew more and more."""
        off_ns = 0
        for one in self._set[line]:
            fault = one.fault
            if fault.kind not in OF_STAMPS or not fault.active(now_ns):
                continue
            one.fired = 1
            span_ns = fault.until_ns - fault.from_ns
            grown_ns = now_ns - fault.from_ns if fault.kind is Kind.SKEW else span_ns
            off_ns += fault.by_ns * grown_ns // span_ns
        return off_ns


class Line:
    """One connection of a line: frames in, what comes through of them out."""

    def __init__(self, name: LineName, faults: Faults) -> None:
        self.name = name
        self._faults = faults
        self._out: list[bytes | Close] = []
        self._held: deque[tuple[int, bytes]] = deque()
        self._held_until_ns = 0
        self._overtaken: list[bytes] = []
        self._closed = False

    def send(self, frame: bytes, now_ns: int) -> None:
        """A frame as the venue sends it, and when."""
        self._release(now_ns)
        if self._closed:
            return
        copies, overtaken = 1, False
        for fault, fired in self._faults.on_frame(self.name, frame, now_ns):
            kind = fault.kind
            if kind in (Kind.DROP, Kind.LOST_RESULT):
                copies = 0
            elif kind in (Kind.DUPLICATE, Kind.DUPLICATE_RESULT):
                copies += 1
            elif kind is Kind.REORDER:
                overtaken = True
            elif kind is Kind.DELAY:
                self._held_until_ns = max(self._held_until_ns, now_ns + fault.by_ns)
            elif kind is Kind.FREEZE:
                self._held_until_ns = max(self._held_until_ns, fault.until_ns)
            elif kind is Kind.CLOSE:
                self._close(Close(fault.code, "fault"))
                return
            else:
                frame = corrupted(frame, fault, fired)
        if overtaken:
            self._overtaken += [frame] * copies
            return
        for one in (*[frame] * copies, *self._overtaken):
            self._pass_on(one, now_ns)
        self._overtaken.clear()

    def due(self, now_ns: int) -> list[bytes | Close]:
        """What has come through since the last call; nothing follows a Close."""
        self._release(now_ns)
        out, self._out = self._out, []
        return out

    def _pass_on(self, frame: bytes, now_ns: int) -> None:
        if self._held_until_ns <= now_ns:
            self._out.append(frame)
        elif self._held_until_ns < NEVER_NS:
            self._held.append((self._held_until_ns, frame))
        if len(self._held) > HELD_FRAMES:
            self._close(SLOW)

    def _release(self, now_ns: int) -> None:
        while self._held and self._held[0][0] <= now_ns:
            self._out.append(self._held.popleft()[1])

    def _close(self, close: Close) -> None:
        """What was held is lost."""
        self._held.clear()
        self._out.append(close)
        self._closed = True


def corrupted(frame: bytes, fault: Fault, fired: int) -> bytes:
    """The frame cut short, with one bit turned, or a page of HTML in its place."""
    if fault.kind is Kind.HTML:
        return HTML
    if not frame:
        return frame
    place = (fault.seed + fired * 7919) % len(frame)
    if fault.kind is Kind.CUT:
        return frame[:place]
    return frame[:place] + bytes([frame[place] ^ 1]) + frame[place + 1 :]


def check(fault: Fault) -> None:
    """BadInput unless the fault can be."""
    kind, by_ns = fault.kind, fault.by_ns
    expected = {
        "line": (fault.line in LINES[kind], " or ".join(LINES[kind])),
        "until_ns": (fault.from_ns < fault.until_ns, "a time after from_ns"),
        "skip": (fault.skip >= 0, "0 or more"),
        "times": (fault.times >= 0, "0 (always) or more"),
    }
    if kind in OF_STAMPS:
        expected["by_ns"] = (0 < abs(by_ns) <= BY_NS_MAX, f"1 to {BY_NS_MAX} either way")
    if kind in (Kind.DELAY, Kind.LATE_RESULT):
        expected["by_ns"] = (0 < by_ns <= BY_NS_MAX, f"1 to {BY_NS_MAX}")
    if kind is Kind.SKEW:
        expected["until_ns"] = (fault.from_ns < fault.until_ns < NEVER_NS, "its end")
    if kind is Kind.CLOSE:
        expected["code"] = (fault.code in CODES, f"one of {CODES}")
    if kind is Kind.STATUS:
        expected["code"] = (fault.code in STATUSES, f"one of {STATUSES}")
    for name, (right, wanted) in expected.items():
        if not right:
            found = getattr(fault, name)
            raise BadInput(f"fault {kind}: {name}: expected {wanted}, found {found}")


def schedule(
    seed: int,
    begin_ns: int,
    end_ns: int,
    kinds: Collection[Kind] = tuple(Kind),
    lines: Collection[LineName] = tuple(LineName),
) -> list[Fault]:
    """One random fault, or two of different kinds, between two times; only on the lines given.

    The same arguments give the same schedule.
    """
    chance = random.Random(seed)
    possible = [k for k in Kind if k in kinds and not set(LINES[k]).isdisjoint(lines)]
    chosen = chance.sample(possible, min(chance.choice((1, 2)), len(possible)))
    return [_drawn(kind, lines, chance, (begin_ns, end_ns)) for kind in chosen]


def _drawn(
    kind: Kind, lines: Collection[LineName], chance: random.Random, span_ns: tuple[int, int]
) -> Fault:
    """A fault of a kind. Results and prints are rare, so theirs last for the whole time."""
    begin_ns, end_ns = span_ns
    from_ns = chance.randrange(begin_ns, end_ns)
    until_ns = from_ns + round(SECOND_NS * 10 ** chance.uniform(-0.5, 1.8))
    skip, times = chance.choice((0, 0, 1, chance.randrange(20))), chance.choice((1, 1, 3, 0))
    if kind is Kind.MISSING_PRINT or kind.endswith("-result"):
        from_ns, until_ns, skip, times = begin_ns, end_ns, 0, 0
    by_ns = round(SECOND_NS * 10 ** chance.uniform(-2, 2))
    sign = chance.choice((1, -1)) if kind in OF_STAMPS else 1
    codes = {Kind.CLOSE: CODES, Kind.STATUS: STATUSES}.get(kind, (0,))
    return Fault(
        kind=kind,
        line=chance.choice([line for line in LINES[kind] if line in lines]),
        from_ns=from_ns,
        until_ns=until_ns,
        skip=skip,
        times=times,
        by_ns=sign * by_ns,
        code=chance.choice(codes),
        seed=chance.randrange(2**32),
    )
