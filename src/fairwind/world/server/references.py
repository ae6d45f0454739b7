"""RTDS and PolyBolt: the oracle's prints as the venue streams them, quirks included.

In: REFERENCE and SPOT rows. Out: frames for subscribers, a backfill first. Never here: the
settlement itself; prints that the tape lacks are lacking here.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from fairwind.core.events import ASSETS, HORIZONS_S, Kind
from fairwind.core.units import MILLISECOND_NS, SECOND_NS, reference_value
from fairwind.world.faults import Close, LineName
from fairwind.world.faults import Kind as Fate
from fairwind.world.server.keys import Keys
from fairwind.world.server.listing import derived
from fairwind.world.server.sockets import POLICY, Connection, Sockets
from fairwind.world.server.streams import Words
from fairwind.world.server.venue import Row, Venue
from fairwind.world.server.wire import encode

BACKFILL = 120
BOUNDARY_NS = min(HORIZONS_S) * SECOND_NS
"""At whose multiples windows start and end."""
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

    def __init__(self, sockets: Sockets, name: LineName, hear: Any, id: str) -> None:
        super().__init__(sockets, name, hear)
        self.id = id
        self.wants: dict[Stream, str] = {}  # stream to topic or channel
        self.sequences: dict[str, int] = {}
        self.authenticated = False


class References:
    """All listeners, and the latest prints for backfills."""

    def __init__(self, venue: Venue, keys: Keys, sockets: Sockets) -> None:
        self.venue = venue
        self.keys = keys
        self.sockets = sockets
        self.recent: dict[tuple[LineName, Stream], deque[Row]] = {}
        self._rtds_connections = 0

    def publish(self, rows: Iterable[Row]) -> None:
        """Hand each print to those who want its stream."""
        for row in rows:
            stream = (row.market, row.ref if row.kind == Kind.REFERENCE else -1)
            for line in (LineName.RTDS, LineName.POLYBOLT):
                if self._comes(row, stream, line):
                    self._tell(row, stream, line)

    def _tell(self, row: Row, stream: Stream, line: LineName) -> None:
        for reader in self.sockets.of(Listener, line):
            if stream not in reader.wants:
                continue
            if line is LineName.RTDS:
                frame = self._rtds_update(reader, row, stream)
            else:
                frame = self._envelope(reader, stream, _bolt_payload(row, stream), row.ts_ns)
            reader.put(frame, row.ts_ns)

    def join(self, name: LineName) -> Listener:
        """A new listener. RTDS greets with an empty frame and waits for ever for a first one."""
        if name is LineName.POLYBOLT:
            return Listener(self.sockets, name, self._hear_polybolt, "")
        self._rtds_connections += 1
        id = derived(str(self._rtds_connections), "connection").hex()[:18]
        listener = Listener(self.sockets, name, self._hear_rtds, id)
        listener.subscribed = True
        listener.put(b"", self.venue.now_ns)
        return listener

    def _comes(self, row: Row, stream: Stream, line: LineName) -> bool:
        """Remember a print for backfills, unless it is a boundary's and a fault keeps it back."""
        of_boundary = row.kind == Kind.REFERENCE and not row.ts_source_ns % BOUNDARY_NS
        faults = self.sockets.faults
        if of_boundary and faults.acting(Fate.MISSING_PRINT, line, row.ts_ns) is not None:
            return False
        self.recent.setdefault((line, stream), deque(maxlen=BACKFILL)).append(row)
        return True

    def _reply(self, reader: Listener, value: Any) -> None:
        reader.put(encode(value), self.venue.now_ns)

    def _hear_rtds(self, reader: Listener, text: str) -> Close | None:
        try:
            request = msgspec.json.decode(text, type=RtdsRequest)
        except msgspec.DecodeError:
            return None  # a ping, or anything else, is not answered
        unknown = [one.topic for one in request.subscriptions if one.topic not in TOPICS]
        if unknown:
            found = f"topic: {unknown[0]} and type: update not found"
            self._reply(reader, {"body": {"message": found}, "statusCode": 401})
            reader.wants.clear()
            return None
        for one in request.subscriptions if request.action == "subscribe" else ():
            for stream in _streams(one):
                self._reply(reader, self._rtds_backfill(stream, one.topic))
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
            self._reply(reader, {"op": "pong", "rid": request.rid})
        elif request.op == "auth" and request.auth is not None:
            words = request.auth
            if self.keys.by_words(words.apiKey, words.secret, words.passphrase) is None:
                return Close(4001, "authentication failed")
            reader.authenticated = True
            self._reply(reader, {"op": "authed", "rid": request.rid})
        elif request.op == "subscribe":
            for one in request.subscriptions:
                self._subscribe_polybolt(reader, one, request.rid)
        return None

    def _subscribe_polybolt(self, reader: Listener, one: Channel, rid: str) -> None:
        named = {"channel": one.channel, "rid": rid}
        if not reader.authenticated:
            self._reply(reader, {"op": "error", "code": "auth_required", **named})
            return
        symbols = {f"{asset.lower()}usd": number for number, asset in enumerate(ASSETS)}
        if one.channel not in CHANNELS or one.filter.symbol not in symbols:
            code = "bad_filter" if one.channel in CHANNELS else "bad_channel"
            self._reply(reader, {"op": "error", "code": code, **named})
            return
        stream = (symbols[one.filter.symbol], CHANNELS[one.channel])
        self._reply(reader, {"op": "subscribed", **named})
        reader.wants[stream] = one.channel
        rows = self.recent.get((reader.name, stream), ())
        data = [{k: v for k, v in _bolt_payload(r, stream).items() if k in _POINT} for r in rows]
        window = {"window_seconds": stream[1]} if stream[1] else {}
        payload = {"symbol": one.filter.symbol, "source": "chainlink", **window, "data": data}
        first = {"snapshot": True}
        now_ns = self.venue.now_ns
        reader.put(self._envelope(reader, stream, payload, now_ns, **first), now_ns)

    def _envelope(
        self, reader: Listener, stream: Stream, payload: dict[str, Any], sent_ns: int, **more: bool
    ) -> bytes:
        """PolyBolt's envelope; `seq` counts per connection and channel."""
        channel = reader.wants[stream]
        sequence = reader.sequences.get(channel, 0) + 1
        reader.sequences[channel] = sequence
        stamp = self._stamp_ms(LineName.POLYBOLT, sent_ns)
        return encode(
            {"v": 1, "channel": channel, "seq": sequence, "ts": stamp, **more, "payload": payload}
        )

    def _rtds_update(self, reader: Listener, row: Row, stream: Stream) -> bytes:
        payload: dict[str, Any] = {
            "full_accuracy_value": _accurate(row, stream),
            "symbol": _symbol(stream),
            "timestamp": row.ts_source_ns // MILLISECOND_NS,
            "value": float(_value(row)),
        }
        if stream[1] > 0:
            payload["window_s"] = stream[1]
        stamp = self._stamp_ms(LineName.RTDS, row.ts_ns)
        head = {"connection_id": reader.id, "payload": payload, "timestamp": stamp}
        return encode({**head, "topic": reader.wants[stream], "type": "update"})

    def _rtds_backfill(self, stream: Stream, topic: str) -> dict[str, Any]:
        """The points before; those of the point stream come under the spot stream's topic."""
        points: list[dict[str, Any]] = []
        for row in list(self.recent.get((LineName.RTDS, stream), ()))[
            -(60 if stream[1] >= 0 else BACKFILL) :
        ]:
            point = {"timestamp": row.ts_source_ns // MILLISECOND_NS, "value": float(_value(row))}
            exact = {"full_accuracy_value": _accurate(row, stream)} if stream[1] > 0 else {}
            points.append({**exact, **point})
        payload: dict[str, Any] = {"data": points, "symbol": _symbol(stream)}
        if stream[1] > 0:
            payload["window_s"] = stream[1]
        label = "crypto_prices" if stream[1] == 0 else topic
        now_ms = self._stamp_ms(LineName.RTDS, self.venue.now_ns)
        stamp = {"timestamp": now_ms, "topic": label, "type": "subscribe"}
        return {"payload": payload, **stamp}

    def _stamp_ms(self, line: LineName, now_ns: int) -> int:
        """A time as the line's own clock tells it."""
        return (now_ns + self.sockets.faults.off_ns(line, now_ns)) // MILLISECOND_NS


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
