"""The market channel's ordinary frames, read and applied by compiled code: 0.2 µs each (ADR 8).

In: the channel's record with a stretch of frames. Out: EVENT rows in it, and how many frames were
taken. Never here: a decision on a frame that is not exactly ordinary: it is handed back, and
nothing was changed by it.
"""

from typing import Any

from numpy import int64

from fairwind.core.compiled import compiled
from fairwind.core.events import Kind
from fairwind.core.units import PRICE_ONE_E4
from fairwind.feeds.checksum import remember
from fairwind.feeds.kpis import slot_of_age
from fairwind.feeds.scanned.record import (
    CHECKSUM_EVERY_NS,
    MARKETS_MAX,
    ROWS_MAX,
    ROWS_OF_A_FRAME,
    set_level,
)
from fairwind.feeds.scanned.snapshots import (
    ASK,
    BID,
    DOWN,
    FIRST_STAMP,
    GRID,
    HASH_CHARACTERS,
    NOT_ORDINARY,
    SIZE,
    STAMP,
    UP,
    fill,
    first_of_down,
    snapshot,
)
from fairwind.feeds.scanned.text import (
    CLOSING,
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

ONE = int64(PRICE_ONE_E4)
TRADE = int64(Kind.TRADE)
REPEATED_BYTES_MIN = 8
"""A shorter frame, such as the answer to a ping, is no duplicate of the one before it."""
NO_SLOT = int64(-1)
TRANSACTION_CHARACTERS = int64(66)

NAME = '{"market":"'
KEY_AT = int64(len(NAME) + 2)
"""From here on a market's name is looked up by eight digits of its condition id."""
ASSET = text('asset_id":"')
PRICE = text('price":"')
BEST_BID, BEST_ASK = text('","best_bid":"'), text('","best_ask":"')

CHANGES, NEXT_CHANGE = text('price_changes":[{"asset_id":"'), text('"},{"asset_id":"')
BUY, SELL = text('","side":"BUY","hash":"'), text('","side":"SELL","hash":"')
CHANGES_STAMP = text('"}],"timestamp":"')
CHANGES_END = text('","event_type":"price_change"}')

FEE = text('","fee_rate_bps":"')
BOUGHT, SOLD = text('","side":"BUY","timestamp":"'), text('","side":"SELL","timestamp":"')
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
    if outcome == DOWN and literal(data, after, FIRST_STAMP) != LOST:
        return first_of_down(data, (after, end), book, read, filled)
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
