"""Coinbase's Advanced Trade WebSocket around the tape's spot prints.

In: SPOT rows. Out: ticker, l2_data, market_trades and heartbeats with one sequence over the
connection. Never here: depth that was recorded; the tape has prints only, so one level a side
stands around each print.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from fairwind.core.events import ASSETS, Kind
from fairwind.core.units import SECOND_NS
from fairwind.world.faults import Close, LineName
from fairwind.world.server.sockets import Connection, Sockets
from fairwind.world.server.venue import Row, Venue
from fairwind.world.server.wire import encode

CHANNELS = {
    "ticker": "ticker",
    "level2": "l2_data",
    "market_trades": "market_trades",
    "heartbeats": "heartbeats",
}
"""Names to subscribe by, and what their messages are called."""
TICK_E8 = 1_000_000
QUANTITY = "0.5"


class Request(msgspec.Struct, frozen=True):
    """A client frame: one channel per message."""

    type: str
    channel: str
    product_ids: list[str] = []
    jwt: str = ""


class Watcher(Connection):
    """A reader, its products by channel, its sequence and the best prices that it was told."""

    def __init__(self, sockets: Sockets, hear: Any) -> None:
        super().__init__(sockets, LineName.COINBASE, hear)
        self.products: dict[str, set[str]] = {}
        self.sequence = 0
        self.beats = 0
        self.told: dict[str, tuple[str, str]] = {}


class Coinbase:
    """All watchers, and the last print of each product."""

    def __init__(self, venue: Venue, sockets: Sockets) -> None:
        self.venue = venue
        self.sockets = sockets
        self.last: dict[str, Row] = {}
        self._beat_s = 0
        self._trades = 0

    def publish(self, rows: Iterable[Row]) -> None:
        """Hand each spot print to its watchers, and a heartbeat to all once a second, in order."""
        for row in rows:
            if row.kind == Kind.SPOT:
                self._beats(row.ts_ns)
                self._print(row)
        self._beats(self.venue.now_ns)

    def join(self, name: LineName) -> Watcher:
        """A new watcher; a subscription is due within five seconds."""
        return Watcher(self.sockets, self._hear)

    def _watchers(self) -> list[Watcher]:
        return self.sockets.of(Watcher, LineName.COINBASE)

    def _hear(self, watcher: Watcher, text: str) -> Close | None:
        try:
            request = msgspec.json.decode(text, type=Request)
        except msgspec.DecodeError:
            request = Request(type="", channel="")
        if request.channel not in CHANNELS or request.type not in ("subscribe", "unsubscribe"):
            refusal = {"type": "error", "message": "invalid message"}
            watcher.put(encode(refusal), self.venue.now_ns)
            return None
        watcher.subscribed = True
        products = watcher.products.setdefault(request.channel, set())
        if request.type == "unsubscribe":
            products.difference_update(request.product_ids)
        else:
            products.update(request.product_ids)
            if request.channel == "level2":
                self._snapshots(watcher, request.product_ids, self.venue.now_ns)
            if request.channel == "ticker":
                self._last_tickers(watcher, request.product_ids)
        asked = {name: sorted(found) for name, found in watcher.products.items()}
        self._send(watcher, "subscriptions", [{"subscriptions": asked}], self.venue.now_ns)
        return None

    def _snapshots(self, watcher: Watcher, products: list[str], sent_ns: int) -> None:
        """The book of each product as it stands; nothing before its first print."""
        for product in products:
            if product in self.last:
                row = self.last[product]
                watcher.told[product] = _best(row)
                updates = _levels(_best(row), QUANTITY, _time(row.ts_source_ns))
                event = {"type": "snapshot", "product_id": product, "updates": updates}
                self._send(watcher, "l2_data", [event], sent_ns)

    def _last_tickers(self, watcher: Watcher, products: list[str]) -> None:
        """The last print of each product again, stamped as it was."""
        for product in products:
            if product in self.last:
                row = self.last[product]
                self._send(watcher, "ticker", [_ticker(product, row, "snapshot")], row.ts_ns)

    def _print(self, row: Row) -> None:
        product = f"{ASSETS[row.market]}-USD"
        self.last[product] = row
        self._trades += 1
        for watcher in self._watchers():
            if product in watcher.products.get("level2", ()):
                self._move(watcher, product, row)
            if product in watcher.products.get("market_trades", ()):
                self._send(watcher, "market_trades", [self._trade(product, row)], row.ts_ns)
            if product in watcher.products.get("ticker", ()):
                self._send(watcher, "ticker", [_ticker(product, row, "update")], row.ts_ns)

    def _move(self, watcher: Watcher, product: str, row: Row) -> None:
        """Old best levels out, new ones in; a snapshot when it is the first print."""
        if product not in watcher.told:
            self._snapshots(watcher, [product], row.ts_ns)
            return
        old, new = watcher.told[product], _best(row)
        if old != new:
            watcher.told[product] = new
            stamp = _time(row.ts_source_ns)
            updates = _levels(old, "0", stamp) + _levels(new, QUANTITY, stamp)
            event = {"type": "update", "product_id": product, "updates": updates}
            self._send(watcher, "l2_data", [event], row.ts_ns)

    def _trade(self, product: str, row: Row) -> dict[str, Any]:
        trade = {
            "trade_id": str(self._trades),
            "product_id": product,
            "price": _dollars(row.price),
            "size": _dollars(row.size),
            "side": "BUY",
            "time": _time(row.ts_source_ns),
        }
        return {"type": "update", "trades": [trade]}

    def _beats(self, now_ns: int) -> None:
        """The heartbeats that are due."""
        second = now_ns // SECOND_NS
        for due_s in range(self._beat_s + 1 if self._beat_s else second, second + 1):
            for watcher in self._watchers():
                if "heartbeats" in watcher.products:
                    self._beat(watcher, due_s)
        self._beat_s = second

    def _beat(self, watcher: Watcher, second: int) -> None:
        watcher.beats += 1
        now = datetime.fromtimestamp(second, UTC)
        current = f"{now:%Y-%m-%d %H:%M:%S} +0000 UTC m=+{watcher.beats}.000000001"
        event = {"current_time": current, "heartbeat_counter": watcher.beats}
        self._send(watcher, "heartbeats", [event], second * SECOND_NS)

    def _send(self, watcher: Watcher, channel: str, events: list[Any], sent_ns: int) -> None:
        """In the envelope: one sequence over all channels of the connection, no client id."""
        message = {
            "channel": channel,
            "timestamp": _time(sent_ns + self._off_ns(sent_ns)),
            "sequence_num": watcher.sequence,
            "events": events,
        }
        watcher.sequence += 1
        watcher.put(encode(message), sent_ns)

    def _off_ns(self, now_ns: int) -> int:
        return self.sockets.faults.off_ns(LineName.COINBASE, now_ns)


def _best(row: Row) -> tuple[str, str]:
    """(bid, ask): a cent around the print."""
    return _dollars(row.price - TICK_E8), _dollars(row.price + TICK_E8)


def _levels(best: tuple[str, str], quantity: str, stamp: str) -> list[dict[str, str]]:
    return [
        {"side": side, "event_time": stamp, "price_level": price, "new_quantity": quantity}
        for side, price in zip(("bid", "offer"), best, strict=True)
    ]


def _ticker(product: str, row: Row, kind: str) -> dict[str, Any]:
    bid, ask = _best(row)
    ticker = {
        "type": "ticker",
        "product_id": product,
        "price": _dollars(row.price),
        "best_bid": bid,
        "best_bid_quantity": QUANTITY,
        "best_ask": ask,
        "best_ask_quantity": QUANTITY,
    }
    return {"type": kind, "tickers": [ticker]}


def _dollars(value_e8: int) -> str:
    """An integer of 1e-8 as plain decimal text."""
    return f"{Decimal(value_e8).scaleb(-8).normalize():f}"


def _time(ts_ns: int) -> str:
    """RFC 3339 with nine decimals."""
    whole = datetime.fromtimestamp(ts_ns // SECOND_NS, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ts_ns % SECOND_NS:09d}Z"
