"""The built-in market as one ASGI application: REST and WebSocket of one venue, played by a clock.

In: a venue, a clock. Out: routes, and the tape's frames at their times. Never here: an address
beyond loopback, a console for whoever runs the market.
"""

import asyncio
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from fairwind.world.clock import MarketClock
from fairwind.world.faults import LineName
from fairwind.world.server.clob import Clob
from fairwind.world.server.coinbase import Coinbase
from fairwind.world.server.gamma import Gamma
from fairwind.world.server.keys import Keys
from fairwind.world.server.references import References
from fairwind.world.server.sockets import RESTART, Connection, Sockets
from fairwind.world.server.streams import Streams
from fairwind.world.server.trading import Trading
from fairwind.world.server.venue import Venue

GAMMA, RTDS, POLYBOLT, COINBASE = "/gamma", "/rtds", "/polybolt", "/coinbase"
TURN_S = 0.005
"""How often time passes, in wall seconds: the finest delay of an answer or frame."""
SLICE_ROWS = 100
"""So many rows of the tape are played before readers and requests have their turn. Their frames
fit into a reader's buffer several times."""


STREAMS = {
    "/ws/market": LineName.MARKET,
    "/ws/user": LineName.USER,
    RTDS: LineName.RTDS,
    POLYBOLT: LineName.POLYBOLT,
    COINBASE: LineName.COINBASE,
}


class Market:
    """A venue, all that serves it, and its time. `waits` as in Trading.

    Without a server it is played by `turn`, and read through connections that `connect` gives.
    """

    def __init__(self, venue: Venue, clock: MarketClock, *, waits: bool = True) -> None:
        self.clock = clock
        self.faults = venue.faults
        self.sockets = Sockets(venue.faults)
        self._waits = waits
        self._one_at_a_time = asyncio.Lock()
        self._serve(venue)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket by the routes of the venue as it is now."""
        await self._routes(scope, receive, send)

    def connect(self, name: LineName) -> Connection:
        """A new connection to a stream."""
        return self._joins[name](name)

    async def play(self, turn_s: float = TURN_S) -> None:
        """Follow the clock until cancelled."""
        while True:
            await self.advance(self.clock.now_ns())
            await asyncio.sleep(turn_s)

    async def advance(self, to_ns: int, *, drained: bool = False) -> None:
        """Play up to a time; with `drained`, until each socket's transport has all its frames."""
        async with self._one_at_a_time:
            await self._advance(to_ns, drained)

    async def seek(self, to_ns: int) -> None:
        """Play the tape anew from its beginning to a time.

        All connections are closed, and whatever happened beyond the tape is forgotten: accounts,
        orders, keys.
        """
        async with self._one_at_a_time:
            await self.sockets.close(RESTART)
            self._trading.abandon()
            self.faults.again()
            self._serve(Venue(self.venue.tape, self.faults))
            self.clock.move(to_ns)
            await self._advance(to_ns, drained=False)

    def turn(self, to_ns: int) -> None:
        """Play up to a time at once, and hand what is said to all connections."""
        frames, answers = self.venue.advance(to_ns, heard=bool(self.sockets.open))
        self._streams.publish(frames)
        self._references.publish(self.venue.prints)
        self._coinbase.publish(self.venue.prints)
        self._trading.answered(answers)
        self.sockets.flush(self.venue.now_ns)

    async def _advance(self, to_ns: int, drained: bool) -> None:
        while True:
            self.turn(self.venue.after(SLICE_ROWS, to_ns))
            if drained:
                await self.sockets.drained()
            if self.venue.now_ns >= to_ns:
                return
            await asyncio.sleep(0)

    async def _socket(self, socket: WebSocket) -> None:
        await self.connect(STREAMS[socket.scope["path"]]).serve(socket)

    def _serve(self, venue: Venue) -> None:
        """Build everything that serves a venue."""
        self.venue = venue
        keys = Keys()
        clob = Clob(venue, keys)
        self._streams = Streams(venue, keys, self.sockets)
        self._references = References(venue, keys, self.sockets)
        self._coinbase = Coinbase(venue, self.sockets)
        self._trading = Trading(clob, self._streams.publish, self._waits)
        self._joins: dict[LineName, Callable[[LineName], Connection]] = {
            LineName.MARKET: self._streams.join,
            LineName.USER: self._streams.join,
            LineName.RTDS: self._references.join,
            LineName.POLYBOLT: self._references.join,
            LineName.COINBASE: self._coinbase.join,
        }
        self._routes = Starlette(
            routes=[
                *clob.routes(),
                *self._trading.routes(),
                Mount(GAMMA, routes=Gamma(venue).routes()),
                *(WebSocketRoute(path, self._socket) for path in STREAMS),
            ]
        )
