"""What every recorded data set becomes: events in one order, labels, and what was wrong or assumed.

In: rows that an adapter collected. Out: a Recording. Never here: a file format, a label fed to the
engine, a bad row that is dropped without being counted and named.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

import msgspec
import numpy as np

from fairwind.core.errors import BadInput
from fairwind.core.events import (
    ALL_MARKETS,
    EVENT,
    HORIZONS_S,
    Events,
    Kind,
    Side,
    Source,
    in_order,
)
from fairwind.core.ids import parse_slug, slug
from fairwind.core.units import SECOND_NS, reference_parts

TICK_E4 = 100
MIN_SIZE_MICRO = 5_000_000
LISTED_EARLY_NS = 60 * SECOND_NS
CLOSING_NS = 60 * SECOND_NS
RESOLVED_AFTER_NS = 20 * SECOND_NS
BOUNDARY_WITHIN_NS = 60 * SECOND_NS
"""Where the last print before a boundary decides, an older one than this decides nothing."""
_EARLIEST_NS = 1_262_304_000 * SECOND_NS
_LATEST_NS = 4_102_444_800 * SECOND_NS
"""2010 and 2100: a receipt time outside them is none."""
LISTING_ASSUMED = "each window opens with a tick of 0.01 and a minimum size of 5 shares"
RESOLVED_ASSUMED = "the record has no settlement stream: its result is reported 20 s after the end"
_PER_MARKET = (Kind.LISTED, Kind.FEES, Kind.LEVEL, Kind.CLEAR, Kind.TRADE, Kind.TICK, Kind.RESOLVED)


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the data set says about a window, for comparison only. None: it does not say."""

    slug: str
    strike: Decimal | None = None
    final: Decimal | None = None
    payout_e4: int | None = None

    @property
    def outcome(self) -> str | None:
        """`Up`, `Down`, `Void`, or None while it is not known."""
        return {10_000: "Up", 0: "Down", 5_000: "Void", None: None}[self.payout_e4]


class Problem(NamedTuple):
    """A kind of bad row: how many there were, and the first one's place and text."""

    code: str
    rows: int
    example: str


class Check(NamedTuple):
    """A health check of the record against the venue's own figures."""

    name: str
    checked: int
    agreed: int
    disagreed: int


@dataclass(frozen=True)
class Recording:
    """A data set as the engine reads it, with what a report must say about it."""

    events: Events
    windows: tuple[Window, ...] = ()
    problems: tuple[Problem, ...] = ()
    assumptions: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def slugs(self) -> dict[int, str]:
        """Market number -> slug, from the LISTED events."""
        listed = self.events[self.events["kind"] == Kind.LISTED]
        return {
            int(one["market"]): slug(int(one["ref"]), int(one["ts_source_ns"])) for one in listed
        }


class Problems:
    """Counts bad rows by code. With `strict`, a row that cannot be read at all is an error."""

    def __init__(self, *, strict: bool = True) -> None:
        self._strict = strict
        self._found: dict[str, tuple[int, str]] = {}

    def note(self, code: str, example: str) -> None:
        """Count one row under `code`; the first example is kept, shortened."""
        count, first = self._found.get(code, (0, example[:200]))
        self._found[code] = (count + 1, first)

    def reject(self, where: str, text: str, expected: str) -> None:
        """Count a row that cannot be read; raises BadInput when strict."""
        said = f"{where}: expected {expected}, found {text[:120]!r}"
        if self._strict:
            raise BadInput(f"{said}; repair or remove the row, or read on with `tolerate`")
        self.note("BAD_ROW", said)

    def listed(self) -> tuple[Problem, ...]:
        """All problems, in the order of their first appearance."""
        return tuple(Problem(code, count, text) for code, (count, text) in self._found.items())


class Rows:
    """Collects events in any order of time. `ts_ns` and the rest as in EVENT."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        kind: Kind,
        ts_ns: int,
        market: int = 0,
        price: int = 0,
        size: int = 0,
        *,
        ts_source_ns: int = 0,
        ref: int = 0,
        source: Source = Source.POLYMARKET,
        side: int = Side.NONE,
        flags: int = 0,
    ) -> None:
        """Append one event."""
        self._rows.append(
            (ts_ns, ts_source_ns, price, size, market, ref, kind, source, side, flags)
        )

    def list_market(
        self, market: int, name: str, first_ns: int, min_size_micro: int = MIN_SIZE_MICRO
    ) -> None:
        """LISTED for the window `name`: a minute before it starts, or before its first event.

        Raises BadInput when `name` is no window's slug.
        """
        number, start_ns = parse_slug(name)
        self.add(
            Kind.LISTED,
            min(first_ns, start_ns - LISTED_EARLY_NS),
            market,
            TICK_E4,
            min_size_micro,
            ts_source_ns=start_ns,
            ref=number,
        )

    def add_published(
        self, ts_ns: int, asset: int, value: Decimal, at_ns: int, averaging_s: int
    ) -> None:
        """A settlement value for the instant `at_ns`, as the venue published it by `ts_ns`.

        Its source is RECORDED, so that it is never taken for a print of the oracle's stream.
        """
        self.add(
            Kind.REFERENCE,
            ts_ns,
            asset,
            *reference_parts(value),
            ts_source_ns=at_ns,
            ref=averaging_s,
            source=Source.RECORDED,
        )

    def events(self) -> Events:
        """All events in order; BadInput for a number that fits no event, or no receipt time."""
        try:
            found = np.array(self._rows, EVENT)
        except OverflowError as error:
            raise BadInput(
                f"expected numbers that fit 64 bits, found a larger one ({error})"
            ) from error
        odd = found[(found["ts_ns"] < _EARLIEST_NS) | (found["ts_ns"] >= _LATEST_NS)]
        if len(odd):
            raise BadInput(
                f"expected receipt times from 2010 to 2100, found {odd['ts_ns'][0]} ns in a"
                f" {Kind(odd['kind'][0]).name} row"
            )
        return in_order(found)


def is_receipt(ts_ns: int) -> bool:
    """Whether a record can have received something at `ts_ns`."""
    return _EARLIEST_NS <= ts_ns < _LATEST_NS


def window_end_ns(name: str) -> int:
    """The end of the window with this slug."""
    number, start_ns = parse_slug(name)
    return start_ns + HORIZONS_S[number % len(HORIZONS_S)] * SECOND_NS


def closing(events: Events) -> Events:
    """One TIMER a minute after the last event, so that what is due by then is decided."""
    timer = np.zeros(1, EVENT)
    timer["ts_ns"] = events["ts_ns"][-1] + CLOSING_NS
    timer["kind"], timer["source"], timer["side"] = Kind.TIMER, Source.CLOCK, Side.NONE
    return np.concatenate([events, timer])


def once(values: Iterable[str]) -> tuple[str, ...]:
    """The distinct texts, in the order of their first appearance."""
    return tuple(dict.fromkeys(values))


def merge(recordings: Sequence[Recording]) -> Recording:
    """Several recordings as one in time order; at least one, each with at least one event.

    Markets are renumbered in the order of their windows' start. A window that is in several
    recordings is refused with BadInput. A spot or reference print that several recordings carry is
    kept once, as it was first received.
    """
    starts: list[tuple[int, str, int, int]] = []
    for index, recording in enumerate(recordings):
        listed = recording.events[recording.events["kind"] == Kind.LISTED]
        for event, name in zip(listed, recording.slugs.values(), strict=True):
            starts.append((int(event["ts_source_ns"]), name, index, int(event["market"])))
    names = [name for _, name, _, _ in starts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"expected each window once, found {twice[0]} in several files; keep one")
    number = {(index, market): new for new, (_, _, index, market) in enumerate(sorted(starts))}
    parts = [
        _renumbered(recording.events, {m: n for (i, m), n in number.items() if i == index})
        for index, recording in enumerate(recordings)
    ]
    events = _shared_once(in_order(np.concatenate(parts)))
    return Recording(
        events=events,
        windows=tuple(window for recording in recordings for window in recording.windows),
        problems=_summed(problem for recording in recordings for problem in recording.problems),
        assumptions=once(text for recording in recordings for text in recording.assumptions),
        checks=tuple(check for recording in recordings for check in recording.checks),
    )


def with_problems(recording: Recording, problems: Problems) -> Recording:
    """The recording with further problems."""
    return replace(recording, problems=_summed((*recording.problems, *problems.listed())))


def _renumbered(events: Events, numbers: dict[int, int]) -> Events:
    """A copy without the closing TIMER, with new market numbers where the kind has a market."""
    kept = events[: len(events) - int(events["kind"][-1] == Kind.TIMER)].copy()
    table = np.arange(ALL_MARKETS + 1, dtype=np.uint16)
    for old, new in numbers.items():
        table[old] = new
    of_market = np.isin(kept["kind"], (*_PER_MARKET, Kind.GAP))
    kept["market"][of_market] = table[kept["market"][of_market]]
    return kept


def _shared_once(events: Events) -> Events:
    """The events without later copies of the same spot or reference print, then a closing TIMER."""
    shared = np.flatnonzero(np.isin(events["kind"], (Kind.SPOT, Kind.REFERENCE)))
    prints = events[shared].copy()
    prints["ts_ns"][prints["ts_source_ns"] != 0] = 0
    _, first = np.unique(prints, return_index=True)
    keep = np.ones(len(events), bool)
    keep[shared] = False
    keep[shared[first]] = True
    kept: Events = events[keep]
    return closing(kept)


def _summed(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    total: dict[str, Problem] = {}
    for one in problems:
        before = total.get(one.code, Problem(one.code, 0, one.example))
        total[one.code] = before._replace(rows=before.rows + one.rows)
    return tuple(total.values())
