"""The event: one fixed-width record of something that happened, in Up terms, in one total order.

In: nothing. Out: the dtype, the closed enums and the flags that feeds, engine and journal share.
Never here: an object per event, a venue's own field names, a Down book (it is Up's mirror).
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

EVENT = np.dtype(
    [
        ("ts_ns", "<i8"),  # receipt time: the one total order
        ("ts_source_ns", "<i8"),  # the source's own time; 0 where it gives none
        ("price", "<i8"),  # unit by kind, see Kind
        ("size", "<i8"),  # unit by kind, see Kind
        ("market", "<u2"),  # market number; asset number for SPOT and REFERENCE
        ("ref", "<u2"),  # by kind, see Kind
        ("kind", "u1"),
        ("source", "u1"),
        ("side", "u1"),
        ("flags", "u1"),
    ]
)
"""One event: 40 bytes, little-endian."""

Events = NDArray[np.void]
"""Shape (n,), dtype EVENT, `ts_ns` never decreasing."""

ALL_MARKETS = 0xFFFF
"""`market` of a GAP that concerns everything its source feeds, or of a control without a market."""


class Kind(IntEnum):
    """What happened. In brackets: the fields that the kind uses beside the two times."""

    LISTED = 1  # a window market is known [market, ref=series, price=tick_e4,
    #             size=least resting order in micro shares, ts_source_ns=window start]
    FEES = 2  # the market's own fee schedule [market, price=rate_e6, size=exponent]
    LEVEL = 3  # a book level's new total [market, side, price=price_e4, size=shares micro]
    CLEAR = 4  # the book is replaced: empty until the levels that follow [market]
    TRADE = 5  # a print [market, side=taker's side, price=price_e4, size=shares micro]
    TICK = 6  # the tick size changed [market, price=tick_e4]
    RESOLVED = 7  # the venue's result [market, price=payout of one Up share, e4: 10000, 5000 or 0]
    SPOT = 8  # a spot price [market=asset, price=spot_e8, size=volume e8 or 0]
    REFERENCE = 9  # a print of the settlement oracle [market=asset, ref=averaging seconds
    #                (0, 30, 60), ts_source_ns=observation time, price=value_e8,
    #                size=remainder_e18]
    TIMER = 10  # time passed without anything else happening
    GAP = 11  # the source lost data: its books are unusable until the next CLEAR [market or all]
    CONTROL = 12  # an operator's or policy's change [ref=control kind, price=payload id]


class Side(IntEnum):
    """Side of the Up book. A BID event is buying interest in Up (= selling interest in Down)."""

    BID = 0
    ASK = 1
    NONE = 2


class Outcome(IntEnum):
    """What a share pays on."""

    UP = 0
    DOWN = 1


class Source(IntEnum):
    """Where an event came from. Also the tie-break of the total order."""

    CONTROL = 0
    CLOCK = 1
    POLYMARKET = 2
    REFERENCE = 3
    COINBASE = 4
    BINANCE = 5
    GENERATOR = 6
    RECORDED = 7


class Flag(IntEnum):
    """Bits of `flags`."""

    MORE = 1  # the next event belongs to the same atomic change; nothing is decided in between
    ASSUMED_SIZE = 2  # the record had a price but no size; the size is the importer's assumption
    PARITY = 4  # Up and Down quotes of the source contradict each other by more than 2 cents


ASSETS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "BNB", "HYPE", "ZEC")
"""Asset numbers are positions in this tuple."""

HORIZONS_S = (300, 900, 3600, 14400)
"""Window lengths in seconds; horizon numbers are positions in this tuple."""

HORIZON_NAMES = ("5m", "15m", "1h", "4h")


def empty(n: int) -> Events:
    """`n` zeroed events."""
    return np.zeros(n, EVENT)


def in_order(events: Events) -> Events:
    """The same events sorted by receipt time, ties by source, then by their present order."""
    return events[np.lexsort((events["source"], events["ts_ns"]))]
