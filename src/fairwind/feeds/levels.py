"""The levels of one book: one side by price, and what two books differ by.

In: a snapshot's levels as text. Out: ladders, and the levels whose total differs. Never here: a
level without size, or a price twice.
"""

from collections.abc import Sequence

from fairwind.core.events import Side
from fairwind.feeds.frames import BadFrame, Reason, contract_price, shares
from fairwind.feeds.recorded.clob_wire import Level

Total = tuple[int, str]
"""A level's total in micro shares, and as the venue wrote it: the checksum is over the text."""
Ladder = dict[int, Total]
"""One side of a book by price_e4."""
News = list[tuple[int, int, int]]
"""(side, price_e4, size micro) of changed levels."""


def ladder(levels: Sequence[Level]) -> Ladder:
    """One side of a snapshot; BadFrame for a level without size or one sent twice."""
    found: Ladder = {}
    for one in levels:
        price, size = contract_price(one.price), shares(one.size)
        if size == 0:
            raise BadFrame(Reason.SIZE, "a size above zero in a snapshot", one.size)
        if price in found:
            raise BadFrame(Reason.DUPLICATE_LEVEL, "each price once", one.price)
        found[price] = (size, one.size)
    return found


def differences(old: tuple[Ladder, Ladder], new: tuple[Ladder, Ladder]) -> News:
    """The levels whose total differs."""
    found: News = []
    for side in (int(Side.BID), int(Side.ASK)):
        found += [(side, price, 0) for price in old[side] if price not in new[side]]
        found += [
            (side, price, size)
            for price, (size, _) in new[side].items()
            if old[side].get(price, (0, ""))[0] != size
        ]
    return found
