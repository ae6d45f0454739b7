"""The venue's market channel: raw frames of one connection become EVENT rows of its markets.

In: payloads with receipt times. Out: rows in Up terms, new markets, and wishes for new snapshots.
Never here: a socket; an exception for a bad frame in `take`, or a bad frame that is not counted.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from fairwind.core.compiled import INTERPRETED
from fairwind.core.events import Events, Kind, Source
from fairwind.core.units import PRICE_ONE_E4
from fairwind.feeds.books import Market, MarketBook, Resync
from fairwind.feeds.frames import (
    BadFrame,
    Reason,
    Row,
    as_events,
    best_price,
    decoded,
    row,
    stamp_ns,
)
from fairwind.feeds.kpis import Count, Kpis
from fairwind.feeds.levels import known
from fairwind.feeds.recorded.clob_wire import (
    BestBidAsk,
    Book,
    Frame,
    LastTrade,
    NewMarket,
    OldChange,
    PriceChange,
    Resolved,
    TickSize,
)
from fairwind.feeds.scanned.channel import Channel

PING = b"PING"
NOT_JSON_FRAMES = (b"PONG", b"")


class OldTotal(msgspec.Struct, frozen=True, kw_only=True):
    """One new total of the frame for a single token."""

    price: str
    size: str
    side: str


class OldPriceChange(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="event_type", tag="price_change"
):
    """A price change as recorded before 15 September 2025: one token, without best prices."""

    market: str
    timestamp: str
    asset_id: str
    price: str | None = None
    size: str | None = None
    side: str | None = None
    changes: list[OldTotal] = []

    def totals(self) -> list[OldChange]:
        """Its entries in today's form; BadFrame when there is none."""
        found = [(one.price, one.size, one.side) for one in self.changes]
        if self.price is not None and self.size is not None and self.side is not None:
            found.append((self.price, self.size, self.side))
        if not found:
            raise BadFrame(Reason.SHAPE, "a price change", self)
        return [
            OldChange(asset_id=self.asset_id, price=price, size=size, side=side)
            for price, size, side in found
        ]


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said about a message of a shape that is not known."""

    event_type: str | None = None
    market: str | None = None


_frames = msgspec.json.Decoder(Frame | list[Frame])
_old = msgspec.json.Decoder(OldPriceChange)
_head = msgspec.json.Decoder(_Head)
_rest_book = msgspec.json.Decoder(Book)
_OF_THE_BOOK = (Book, PriceChange, OldPriceChange, TickSize)
_NAMES_OF_THE_BOOK = ("book", "price_change", "tick_size_change")


def decode(payload: bytes) -> list[Frame | OldPriceChange]:
    """The messages of one frame; none in the answer to a PING. Raises BadFrame."""
    if payload in NOT_JSON_FRAMES:
        return []
    found: list[Frame | OldPriceChange]
    try:
        one = decoded(_frames, payload)
        found = [*one] if isinstance(one, list) else [one]
    except BadFrame as error:
        if error.reason != Reason.SHAPE:
            raise
        try:
            found = [decoded(_old, payload)]
        except BadFrame:
            raise error from None
    _unique_keys(payload, found)
    return found


def decode_rest_book(payload: bytes) -> Book:
    """The answer of `GET /book`, which has no event type. Raises BadFrame."""
    book = decoded(_rest_book, payload)
    _unique_keys(payload, ())
    return book


def subscribe_first(asset_ids: Iterable[str]) -> bytes:
    """The first frame of a connection, before any PING (venue facts 3.1)."""
    return msgspec.json.encode(
        {"type": "market", "assets_ids": [*asset_ids], "custom_feature_enabled": True}
    )


def subscribe(asset_ids: Iterable[str]) -> bytes:
    """Adds tokens to a connection."""
    return msgspec.json.encode(
        {"operation": "subscribe", "assets_ids": [*asset_ids], "custom_feature_enabled": True}
    )


def unsubscribe(asset_ids: Iterable[str]) -> bytes:
    """Takes tokens off a connection."""
    return msgspec.json.encode({"operation": "unsubscribe", "assets_ids": [*asset_ids]})


class MarketChannel:
    """One connection's markets. Both tokens of a market have to be on the same connection."""

    def __init__(self) -> None:
        self.kpis = Kpis()
        self._books: dict[str, MarketBook] = {}
        self._channel = Channel(self.kpis)

    def watch(self, market: Market, ts_ns: int) -> list[Row]:
        """From now on the market's frames become rows; its listing comes first.

        Raises BadInput when MARKETS_MAX markets are watched already.
        """
        record = self._channel.book(market.condition_id)
        self._keep(MarketBook(market, self.kpis, ts_ns, record))
        listed = row(
            Kind.LISTED,
            ts_ns,
            Source.POLYMARKET,
            market=market.number,
            price=market.tick_e4,
            size=market.min_size_micro,
            ts_source_ns=market.start_ns,
            ref=market.series,
        )
        if market.fee_rate_e6 is None:
            return [listed]
        fees = row(
            Kind.FEES,
            ts_ns,
            Source.POLYMARKET,
            market=market.number,
            price=market.fee_rate_e6,
            size=market.fee_exponent,
        )
        return [listed, fees]

    def resume(
        self,
        market: Market,
        levels: Sequence[tuple[int, int, int]],
        ts_ns: int,
        *,
        stamp_ns: int,
    ) -> None:
        """Watch a market that the engine knows already, as after a restart: no row says so.

        Its book is live with the engine's `levels`, (side, price_e4, size micro), of a message
        that the venue stamped `stamp_ns`; `market.tick_e4` is the engine's tick. The next snapshot
        reports what differs, and nothing when it is no newer. A book that the engine holds for
        unusable is watched instead. Raises BadInput as `watch` does, and for levels that cannot
        stand in one book.
        """
        sizes = known(levels)
        record = self._channel.book(market.condition_id)
        book = MarketBook(market, self.kpis, ts_ns, record)
        book.resume(sizes, stamp_ns)
        self._keep(book)

    def forget(self, condition_id: str) -> None:
        """The market's frames are ignored from now on."""
        if self._books.pop(condition_id, None) is not None:
            self._channel.forget(condition_id)

    def asset_ids(self) -> list[str]:
        """The tokens of all watched markets: what the connection has to be subscribed to."""
        return [token for one in self._books.values() for token in (one.market.up, one.market.down)]

    def live(self, condition_id: str) -> bool:
        """Whether the market's book can be used."""
        return condition_id in self._books and self._books[condition_id].live

    def disconnected(self, ts_ns: int) -> list[Row]:
        """Every book ends; the subscriptions of the next connection bring new snapshots."""
        self.kpis.add(Count.RECONNECTS)
        return [one for book in self._books.values() for one in book.end(ts_ns)]

    def resyncs(self, ts_ns: int) -> list[Resync]:
        """The books that need a new snapshot now, each one at most every five seconds.

        A snapshot comes by unsubscribing and subscribing both tokens on the same connection, so
        that no change between snapshot and stream is lost.
        """
        found = [book.resync(ts_ns) for book in self._books.values()]
        return [one for one in found if one is not None]

    def silent(self, ts_ns: int, limit_ns: int) -> list[Row]:
        """End the books of open windows of which nothing came for that long: subscriptions are
        accepted, and pings answered, while data never comes. Windows not open yet may be quiet.
        """
        found = [book for book in self._books.values() if book.silent(ts_ns, limit_ns)]
        return [one for book in found for one in book.doubt("its data went silent", ts_ns)]

    def take(self, payload: bytes, ts_ns: int) -> list[Row]:
        """One frame, received at `ts_ns`. A bad one is counted, and ends the books it spoke of."""
        self.kpis.add(Count.MESSAGES)
        self._channel.seen(payload, payload)
        return self.other(payload, ts_ns)

    def take_batch(self, frames: Sequence[tuple[int, bytes]]) -> Events:
        """Frames in the order of their receipt, each with its time; the rows of all, shape (n,).

        As `take` for each of them: whatever is ordinary is taken by compiled code (ADR 8).
        """
        if INTERPRETED or not frames:
            return as_events(
                [one for ts_ns, payload in frames for one in self.take(payload, ts_ns)]
            )
        times, payloads = zip(*frames, strict=True)
        self.kpis.add(Count.MESSAGES, len(frames))
        return self._channel.take(times, payloads, self)

    def check(self, market: str, stamp: int, sent_hash: str, ts_ns: int) -> list[Row]:
        """Compare the checksum of a market's message that compiled code has just applied."""
        return self._books[market].check(stamp, sent_hash, ts_ns)

    def other(self, payload: bytes, ts_ns: int) -> list[Row]:
        """What one frame becomes that compiled code did not take; it is counted already."""
        try:
            frames = decode(payload)
        except BadFrame as error:
            return self._undecodable(payload, error, ts_ns)
        rows: list[Row] = []
        for frame in frames:
            rows += self._message(frame, ts_ns)
        return rows

    def _keep(self, book: MarketBook) -> None:
        market = book.market
        self._books[market.condition_id] = book
        self._channel.watch(market.condition_id, (market.up, market.down))

    def _message(self, frame: Frame | OldPriceChange, ts_ns: int) -> list[Row]:
        if isinstance(frame, NewMarket):  # windows are looked for by their slugs
            self.kpis.add(Count.IGNORED)
            return []
        book = self._books.get(frame.market)
        if book is None:
            self.kpis.add(Count.IGNORED)
            return []
        book.heard(ts_ns)
        try:
            stamp = stamp_ns(frame.timestamp)
            rows = self._rows(book, frame, stamp, ts_ns)
        except BadFrame as error:
            self.kpis.add(error.reason)
            return book.doubt(str(error), ts_ns) if isinstance(frame, _OF_THE_BOOK) else []
        self.kpis.age(ts_ns - stamp)
        return rows

    def _rows(
        self, book: MarketBook, frame: Frame | OldPriceChange, stamp: int, ts_ns: int
    ) -> list[Row]:
        match frame:
            case PriceChange():
                return book.change(stamp, frame.price_changes, ts_ns)
            case Book():
                return book.snapshot(frame, stamp, ts_ns)
            case LastTrade():
                return book.trade(frame, stamp, ts_ns)
            case TickSize():
                return book.tick(frame.new_tick_size, ts_ns)
            case Resolved():
                return [_resolved(book.market, frame, stamp, ts_ns)]
            case OldPriceChange():
                return book.change(stamp, frame.totals(), ts_ns)
            case BestBidAsk():
                best_price(frame.best_bid, 0)
                best_price(frame.best_ask, PRICE_ONE_E4)
        return []

    def _undecodable(self, payload: bytes, error: BadFrame, ts_ns: int) -> list[Row]:
        """A message is lost: of the book that it names, or of any when it could be of any."""
        self.kpis.add(error.reason)
        try:
            head = decoded(_head, payload)
        except BadFrame:
            doubted = [*self._books.values()]
        else:
            doubted = self._meant(head)
        return [one for book in doubted for one in book.doubt(str(error), ts_ns)]

    def _meant(self, head: _Head) -> list[MarketBook]:
        """The books that a message of an unknown shape may have changed."""
        if head.event_type not in (None, *_NAMES_OF_THE_BOOK):
            return []
        if head.market is not None:
            return [self._books[head.market]] if head.market in self._books else []
        return [] if head.event_type is None else [*self._books.values()]


def _resolved(market: Market, frame: Resolved, stamp: int, ts_ns: int) -> Row:
    if frame.winning_asset_id not in (market.up, market.down):
        raise BadFrame(Reason.ASSET, f"a token of {market.condition_id}", frame.winning_asset_id)
    return row(
        Kind.RESOLVED,
        ts_ns,
        Source.POLYMARKET,
        market=market.number,
        price=PRICE_ONE_E4 if frame.winning_asset_id == market.up else 0,
        ts_source_ns=stamp,
    )


def _unique_keys(payload: bytes, frames: Iterable[Frame | OldPriceChange]) -> None:
    """BadFrame when an object has a key twice: decoders keep the last one and say nothing.

    Each key and each text is in two quotes, so a frame with exactly the expected number of them
    has no second key. Only another number is worth the slow look.
    """
    if payload.count(b'"') != sum(map(_quotes, frames)):
        try:
            json.loads(payload, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise BadFrame(Reason.NOT_JSON, "JSON", payload) from error


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise BadFrame(Reason.DUPLICATE_KEY, "each key once", [key for key, _ in pairs])


def _quotes(frame: Frame | OldPriceChange) -> int:
    """The quotes of a message without further fields; 0 where it is not worth counting them."""
    if isinstance(frame, PriceChange):
        return 14 + 28 * len(frame.price_changes)
    if isinstance(frame, Book):
        optional = (frame.tick_size is not None) + (frame.last_trade_price is not None)
        return 24 + 4 * optional + 8 * (len(frame.bids) + len(frame.asks))
    return 0
