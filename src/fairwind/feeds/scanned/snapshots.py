"""Whole books, read and applied by compiled code.

In: a book's bytes behind its token. Out: rows of what differs from the book that was known. Never
here: a book of which a single level is strange, or with its levels in another order.
"""

from typing import Any

from numpy import int64

from fairwind.core.compiled import compiled
from fairwind.core.events import Flag, Kind, Side, Source
from fairwind.feeds.frames import GRID_E4
from fairwind.feeds.scanned.record import LEVELS, NO_ASK, PARITY_E4
from fairwind.feeds.scanned.text import (
    CLOSING,
    LOST,
    TWO_BYTES,
    best_price,
    literal,
    plain,
    price,
    size,
    stamp_ns,
    text,
    word,
)

UP, DOWN = int64(0), int64(1)
GRID, BID, ASK = int64(GRID_E4), int64(Side.BID), int64(Side.ASK)
LEVEL, MORE, POLYMARKET = int64(Kind.LEVEL), int64(Flag.MORE), int64(Source.POLYMARKET)
NOT_ORDINARY = int64(-1)
HASH_CHARACTERS = int64(40)

BIDS, NEXT_LEVEL = text('bids":[{"price":"'), text('"},{"price":"')
ASKS, HASH = text('"}],"asks":[{"price":"'), text('"}],"hash":"')
BOOK_END = text('","event_type":"book"}')
FIRST_STAMP, FIRST_HASH = text('timestamp":"'), text('","hash":"')
FIRST_BIDS, TICK = text('","bids":[{"price":"'), text('"}],"tick_size":"')
LAST_TRADE = text('","event_type":"book","last_trade_price":"')
STAMP = text('","timestamp":"')
SIZE = text('","size":"')


@compiled(forceinline=True)
def fill(book: Any, rows: Any, at: Any, level: Any) -> Any:
    """Row `at` becomes a level, with more to come; returns the next row."""
    row = rows[at]
    row.side, row.price, row["size"] = level
    row.market = book.number
    row.ref = 0
    row.kind = LEVEL
    row.source = POLYMARKET
    row.flags = MORE
    return at + 1


@compiled(forceinline=True)
def snapshot(data: Any, span: Any, of: Any, read: Any, rows: Any, filled: Any) -> Any:
    """A book as it is sent after a trade. Up's makes rows of what differs; Down's has to agree."""
    at, end = span
    book, outcome = of
    bids, asks, at = both_sides(data, literal(data, at, BIDS), read)
    at = plain(data, literal(data, at, HASH), HASH_CHARACTERS)
    stamp, at = stamp_ns(data, literal(data, at, STAMP))
    if literal(data, at, BOOK_END) != end:
        return NOT_ORDINARY, stamp
    if outcome == DOWN:
        return filled if agrees(book, read, bids, asks) else NOT_ORDINARY, stamp
    bid, ask = read[0, 0, bids - 1], read[0, 1, asks - 1]
    if bid >= ask or book.resumed != 0 or book.live == 0:
        return NOT_ORDINARY, stamp
    book.bests[BID], book.bests[ASK] = bid, ask
    book.snapshot_ns = book.newest_ns = stamp
    book.checked_ns = min(book.checked_ns, stamp)
    return replaced(book, (bids, asks), read, rows, filled), stamp


@compiled(forceinline=True)
def first_of_down(data: Any, span: Any, book: Any, read: Any, filled: Any) -> Any:
    """Down's book as it answers a subscription. Up's says more than can be kept here."""
    at, end = span
    stamp, at = stamp_ns(data, literal(data, at, FIRST_STAMP))
    at = plain(data, literal(data, at, FIRST_HASH), HASH_CHARACTERS)
    bids, asks, at = both_sides(data, literal(data, at, FIRST_BIDS), read)
    _, at = price(data, literal(data, at, TICK))
    at = literal(data, at, LAST_TRADE)
    _, at = best_price(data, at, GRID)
    closed = word(data, at) & TWO_BYTES == CLOSING and at + 2 == end
    if not closed or not agrees(book, read, bids, asks):
        return NOT_ORDINARY, stamp
    return filled, stamp


@compiled(forceinline=True)
def agrees(book: Any, read: Any, bids: Any, asks: Any) -> Any:
    """Whether Down's levels that were read are not crossed, and do not contradict Up's."""
    bid, ask = read[0, 0, bids - 1], read[0, 1, asks - 1]
    if bid >= ask:
        return False
    if book.live != 0:
        bids_apart = abs(NO_ASK - ask - book.bests[BID])
        asks_apart = abs(NO_ASK - bid - book.bests[ASK])
        if max(bids_apart, asks_apart) * GRID > PARITY_E4:
            return False
        book.parity = 0
    return True


@compiled(forceinline=True)
def both_sides(data: Any, at: Any, read: Any) -> Any:
    """(how many bids, how many asks, the place behind them); none of a side that is empty."""
    bids, at = levels(data, at, read[:, 0], int64(1))
    asks, at = levels(data, literal(data, at, ASKS), read[:, 1], int64(-1))
    return bids, asks, at


@compiled(forceinline=True)
def levels(data: Any, at: Any, read: Any, step: Any) -> Any:
    """(how many, the place behind them) of a side's levels, the best one last: into `read` go
    their levels, sizes and decimals."""
    number, before = int64(0), NO_ASK * (step < 0)
    while at != LOST and number < LEVELS:
        price_e4, at = price(data, at)
        size_micro, decimals, at = size(data, literal(data, at, SIZE))
        level = price_e4 // GRID
        if level * GRID != price_e4 or (level - before) * step <= 0 or size_micro == 0:
            return number, LOST
        read[0, number], read[1, number], read[2, number] = level, size_micro, decimals
        before = level
        number += 1
        following = literal(data, at, NEXT_LEVEL)
        if following == LOST:
            return number, at
        at = following
    return number, LOST


@compiled(forceinline=True)
def replaced(book: Any, counts: Any, read: Any, rows: Any, filled: Any) -> Any:
    """Put the levels that were read into the book; a row for each that differs, or else for the
    best ones, which were seen again. Returns how many rows are filled then."""
    first = filled
    for side in range(2):
        before = int64(0)
        for number in range(counts[side]):
            place = number if side == BID else counts[side] - 1 - number
            level = read[0, side, place]
            filled = emptied(book, side, (before + 1, level), rows, filled)
            if book.sizes[side, level] != read[1, side, place]:
                book.sizes[side, level] = read[1, side, place]
                filled = fill(book, rows, filled, (side, level * GRID, read[1, side, place]))
            book.decimals[side, level] = read[2, side, place]
            before = level
        filled = emptied(book, side, (before + 1, int64(LEVELS)), rows, filled)
    book.stamps[:] = 0
    if filled == first:
        for side in range(2):
            best = book.bests[side]
            filled = fill(book, rows, filled, (side, best * GRID, book.sizes[side, best]))
    rows[filled - 1].flags = book.parity
    return filled


@compiled(forceinline=True)
def emptied(book: Any, side: Any, span: Any, rows: Any, filled: Any) -> Any:
    """Empty the levels from span[0] up to before span[1]; returns how many rows are filled then."""
    occupied = int64(0)
    for level in range(span[0], span[1]):
        occupied |= book.sizes[side, level]
    if occupied == 0:
        return filled
    for level in range(span[0], span[1]):
        if book.sizes[side, level] != 0:
            book.sizes[side, level] = 0
            filled = fill(book, rows, filled, (side, level * GRID, int64(0)))
    return filled
