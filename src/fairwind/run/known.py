"""What an engine holds already of the world, so that a restarted session repeats nothing to it.

In: a recovered state and its journal. Out: a Known. Never here: a change of either.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairwind.core.events import ALL_MARKETS, Events, Kind, Side, empty
from fairwind.core.units import SECOND_NS
from fairwind.engine.state import GRID_E4, LEVELS, MARKETS, State
from fairwind.feeds.discovery import is_over
from fairwind.journal import file, log
from fairwind.journal.record import Mark

REMEMBERED_NS = 150 * SECOND_NS
"""A feed repeats prints of the last one or two minutes when it connects."""


class Book(NamedTuple):
    """A valid book: levels as (side, price_e4, size in micro shares)."""

    levels: Sequence[tuple[int, int, int]]
    stamp_ns: int  # the venue's time of its last change


class Known(NamedTuple):
    """Windows by (series, start_ns), books by number, newest spot and latest prints."""

    last_ns: int  # time of the last event; 0: there was none
    next_number: int
    numbers: Mapping[tuple[int, int], int]  # of windows that are not over
    resolved: Collection[int]  # numbers of those whose result has come from the venue
    ticks: Mapping[int, int]  # tick_e4 by number
    books: Mapping[int, Book]  # of those that are valid
    spots: Mapping[int, tuple[int, int]]  # asset: price_e8, the source's time
    prints: Sequence[tuple[int, int, int]]  # asset, averaging seconds, time of observation


def known(state: State, run: Path) -> Known:
    """What the state and the last two and a half minutes of its journal hold."""
    last_ns = int(state.record.now_ns)
    markets = state.record.markets
    latest = _latest(run, last_ns - REMEMBERED_NS)
    spots = latest[latest["kind"] == Kind.SPOT]
    prints = latest[latest["kind"] == Kind.REFERENCE]
    held = [
        slot
        for slot, one in enumerate(markets)
        if one["number"] >= 0
        and (one["active"] or not is_over(int(one["end_ns"]), bool(one["confirmed"]), last_ns))
    ]
    numbers = {slot: int(markets[slot]["number"]) for slot in held}
    return Known(
        last_ns=last_ns,
        next_number=next_number(markets["number"], markets["start_ns"]),
        numbers={
            (int(markets[slot]["series"]), int(markets[slot]["start_ns"])): number
            for slot, number in numbers.items()
        },
        resolved={number for slot, number in numbers.items() if markets[slot]["confirmed"]},
        ticks={number: int(markets[slot]["tick_e4"]) for slot, number in numbers.items()},
        books={
            number: _book(state, slot)
            for slot, number in numbers.items()
            if markets[slot]["valid"] == 1
        },
        spots={int(one["market"]): (int(one["price"]), int(one["ts_source_ns"])) for one in spots},
        prints=[(int(one["market"]), int(one["ref"]), int(one["ts_source_ns"])) for one in prints],
    )


def next_number(numbers: NDArray[np.int64], starts_ns: NDArray[np.int64]) -> int:
    """The number after the last one given. Numbers are given in turn and begin anew after the
    largest, so the last one lies a little ahead of that of the window that starts last."""
    held = numbers >= 0
    if not held.any():
        return 0
    newest = int(numbers[held][np.argmax(starts_ns[held])])
    ahead = (numbers[held] - newest) % ALL_MARKETS
    return int(newest + 1 + ahead[ahead < MARKETS].max()) % ALL_MARKETS


def _book(state: State, slot: int) -> Book:
    levels: list[tuple[int, int, int]] = []
    for side in Side.BID, Side.ASK:
        start = (slot * 2 + side) * LEVELS
        sizes = state.record.books[start : start + LEVELS]
        levels += [(side, int(at) * GRID_E4, int(sizes[at])) for at in np.flatnonzero(sizes)]
    return Book(levels, int(state.record.markets[slot]["book_ts_source_ns"]))


def _latest(run: Path, from_ns: int) -> Events:
    """The journal's events from a time on, read from the newest segment that is old enough."""
    folder = run / "journal"
    for number in range(len(log.segment_paths(folder)), 0, -1):
        found = file.inputs(run, log.beginning(folder, number))
        parts = [part for part in found if not isinstance(part, Mark)]
        if number == 1 or (parts and parts[0]["ts_ns"][0] <= from_ns):
            latest: Events = np.concatenate([empty(0), *parts])
            return latest[latest["ts_ns"] >= from_ns]
    return empty(0)
