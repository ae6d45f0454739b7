"""The built-in market as a server on loopback: REST and WebSocket of one venue on one port.

In: a venue, a clock. Out: a Starlette application whose lifespan plays the venue's tape. Never
here: an address beyond loopback.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute

from fairwind.world.server.clob import Clob
from fairwind.world.server.coinbase import Coinbase
from fairwind.world.server.gamma import Gamma
from fairwind.world.server.keys import Keys
from fairwind.world.server.references import References
from fairwind.world.server.streams import Streams
from fairwind.world.server.trading import Trading
from fairwind.world.server.venue import Venue

GAMMA, RTDS, POLYBOLT, COINBASE = "/gamma", "/rtds", "/polybolt", "/coinbase"
TURN_S = 0.005
"""How often time passes: the finest delay of an answer or frame."""


def application(
    venue: Venue, now_ns: Callable[[], int], *, waits: bool = True, turn_s: float = TURN_S
) -> Starlette:
    """CLOB REST at the root, the rest below paths of their own (docs/built_in_market.md).

    `now_ns` is market time; `waits` as in Trading.
    """
    keys = Keys()
    streams = Streams(venue, keys)
    references = References(venue, keys)
    coinbase = Coinbase(venue)
    clob = Clob(venue, keys)
    trading = Trading(clob, streams.publish, waits)

    async def play() -> None:
        while True:
            frames, answers = venue.advance(now_ns())
            streams.publish(frames)
            references.publish(venue.prints)
            coinbase.publish(venue.prints)
            trading.answered(answers)
            await asyncio.sleep(turn_s)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        playing = asyncio.create_task(play())
        yield
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing

    return Starlette(
        routes=[
            *clob.routes(),
            *trading.routes(),
            Mount(GAMMA, routes=Gamma(venue).routes()),
            WebSocketRoute("/ws/market", streams.market),
            WebSocketRoute("/ws/user", streams.user),
            WebSocketRoute(RTDS, references.rtds),
            WebSocketRoute(POLYBOLT, references.polybolt),
            WebSocketRoute(COINBASE, coinbase.serve),
        ],
        lifespan=lifespan,
    )
