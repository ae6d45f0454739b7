"""A live session on paper: connections, inbox, engine and journal in one loop.

In: an open session, addresses, a clock. Out: the journal; what is told to whoever watches, after
its inputs are durable. Never here: an order that leaves the process (the engine simulates fills).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from fairwind.core import clock as wall
from fairwind.core.errors import FairwindError, Fault
from fairwind.core.events import HORIZONS_S, Events
from fairwind.core.units import SECOND_NS
from fairwind.engine.controls import configured
from fairwind.feeds import polymarket
from fairwind.feeds.books import Market
from fairwind.feeds.gamma import Gamma, Listing, Rest
from fairwind.feeds.recorded.raw import GAMMA, Recorder
from fairwind.feeds.socket import Frame, Lost, Settings, Socket
from fairwind.run.desk import Desk
from fairwind.run.discovery import Discovery
from fairwind.run.inbox import TIMER_NS, Inbox, Line
from fairwind.run.known import known
from fairwind.run.loop import Session
from fairwind.world.clock import MarketClock

TURN_S = 0.01
"""Turns come no faster: what arrives meanwhile shares one commit."""
ANSWER_S = 30.0
SET_NS = SECOND_NS // 2
SET_BACK_NS = 5 * SECOND_NS
"""The machine's clock is followed from here on, but not back by more than this."""
SILENT_S = 15.0
PINGS = {
    Line.MARKET: ("PING", 10.0),
    Line.RTDS: ("PING", 5.0),
    Line.BOLT: (None, 10.0),
    Line.COINBASE: (None, 10.0),
    Line.BINANCE: (None, 10.0),
}
"""By line: the text that the venue wants to hear, and how often in seconds."""


def warm_up() -> None:
    """Load the compiled reader of the market channel, or compile it the first time."""
    channel = polymarket.MarketChannel()
    channel.watch(Market(number=0, series=0, start_ns=0, condition_id="0x0", up="1", down="2"), 1)
    channel.take_batch([(1, A_BOOK)])


A_BOOK = (
    b'{"event_type":"book","market":"0x0","asset_id":"1","timestamp":"1700000000000","hash":"",'
    b'"bids":[{"price":"0.4","size":"5"}],"asks":[{"price":"0.6","size":"5"}],'
    b'"tick_size":"0.01","last_trade_price":"0.5"}'
)
"""Makes the reader use all that it has."""


class Addresses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a venue is. The defaults are the real ones."""

    clob: str = "https://clob.polymarket.com"
    gamma: str = "https://gamma-api.polymarket.com"
    market: str = "wss://ws-subscriptions-clob.polymarket.com/ws/market"
    rtds: str = "wss://ws-live-data.polymarket.com"
    bolt: str = "wss://ws-live-v2.polymarket.com/ws"
    coinbase: str = "wss://advanced-trade-ws.coinbase.com"
    binance: str = ""  # a second spot, when it is asked for


BINANCE = "wss://stream.binance.com:9443/stream"


class Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The venue's API key, as PolyBolt wants it."""

    apiKey: str
    secret: str
    passphrase: str


class Paper:
    """The loop and everything that it holds. `stop` ends it at the next turn.

    `real` says that the market's time is the machine's.
    """

    def __init__(
        self,
        session: Session,
        addresses: Addresses,
        clock: MarketClock,
        series: Sequence[int],
        *,
        real: bool = False,
        credentials: Credentials | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.session = session
        self.clock = clock
        self.stop = asyncio.Event()
        self.turned_ns = clock.now_ns()
        self.feeding_since_ns: int | None = None
        """Since when the engine and its journal are at work; None between two turns."""
        self._recorder = recorder
        self._real = real
        self._ready = asyncio.Event()
        self.desk = Desk(clock.now_ns, self._ready.set, lambda: configured(session.state))
        self._heard: set[Line] = set()
        """Lines whose connection has brought something."""
        key = b"" if credentials is None else _bolt_key(credentials)
        assets = sorted({number // len(HORIZONS_S) for number in series})
        held = known(session.state, session.journal.run)
        self.inbox = Inbox(assets, held, clock.now_ns(), key)
        self.discovery = Discovery(
            Gamma(Rest(addresses.gamma, speed=clock.speed)),
            self.inbox,
            clock,
            series,
            pending=lambda: self.inbox.pending(session.state),
            listed=self._listed,
        )
        self.sockets = {
            line: Socket(
                _settings(line, addresses, clock),
                partial(self.inbox.subscriptions, line),
                clock=clock.now_ns,
                ready=self._ready,
            )
            for line in Line
            if (line != Line.BOLT or key) and (line != Line.BINANCE or addresses.binance)
        }

    async def run(self, until_ns: int, pace: Callable[[], Awaitable[None]] | None = None) -> None:
        """Trade until that market time or `stop`. Raises what Session.feed raises.

        `pace` is what to wait for between two turns; by default news, or the next timer.
        """
        pace = pace or self._news
        try:
            async with asyncio.TaskGroup() as readers:
                reading = [readers.create_task(one.run()) for one in self.sockets.values()]
                try:
                    await self.discovery.begin(self.stop)
                    await self._turns(until_ns, pace)
                finally:
                    self.stop.set()
                    self.desk.close()
                    for task in reading:
                        task.cancel()
                    await self.discovery.close()
        except* FairwindError as found:
            raise found.exceptions[0] from None

    async def connected(self) -> None:
        """Wait until every line that has something to say is connected, or `stop`."""
        while not self.stop.is_set() and any(
            self.inbox.subscriptions(line) and not socket.connected
            for line, socket in self.sockets.items()
        ):
            await asyncio.sleep(0.002)

    async def caught_up(self) -> None:
        """Wait until all that the venues have sent is here. Fault when they stop answering."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await asyncio.gather(*(one.caught_up() for one in self.sockets.values()))
        except TimeoutError as error:
            raise Fault(
                f"expected the market to answer within {ANSWER_S:g} s, found it silent; "
                "start it again, then continue this run"
            ) from error

    async def _turns(self, until_ns: int, pace: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._turn(self._now_ns())
            if self.stop.is_set() or self.turned_ns >= until_ns:
                return
            await pace()

    async def _news(self) -> None:
        """Let at least TURN_S pass, then wait for a frame or the next timer."""
        await asyncio.sleep(TURN_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), TIMER_NS / SECOND_NS / self.clock.speed)

    def _now_ns(self) -> int:
        """Market time; with a real venue it follows the machine's clock, also after a sleep.

        Fault when that clock was set back.
        """
        now_ns = self.clock.now_ns()
        ahead_ns = wall.now_ns() - now_ns if self._real else 0
        if ahead_ns < -SET_BACK_NS:
            raise Fault(
                f"expected the machine's clock to go forward, found it set back by "
                f"{-ahead_ns / SECOND_NS:.1f} s; see to its time service, then continue this run"
            )
        if abs(ahead_ns) < SET_NS:
            return now_ns
        self.clock.move(now_ns + ahead_ns)
        self.inbox.missed(self.clock.now_ns())
        return self.clock.now_ns()

    async def _turn(self, now_ns: int) -> None:
        """Everything that came by now, through the journal and the engine; then our errands."""
        self._ready.clear()
        found = {line: socket.drain() for line, socket in self.sockets.items()}
        if self.clock.stepped:  # a receipt between two steps would be a matter of chance
            found = {
                line: [one._replace(ts_ns=now_ns) for one in items] for line, items in found.items()
            }
        self._record(found)
        asked, payloads = self.desk.take(now_ns)
        events = self.inbox.take(found, now_ns, asked)
        if len(events):
            await self._feed(events, payloads, now_ns)
        await self.discovery.follow(now_ns)
        for errand in self.inbox.errands(now_ns):
            if errand.reconnect:
                self.sockets[errand.line].reconnect(errand.reconnect)
            else:
                await self.sockets[errand.line].send(errand.frames)
        self.turned_ns = now_ns

    async def _feed(self, events: Events, payloads: Mapping[int, bytes], now_ns: int) -> None:
        self.feeding_since_ns, first = now_ns, self.session.events
        feeding = asyncio.create_task(asyncio.to_thread(self.session.feed, events, payloads))
        try:
            await asyncio.shield(feeding)
        except asyncio.CancelledError:  # nobody closes the journal under the engine's feet
            await feeding
            self.desk.fed(events, first)
            raise
        self.feeding_since_ns = None
        self.desk.fed(events, first)

    def _listed(self, listing: Listing) -> None:
        if self._recorder is not None:
            self._recorder.put(GAMMA, self.clock.now_ns(), listing.payload)

    def _record(self, found: Mapping[Line, Sequence[Frame | Lost]]) -> None:
        if self._recorder is None:
            return
        for line, items in found.items():
            for one in items:
                self._put(self._recorder, line, one)

    def _put(self, recorder: Recorder, line: Line, one: Frame | Lost) -> None:
        if isinstance(one, Lost):
            self._heard.discard(line)
            recorder.lost(line, one.ts_ns, one.why)
            return
        if line not in self._heard:
            self._heard.add(line)
            recorder.connected(line, one.ts_ns)
        recorder.put(line, one.ts_ns, one.payload)


def _settings(line: Line, addresses: Addresses, clock: MarketClock) -> Settings:
    """A standing market is waited for: there, silence says nothing."""
    ping, every_s = PINGS[line]
    return Settings(
        url=getattr(addresses, line.name.lower()),
        ping=None if clock.stepped else ping,
        ping_every_s=every_s,
        silent_s=1e9 if clock.stepped else SILENT_S,
        speed=clock.speed,
    )


def _bolt_key(credentials: Credentials) -> bytes:
    words = msgspec.structs.asdict(credentials)
    return msgspec.json.encode({"op": "auth", "rid": "auth", "auth": words})
