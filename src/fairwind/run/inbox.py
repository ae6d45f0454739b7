"""Everything that the connections bring, as one batch of events; and what the venues must be told.

In: raw frames and losses by line, new markets, the time. Out: EVENT batches in one order with
timers between them, and errands. Never here: a socket, a clock, the engine.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from fairwind.core.events import ALL_MARKETS, ASSETS, Events, Kind, Source, empty
from fairwind.core.ids import slug
from fairwind.core.units import SECOND_NS
from fairwind.engine.state import MARKETS, State
from fairwind.feeds import binance, coinbase, polymarket, reference
from fairwind.feeds.books import Market
from fairwind.feeds.frames import Row, as_events, row
from fairwind.feeds.kpis import Kpis
from fairwind.feeds.merge import Merge
from fairwind.feeds.socket import Frame, Lost, Watchdog
from fairwind.run.known import Known

TIMER_NS = SECOND_NS // 4
"""Time passes in such steps when nothing else happens."""
DATA_SILENT_NS = 60 * SECOND_NS
"""A stream that brought nothing for so long is subscribed to on a new connection."""
SILENT_NS = 15 * SECOND_NS
"""An open window of which nothing was heard for so long has lost its subscription."""
TOPICS = ("crypto_prices_chainlink", "crypto_prices_twap_sixty")
NOTHING = empty(0)
BOLT_CHANNELS = (reference.BOLT_POINT, reference.BOLT_TWAP)


class Line(StrEnum):
    """The connections that are read."""

    MARKET = "market"
    RTDS = "rtds"
    BOLT = "polybolt"
    COINBASE = "coinbase"
    BINANCE = "binance"


_LINES = {
    int(Source.REFERENCE): Line.RTDS,
    int(Source.COINBASE): Line.COINBASE,
    int(Source.BINANCE): Line.BINANCE,
}


class Errand(NamedTuple):
    """What a connection has to be told: frames to send, or why it must begin anew."""

    line: Line
    frames: Sequence[bytes] = ()
    reconnect: str = ""


class Channel(Protocol):
    """One connection's decoder."""

    kpis: Kpis

    def take(self, payload: bytes, ts_ns: int) -> list[Row]:
        """Rows of one frame."""

    def disconnected(self, ts_ns: int) -> list[Row]:
        """Rows of a lost connection."""


class Inbox:
    """The decoders of all lines and their one order.

    `known` is what the engine holds already, so that a restart repeats nothing: its windows keep
    their numbers, and while no market time has passed, its books. When time has passed, data was
    missed, and the first batch says so with a GAP. `bolt_key` is PolyBolt's first client frame,
    with credentials; without it that line is not used.
    """

    def __init__(
        self, assets: Sequence[int], known: Known, now_ns: int, bolt_key: bytes = b""
    ) -> None:
        self.market = polymarket.MarketChannel()
        prints = reference.Prints()
        for asset, averaging_s, at_ns in known.prints:
            prints.remember(asset, averaging_s, at_ns)
        self.rtds, self.bolt = reference.Rtds(prints), reference.PolyBolt(prints)
        self.coinbase, second = coinbase.Coinbase(), binance.Binance()
        for asset, (price_e8, stamp_ns) in known.spots.items():
            self.coinbase.resume(asset, price_e8, stamp_ns)
            second.resume(asset, price_e8, stamp_ns)
        self.channels: dict[Line, Channel] = {
            Line.MARKET: self.market,
            Line.RTDS: self.rtds,
            Line.BOLT: self.bolt,
            Line.COINBASE: self.coinbase,
            Line.BINANCE: second,
        }
        self._bolt_key = bolt_key
        self._symbols = [ASSETS[asset] for asset in assets]
        self._known = known
        self._numbers = dict(known.numbers)
        self._next_number = known.next_number
        self.resolved = set(known.resolved)
        """Numbers of windows whose result has come."""
        self._unbroken = now_ns <= known.last_ns
        self._merge = Merge(known.last_ns)
        self._timer_ns = max(now_ns, known.last_ns) // TIMER_NS * TIMER_NS
        self._rows: list[Row] = []
        self._errands: list[Errand] = []
        self._watchdog: Watchdog[tuple[Line, int, int]] = Watchdog(DATA_SILENT_NS)
        if known.last_ns and not self._unbroken:
            self.missed(now_ns)

    @property
    def late(self) -> tuple[int, int]:
        """(events that came with a time before the last one, the most by which one did in ns)."""
        return self._merge.late, self._merge.latest_by_ns

    def number(self, series: int, start_ns: int) -> int:
        """The engine's number of a window, a new one for a new window."""
        key = series, start_ns
        if key not in self._numbers:
            taken = {number % MARKETS for number in self._numbers.values()}
            while self._next_number % MARKETS in taken:  # an old window still holds that place
                self._next_number = (self._next_number + 1) % ALL_MARKETS
            self._numbers[key] = self._next_number
            self._next_number = (self._next_number + 1) % ALL_MARKETS
        return self._numbers[key]

    def missed(self, now_ns: int) -> None:
        """Time passed in which nothing could be heard; the next batch says so."""
        self._rows.append(row(Kind.GAP, now_ns, Source.CLOCK, market=ALL_MARKETS))

    def pending(self, state: State) -> set[int]:
        """Numbers of the windows that the engine waits for, between two turns."""
        slots = state.record.active[: state.record.active_used]
        return {int(number) for number in state.record.markets["number"][slots]}

    def numbered(self) -> list[str]:
        """Slugs of the windows that have a number and are not forgotten: to be heard of still."""
        return [slug(series, start_ns) for series, start_ns in self._numbers]

    def result(self, market: Market, payout_e4: int, now_ns: int) -> None:
        """The venue's result, when its message was missed; it is in the next batch."""
        found = row(Kind.RESOLVED, now_ns, Source.POLYMARKET, market=market.number, price=payout_e4)
        self._rows.append(found)

    def watch(self, market: Market, now_ns: int) -> None:
        """Follow a market from now on; its listing is in the next batch, unless it is known."""
        book = self._known.books.get(market.number) if self._unbroken else None
        tick_e4 = self._known.ticks.get(market.number, market.tick_e4)
        held = msgspec.structs.replace(market, tick_e4=tick_e4)  # so that a change is noticed
        if (market.series, market.start_ns) not in self._known.numbers:
            self._rows += self.market.watch(market, now_ns)
        elif book is None:
            self.market.watch(held, now_ns)
        else:
            self.market.resume(held, book.levels, now_ns, stamp_ns=book.stamp_ns)
        self._errands.append(_of_market(polymarket.subscribe, market))

    def forget(self, market: Market) -> None:
        """Follow a market no more."""
        self.market.forget(market.condition_id)
        self._numbers.pop((market.series, market.start_ns), None)
        self.resolved.discard(market.number)
        self._errands.append(_of_market(polymarket.unsubscribe, market))

    def take(
        self,
        found: Mapping[Line, Sequence[Frame | Lost]],
        now_ns: int,
        asked: Events = NOTHING,
    ) -> Events:
        """One batch: listings, everything found, what operators asked for and the timers until
        now. Shape (n,)."""
        listed, self._rows = self._rows, []
        timers = [
            row(Kind.TIMER, at_ns, Source.CLOCK)
            for at_ns in range(self._timer_ns + TIMER_NS, now_ns + 1, TIMER_NS)
        ]
        self._timer_ns += len(timers) * TIMER_NS
        brought = [
            one for line, items in found.items() for one in _events(self.channels[line], items)
        ]
        silent = self.market.silent(now_ns, SILENT_NS)
        ours = as_events([*listed, *timers])
        events = self._merge.take([ours, *brought, as_events(silent), asked])
        self._unbroken = False
        self._heard(events, now_ns)
        self.resolved.update(events["market"][events["kind"] == Kind.RESOLVED].tolist())
        return events

    def errands(self, now_ns: int) -> list[Errand]:
        """What has to be told to the venues now."""
        told, self._errands = self._errands, []
        for wish in self.market.resyncs(now_ns):
            told.append(_of_market(polymarket.unsubscribe, wish.market))
            told.append(_of_market(polymarket.subscribe, wish.market))
        for channel in self.bolt.wanted:
            told.append(Errand(Line.BOLT, self._bolt_subscriptions([channel])))
        self.bolt.wanted.clear()
        for line, why in self._silences(now_ns).items():
            told.append(Errand(line, reconnect=why))
        if self.coinbase.wanted:
            told.append(Errand(Line.COINBASE, reconnect=self.coinbase.wanted))
        return told

    def _heard(self, events: Events, now_ns: int) -> None:
        """Remember which streams still bring data; pings and heartbeats are none."""
        data = events[(events["kind"] == Kind.SPOT) | (events["kind"] == Kind.REFERENCE)]
        for source, asset, averaging_s in set(
            zip(data["source"].tolist(), data["market"].tolist(), data["ref"].tolist(), strict=True)
        ):
            line = _LINES.get(source)
            if line is not None:
                self._watchdog.expect((line, asset, averaging_s), now_ns)
                self._watchdog.heard((line, asset, averaging_s), now_ns)

    def _silences(self, now_ns: int) -> dict[Line, str]:
        """Lines on which a stream has gone silent, and which one; each is given time again."""
        found: dict[Line, str] = {}
        for key in self._watchdog.silent(now_ns):
            line, asset, averaging_s = key
            found[line] = f"no data of {ASSETS[asset]} ({averaging_s} s average) any more"
            self._watchdog.heard(key, now_ns)
        return found

    def subscriptions(self, line: Line) -> list[bytes]:
        """What a new connection has to be told first; nothing while nothing is wanted."""
        if line == Line.MARKET:
            tokens = self.market.asset_ids()
            return [polymarket.subscribe_first(tokens)] if tokens else []
        if line == Line.COINBASE:
            return coinbase.subscriptions([f"{symbol}-USD" for symbol in self._symbols])
        if line == Line.BINANCE:
            return [binance.subscription(self._symbols)]
        if line == Line.BOLT:
            keyed = [self._bolt_key] if self._bolt_key else []
            return keyed and keyed + self._bolt_subscriptions(BOLT_CHANNELS)
        return [
            reference.rtds_subscription(topic, f"{symbol.lower()}/usd")
            for topic in TOPICS
            for symbol in self._symbols
        ]

    def _bolt_subscriptions(self, channels: Sequence[str]) -> list[bytes]:
        return [
            reference.bolt_subscription(f"{channel} {symbol}", channel, f"{symbol.lower()}usd")
            for channel in channels
            for symbol in self._symbols
        ]


def _events(channel: Channel, items: Sequence[Frame | Lost]) -> Iterator[Events]:
    """Frames between two losses together; a loss by itself."""
    frames: list[tuple[int, bytes]] = []
    for one in items:
        if isinstance(one, Frame):
            frames.append((one.ts_ns, one.payload))
        else:
            yield _taken(channel, frames)
            yield as_events(channel.disconnected(one.ts_ns))
            frames = []
    yield _taken(channel, frames)


def _taken(channel: Channel, frames: list[tuple[int, bytes]]) -> Events:
    if isinstance(channel, polymarket.MarketChannel):
        return channel.take_batch(frames)
    return as_events([one for ts_ns, payload in frames for one in channel.take(payload, ts_ns)])


def _of_market(frame_of: Callable[[Iterable[str]], bytes], market: Market) -> Errand:
    return Errand(Line.MARKET, [frame_of([market.up, market.down])])
