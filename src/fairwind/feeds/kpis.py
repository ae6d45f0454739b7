"""What a feed counts about itself: how much came, how old it was, and what was wrong with it.

In: one call for each thing that happened. Out: counters and age percentiles, in bounded memory.
Never here: a judgement; what is too old or too much is decided by who reads it.
"""

from collections import Counter
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
from numpy import int64

from fairwind.core.compiled import compiled

AGE_STEPS = 8
"""Steps of the age histogram for each doubling: a percentile is at most an eighth too high."""
AGE_SLOTS = 64 * AGE_STEPS


class Count(StrEnum):
    """What is counted, beside the reasons of refused frames."""

    MESSAGES = "messages"
    GAPS = "gaps"  # data was lost: a jump in a sequence, a book that contradicts itself
    DUPLICATES = "duplicates"  # the same message twice in a row, or a print seen before
    OUT_OF_ORDER = "out_of_order"  # older than what it would replace, and so ignored
    RECONNECTS = "reconnects"
    CHECKSUMS = "checksums"
    CHECKSUM_FAILURES = "checksum_failures"
    HEARTBEAT_MISSES = "heartbeat_misses"
    PARITY = "parity"  # Up and Down contradicted each other by more than two cents
    IGNORED = "ignored"  # a message that is known and not used


class Kpis:
    """The counters of one feed."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.invalid_book_ns = 0
        self.ages = np.zeros(AGE_SLOTS, np.int64)
        """How many messages were of each slot's age."""

    def add(self, what: str, times: int = 1) -> None:
        """Count `what`, a Count or a Reason."""
        if times:
            self.counts[what] += times

    def age(self, age_ns: int) -> None:
        """One message was `age_ns` old on receipt. A clock that is behind makes it 0."""
        self.ages[slot_of_age(age_ns)] += 1

    def age_percentile_ns(self, percent: float) -> int:
        """The age that `percent` of the messages did not exceed, at most 1/8 too high; 0: none."""
        seen = np.cumsum(self.ages)
        if seen[-1] == 0:
            return 0
        wanted = max(seen[-1] * percent / 100, 1)
        return _upper(int(np.searchsorted(seen, wanted)))


class Health(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A feed's figures since it began. Ages are from the venue's stamp to our receipt."""

    feed: str
    messages: int
    gaps: int
    duplicates: int
    out_of_order: int
    reconnects: int
    checksums: int
    checksum_failures: int
    heartbeat_misses: int
    parity: int
    ignored: int
    invalid_book_ns: int
    age_p50_ns: int
    age_p95_ns: int
    age_p99_ns: int
    refused: dict[str, int]  # by reason


def health(feed: str, kpis: Kpis) -> Health:
    """The figures of the feed with that name."""
    known = {one.value: kpis.counts[one] for one in Count}
    return Health(
        feed=feed,
        **known,
        invalid_book_ns=kpis.invalid_book_ns,
        age_p50_ns=kpis.age_percentile_ns(50),
        age_p95_ns=kpis.age_percentile_ns(95),
        age_p99_ns=kpis.age_percentile_ns(99),
        refused={str(what): times for what, times in kpis.counts.items() if what not in known},
    )


@compiled
def slot_of_age(age_ns: Any) -> Any:
    """The histogram's slot: eight linear steps within each doubling. A negative age is 0."""
    slot, age, doublings = int64(0), max(int64(age_ns), int64(0)), int64(32)
    while doublings > 0:
        if age >> doublings >= AGE_STEPS:
            age >>= doublings
            slot += doublings * AGE_STEPS
        doublings >>= 1
    return slot + age


def _upper(slot: int) -> int:
    """The greatest age of a slot."""
    if slot < AGE_STEPS:
        return slot
    doubling = slot // AGE_STEPS - 1
    return ((slot % AGE_STEPS + AGE_STEPS + 1) << doubling) - 1
