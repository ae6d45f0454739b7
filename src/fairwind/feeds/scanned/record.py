"""The books of one connection and a stretch of its frames: what Python and compiled code share.

In: a level's new size. Out: the side's best level after it. Never here: a level without size that
counts as one.
"""

from typing import Any

import numpy as np
from numpy import int64

from fairwind.core.compiled import compiled
from fairwind.core.events import EVENT, Side
from fairwind.core.units import SECOND_NS
from fairwind.feeds.checksum import REMEMBERED_TRADES
from fairwind.feeds.kpis import AGE_SLOTS

LEVELS = 2001
"""Of one side; a level's index is its price / GRID_E4."""
NO_BID, NO_ASK = int64(0), int64(LEVELS - 1)
BID = int64(Side.BID)
CHECKSUM_EVERY_NS = 2 * SECOND_NS
"""Of the venue's time; after a failure, every change."""
TEXT_WORDS = 14
"""Room for the text with a market's or a token's name."""
MARKETS_MAX = 256
"""Markets of one connection, as many as the engine holds."""
FRAMES_MAX, BYTES_MAX = 128, 256 * 1024
"""Of one stretch: it stays in the processor's own memory."""
ROWS_OF_A_FRAME = 2 * LEVELS
"""At most, by a snapshot that changes every level."""
ROWS_MAX = 2 * ROWS_OF_A_FRAME
PARITY_E4 = 200
"""Best prices of Up and Down that are further apart contradict each other."""
NO_KEY = np.uint64(2**64 - 1)
"""No text has these bytes."""

BOOK = np.dtype(
    [
        ("number", "<i8"),
        ("live", "<i8"),
        ("resumed", "<i8"),  # no snapshot came yet since the restart
        ("trusted", "<i8"),  # a fresh snapshot's checksum did fit
        ("checked_ns", "<i8"),  # the venue's time of the last message whose checksum did fit
        ("hash_at", "<i8"),  # where the last message's checksum stands, if it is to be checked
        ("heard_ns", "<i8"),
        ("snapshot_ns", "<i8"),  # the venue's time of the last snapshot
        ("newest_ns", "<i8"),  # and of the newest message that was used
        ("parity", "<i8"),
        ("bests", "<i8", (2,)),  # as levels; NO_BID and NO_ASK for an empty side
        ("trades", "<i8", (REMEMBERED_TRADES,)),  # prices of recent prints, the last one first
        ("name", "<u8", (TEXT_WORDS,)),  # how its messages begin, as in `text.text`
        ("tokens", "<u8", (2, TEXT_WORDS)),  # Up's and Down's names
        ("sizes", "<i8", (2, LEVELS)),  # micro shares
        ("stamps", "<i8", (2, LEVELS)),  # the venue's time of the last change since the snapshot
        ("decimals", "u1", (2, LEVELS)),  # with how many the venue wrote the size
    ]
)

CHANNEL = np.dtype(
    [
        ("keys", "<u8", (MARKETS_MAX,)),  # by which each book's messages are known, or NO_KEY
        ("ages", "<i8", (AGE_SLOTS,)),  # as in Kpis
        ("read", "<i8", (3, 2, LEVELS)),  # a snapshot's levels, their sizes and decimals
        ("repeated", "<i8"),  # how many frames had the bytes of the one before them
        ("frames", "<i8"),  # how many stand in `bytes`, one behind the other
        ("lengths", "<i8", (FRAMES_MAX,)),
        ("places", "<i8", (FRAMES_MAX + 1,)),  # where each begins, and where the last one ends
        ("times", "<i8", (FRAMES_MAX,)),  # of receipt
        ("rows", EVENT, (ROWS_MAX,)),
        ("bytes", "u1", (BYTES_MAX,)),
        ("books", BOOK, (MARKETS_MAX,)),
    ]
)
"""All that compiled code needs of a connection, as one record as the engine's state is (ADR 5)."""


@compiled(forceinline=True)
def set_level(sizes: Any, side: Any, level: Any, size_micro: Any, best: Any) -> Any:
    """Set one level's size; returns the side's best level, which was `best` before."""
    sizes[side, level] = size_micro
    if side == BID:
        best = max(best, level)
        while best > NO_BID and sizes[side, best] == 0:
            best -= 1
        return best
    best = min(best, level)
    while best < NO_ASK and sizes[side, best] == 0:
        best += 1
    return best
