"""Everything that can be read over HTTP: views, history, alerts, metrics, the socket, the login.

In: requests that the guard let through. Out: the same figures that the pages show.
Never here: a change of the engine (controls.py), a figure that is no view's.
"""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response, WebSocket
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fairwind.api import auth
from fairwind.api.auth import Door
from fairwind.api.board import Board, Listed
from fairwind.api.hub import Hub
from fairwind.api.queries import Query, chosen, query
from fairwind.api.wire import Answered, Refusal, answer, documented, documented_text
from fairwind.core.errors import BadInput
from fairwind.core.units import SECOND_NS
from fairwind.run.alerts import Alert, Severity

router = APIRouter()
READY_S = 30.0
Wanted = Annotated[Query, Depends(query)]


class Views(msgspec.Struct, frozen=True):
    """All views that there are."""

    views: list[Listed]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What this session is. `csrf` goes into X-CSRF-Token of every change."""

    csrf: str
    mode: str
    expires_s: int


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A way in, for one use."""

    link: str
    expires_s: int


class Alarms(msgspec.Struct, frozen=True, kw_only=True):
    """All alerts, how many of each severity are not resolved, and who says so."""

    engine: str
    counts: dict[str, int]
    active: tuple[Alert, ...]
    history: tuple[Alert, ...]


class Alive(msgspec.Struct, frozen=True):
    """Whether the journal is followed."""

    ok: bool


class Ended(msgspec.Struct, frozen=True):
    """The session is over."""

    ended: bool = True


async def board_of(request: Request) -> Board:
    """The board, once there is something on it."""
    board: Board = request.app.state.board
    if not board.ready.is_set():
        raise Refusal(503, "the engine is being loaded; ask again in a few seconds", retry_s=2.0)
    return board


Looked = Annotated[Board, Depends(board_of)]


@router.get(
    "/api/views", tags=["views"], responses=documented(Views, 401, 503), response_class=Response
)
async def views(board: Looked) -> Response:
    """All views, what each says, and what may stand behind its slash."""
    return answer(Views(board.listed()))


@router.get(
    "/api/views/{topic:path}",
    tags=["views"],
    responses=documented(Answered, 401, 404, 422, 500, 503),
    response_class=Response,
)
async def view(
    topic: Annotated[str, Path(max_length=128)], wanted: Wanted, board: Looked
) -> Response:
    """One view as the socket's first frame holds it, or a part: sorted, filtered, paged."""
    try:
        shown = board.snapshot(topic)
    except BadInput as error:
        raise Refusal(404, str(error)) from error
    part = chosen(shown, wanted)
    return answer(Answered(topic=topic, now_ns=board.follower.look.now_ns, snapshot=part))


@router.get(
    "/api/alerts", tags=["alerts"], responses=documented(Alarms, 401), response_class=Response
)
async def alerts(request: Request) -> Response:
    """Alerts that are not resolved, and those that were."""
    engine = request.app.state.board.engine
    active, history = engine.active, engine.history
    counts = {one.value: sum(a.severity == one for a in active) for one in Severity}
    return answer(Alarms(engine=engine.phase, counts=counts, active=active, history=history))


@router.get(
    "/api/session", tags=["session"], responses=documented(Known, 401), response_class=Response
)
async def session(request: Request) -> Response:
    """What this session is, and the token that its changes need."""
    state, found = request.app.state, request.state.session
    left_s = int(state.door.left_s(found))
    return answer(Known(csrf=found.csrf, mode=state.board.engine.mode, expires_s=left_s))


@router.delete(
    "/api/session",
    tags=["session"],
    responses=documented(Ended, 401, 403),
    response_class=Response,
)
async def leave(request: Request) -> Response:
    """End this session."""
    request.app.state.door.leave(request.state.session)
    return answer(Ended())


@router.post(
    "/api/links", tags=["session"], responses=documented(Link, 401, 403), response_class=Response
)
async def links(request: Request) -> Response:
    """A new one-time link, for somebody with a session or with the token of RUN/pages.json."""
    state = request.app.state
    token = state.door.link()
    return answer(Link(link=f"{state.address}/login?token={token}", expires_s=int(auth.LINK_S)))


@router.get(
    "/login",
    tags=["session"],
    responses=documented_text("text/html", 401, 422, 429),
    response_class=Response,
)
async def login(request: Request, token: str = "") -> Response:
    """Come in by a one-time link, which is burnt by that."""
    state = request.app.state
    door: Door = state.door
    if not token:
        text = "Log in with a one-time link: <code>fairwind login RUN</code> makes one."
        return auth.login_page(text, 200)
    cookie = door.enter(token)
    if cookie is None:  # only wrong ones are counted: nobody can lock out who has a right one
        door.logins.take(request.client.host if request.client else "")
        text = "This link was used, or is too old: <code>fairwind login RUN</code> makes a new one."
        return auth.login_page(text, 401)
    page = auth.login_page("You are in.", 200, next_page="/")
    page.set_cookie(
        state.cookie,
        cookie,
        max_age=int(auth.SESSION_S),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return page


@router.get("/health", tags=["metrics"], responses=documented(Alive, 503), response_class=Response)
async def health(request: Request) -> Response:
    """Whether the pages are served and the journal can be followed. Open to all."""
    board: Board = request.app.state.board
    return answer(Alive(not board.failed), 503 if board.failed else 200)


@router.get(
    "/metrics",
    tags=["metrics"],
    responses=documented_text("text/plain", 401),
    response_class=Response,
)
async def metrics(request: Request) -> Response:
    """The engine's metrics and the pages' own, for somebody with a session or the token."""
    state = request.app.state
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(state.board, state.hub))
    engine = await state.board.engine.metrics()
    return Response(engine + generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@router.websocket("/api/socket")
async def socket(one: WebSocket) -> None:
    """Topics as they change; the guard has seen who it is."""
    hub: Hub = one.app.state.hub
    await hub.serve(one, one.state.session)


class _Figures(Collector):
    """What the pages' process counts."""

    def __init__(self, board: Board, hub: Hub) -> None:
        self._board = board
        self._hub = hub

    def collect(self) -> list[Metric]:
        """Every metric once."""
        board, hub = self._board, self._hub
        behind_s = board.beat().behind_ns / SECOND_NS
        gauges: list[tuple[str, str, float]] = [
            ("viewers", "Sockets that are open", len(hub.viewers)),
            ("topics", "Topics that are watched", len(hub.topics)),
            ("behind_seconds", "Market time that the views are behind the engine", behind_s),
            (
                "proved_events",
                "Events up to which replica and journal agree",
                board.follower.mark.events,
            ),
            ("failed", "1 when the journal cannot be followed", bool(board.failed)),
        ]
        counters: list[tuple[str, str, float]] = [
            ("frames", "Frames encoded", hub.frames),
            ("frames_sent", "Frames handed to viewers", hub.sent),
            ("dropped_viewers", "Viewers that did not read", hub.dropped),
        ]
        name = "fairwind_pages_{}".format
        return [
            *(GaugeMetricFamily(name(what), says, value=one) for what, says, one in gauges),
            *(CounterMetricFamily(name(what), says, value=one) for what, says, one in counters),
        ]
