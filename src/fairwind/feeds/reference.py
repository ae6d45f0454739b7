"""The oracle's prints, from the venue's two feeds of them: RTDS and its successor PolyBolt.

In: payloads with receipt times. Out: REFERENCE rows, each observation once, whichever feed brings
it first, and Binance's price as SPOT where RTDS relays it. Never here: a socket; another vendor's
price taken for the oracle's; a value whose two forms differ.
"""

import math
import re
from decimal import Decimal

import msgspec

from fairwind.core.events import ASSETS, Kind, Source
from fairwind.core.units import SECOND_NS, reference_parts
from fairwind.feeds.frames import BadFrame, Reason, Row, decoded, row, stamp_ns
from fairwind.feeds.kpis import Count, Kpis

RTDS_AVERAGING_S = {
    "crypto_prices_chainlink": 0,
    "crypto_prices_twap_thirty": 30,
    "crypto_prices_twap_sixty": 60,
}
"""RTDS topic -> seconds over which the oracle averages."""
RTDS_BINANCE = "crypto_prices"
"""Binance's prices, but also the wrong name under which the first frame of the oracle's point
stream comes: the symbol's form (`btc/usd`, `btcusdt`) tells them apart."""
BOLT_POINT, BOLT_TWAP = "price.crypto", "price.crypto.twap"
ORACLE = "chainlink"
DIFFERENCE_MAX = 1e-6
"""A value and its full-accuracy form may differ by this share: the value is a rounded float."""
LOWEST, HIGHEST = 1e-6, 1e8
"""A price in dollars outside is read with the wrong unit."""
AHEAD_NS = 60 * SECOND_NS
REMEMBERED_NS = 600 * SECOND_NS
HOLE_NS = 5 * SECOND_NS // 2
"""The streams print once a second; a longer step between two observations is a gap."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """An observation; first frames lack the full accuracy on one topic."""

    timestamp: int
    value: float
    full_accuracy_value: str | None = None


class RtdsPayload(msgspec.Struct, frozen=True, kw_only=True):
    """One observation, or with `data` those of the last one or two minutes."""

    symbol: str
    timestamp: int | None = None
    value: float | None = None
    full_accuracy_value: str | None = None
    data: list[Point] | None = None
    window_s: int | None = None


class BoltPayload(msgspec.Struct, frozen=True, kw_only=True):
    """As RTDS; `source` names the vendor."""

    symbol: str
    source: str | None = None
    timestamp: int | None = None
    value: float | None = None
    full_accuracy_value: str | None = None
    data: list[Point] | None = None
    window_seconds: int | None = None


class RtdsMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An update or, with type `subscribe`, the first frame. Other topics have other payloads."""

    topic: str
    type: str
    payload: msgspec.Raw


class BoltMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An update or a snapshot. `seq` is consecutive for each connection and channel."""

    channel: str
    seq: int
    payload: msgspec.Raw
    snapshot: bool = False
    dropped: int = 0


class _RtdsRefusal(msgspec.Struct, frozen=True, kw_only=True):
    body: msgspec.Raw
    statusCode: int


class _BoltAnswer(msgspec.Struct, frozen=True, kw_only=True):
    op: str
    code: str | int = ""


_SYMBOL = re.compile(r"([a-z]+?)(?:/usd|usdt?)", re.ASCII)
_rtds = msgspec.json.Decoder(RtdsMessage)
_rtds_payload = msgspec.json.Decoder(RtdsPayload)
_rtds_refusal = msgspec.json.Decoder(_RtdsRefusal)
_bolt = msgspec.json.Decoder(BoltMessage)
_bolt_payload = msgspec.json.Decoder(BoltPayload)
_bolt_answer = msgspec.json.Decoder(_BoltAnswer)


def rtds_subscription(topic: str, symbol: str) -> bytes:
    """A client frame for one topic: one unknown topic beside others would silence them all.

    The filter has to be JSON without spaces, or the updates never come (venue facts 4.1).
    """
    wanted = {"topic": topic, "type": "*", "filters": f'{{"symbol":"{symbol}"}}'}
    return msgspec.json.encode({"action": "subscribe", "subscriptions": [wanted]})


def bolt_subscription(rid: str, channel: str, symbol: str) -> bytes:
    """A client frame for one channel, to be sent after authentication."""
    window = {"window_seconds": 60} if channel == BOLT_TWAP else {}
    wanted = {"channel": channel, "filter": {"symbol": symbol, **window}}
    return msgspec.json.encode({"op": "subscribe", "rid": rid, "subscriptions": [wanted]})


class Prints:
    """The observations that came already, from whichever feed, so that each counts once."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], dict[int, None]] = {}
        self._relayed: dict[int, tuple[int, int]] = {}

    def remember(self, asset: int, averaging_s: int, at_ns: int) -> None:
        """This observation is known already, so that a first frame does not bring it again.

        After a restart that is each one that the journal holds of the last two minutes: a first
        frame goes back so far.
        """
        self._seen.setdefault((asset, averaging_s), {})[at_ns] = None

    def resume(self, asset: int, price_e8: int, ts_source_ns: int) -> None:
        """The asset's last price by Binance is known already, so that it does not come again."""
        self._relayed[asset] = (price_e8, ts_source_ns)

    def relayed(self, asset: int, point: Point, ts_ns: int, kpis: Kpis) -> list[Row]:
        """Binance's price, unless it is the known one: first frames repeat it. BadFrame."""
        value_e8, _ = _parts(point, e18=False)
        stamp = stamp_ns(point.timestamp)
        if self._relayed.get(asset) == (value_e8, stamp):
            kpis.add(Count.DUPLICATES)
            return []
        self._relayed[asset] = (value_e8, stamp)
        return [
            row(
                Kind.SPOT,
                ts_ns,
                Source.BINANCE,
                market=asset,
                price=value_e8,
                ts_source_ns=stamp,
            )
        ]

    def rows(
        self,
        asset: int,
        averaging_s: int,
        points: list[Point],
        *,
        e18: bool,
        ts_ns: int,
        kpis: Kpis,
    ) -> list[Row]:
        """The new observations, the oldest first. Raises BadFrame, and then takes none of them."""
        found = sorted((_observed_ns(one, ts_ns), _parts(one, e18)) for one in points)
        seen = self._seen.setdefault((asset, averaging_s), {})
        latest = max(seen, default=0)
        rows = []
        for at_ns, (value_e8, remainder_e18) in found:
            if at_ns in seen:
                kpis.add(Count.DUPLICATES)
                continue
            kpis.add(Count.OUT_OF_ORDER, int(at_ns < latest))
            kpis.add(Count.GAPS, int(0 < latest < at_ns - HOLE_NS))
            seen[at_ns] = None
            latest = max(latest, at_ns)
            rows.append(
                row(
                    Kind.REFERENCE,
                    ts_ns,
                    Source.REFERENCE,
                    market=asset,
                    price=value_e8,
                    size=remainder_e18,
                    ts_source_ns=at_ns,
                    ref=averaging_s,
                )
            )
        for at_ns in [one for one in seen if one < latest - REMEMBERED_NS]:
            del seen[at_ns]
        return rows


class Rtds:
    """One RTDS connection. It has no sequence: only the age of its data says that it is alive."""

    def __init__(self, prints: Prints) -> None:
        self.kpis = Kpis()
        self._prints = prints

    def disconnected(self, ts_ns: int) -> list[Row]:
        """The first frame of the next connection holds what was missed for up to a minute."""
        self.kpis.add(Count.RECONNECTS)
        return []

    def take(self, payload: bytes, ts_ns: int) -> list[Row]:
        """One frame, received at `ts_ns`; the first one of a connection is empty. A bad one is
        counted."""
        if payload in (b"", b'""', b"PONG"):
            return []
        self.kpis.add(Count.MESSAGES)
        try:
            return self._rows(payload, ts_ns)
        except BadFrame as error:
            self.kpis.add(error.reason)
            return []

    def _rows(self, payload: bytes, ts_ns: int) -> list[Row]:
        message = self._message(payload)
        if message.topic != RTDS_BINANCE and message.topic not in RTDS_AVERAGING_S:
            self.kpis.add(Count.IGNORED)
            return []
        found = decoded(_rtds_payload, bytes(message.payload))
        points = _points(found, message.type == "subscribe")
        oracle = "/" in found.symbol
        asset = asset_number(found.symbol)
        if message.type == "update":
            self.kpis.age(ts_ns - _observed_ns(points[-1], ts_ns))
        if asset is None or not points:
            self.kpis.add(Count.IGNORED)
            return []
        if not oracle and message.topic == RTDS_BINANCE:
            return self._prints.relayed(asset, points[-1], ts_ns, self.kpis)
        averaging_s = RTDS_AVERAGING_S.get(message.topic, 0)
        if not oracle or found.window_s not in (None, averaging_s):
            raise BadFrame(Reason.RANGE, f"a symbol and window of {message.topic}", found)
        return self._prints.rows(asset, averaging_s, points, e18=True, ts_ns=ts_ns, kpis=self.kpis)

    def _message(self, payload: bytes) -> RtdsMessage:
        try:
            return decoded(_rtds, payload)
        except BadFrame as error:
            if error.reason == Reason.SHAPE:
                _refused(payload, error)
            raise


class PolyBolt:
    """One PolyBolt connection. `wanted` says which channels have to be subscribed anew, and why;
    the owner of the connection empties it."""

    def __init__(self, prints: Prints) -> None:
        self.kpis = Kpis()
        self.wanted: dict[str, str] = {}
        self._prints = prints
        self._last: dict[str, int] = {}
        self._unusable: set[str] = set()

    def disconnected(self, ts_ns: int) -> list[Row]:
        """Sequences start anew; the snapshots of the next connection hold the last two minutes."""
        self.kpis.add(Count.RECONNECTS)
        self._last.clear()
        self._unusable.clear()
        self.wanted.clear()
        return []

    def take(self, payload: bytes, ts_ns: int) -> list[Row]:
        """One frame, received at `ts_ns`. A bad one is counted.

        After a lost message its channel is unusable until the next snapshot, which also holds
        what was lost.
        """
        self.kpis.add(Count.MESSAGES)
        try:
            message = decoded(_bolt, payload)
            return self._rows(message, ts_ns) if self._follows(message) else []
        except BadFrame as error:
            self.kpis.add(self._answered(payload, error))
            return []

    def _answered(self, payload: bytes, error: BadFrame) -> str:
        """What to count for a frame that is no data: an error of the venue's, or its answers."""
        if error.reason != Reason.SHAPE:
            return error.reason
        try:
            answer = decoded(_bolt_answer, payload)
        except BadFrame:
            return error.reason
        return Reason.REFUSED if answer.op == "error" else Count.IGNORED

    def _follows(self, message: BoltMessage) -> bool:
        """Whether the message may be used: new, nothing lost before it or since the snapshot."""
        last = self._last.get(message.channel, 0)
        if message.seq <= last and not message.snapshot:
            self.kpis.add(Count.DUPLICATES if message.seq == last else Count.OUT_OF_ORDER)
            return False
        lost = message.seq > last + 1 or message.dropped > 0
        self._last[message.channel] = message.seq
        if message.snapshot:
            self._unusable.discard(message.channel)
        elif lost:
            self.kpis.add(Count.GAPS)
            self._unusable.add(message.channel)
            self.wanted[message.channel] = f"message {last + 1} is missing, {message.seq} came"
        return message.channel not in self._unusable

    def _rows(self, message: BoltMessage, ts_ns: int) -> list[Row]:
        if message.channel not in (BOLT_POINT, BOLT_TWAP):
            self.kpis.add(Count.IGNORED)
            return []
        found = decoded(_bolt_payload, bytes(message.payload))
        points = _points(found, message.snapshot)
        asset = asset_number(found.symbol)
        if not message.snapshot:
            self.kpis.age(ts_ns - _observed_ns(points[-1], ts_ns))
        if asset is None or not points or found.source not in (None, ORACLE):
            self.kpis.add(Count.IGNORED)
            return []
        if message.channel == BOLT_POINT and found.source is None:
            raise BadFrame(Reason.SHAPE, "the vendor of a point price", found)
        averaging_s = found.window_seconds if message.channel == BOLT_TWAP else 0
        if averaging_s is None or averaging_s not in RTDS_AVERAGING_S.values():
            raise BadFrame(Reason.RANGE, "a window of 30 or 60 s", found)
        return self._prints.rows(asset, averaging_s, points, e18=False, ts_ns=ts_ns, kpis=self.kpis)


def asset_number(symbol: str) -> int | None:
    """The asset of `btc/usd`, `btcusd` or `btcusdt`, or None for any other symbol."""
    match = _SYMBOL.fullmatch(symbol)
    base = match[1].upper() if match else ""
    return ASSETS.index(base) if base in ASSETS else None


def _points(payload: RtdsPayload | BoltPayload, first: bool) -> list[Point]:
    """Its observations; none only in a `first` frame, when there were none before. BadFrame."""
    if payload.data or (first and payload.data is not None):
        return payload.data
    if payload.timestamp is None or payload.value is None:
        raise BadFrame(Reason.SHAPE, "an observation", payload)
    return [
        Point(
            timestamp=payload.timestamp,
            value=payload.value,
            full_accuracy_value=payload.full_accuracy_value,
        )
    ]


def _observed_ns(point: Point, ts_ns: int) -> int:
    at_ns = stamp_ns(point.timestamp)
    if at_ns > ts_ns + AHEAD_NS:
        raise BadFrame(Reason.TIME, "an observation of the past", point)
    return at_ns


def _parts(point: Point, e18: bool) -> tuple[int, int]:
    """(value_e8, remainder_e18), exact where the feed gives all digits. BadFrame.

    `e18`: the full accuracy is an integer of 1e-18 dollars, else a decimal number.
    """
    if not LOWEST < point.value < HIGHEST:
        raise BadFrame(Reason.RANGE, "a price in dollars", point)
    text = point.full_accuracy_value
    if text is None:
        return reference_parts(point.value)
    digits = text if e18 else text.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 30):
        raise BadFrame(Reason.NUMBER, "1e-18 dollars" if e18 else "a decimal number", point)
    exact = Decimal(text).scaleb(-18 if e18 else 0)
    if not math.isclose(float(exact), point.value, rel_tol=DIFFERENCE_MAX):
        raise BadFrame(Reason.RANGE, "one value in two forms", point)
    return reference_parts(exact)


def _refused(payload: bytes, error: BadFrame) -> None:
    """Raise BadFrame REFUSED when the frame is the venue's answer to an unknown topic."""
    try:
        refusal = decoded(_rtds_refusal, payload)
    except BadFrame:
        return
    raise BadFrame(Reason.REFUSED, "data", bytes(refusal.body)) from error
