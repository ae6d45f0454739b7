"""The batches of one connection: ordinary frames by compiled code, any other one by its owner.

In: the names of markets, and frames in the order of their receipt. Out: the rows of all of them.
Never here: a frame that is taken twice, skipped, or taken before another one that came earlier.
"""

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fairwind.core.errors import BadInput
from fairwind.core.events import EVENT, Events
from fairwind.feeds.frames import Row, as_events
from fairwind.feeds.kpis import Count, Kpis
from fairwind.feeds.scanned import scan
from fairwind.feeds.scanned.record import (
    BYTES_MAX,
    CHANNEL,
    FRAMES_MAX,
    MARKETS_MAX,
    NO_KEY,
    TEXT_WORDS,
)
from fairwind.feeds.scanned.snapshots import HASH_CHARACTERS
from fairwind.feeds.scanned.text import MARGIN_BYTES, text

NAMES = re.compile("[0-9A-Za-z]{16,90}")
"""Names of markets and tokens that need no escape and have room in a book's record."""
KEY_IN_NAME = int(scan.KEY_AT) - len(scan.NAME)
MARGIN = bytes(MARGIN_BYTES)
LONGEST = BYTES_MAX - 2 * MARGIN_BYTES
NUMBERS = EVENT.itemsize // 8
"""A row is so many numbers: NumPy copies records field by field, ten times slower."""


class Owner(Protocol):
    """Whoever knows what compiled code does not."""

    def other(self, payload: bytes, ts_ns: int) -> list[Row]:
        """The rows of a frame that is not ordinary."""

    def check(self, market: str, stamp: int, sent_hash: str, ts_ns: int) -> list[Row]:
        """Compare the checksum of a market's message just applied; rows when the book ends."""


class Channel:
    """The record of a connection."""

    def __init__(self, kpis: Kpis) -> None:
        self._array = np.zeros(1, CHANNEL)
        self._record = self._array[0]
        self._record["keys"] = NO_KEY
        self._record["ages"] = kpis.ages
        kpis.ages = self._record["ages"]
        self._kpis = kpis
        self._last = b""
        self._slots: dict[str, int] = {}
        self._rows = self._record["rows"].view(np.int64)
        self._bytes = self._record["bytes"].data
        self._lengths, self._times = self._record["lengths"], self._record["times"]

    def book(self, condition_id: str) -> np.void:
        """The record for that market's book; BadInput when MARKETS_MAX others are watched."""
        taken = set(self._slots.values())
        free = (slot for slot in range(MARKETS_MAX) if slot not in taken)
        slot = self._slots.get(condition_id, next(free, None))
        if slot is None:
            raise BadInput(
                f"expected at most {MARKETS_MAX} markets on one connection, found one more, "
                f"{condition_id}; forget those that are over, or open another connection"
            )
        self._slots[condition_id] = slot
        book: np.void = self._record["books"][slot]
        return book

    def watch(self, condition_id: str, tokens: tuple[str, str]) -> None:
        """Look for the market's messages from now on. Strange or long names are never found."""
        slot = self._slots[condition_id]
        if not all(NAMES.fullmatch(one) for one in (condition_id, *tokens)):
            return
        book = self._record["books"][slot]
        book["name"] = text(f'{scan.NAME}{condition_id}","', TEXT_WORDS)
        book["tokens"] = [text(f'{token}","', TEXT_WORDS) for token in tokens]
        key = condition_id[KEY_IN_NAME : KEY_IN_NAME + 8].encode()
        self._record["keys"][slot] = int.from_bytes(key, "little")

    def forget(self, condition_id: str) -> None:
        """The market's messages are not looked for any more, and its record is free."""
        self._record["keys"][self._slots.pop(condition_id)] = NO_KEY

    def take(self, times: Sequence[int], payloads: Sequence[bytes], owner: Owner) -> Events:
        """The rows of the frames, at least one; shape (n,). Their times of receipt are in ns."""
        parts: list[NDArray[np.int64]] = []
        first = 0
        while first < len(payloads):
            last = first + FRAMES_MAX
            count = self._load(times[first:last], payloads[first:last])
            number = 0
            while number < count:
                number, filled, due = scan.walk(self._array, number)
                parts.append(self._rows[: NUMBERS * filled].copy())
                if due != scan.NO_SLOT:
                    self._check(int(due), times[first + number - 1], parts, owner)
                elif number < count:
                    rows = owner.other(payloads[first + number], times[first + number])
                    parts.append(as_events(rows).view(np.int64))
                    number += 1
            repeated = int(self._record["repeated"])
            self.seen(payloads[first], payloads[first + count - 1], repeated)
            first += count
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)).view(EVENT)

    def seen(self, first: bytes, last: bytes, repeated: int = 0) -> None:
        """Count the frames that have the bytes of the one before them: `repeated` of those from
        `first` to `last`, and maybe `first` itself.
        """
        repeated += len(first) >= scan.REPEATED_BYTES_MIN and first == self._last
        self._kpis.add(Count.DUPLICATES, repeated)
        self._last = last

    def _check(self, slot: int, ts_ns: int, parts: list[NDArray[np.int64]], owner: Owner) -> None:
        """Have a book's checksum compared after its change; in doubt, the change is no row."""
        book = self._record["books"][slot]
        at, book["hash_at"] = int(book["hash_at"]), 0
        sent_hash = bytes(self._bytes[at : at + HASH_CHARACTERS]).decode()
        market = next(market for market, of in self._slots.items() if of == slot)
        doubted = owner.check(market, int(book["newest_ns"]), sent_hash, ts_ns)
        if doubted:
            parts[-1] = parts[-1][:-NUMBERS]
            parts.append(as_events(doubted).view(np.int64))

    def _load(self, times: Sequence[int], payloads: Sequence[bytes]) -> int:
        """Put as many frames into the record as have room, at least one; returns how many.

        A single frame that is too long lies there as no bytes, and so is not ordinary.
        """
        joined = b"".join(payloads)
        while len(joined) > LONGEST:
            payloads = payloads[: len(payloads) // 2] or [b""]
            joined = b"".join(payloads)
        count = len(payloads)
        end = MARGIN_BYTES + len(joined)
        self._bytes[MARGIN_BYTES:end] = joined
        self._bytes[end : end + MARGIN_BYTES] = MARGIN
        self._lengths[:count] = np.fromiter(map(len, payloads), np.int64, count)
        self._times[:count] = times[:count]
        self._record["frames"], self._record["repeated"] = count, 0
        return count
