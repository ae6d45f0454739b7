"""RTDS and PolyBolt: the oracle's prints as the venue streams them, quirks included.

In: REFERENCE and SPOT rows. Out: frames for subscribers, a backfill first. Never here: the
settlement itself; prints that the tape lacks are lacking here.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from starlette.websockets import WebSocket

from fairwind.core.events import ASSETS, Kind
from fairwind.core.units import MILLISECOND_NS, reference_value
from fairwind.world.server.keys import Keys
from fairwind.world.server.listing import derived
from fairwind.world.server.sockets import POLICY, Close, Connection, Sockets
from fairwind.world.server.streams import Words
from fairwind.world.server.venue import Row, Venue
from fairwind.world.server.wire import encode

BACKFILL = 120
TOPICS = {
    "crypto_prices": -1,  # spot
    "crypto_prices_chainlink": 0,
    "crypto_prices_twap_thirty": 30,
    "crypto_prices_twap_sixty": 60,
}
"""RTDS topics and the averaging seconds of their stream."""
CHANNELS = {"price.crypto": 0, "price.crypto.twap": 60}
Stream = tuple[int, int]
"""Asset number, averaging seconds; -1 for spot."""


class Wanted(msgspec.Struct, frozen=True):
    """One RTDS subscription."""

    topic: str
    type: str = "*"
    filters: str = ""


class RtdsRequest(msgspec.Struct, frozen=True):
    """An RTDS client frame."""

    action: str
    subscriptions: list[Wanted] = []


class Filter(msgspec.Struct, frozen=True):
    """A PolyBolt filter."""

    symbol: str
    window_seconds: int = 0


class Channel(msgspec.Struct, frozen=True):
    """One PolyBolt subscription."""

    channel: str
    filter: Filter


class PolyBoltRequest(msgspec.Struct, frozen=True):
    """A PolyBolt client frame."""

    op: str
    rid: str = ""
    auth: Words | None = None
    subscriptions: list[Channel] = []


class Listener(Connection):
    """A reader of either, what it gets, and where each of its channels is."""

    def __init__(self, sockets: Sockets, name: str) -> None:
        super().__init__(sockets)
        self.name = name
        self.wants: dict[Stream, str] = {}  # stream to topic or channel
        self.sequences: dict[str, int] = {}
        self.authenticated = False


Hear = Callable[[Listener, str], Close | None]


class References:
    """All listeners, and the latest prints for backfills."""

    def __init__(self, venue: Venue, keys: Keys, sockets: Sockets) -> None:
        self.venue = venue
        self.keys = keys
        self.sockets = sockets
        self.recent: dict[Stream, deque[Row]] = {}
        self.rtds_readers: dict[Listener, None] = {}
        self.polybolt_readers: dict[Listener, None] = {}
        self._rtds_connections = 0

    def publish(self, rows: Iterable[Row]) -> None:
        """Hand each print to those who want its stream."""
        for row in rows:
            stream = (row.market, row.ref if row.kind == Kind.REFERENCE else -1)
            self.recent.setdefault(stream, deque(maxlen=BACKFILL)).append(row)
            for reader in self.rtds_readers:
                if stream in reader.wants:
                    reader.put(self._rtds_update(reader, row, stream))
            for reader in self.polybolt_readers:
                if stream in reader.wants:
                    reader.put(
                        self._envelope(reader, stream, _bolt_payload(row, stream), row.ts_ns)
                    )

    async def rtds(self, socket: WebSocket) -> None:
        """RTDS: greets with an empty frame, answers no ping."""
        self._rtds_connections += 1
        name = derived(str(self._rtds_connections), "connection").hex()[:18]
        reader = Listener(self.sockets, name)
        reader.subscribed = True  # waits for ever for a first frame
        reader.put("")
        await self._serve(socket, reader, self.rtds_readers, self._hear_rtds)

    async def polybolt(self, socket: WebSocket) -> None:
        """PolyBolt: authentication first."""
        reader = Listener(self.sockets, "")
        await self._serve(socket, reader, self.polybolt_readers, self._hear_polybolt)

    async def _serve(
        self, socket: WebSocket, reader: Listener, readers: dict[Listener, None], hear: Hear
    ) -> None:
        await socket.accept()
        readers[reader] = None
        try:
            await reader.serve(socket, lambda text: hear(reader, text))
        finally:
            del readers[reader]

    def _hear_rtds(self, reader: Listener, text: str) -> Close | None:
        try:
            request = msgspec.json.decode(text, type=RtdsRequest)
        except msgspec.DecodeError:
            return None  # a ping, or anything else, is not answered
        unknown = [one.topic for one in request.subscriptions if one.topic not in TOPICS]
        if unknown:
            found = f"topic: {unknown[0]} and type: update not found"
            reader.put(_text({"body": {"message": found}, "statusCode": 401}))
            reader.wants.clear()
            return None
        for one in request.subscriptions if request.action == "subscribe" else ():
            for stream in _streams(one):
                reader.put(self._rtds_backfill(stream, one.topic))
                if " " not in one.filters:  # such a filter gets the backfill, then silence
                    reader.wants[stream] = one.topic
        return None

    def _hear_polybolt(self, reader: Listener, text: str) -> Close | None:
        try:
            request = msgspec.json.decode(text, type=PolyBoltRequest)
        except msgspec.DecodeError:
            return POLICY
        reader.subscribed = True
        if request.op == "ping":
            reader.put(_text({"op": "pong", "rid": request.rid}))
        elif request.op == "auth" and request.auth is not None:
            words = request.auth
            if self.keys.by_words(words.apiKey, words.secret, words.passphrase) is None:
                return (4001, "authentication failed")
            reader.authenticated = True
            reader.put(_text({"op": "authed", "rid": request.rid}))
        elif request.op == "subscribe":
            for one in request.subscriptions:
                self._subscribe_polybolt(reader, one, request.rid)
        return None

    def _subscribe_polybolt(self, reader: Listener, one: Channel, rid: str) -> None:
        named = {"channel": one.channel, "rid": rid}
        if not reader.authenticated:
            reader.put(_text({"op": "error", "code": "auth_required", **named}))
            return
        symbols = {f"{asset.lower()}usd": number for number, asset in enumerate(ASSETS)}
        if one.channel not in CHANNELS or one.filter.symbol not in symbols:
            code = "bad_filter" if one.channel in CHANNELS else "bad_channel"
            reader.put(_text({"op": "error", "code": code, **named}))
            return
        stream = (symbols[one.filter.symbol], CHANNELS[one.channel])
        reader.put(_text({"op": "subscribed", **named}))
        reader.wants[stream] = one.channel
        rows = self.recent.get(stream, ())
        data = [{k: v for k, v in _bolt_payload(r, stream).items() if k in _POINT} for r in rows]
        window = {"window_seconds": stream[1]} if stream[1] else {}
        payload = {"symbol": one.filter.symbol, "source": "chainlink", **window, "data": data}
        first = {"snapshot": True}
        reader.put(self._envelope(reader, stream, payload, self.venue.now_ns, **first))

    def _envelope(
        self, reader: Listener, stream: Stream, payload: dict[str, Any], sent_ns: int, **more: bool
    ) -> str:
        """PolyBolt's envelope; `seq` counts per connection and channel."""
        channel = reader.wants[stream]
        sequence = reader.sequences.get(channel, 0) + 1
        reader.sequences[channel] = sequence
        stamp = sent_ns // MILLISECOND_NS
        return _text(
            {"v": 1, "channel": channel, "seq": sequence, "ts": stamp, **more, "payload": payload}
        )

    def _rtds_update(self, reader: Listener, row: Row, stream: Stream) -> str:
        payload: dict[str, Any] = {
            "full_accuracy_value": _accurate(row, stream),
            "symbol": _symbol(stream),
            "timestamp": row.ts_source_ns // MILLISECOND_NS,
            "value": float(_value(row)),
        }
        if stream[1] > 0:
            payload["window_s"] = stream[1]
        stamp = row.ts_ns // MILLISECOND_NS
        head = {"connection_id": reader.name, "payload": payload, "timestamp": stamp}
        return _text({**head, "topic": reader.wants[stream], "type": "update"})

    def _rtds_backfill(self, stream: Stream, topic: str) -> str:
        """The points before; those of the point stream come under the spot stream's topic."""
        points: list[dict[str, Any]] = []
        for row in list(self.recent.get(stream, ()))[-(60 if stream[1] >= 0 else BACKFILL) :]:
            point = {"timestamp": row.ts_source_ns // MILLISECOND_NS, "value": float(_value(row))}
            exact = {"full_accuracy_value": _accurate(row, stream)} if stream[1] > 0 else {}
            points.append({**exact, **point})
        payload: dict[str, Any] = {"data": points, "symbol": _symbol(stream)}
        if stream[1] > 0:
            payload["window_s"] = stream[1]
        label = "crypto_prices" if stream[1] == 0 else topic
        now_ms = self.venue.now_ns // MILLISECOND_NS
        stamp = {"timestamp": now_ms, "topic": label, "type": "subscribe"}
        return _text({"payload": payload, **stamp})


_POINT = ("timestamp", "value", "full_accuracy_value")


def _streams(wanted: Wanted) -> list[Stream]:
    """Streams that a subscription names: one symbol, or every asset without a filter."""
    averaging_s = TOPICS[wanted.topic]
    every = [(number, averaging_s) for number in range(len(ASSETS))]
    if not wanted.filters:
        return every
    try:
        symbol = msgspec.json.decode(wanted.filters, type=Filter).symbol
    except msgspec.DecodeError:
        return []
    return [stream for stream in every if _symbol(stream) == symbol]


def _symbol(stream: Stream) -> str:
    asset = ASSETS[stream[0]].lower()
    return f"{asset}usdt" if stream[1] < 0 else f"{asset}/usd"


def _value(row: Row) -> Any:
    """The print in dollars, exact. A SPOT row's size is a volume, not a remainder."""
    return reference_value(row.price, row.size if row.kind == Kind.REFERENCE else 0)


def _accurate(row: Row, stream: Stream) -> str:
    """Units of 1e-18 dollar for the oracle's topics, plain decimal for spot."""
    if stream[1] < 0:
        return f"{_value(row):.8f}"
    return str(row.price * 10_000_000_000 + row.size)


def _bolt_payload(row: Row, stream: Stream) -> dict[str, Any]:
    payload = {
        "symbol": f"{ASSETS[stream[0]].lower()}usd",
        "value": float(_value(row)),
        "full_accuracy_value": f"{_value(row):f}",
        "timestamp": row.ts_source_ns // MILLISECOND_NS,
        "source": "chainlink",
    }
    return {**payload, "window_seconds": stream[1]} if stream[1] else payload


def _text(value: Any) -> str:
    return encode(value).decode()
