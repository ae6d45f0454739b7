"""The levels of a snapshot, and what two books differ by.

In: a snapshot's levels as text. Out: sizes by side and level, and the levels whose size differs.
Never here: a level without size, or a price twice.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fairwind.core.errors import BadInput
from fairwind.core.events import Side
from fairwind.core.units import PRICE_ONE_E4
from fairwind.feeds.frames import GRID_E4, BadFrame, Reason, contract_price, shares
from fairwind.feeds.recorded.clob_wire import Book, Level
from fairwind.feeds.scanned.record import LEVELS

Sizes = NDArray[np.int64]
"""Shape (2, LEVELS), micro shares by side and level; a level is its price / GRID_E4."""
News = list[tuple[int, int, int]]
"""(side, price_e4, size micro) of changed levels."""


def differences(old: Sizes, new: Sizes) -> News:
    """The levels whose size differs: bids, then asks, each by rising price."""
    sides, levels = np.nonzero(old != new)
    sizes = new[sides, levels]
    return list(zip(sides.tolist(), (levels * GRID_E4).tolist(), sizes.tolist(), strict=True))


def known(levels: Sequence[tuple[int, int, int]]) -> Sizes:
    """The sizes of (side, price_e4, size micro); BadInput if they cannot stand in one book."""
    sizes = np.zeros((2, LEVELS), np.int64)
    for side, price, size in levels:
        if side not in (0, 1) or not 0 < price < PRICE_ONE_E4 or price % GRID_E4 or size <= 0:
            raise BadInput(
                "expected levels of a book as (side, price_e4, size micro), found "
                f"{(side, price, size)}; watch the market instead"
            )
        sizes[side, price // GRID_E4] = size
    bids, asks = (np.flatnonzero(side) for side in sizes)
    if len(bids) and len(asks) and bids[-1] >= asks[0]:
        raise BadInput(
            f"expected a bid below the ask, found best prices {bids[-1] * GRID_E4} and "
            f"{asks[0] * GRID_E4}; watch the market instead"
        )
    return sizes


class Ladders:
    """A snapshot's levels by index, in the token's own terms.

    Raises BadFrame for a malformed one: a level without size, one sent twice, a crossed book.
    """

    def __init__(self, frame: Book) -> None:
        self.sizes = np.zeros((2, LEVELS), np.int64)
        self.decimals = np.zeros((2, LEVELS), np.uint8)
        bids, asks = self._side(Side.BID, frame.bids), self._side(Side.ASK, frame.asks)
        self.best = max(bids, default=0), min(asks, default=PRICE_ONE_E4)
        if self.best[0] >= self.best[1]:
            raise BadFrame(Reason.CROSSED, f"a bid below the ask of {frame.asset_id}", self.best)

    def _side(self, side: Side, levels: Sequence[Level]) -> list[int]:
        """Takes one side's levels; returns their prices as price_e4."""
        prices = [contract_price(one.price) for one in levels]
        totals = [shares(one.size) for one in levels]
        if 0 in totals:
            raise BadFrame(Reason.SIZE, "sizes above zero in a snapshot", levels)
        if len(set(prices)) < len(prices):
            raise BadFrame(Reason.DUPLICATE_LEVEL, "each price once", levels)
        at = [price // GRID_E4 for price in prices]
        self.sizes[side, at] = totals
        self.decimals[side, at] = [decimals_of(one.size) for one in levels]
        return prices


@lru_cache(16_384)
def decimals_of(size: str) -> int:
    """With how many decimals a size was written; those finer than a micro share are lost."""
    return min(len(size.partition(".")[2]), 6)
