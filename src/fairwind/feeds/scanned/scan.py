"""The market channel's ordinary frames, read and applied by compiled code: see ADR 8 for why.

In: the channel's record with a stretch of frames. Out: EVENT rows in it, and how many frames were
taken. Never here: a decision on a frame that is not exactly ordinary: it is handed back, and
nothing was changed by it.
"""

from typing import Any

from numpy import int64, uint64

from fairwind.core.compiled import compiled
from fairwind.core.events import Flag, Kind, Side, Source
from fairwind.core.units import PRICE_ONE_E4
from fairwind.feeds.checksum import remember
from fairwind.feeds.frames import GRID_E4
from fairwind.feeds.kpis import slot_of_age
from fairwind.feeds.scanned.record import (
    CHECKSUM_EVERY_NS,
    LEVELS,
    MARKETS_MAX,
    NO_ASK,
    ROWS_MAX,
    ROWS_OF_A_FRAME,
    set_level,
)
from fairwind.feeds.scanned.text import (
    LOST,
    MARGIN_BYTES,
    TWO_BYTES,
    best_price,
    literal,
    plain,
    price,
    same,
    size,
    stamp_ns,
    text,
    word,
)

ONE, GRID = int64(PRICE_ONE_E4), int64(GRID_E4)
UP, DOWN = int64(0), int64(1)
BID, ASK = int64(Side.BID), int64(Side.ASK)
LEVEL, TRADE = int64(Kind.LEVEL), int64(Kind.TRADE)
POLYMARKET, MORE = int64(Source.POLYMARKET), int64(Flag.MORE)
REPEATED_BYTES_MIN = 8
"""A shorter frame, such as the answer to a ping, is no duplicate of the one before it."""
NOT_ORDINARY, NO_SLOT = int64(-1), int64(-1)
HASH_CHARACTERS, TRANSACTION_CHARACTERS = int64(40), int64(66)

NAME = '{"market":"'
KEY_AT = int64(len(NAME) + 2)
"""From here on a market's name is looked up by eight digits of its condition id."""
ASSET = text('asset_id":"')
PRICE, SIZE = text('price":"'), text('","size":"')
STAMP = text('","timestamp":"')
BEST_BID, BEST_ASK = text('","best_bid":"'), text('","best_ask":"')

CHANGES, NEXT_CHANGE = text('price_changes":[{"asset_id":"'), text('"},{"asset_id":"')
BUY, SELL = text('","side":"BUY","hash":"'), text('","side":"SELL","hash":"')
CHANGES_STAMP = text('"}],"timestamp":"')
CHANGES_END = text('","event_type":"price_change"}')

BIDS, NEXT_LEVEL = text('bids":[{"price":"'), text('"},{"price":"')
ASKS, HASH = text('"}],"asks":[{"price":"'), text('"}],"hash":"')
BOOK_END = text('","event_type":"book"}')

FEE = text('","fee_rate_bps":"')
BOUGHT, SOLD = text('","side":"BUY","timestamp":"'), text('","side":"SELL","timestamp":"')
CLOSING = uint64(int.from_bytes(b'"}', "little"))
TRANSACTION = text('","event_type":"last_trade_price","transaction_hash":"')

TOP_BID, SPREAD = text('best_bid":"'), text('","spread":"')
TOP_END = text('","event_type":"best_bid_ask"}')


@compiled
def walk(channels: Any, first: Any) -> Any:
    """Take the stretch's frames from `first` on while they are ordinary and have room for rows.

    Returns (the first frame that was not taken, how many rows are filled, the slot of the book that
    the last frame's checksum is to be compared with or NO_SLOT).
    """
    channel = channels[0]
    data, rows, filled = channel.bytes, channel.rows, int64(0)
    if first == 0:
        channel.places[0] = MARGIN_BYTES
        for number in range(channel.frames):
            channel.places[number + 1] = channel.places[number] + channel.lengths[number]
    for number in range(first, channel.frames):
        at, end, now = channel.places[number], channel.places[number + 1], channel.times[number]
        channel.repeated += is_repeated(data, at, end, channel.places[max(number - 1, 0)])
        slot = slot_of(channel, data, at)
        if slot < 0 or ROWS_MAX - filled < ROWS_OF_A_FRAME:
            return number, filled, NO_SLOT
        book = channel.books[slot]
        span = (at + int64(book.name[0]), end)
        after, stamp = message(data, span, book, channel.read, rows, filled)
        if after < 0:
            return number, filled, NO_SLOT
        for row in range(filled, after):
            rows[row].ts_ns = now
            rows[row].ts_source_ns = stamp
        filled = after
        book.heard_ns = now
        channel.ages[slot_of_age(now - stamp)] += 1
        if book.hash_at != LOST:
            return number + 1, filled, slot
    return channel.frames, filled, NO_SLOT


@compiled(forceinline=True)
def is_repeated(data: Any, at: Any, end: Any, before: Any) -> Any:
    """Whether the frame has the bytes of the one before it, which begins at `before`; the time
    near its end is most often another one."""
    length = end - at
    if length != at - before or length < REPEATED_BYTES_MIN:
        return False
    place = end - 8
    while place > at and word(data, place) == word(data, place - length):
        place -= 8
    return place <= at and word(data, at) == word(data, at - length)


@compiled(forceinline=True)
def slot_of(channel: Any, data: Any, at: Any) -> Any:
    """The slot of the book whose name stands at that place, or NO_SLOT."""
    key = word(data, at + KEY_AT)
    for slot in range(MARKETS_MAX):
        if channel.keys[slot] == key and literal(data, at, channel.books[slot].name) != LOST:
            return slot
    return NO_SLOT


@compiled(forceinline=True)
def message(data: Any, span: Any, book: Any, read: Any, rows: Any, filled: Any) -> Any:
    """Apply one message. Returns (how many rows are filled then, its time), or NOT_ORDINARY."""
    at, end = span
    changes = literal(data, at, CHANGES)
    if changes != LOST:
        return change(data, (changes, end), book, rows, filled)
    at = literal(data, at, ASSET)
    outcome = UP
    after = literal(data, at, book.tokens[UP])
    if after == LOST:
        outcome = DOWN
        after = literal(data, at, book.tokens[DOWN])
    if literal(data, after, PRICE) != LOST:
        return trade(data, (after, end), book, outcome, rows, filled)
    if literal(data, after, TOP_BID) != LOST:
        return top(data, (after, end), filled)
    return snapshot(data, (after, end), (book, outcome), read, rows, filled)


@compiled(forceinline=True)
def change(data: Any, span: Any, book: Any, rows: Any, filled: Any) -> Any:
    """A level's new total for one token, and its exact mirror for the other one."""
    at, end = span
    outcome = UP
    after = literal(data, at, book.tokens[UP])
    if after == LOST:
        outcome = DOWN
        after = literal(data, at, book.tokens[DOWN])
    price_e4, at = price(data, literal(data, after, PRICE))
    size_at = literal(data, at, SIZE)
    size_micro, decimals, at = size(data, size_at)
    size_length = at - size_at
    side, at = side_and_hash(data, at)
    hash_at = at
    bid, ask, at = bests(data, at)
    at = literal(data, literal(data, at, NEXT_CHANGE), book.tokens[1 - outcome])
    other_price_e4, at = price(data, literal(data, at, PRICE))
    at = same(data, literal(data, at, SIZE), size_length, size_at)
    other_side, at = side_and_hash(data, at)
    other_hash_at = at
    other_bid, other_ask, at = bests(data, at)
    stamp, at = stamp_ns(data, literal(data, at, CHANGES_STAMP))
    mirrored = other_price_e4 == ONE - price_e4 and other_side == 1 - side
    mirrored = mirrored and other_bid == ONE - ask and other_ask == ONE - bid
    if literal(data, at, CHANGES_END) != end or not mirrored or bid >= ask:
        return NOT_ORDINARY, stamp
    if book.live == 0:
        return filled, stamp
    if outcome == DOWN:
        price_e4, side, bid, ask = other_price_e4, other_side, other_bid, other_ask
        hash_at = other_hash_at
    newest = stamp >= book.newest_ns
    if not applied(book, (side, price_e4, size_micro, decimals), bid, ask, stamp):
        return NOT_ORDINARY, stamp
    if newest and book.trusted != 0 and stamp - book.checked_ns >= CHECKSUM_EVERY_NS:
        book.hash_at = hash_at - HASH_CHARACTERS
    fill(book, rows, filled, (side, price_e4, size_micro))
    rows[filled].flags = 0
    return filled + 1, stamp


@compiled(forceinline=True)
def side_and_hash(data: Any, at: Any) -> Any:
    """(side, the place behind it and its message's hash)."""
    bought = literal(data, at, BUY)
    sold = literal(data, at, SELL)
    return BID if bought != LOST else ASK, plain(data, bought + sold, HASH_CHARACTERS)


@compiled(forceinline=True)
def bests(data: Any, at: Any) -> Any:
    """(best bid, best ask, the place behind them) of a token, as price_e4."""
    bid, at = best_price(data, literal(data, at, BEST_BID), int64(0))
    ask, at = best_price(data, literal(data, at, BEST_ASK), ONE)
    return bid, ask, at


@compiled(forceinline=True)
def applied(book: Any, total: Any, bid: Any, ask: Any, stamp: Any) -> Any:
    """Whether the book took the new total: nothing newer was there, and the book's best prices are
    those of the message then."""
    side, price_e4, size_micro, decimals = total
    level = price_e4 // GRID
    on_grid = level * GRID == price_e4
    if not on_grid or stamp < max(book.stamps[side, level], book.snapshot_ns):
        return False
    before = book.sizes[side, level]
    best = set_level(book.sizes, side, level, size_micro, book.bests[side])
    wanted, other = (bid, ask) if side == BID else (ask, bid)
    if best * GRID != wanted or book.bests[1 - side] * GRID != other:
        book.sizes[side, level] = before
        return False
    book.bests[side] = best
    book.stamps[side, level] = stamp
    book.decimals[side, level] = decimals
    book.newest_ns = max(book.newest_ns, stamp)
    book.parity = 0
    return True


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
def trade(data: Any, span: Any, book: Any, outcome: Any, rows: Any, filled: Any) -> Any:
    """A print, in Up terms."""
    at, end = span
    price_e4, at = price(data, literal(data, at, PRICE))
    size_micro, _, at = size(data, literal(data, at, SIZE))
    _, _, at = size(data, literal(data, at, FEE))
    bought, sold = literal(data, at, BOUGHT), literal(data, at, SOLD)
    stamp, at = stamp_ns(data, bought + sold)
    at = plain(data, literal(data, at, TRANSACTION), TRANSACTION_CHARACTERS)
    closed = word(data, at) & TWO_BYTES == CLOSING and at + 2 == end
    if not closed or size_micro == 0:
        return NOT_ORDINARY, stamp
    remember(book.trades, price_e4)
    side = BID if bought != LOST else ASK
    if outcome == DOWN:
        price_e4, side = ONE - price_e4, 1 - side
    fill(book, rows, filled, (side, price_e4, size_micro))
    rows[filled].kind = TRADE
    rows[filled].flags = 0
    return filled + 1, stamp


@compiled(forceinline=True)
def top(data: Any, span: Any, filled: Any) -> Any:
    """Best prices alone: the book holds them already."""
    at, end = span
    bid, at = best_price(data, literal(data, at, TOP_BID), GRID)
    ask, at = best_price(data, literal(data, at, BEST_ASK), GRID)
    _, at = best_price(data, literal(data, at, SPREAD), GRID)
    stamp, at = stamp_ns(data, literal(data, at, STAMP))
    good = literal(data, at, TOP_END) == end and bid % GRID == 0 and ask % GRID == 0
    return filled if good else NOT_ORDINARY, stamp


@compiled(forceinline=True)
def snapshot(data: Any, span: Any, of: Any, read: Any, rows: Any, filled: Any) -> Any:
    """A book as it is sent after a trade. Up's makes rows of what differs; Down's has to agree."""
    at, end = span
    book, outcome = of
    bids, at = levels(data, literal(data, at, BIDS), read[:, 0], int64(1))
    asks, at = levels(data, literal(data, at, ASKS), read[:, 1], int64(-1))
    at = plain(data, literal(data, at, HASH), HASH_CHARACTERS)
    stamp, at = stamp_ns(data, literal(data, at, STAMP))
    if literal(data, at, BOOK_END) != end:
        return NOT_ORDINARY, stamp
    bid, ask = read[0, 0, bids - 1], read[0, 1, asks - 1]
    if bid >= ask or book.resumed != 0 or (outcome == UP and book.live == 0):
        return NOT_ORDINARY, stamp
    if outcome == UP:
        book.bests[BID], book.bests[ASK] = bid, ask
        book.snapshot_ns = book.newest_ns = stamp
        book.checked_ns = min(book.checked_ns, stamp)
        return replaced(book, (bids, asks), read, rows, filled), stamp
    if book.live != 0:
        if NO_ASK - ask != book.bests[BID] or NO_ASK - bid != book.bests[ASK]:
            return NOT_ORDINARY, stamp
        book.parity = 0
    return filled, stamp


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
