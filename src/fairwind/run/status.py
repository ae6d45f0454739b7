"""A live session's facts and status, looked at beside the loop, and served on loopback.

In: a session's parts between two turns. Out: a Status about once a second, alerts to the log,
`/status` as JSON, `/metrics` as Prometheus text, `/controls` to whoever has the token. Never here:
a judgement (health.py has them).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import msgspec
import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fairwind.core import clock as wall
from fairwind.core.errors import BadInput, DiskFault, Fault
from fairwind.core.ids import parse_slug
from fairwind.feeds import kpis
from fairwind.run import desk, facts, health, metrics
from fairwind.run.alerts import Severity, State
from fairwind.run.inbox import TIMER_NS, Line
from fairwind.run.paper import Paper
from fairwind.views.told import Told
from fairwind.world.serve import FAREWELL_S, LOOPBACK, Server, bound, gone

LOOK_S = 0.1
"""Looks come no faster in wall time."""
LAST_WORDS_S = 2.0
SILENT_S = dict.fromkeys(Line, 5.0) | {Line.MARKET: 12.0}
"""Market time without a frame that is too long; the venue answers pings on the last."""
SPEED_PER_LIMIT = 10.0
"""At higher speeds limits are longer, so that a busy machine is not taken for a silent venue."""
_LEVELS = {Severity.CRITICAL: "error", Severity.WARNING: "warning", Severity.INFO: "info"}
_LOGGED = ("subject", "state", "severity", "text", "detail", "playbook")


class Looking:
    """Looks at a session; `status` is the newest."""

    def __init__(self, paper: Paper, told: Told, log: structlog.stdlib.BoundLogger) -> None:
        self.paper = paper
        self.told = told
        self.watch = health.Watch()
        self.beside: list[Callable[[int], health.Part]] = []
        """Parts that others began and know of, at a market time."""
        self._disk_fault = ""
        self._log = log
        self._began_ns = paper.clock.now_ns()
        self._clock_ns = wall.now_ns() - time.monotonic_ns()
        self.status = self.look(paper.clock.now_ns())

    async def run(self) -> None:
        """Look until the session stops, whether its loop turns or hangs."""
        while not self.paper.stop.is_set():
            self.status = self.look(self.paper.clock.now_ns())
            await asyncio.sleep(max(LOOK_S, 1.0 / self.paper.clock.speed))

    async def last_words(self, error: BaseException) -> None:
        """Say what the disk did for as long as it takes those who ask now and then to hear it."""
        if not isinstance(error, DiskFault):
            return
        self._disk_fault = str(error)
        self.status = self.look(self.paper.clock.now_ns())
        await asyncio.sleep(LAST_WORDS_S)

    async def ask(self, request: desk.Request) -> desk.Answer:
        """Do what an operator asks, and log it; the status has it when the answer is there.

        Raises as Desk.ask does.
        """
        what = msgspec.to_builtins(request.control or request.acknowledge)
        try:
            answer = await self.paper.desk.ask(request, self.watch.alerts)
        except (BadInput, Fault) as error:
            self._log.warning("refused", operator=request.operator, asked=what, why=str(error))
            raise
        self._log.info("asked", operator=request.operator, asked=what, event_number=answer.event)
        self.status = self.look(self.paper.clock.now_ns())
        return answer

    def look(self, now_ns: int) -> health.Status:
        """The status now; alerts that came or went are logged."""
        if self.paper.feeding_since_ns is None:  # else the engine is at work on its state
            self._hold()
        status, changed = self.watch.look(now_ns, self._facts(now_ns))
        for alert in changed:
            level = _LEVELS[alert.severity] if alert.state == State.FIRING else "info"
            known = msgspec.structs.asdict(alert)
            getattr(self._log, level)(alert.kind, **{name: known[name] for name in _LOGGED})
        return status

    def _hold(self) -> None:
        state, now_ns = self.paper.session.state, self.paper.clock.now_ns()
        followed = self.paper.discovery.followed_ns
        self._markets = facts.markets(state, followed)
        self._assets = facts.assets(state, now_ns)
        self._engine = facts.engine(state, now_ns, trades=self.told.counts["fills"])

    def _facts(self, now_ns: int) -> health.Facts:
        since_ns = self.paper.feeding_since_ns
        undurable_ns = 0 if since_ns is None else now_ns - since_ns
        lag_ns = max(0, now_ns - self.paper.turned_ns - TIMER_NS)
        jumped_ns = wall.now_ns() - time.monotonic_ns() - self._clock_ns
        self._clock_ns += jumped_ns
        return health.Facts(
            parts=(
                *self._lines(now_ns),
                *self._rest(),
                *(part_at(now_ns) for part_at in self.beside),
            ),
            feeds=tuple(
                kpis.health(line, self.paper.inbox.channels[line].kpis)
                for line in self.paper.sockets
            ),
            markets=self._markets,
            assets=self._assets,
            engine=msgspec.structs.replace(
                self._engine,
                undurable_ns=undurable_ns,
                lag_ns=lag_ns,
                disk_fault=self._disk_fault,
            ),
            unlisted=tuple(
                (slug, why)
                for slug, why in self.paper.discovery.missing.items()
                if self._began_ns <= parse_slug(slug)[1] <= now_ns
            ),
            clock_jump_ns=jumped_ns,
        )

    def _lines(self, now_ns: int) -> Iterator[health.Part]:
        slower = max(1.0, self.paper.clock.speed / SPEED_PER_LIMIT)
        for line, one in self.paper.sockets.items():
            wanted = bool(self.paper.inbox.subscriptions(line))
            yield health.Part(
                name=line,
                phase="running" if wanted else "nothing to subscribe to",
                beat_ns=one.heard_ns if wanted else now_ns,
                silent_s=SILENT_S[line] * slower,
                connected=one.connected if wanted else None,
                problem=one.problem if wanted else "",
                errors=one.closings.total(),
                events=self.paper.inbox.channels[line].kpis.counts[kpis.Count.MESSAGES],
                queue=one.waiting,
                queue_max=one.waiting_max,
            )

    def _rest(self) -> Iterator[health.Part]:
        """The loop itself, and the search for windows."""
        slower = max(1.0, self.paper.clock.speed / SPEED_PER_LIMIT)
        paper = self.paper
        yield health.Part(
            name="loop",
            beat_ns=paper.turned_ns,
            silent_s=3.0 * slower,
            events=paper.session.events,
            detail="{} events came late, by {} ns at most".format(*paper.inbox.late),
        )
        yield health.Part(
            name="discovery",
            beat_ns=paper.discovery.looked_ns,
            silent_s=60.0 * slower,
            events=len(paper.discovery.followed),
            detail=", ".join(sorted(paper.discovery.followed)),
        )


@asynccontextmanager
async def served(looking: Looking, port: int, token: str) -> AsyncIterator[str]:
    """Serve `/status`, `/metrics` and, to whoever has the token, `/controls` on a port of
    loopback, 0 for any; gives their address. Who comes with the token of another session is told
    so: ports are used again.

    Raises Fault when the port is in use.
    """

    refused = PlainTextResponse(f"expected the token of {desk.FILE}\n", 401)

    def is_astray(request: Request) -> bool:
        given = request.headers.get("Authorization")
        return given is not None and not desk.may(given, token)

    async def status(request: Request) -> Response:
        if is_astray(request):
            return refused
        return Response(msgspec.json.encode(looking.status), media_type="application/json")

    async def figures(request: Request) -> Response:
        if is_astray(request):
            return refused
        return Response(metrics.exposition(looking.status), media_type=CONTENT_TYPE_LATEST)

    async def asked(request: Request) -> Response:
        if not desk.may(request.headers.get("Authorization", ""), token):
            return refused
        try:
            answer = await looking.ask(await desk.read(request.stream()))
        except BadInput as error:
            return PlainTextResponse(f"{error}\n", 422)
        except Fault as error:
            return PlainTextResponse(f"{error}\n", 503)
        return Response(msgspec.json.encode(answer), media_type="application/json")

    routes = [
        Route("/status", status),
        Route("/metrics", figures),
        Route("/controls", asked, methods=["POST"]),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])
    app = Starlette(routes=routes, middleware=[hosts], exception_handlers={ClientDisconnect: gone})
    with bound(port) as listening:
        ready = asyncio.Event()
        config = uvicorn.Config(
            app, log_level="warning", lifespan="off", timeout_graceful_shutdown=FAREWELL_S
        )
        server = Server(config, ready.set)
        serving = asyncio.create_task(server.serve([listening]))
        await ready.wait()
        try:
            yield "http://{}:{}".format(*listening.getsockname())
        finally:
            server.should_exit = True
            await serving
