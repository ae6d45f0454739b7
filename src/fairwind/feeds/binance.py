"""Binance spot's combined stream, an optional second opinion: raw frames become spot rows.

In: payloads with receipt times. Out: SPOT rows: prints, or the mid of the best prices. Never here:
a socket; a book (depth updates are checked for order only, no snapshot is asked for).
"""

from collections.abc import Iterable

import msgspec

from fairwind.core.events import ASSETS, Kind, Source
from fairwind.feeds.frames import (
    BadFrame,
    Reason,
    Row,
    decimal,
    decoded,
    row,
    spot_price,
    stamp_ns,
)
from fairwind.feeds.kpis import Count, Kpis

_QUOTES = ("USDT", "USDC", "FDUSD")


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    stream: str
    data: msgspec.Raw


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a subscription."""

    result: None
    id: int | str | None


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """A print. Ids of a symbol's trades are consecutive."""

    symbol: str = msgspec.field(name="s")
    trade_id: int = msgspec.field(name="t")
    price: str = msgspec.field(name="p")
    size: str = msgspec.field(name="q")
    time_ms: int = msgspec.field(name="T")


class BookTicker(msgspec.Struct, frozen=True, kw_only=True):
    """The best prices and sizes. It has no time."""

    symbol: str = msgspec.field(name="s")
    update_id: int = msgspec.field(name="u")
    bid: str = msgspec.field(name="b")
    bid_size: str = msgspec.field(name="B")
    ask: str = msgspec.field(name="a")
    ask_size: str = msgspec.field(name="A")


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """Changed levels between two update ids."""

    symbol: str = msgspec.field(name="s")
    first_id: int = msgspec.field(name="U")
    last_id: int = msgspec.field(name="u")
    bids: list[tuple[str, str]] = msgspec.field(name="b")
    asks: list[tuple[str, str]] = msgspec.field(name="a")


Frame = Trade | BookTicker | Depth

_envelopes = msgspec.json.Decoder(_Envelope)
_answers = msgspec.json.Decoder(_Answer)
_trades = msgspec.json.Decoder(Trade)
_tickers = msgspec.json.Decoder(BookTicker)
_depths = msgspec.json.Decoder(Depth)


def decode(payload: bytes) -> Frame | None:
    """The typed message; None for the answer to a subscription. Raises BadFrame."""
    try:
        envelope = decoded(_envelopes, payload)
    except BadFrame as error:
        if error.reason == Reason.SHAPE and _is_answer(payload):
            return None
        raise
    kind, data = envelope.stream.partition("@")[2], bytes(envelope.data)
    if kind == "trade":
        return decoded(_trades, data)
    if kind == "bookTicker":
        return decoded(_tickers, data)
    if kind.startswith("depth"):
        return decoded(_depths, data)
    raise BadFrame(Reason.SHAPE, "a trade, bookTicker or depth stream", payload)


def _is_answer(payload: bytes) -> bool:
    try:
        decoded(_answers, payload)
    except BadFrame:
        return False
    return True


def subscription(symbols: Iterable[str]) -> bytes:
    """The client frame that asks for the prints of assets, such as BTC, in USDT."""
    streams = [f"{symbol.lower()}usdt@trade" for symbol in symbols]
    return msgspec.json.encode({"method": "SUBSCRIBE", "params": streams, "id": 1})


class Binance:
    """One connection of combined streams."""

    def __init__(self) -> None:
        self.kpis = Kpis()
        self._last: dict[tuple[str, str], int] = {}
        self._known: dict[int, tuple[int, int]] = {}

    def resume(self, asset: int, price_e8: int, ts_source_ns: int) -> None:
        """The asset's last price is known already: a first message that repeats it is no news.

        `ts_source_ns` is 0 for a mid: best prices have no time.
        """
        self._known[asset] = (price_e8, ts_source_ns)

    def disconnected(self, ts_ns: int) -> list[Row]:
        """Ids may jump: the next message of each stream starts anew. Last prices stay known."""
        self.kpis.add(Count.RECONNECTS)
        self._last.clear()
        return []

    def take(self, payload: bytes, ts_ns: int) -> list[Row]:
        """One frame, received at `ts_ns`. Each price stands alone: after a gap the next one counts.

        A bad frame is counted.
        """
        self.kpis.add(Count.MESSAGES)
        try:
            return self._rows(decode(payload), ts_ns)
        except BadFrame as error:
            self.kpis.add(error.reason)
            return []

    def _rows(self, frame: Frame | None, ts_ns: int) -> list[Row]:
        match frame:
            case Trade():
                price, size = spot_price(frame.price), decimal(frame.size, 8)
                stamp = stamp_ns(frame.time_ms)
                self.kpis.age(ts_ns - stamp)
                first = ("trade", frame.symbol) not in self._last
                if self._news("trade", frame.symbol, frame.trade_id, frame.trade_id):
                    return self._spot(frame.symbol, price, stamp, ts_ns, size=size, first=first)
            case BookTicker():
                bid, ask = spot_price(frame.bid), spot_price(frame.ask)
                if bid >= ask:
                    raise BadFrame(Reason.CROSSED, "a bid below the ask", (bid, ask))
                decimal(frame.bid_size, 8)
                decimal(frame.ask_size, 8)
                first = ("bookTicker", frame.symbol) not in self._last
                if self._news("bookTicker", frame.symbol, None, frame.update_id):
                    return self._spot(frame.symbol, (bid + ask) // 2, 0, ts_ns, first=first)
            case Depth():
                for price_text, size_text in (*frame.bids, *frame.asks):
                    spot_price(price_text)
                    decimal(size_text, 8)
                self._news("depth", frame.symbol, frame.first_id, frame.last_id)
            case None:
                self.kpis.add(Count.IGNORED)
        return []

    def _spot(
        self, symbol: str, price: int, stamp: int, ts_ns: int, *, size: int = 0, first: bool
    ) -> list[Row]:
        """The price of an asset of ours, unless a connection's `first` one is the known one."""
        asset = asset_number(symbol)
        if asset is None:
            return []
        known, self._known[asset] = self._known.get(asset), (price, stamp)
        if first and known == (price, stamp):
            self.kpis.add(Count.DUPLICATES)
            return []
        return [
            row(
                Kind.SPOT,
                ts_ns,
                Source.BINANCE,
                market=asset,
                price=price,
                size=size,
                ts_source_ns=stamp,
            )
        ]

    def _news(self, stream: str, symbol: str, first: int | None, last: int) -> bool:
        """Whether ids `first` to `last` are new. Without `first` they may jump, but only grow."""
        before = self._last.get((stream, symbol))
        if before is not None and last <= before:
            self.kpis.add(Count.DUPLICATES if last == before else Count.OUT_OF_ORDER)
            return False
        if before is not None and first is not None and first > before + 1:
            self.kpis.add(Count.GAPS)
        self._last[stream, symbol] = last
        return True


def asset_number(symbol: str) -> int | None:
    """The asset of a dollar pair (`BTCUSDT`), or None for any other symbol."""
    for quote in _QUOTES:
        base = symbol.removesuffix(quote)
        if base != symbol and base in ASSETS:
            return ASSETS.index(base)
    return None
