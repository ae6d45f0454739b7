"""The built-in market as a process: a tape, a clock and a port of loopback, until it is ended.

In: knobs or events, how time runs. Out: one announcement with the address, then a served market.
Never here: an address beyond loopback, a defect of the market that goes unseen.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount

from fairwind.core.errors import BadInput, Fault
from fairwind.core.events import Events
from fairwind.core.units import SECOND_NS
from fairwind.world.clock import MarketClock
from fairwind.world.console import Clock, Console, clock
from fairwind.world.front import Front
from fairwind.world.generator import generate
from fairwind.world.knobs import Knobs
from fairwind.world.server import tape
from fairwind.world.server.app import TURN_S, Market
from fairwind.world.server.venue import Venue

LOOPBACK = "127.0.0.1"
FAREWELL_S = 2
"""How long open requests and sockets have to end, in wall time."""
SPEEDS = (0.01, 1000.0)


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a market is served, and its clock at that moment."""

    address: str  # http://127.0.0.1:PORT
    pid: int
    clock: Clock


def serve(
    source: Knobs | Events,
    announce: Callable[[Announcement], None],
    *,
    port: int = 0,
    speed: float = 1.0,
    stepped: bool = False,
    start_s: float = 0.0,
    attached: bool = False,
) -> None:
    """Serve a market until SIGTERM or SIGINT, with `attached` also until standard input ends.

    `port` 0 takes any free one; `start_s` is where in the tape to begin. A stepped clock stands
    until the console moves it. BadInput for what cannot be used, Fault for a port that cannot be
    had; a defect of the market ends the process with its traceback.
    """
    if not SPEEDS[0] <= speed <= SPEEDS[1]:
        raise BadInput(f"speed: expected {SPEEDS[0]:g} to {SPEEDS[1]:g}, found {speed:g}")
    events = tape.tape(generate(source)) if isinstance(source, Knobs) else source
    if not len(events):
        raise BadInput("tape: expected events to play, found none; name another source")
    start_ns = int(events["ts_ns"][0]) + round(start_s * SECOND_NS)
    if start_s < 0 or start_ns > int(events["ts_ns"][-1]):
        raise BadInput(f"start_s: expected a moment within the tape, found {start_s:g} s")
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # a client that was killed is no news
    with bound(port) as listening:
        market = Market(Venue(events), MarketClock(start_ns, speed, stepped=stepped))
        asyncio.run(_until_ended(market, listening, announce, attached))


@contextmanager
def bound(port: int, host: str = LOOPBACK) -> Iterator[socket.socket]:
    """A socket on a port of loopback; 0 is any free one. BadInput, Fault as in `serve`."""
    if not 0 <= port <= 65_535:
        raise BadInput(f"port: expected 0 to 65535, found {port}")
    # asyncio sends small answers at once only on sockets that name their protocol
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise Fault(
                f"port: expected {port} of {host} to be free, found: {error.strerror}; "
                "end what uses it, or take port 0 for any free one"
            ) from error
        yield listening


async def run(
    market: Market,
    listening: socket.socket,
    announce: Callable[[Announcement], None],
    ended: asyncio.Event,
    *,
    turn_s: float = TURN_S,
) -> None:
    """Serve a market on a bound socket and follow its clock, until `ended` or a defect."""
    await market.advance(market.clock.now_ns())
    host, port = listening.getsockname()

    def ready() -> None:
        address = f"http://{host}:{port}"
        announce(Announcement(address=address, pid=os.getpid(), clock=clock(market)))

    routes = [*Console(market).routes(), Mount("/", app=Front(market))]
    server = Server(
        uvicorn.Config(
            Starlette(routes=routes, exception_handlers={ClientDisconnect: gone}),
            log_level="warning",
            lifespan="off",
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            ws_ping_interval=None,  # how long a client thinks is its own affair
            date_header=False,
            timeout_graceful_shutdown=FAREWELL_S,
        ),
        ready,
    )
    serving = asyncio.create_task(server.serve([listening]))
    ending = asyncio.create_task(ended.wait())
    tasks = [serving, ending]
    if not market.clock.stepped:
        tasks.append(asyncio.create_task(market.play(turn_s)))
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    for task in tasks:
        task.cancel()
    for task in done:
        task.result()


async def gone(_request: Request, _error: Exception) -> Response:
    """A client that was killed in the middle of a request hears no answer."""
    return Response(status_code=400)


class Server(uvicorn.Server):
    """uvicorn's server that says when it is ready, and leaves signals to us."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _until_ended(
    market: Market,
    listening: socket.socket,
    announce: Callable[[Announcement], None],
    attached: bool,
) -> None:
    await run(market, listening, announce, end_of(attached))


def end_of(attached: bool) -> asyncio.Event:
    """Set on SIGTERM or SIGINT, with `attached` also when standard input ends."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if attached:
        end = lambda: loop.call_soon_threadsafe(ended.set)  # noqa: E731
        threading.Thread(target=_watch_input, args=(end,), daemon=True).start()
    return ended


def _watch_input(end: Callable[[], object]) -> None:
    """Read standard input to its end, which comes at the latest when the parent is killed."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    end()
