"""The pages' process: one run's board, hub, routes and guard, served until it is ended.

In: a run directory, settings. Out: a served application; RUN/pages.json, which says where it is.
Never here: an address beyond loopback without TLS and a token file; a way to arm live trading.
"""

import asyncio
import importlib
import importlib.util
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from fairwind import __version__
from fairwind.api import controls, past, routes, wire
from fairwind.api.auth import HEADERS, Door, Guard, cookie_name, secret_of
from fairwind.api.board import Board
from fairwind.api.deliver import Delivery
from fairwind.api.hub import MESSAGE_CHARS_MAX, Hub
from fairwind.api.live import Live
from fairwind.api.sockets import Socket
from fairwind.api.wire import Refusal
from fairwind.core.config import Target
from fairwind.core.errors import BadInput
from fairwind.journal.log import faults
from fairwind.world.serve import FAREWELL_S, LOOPBACK, Server, bound, end_of

LOG = logging.getLogger("fairwind.pages")
FILE = "pages.json"
UI = "fairwind.api.ui.pages"
SEND_BYTES = 1 << 16
PING_S = 20.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the pages are served. Beyond loopback all of `certificate`, `key`, `token_file`."""

    host: str = LOOPBACK
    hosts: tuple[str, ...] = ()  # names that browsers may use for it, beside 127.0.0.1, localhost
    certificate: Path | None = None
    key: Path | None = None
    token_file: Path | None = None  # of a token for /metrics and /api/links; none: a new one
    targets: tuple[Target, ...] = ()  # who is told of alerts


DEFAULTS = Settings()


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """Where the pages are, and a link that lets one browser in."""

    address: str
    link: str
    pid: int


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What RUN/pages.json says: where this user's programs ask for links, and by what right."""

    address: str
    token: str
    pid: int


def serve(
    run: Path,
    port: int,
    announce: Callable[[Announcement], None],
    *,
    settings: Settings = DEFAULTS,
    attached: bool = False,
) -> None:
    """Serve the pages of a run until SIGTERM or SIGINT, with `attached` also until standard input
    ends. `port` 0 takes any free one.

    Raises BadInput for what cannot be used, Fault for a port that cannot be had; a defect of the
    hub ends the process with its traceback.
    """
    checked(settings)
    with bound(port, settings.host) as listening:
        # else the system keeps megabytes for a reader who does not read, and it is not noticed
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        asyncio.run(_until_ended(run, listening, announce, settings, attached))


def checked(settings: Settings) -> Settings:
    """The same; BadInput when they would let others listen or guess."""
    secured = settings.certificate and settings.key and settings.token_file
    if settings.host != LOOPBACK and not secured:
        raise BadInput(
            f"host: expected {LOOPBACK}, or a certificate, its key and a token file with it, found "
            f"{settings.host} without; others on the network would read and change everything"
        )
    if (settings.certificate is None) != (settings.key is None):
        raise BadInput("expected both a certificate and its key, found one of them")
    return settings


def application(run: Path, *, port: int = 0, settings: Settings = DEFAULTS) -> FastAPI:
    """The application of one run, behind its guard. `port` is where it will be served.

    Raises what Follower raises, BadInput for settings that cannot be used.
    """
    checked(settings)
    token = "" if settings.token_file is None else secret_of(settings.token_file)
    scheme = "http" if settings.certificate is None else "https"
    app = FastAPI(
        title="Fairwind",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    state = app.state
    state.board, state.door = Board(run), Door(token=token)
    state.hub = Hub(state.board, state.door.lives)
    state.delivery = delivery = Delivery(run, state.board.engine, settings.targets)
    state.board.add(Live("delivery", "alerts that were sent to people", lambda _: delivery.view()))
    state.address = f"{scheme}://{(*settings.hosts, settings.host)[0]}:{port}"
    state.cookie = cookie_name(port)
    state.past = past.Queue()
    app.include_router(routes.router)
    app.include_router(past.router)
    app.include_router(controls.router)
    if importlib.util.find_spec(UI) is not None:
        importlib.import_module(UI).mount(app)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(
        TrustedHostMiddleware,
        allowed_hosts=[LOOPBACK, "localhost", *settings.hosts],
        www_redirect=False,
    )
    app.add_middleware(Guard, door=state.door, cookie=state.cookie)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def place_of(run: Path) -> Place | None:
    """Where a run's pages are; None when nobody serves them. BadInput for a file that is none."""
    path = run / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Place)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"{path}: expected what the pages write, found: {error}") from error


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The hub and the engine's word are followed as long as the application is served."""
    board: Board = app.state.board
    await board.engine.look()
    works = [app.state.hub.run(), board.engine.follow(), app.state.delivery.run()]
    tasks = [asyncio.create_task(work) for work in works]
    app.state.tasks = tasks
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
        await board.engine.close()


async def _until_ended(
    run: Path,
    listening: socket.socket,
    announce: Callable[[Announcement], None],
    settings: Settings,
    attached: bool,
) -> None:
    port = listening.getsockname()[1]
    app = application(run, port=port, settings=settings)
    door: Door = app.state.door
    place = Place(address=app.state.address, token=door.token, pid=os.getpid())

    def ready() -> None:
        link = f"{place.address}/login?token={door.link()}"
        announce(Announcement(address=place.address, link=link, pid=place.pid))

    server = Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,  # it would show tokens
            ws=Socket,
            ws_max_size=4 * MESSAGE_CHARS_MAX,
            ws_per_message_deflate=False,
            ws_ping_interval=PING_S,
            ws_ping_timeout=PING_S,
            server_header=False,
            timeout_graceful_shutdown=FAREWELL_S,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.key,
        ),
        ready,
    )
    with _placed(run, place):
        serving = asyncio.create_task(server.serve([listening]))
        ending = asyncio.create_task(end_of(attached).wait())
        while not hasattr(app.state, "tasks") and not serving.done():
            await asyncio.sleep(0.01)
        tasks = [serving, ending, *getattr(app.state, "tasks", [])]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if ending in done:
            await app.state.delivery.farewell()
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
        ending.cancel()
        for task in done:
            task.result()


@contextmanager
def _placed(run: Path, place: Place) -> Iterator[None]:
    """Say where the pages are as long as they are; nobody else on this machine may read it."""
    path = run / FILE
    fresh = path.with_suffix(f".{place.pid}")
    with faults(path):
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(place))
        fresh.replace(path)
    try:
        yield
    finally:
        with suppress(BadInput, FileNotFoundError):
            if place_of(run) == place:
                path.unlink()


def _described(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document with the schemas of our own structs in it."""
    if app.openapi_schema is None:
        found = FastAPI.openapi(app)
        found.setdefault("components", {}).setdefault("schemas", {}).update(wire.schemas())
        app.openapi_schema = found
    return app.openapi_schema


async def _on_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return wire.refused(error)


async def _on_bad_input(_request: Request, error: Exception) -> Response:
    return wire.refused(Refusal(422, str(error)))


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = wire.refused(Refusal(error.status_code, str(error.detail)))
    response.headers.update(error.headers or {})
    return response


async def _on_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = ("{}: {}".format(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors())
    text = "; ".join([*found][:4]).encode(errors="replace").decode()
    return wire.refused(Refusal(422, text))


async def _on_defect(_request: Request, error: Exception) -> Response:
    """The library answers from outside the guard, so the guard's headers have to be said again."""
    response = wire.refused(Refusal(500, f"a defect ({type(error).__name__}); see the log"))
    response.headers.update(HEADERS)
    return response


_HANDLERS: dict[type[Exception], Any] = {
    Refusal: _on_refusal,
    BadInput: _on_bad_input,
    HTTPException: _on_http,
    RequestValidationError: _on_invalid,
    Exception: _on_defect,
}
