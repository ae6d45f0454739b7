"""Coinbase Advanced Trade's market data: raw frames of one connection become spot rows.

In: payloads with receipt times. Out: SPOT rows, and the wish for a new connection after a gap.
Never here: a socket; a price that came after a lost message; the Exchange product's own feed
mistaken for this one (its ticker is understood, because recordings hold it).
"""

import heapq
from typing import Literal

import msgspec

from fairwind.core.events import ASSETS, Kind, Source
from fairwind.feeds.frames import (
    BadFrame,
    Reason,
    Row,
    decimal,
    decoded,
    rfc3339_ns,
    row,
    spot_price,
)
from fairwind.feeds.kpis import Count, Kpis

CHANNELS = ("heartbeats", "ticker")
"""What is subscribed to; `level2` and `market_trades` are understood as well. Heartbeats keep the
others open and have to be subscribed to anew on every connection."""
_QUOTES = ("USD", "USDC")


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a message; fields that are not needed are passed over."""


class Tick(_Part, frozen=True, kw_only=True):
    """A product's last trade."""

    product_id: str
    price: str


class TickerEvent(_Part, frozen=True, kw_only=True):
    """A snapshot, the first one of a connection, repeats each product's last trade."""

    type: Literal["snapshot", "update"] = "update"
    tickers: list[Tick]


class LevelUpdate(_Part, frozen=True, kw_only=True):
    """A level's new total."""

    side: Literal["bid", "offer"]
    price_level: str
    new_quantity: str


class LevelsEvent(_Part, frozen=True, kw_only=True):
    type: Literal["snapshot", "update"]
    product_id: str
    updates: list[LevelUpdate]


class Trade(_Part, frozen=True, kw_only=True):
    """A print. Its `side` is documented as the maker's, and is not used."""

    product_id: str
    price: str
    size: str
    time: str


class TradesEvent(_Part, frozen=True, kw_only=True):
    type: Literal["snapshot", "update"]
    trades: list[Trade]


class HeartbeatEvent(_Part, frozen=True, kw_only=True):
    heartbeat_counter: int | str


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="channel"):
    """The envelope. `sequence_num` counts all messages of a connection from 0."""

    timestamp: str
    sequence_num: int


class Ticker(Message, frozen=True, kw_only=True, tag="ticker"):
    events: list[TickerEvent]


class TickerBatch(Message, frozen=True, kw_only=True, tag="ticker_batch"):
    events: list[TickerEvent]


class Levels(Message, frozen=True, kw_only=True, tag="l2_data"):
    events: list[LevelsEvent]


class Trades(Message, frozen=True, kw_only=True, tag="market_trades"):
    events: list[TradesEvent]


class Heartbeats(Message, frozen=True, kw_only=True, tag="heartbeats"):
    events: list[HeartbeatEvent]


class Subscriptions(Message, frozen=True, kw_only=True, tag="subscriptions"):
    """What is subscribed to by now."""


class Candles(Message, frozen=True, kw_only=True, tag="candles"):
    """Not used."""


class Status(Message, frozen=True, kw_only=True, tag="status"):
    """Not used."""


class User(Message, frozen=True, kw_only=True, tag="user"):
    """Not used: nothing is traded there."""


class _Head(_Part, frozen=True, kw_only=True):
    """What can be said about a message of a shape that is not known."""

    channel: str
    sequence_num: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """An error, which has no channel."""

    message: str


class ExchangeTicker(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ticker"):
    """A ticker of the Exchange product's feed, a different service."""

    product_id: str
    price: str
    time: str


class ExchangeSubscriptions(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="subscriptions"
):
    """What is subscribed to on the Exchange product's feed."""


Frame = (
    Ticker | TickerBatch | Levels | Trades | Heartbeats | Subscriptions | Candles | Status | User
)
Other = Refusal | ExchangeTicker | ExchangeSubscriptions

_head = msgspec.json.Decoder(_Head)
_frames: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)
_others: msgspec.json.Decoder[Other] = msgspec.json.Decoder(Other)


def decode(payload: bytes) -> Frame | Other:
    """The typed message. Raises BadFrame; with reason REFUSED when the venue reports an error."""
    try:
        return decoded(_frames, payload)
    except BadFrame as error:
        if error.reason != Reason.SHAPE:
            raise
        try:
            other = decoded(_others, payload)
        except BadFrame:
            raise error from None
    if isinstance(other, Refusal):
        raise BadFrame(Reason.REFUSED, "data", other.message)
    return other


def subscriptions(product_ids: list[str], channels: tuple[str, ...] = CHANNELS) -> list[bytes]:
    """The client frames, one for each channel, to be sent within 5 s of connecting."""
    return [
        msgspec.json.encode(
            {"type": "subscribe", "channel": channel}
            | ({} if channel == "heartbeats" else {"product_ids": product_ids})
        )
        for channel in channels
    ]


class Ladders:
    """A product's bids and offers by price_e8. The best price is found by lazily cleaned heaps."""

    def __init__(self) -> None:
        self._sides: dict[str, dict[int, int]] = {"bid": {}, "offer": {}}
        self._heaps: dict[str, list[int]] = {"bid": [], "offer": []}
        self._heaped: dict[str, set[int]] = {"bid": set(), "offer": set()}

    def set(self, side: str, price_e8: int, size_e8: int) -> None:
        """A level's new total; 0 removes it."""
        if size_e8 == 0:
            self._sides[side].pop(price_e8, None)
            return
        if price_e8 not in self._heaped[side]:
            self._heaped[side].add(price_e8)
            heapq.heappush(self._heaps[side], -price_e8 if side == "bid" else price_e8)
        self._sides[side][price_e8] = size_e8

    def best(self, side: str) -> int | None:
        """The best price of a side, or None when it is empty."""
        heap, levels = self._heaps[side], self._sides[side]
        while heap and abs(heap[0]) not in levels:
            self._heaped[side].remove(abs(heapq.heappop(heap)))
        return abs(heap[0]) if heap else None


class Coinbase:
    """One connection. `wanted` says why a new one is needed; until then nothing comes out."""

    def __init__(self) -> None:
        self.kpis = Kpis()
        self.wanted: str | None = None
        self._expected = 0
        self._beat: int | None = None
        self._books: dict[str, Ladders] = {}
        self._known: dict[int, tuple[int, int]] = {}

    def resume(self, asset: int, price_e8: int, ts_source_ns: int) -> None:
        """The asset's last price is known already: a first message that repeats it is no news."""
        self._known[asset] = (price_e8, ts_source_ns)

    def disconnected(self, ts_ns: int) -> list[Row]:
        """The next message is the first one of a new connection. Last prices stay known."""
        self.kpis.add(Count.RECONNECTS)
        self.wanted, self._expected, self._beat = None, 0, None
        self._books.clear()
        return []

    def take(self, payload: bytes, ts_ns: int) -> list[Row]:
        """One frame, received at `ts_ns`. A bad one is counted; one of the book ends the book."""
        self.kpis.add(Count.MESSAGES)
        try:
            frame = decode(payload)
        except BadFrame as error:
            self._undecodable(payload, error)
            return []
        if isinstance(frame, Message) and not self._follows(frame.sequence_num):
            return []
        try:
            return self._rows(frame, ts_ns)
        except BadFrame as error:
            self.kpis.add(error.reason)
            if isinstance(frame, Levels):
                self._doubt(str(error))
            return []

    def _undecodable(self, payload: bytes, error: BadFrame) -> None:
        """Its number counts, unless that cannot be read either: then a message is lost."""
        self.kpis.add(error.reason)
        if error.reason == Reason.REFUSED:
            return
        try:
            head = decoded(_head, payload)
        except BadFrame:
            self._doubt(str(error))
            return
        if self._follows(head.sequence_num) and head.channel == "l2_data":
            self._doubt(str(error))

    def _follows(self, number: int) -> bool:
        """Whether the message may be used: it is new, and none has been lost before it."""
        if number < self._expected:
            last = number == self._expected - 1
            self.kpis.add(Count.DUPLICATES if last else Count.OUT_OF_ORDER)
            return False
        if number > self._expected:
            self._doubt(f"message {self._expected} is missing, {number} came")
        self._expected = number + 1
        return self.wanted is None

    def _doubt(self, why: str) -> None:
        self.kpis.add(Count.GAPS)
        self.wanted = why
        self._books.clear()

    def _rows(self, frame: Frame | Other, ts_ns: int) -> list[Row]:
        match frame:
            case Ticker():
                stamp = self._aged(rfc3339_ns(frame.timestamp), ts_ns)
                ticks = [
                    (asset_number(one.product_id), spot_price(one.price), event.type == "snapshot")
                    for event in frame.events
                    for one in event.tickers
                ]
                return [row for one in ticks for row in self._news(*one, stamp, ts_ns)]
            case ExchangeTicker():
                stamp = self._aged(rfc3339_ns(frame.time), ts_ns)
                asset, price = asset_number(frame.product_id), spot_price(frame.price)
                same_time = asset is not None and self._known.get(asset, (0, 0))[1] == stamp
                return self._news(asset, price, same_time, stamp, ts_ns)
            case Trades():
                return self._trades(frame, ts_ns)
            case Levels():
                stamp = self._aged(rfc3339_ns(frame.timestamp), ts_ns)
                return [row for event in frame.events for row in self._levels(event, stamp, ts_ns)]
            case Heartbeats():
                for event in frame.events:
                    self._heartbeat(event)
            case _:
                self.kpis.add(Count.IGNORED)
        return []

    def _aged(self, stamp: int, ts_ns: int) -> int:
        self.kpis.age(ts_ns - stamp)
        return stamp

    def _news(
        self, asset: int | None, price: int, repeats: bool, stamp: int, ts_ns: int
    ) -> list[Row]:
        """The price of an asset of ours, unless it only `repeats` what is known.

        A new connection begins with the last price. Where that is the known one nothing happened,
        and a reconnect or a restart must not make it an event.
        """
        if asset is None:
            return []
        known, self._known[asset] = self._known.get(asset, (0, 0)), (price, stamp)
        if repeats and price == known[0]:
            self.kpis.add(Count.DUPLICATES)
            return []
        return [_spot(asset, price, 0, stamp, ts_ns)]

    def _trades(self, frame: Trades, ts_ns: int) -> list[Row]:
        """The new prints, the oldest first. A snapshot holds old ones: they are not news."""
        found = [
            (rfc3339_ns(one.time), spot_price(one.price), decimal(one.size, 8), one.product_id)
            for event in frame.events
            if event.type == "update"
            for one in event.trades
        ]
        rows = []
        for stamp, price, size, product in sorted(found):
            asset = asset_number(product)
            if asset is not None:
                rows.append(_spot(asset, price, size, self._aged(stamp, ts_ns), ts_ns))
        return rows

    def _levels(self, event: LevelsEvent, stamp: int, ts_ns: int) -> list[Row]:
        """The mid price after the event, when both sides stand. BadFrame when they cross."""
        found = [
            (one.side, spot_price(one.price_level), decimal(one.new_quantity, 8))
            for one in event.updates
        ]
        if event.type == "snapshot":
            if len({(side, price) for side, price, _ in found}) < len(found):
                raise BadFrame(Reason.DUPLICATE_LEVEL, "each price once", event.product_id)
            self._books[event.product_id] = Ladders()
        book = self._books.get(event.product_id)
        if book is None:
            raise BadFrame(Reason.SHAPE, "a snapshot before updates", event.product_id)
        for side, price, size in found:
            book.set(side, price, size)
        bid, offer = book.best("bid"), book.best("offer")
        asset = asset_number(event.product_id)
        if bid is None or offer is None:
            return []
        if bid >= offer:
            raise BadFrame(Reason.CROSSED, "a bid below the offer", (bid, offer))
        return self._news(asset, (bid + offer) // 2, event.type == "snapshot", stamp, ts_ns)

    def _heartbeat(self, event: HeartbeatEvent) -> None:
        text = str(event.heartbeat_counter)
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise BadFrame(Reason.NUMBER, "a heartbeat counter", text)
        number = int(text)
        if self._beat is not None and number > self._beat + 1:
            self.kpis.add(Count.HEARTBEAT_MISSES, number - self._beat - 1)
        self._beat = number


def asset_number(product_id: str) -> int | None:
    """The asset of a dollar product (`BTC-USD`, `BTC-USDC`), or None for any other product."""
    base, _, quote = product_id.partition("-")
    return ASSETS.index(base) if base in ASSETS and quote in _QUOTES else None


def _spot(asset: int, price: int, size: int, stamp: int, ts_ns: int) -> Row:
    return row(
        Kind.SPOT,
        ts_ns,
        Source.COINBASE,
        market=asset,
        price=price,
        size=size,
        ts_source_ns=stamp,
    )
