"""A trading process without a market: a real session, desk and status, fed by the test.

In: events that the generator made. Out: a run that grows, served on loopback as `fairwind paper`
serves it, and engine.json. What it is fed is what happens.
"""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvicorn
from live_sessions import EAGER, SERIES
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fairwind import __version__
from fairwind.core.config import Capital, Config, configure
from fairwind.core.controls import encode
from fairwind.core.errors import BadInput, Fault
from fairwind.core.events import Events, empty
from fairwind.core.ids import series_name
from fairwind.engine.controls import configured
from fairwind.engine.run import roster
from fairwind.journal import file
from fairwind.run import desk, facts, health, metrics
from fairwind.run.alerts import Alert
from fairwind.run.loop import Session
from fairwind.world.generator import generate
from fairwind.world.knobs import Knobs
from fairwind.world.serve import Server, bound
from fairwind.world.server.tape import tape

SERVED_S = 10


def made(windows: int = 2, seed: int = 0) -> Events:
    """Everything that happens in so many windows of five minutes."""
    knobs = Knobs(windows=windows, seed=seed, quote_rate=0.05, history_s=120)
    return tape(generate(knobs))


def begun(run: Path, at_ns: int) -> Session:
    """A session that trades one series at nearly any price."""
    strategies = tuple(spec.id for spec in roster())
    meta = file.Meta(code=__version__, created_ns=at_ns, source="hand", strategies=strategies)
    session = Session(run, meta)
    config = Config(
        capital=Capital(deposit=1e5, drawdown_stop=1.0), strategies={series_name(SERIES): EAGER}
    )
    opening = [encode(at_ns, control) for control in configure(config)]
    payloads = {int(event["price"][0]): payload for event, payload in opening}
    session.feed(np.concatenate([event for event, _ in opening]), payloads)
    return session


def finished(run: Path, windows: int = 2) -> Path:
    """A run that was traded and closed."""
    events = made(windows)
    session = begun(run, int(events["ts_ns"][0]))
    for part in np.array_split(events, 50):
        session.feed(part)
    session.close(with_tables=False)
    return run


class HandEngine:
    """The process. `play` feeds events; `silent` makes it answer nothing."""

    def __init__(self, run: Path, at_ns: int) -> None:
        self.run = run
        self.session = begun(run, at_ns)
        self.watch = health.Watch()
        self.conditions: list[health.Part] = []
        self.silent = False
        self.left = empty(0)
        """What is still to happen, if the test says so."""
        self.token = "hand-engine-token"
        self.loop = asyncio.new_event_loop()
        self.desk = desk.Desk(
            self.now_ns,
            lambda: self.loop.call_soon(self._turn),
            lambda: configured(self.session.state),
        )
        self._ready = threading.Event()

    def now_ns(self) -> int:
        """Market time: of the newest event."""
        return int(self.session.state.record.now_ns)

    def play(self, events: Events) -> None:
        """Feed these, and wait until they are durable."""
        self.on_loop(lambda: self.session.feed(events))

    def on_loop(self, work: Any) -> Any:
        """Do something where the session lives."""

        async def doing() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(doing(), self.loop).result(SERVED_S)

    def status(self) -> health.Status:
        """As `fairwind paper` would say it."""
        now_ns = self.now_ns()
        parts = (health.Part(name="loop", beat_ns=now_ns), *self.conditions)
        engine = facts.engine(self.session.state, now_ns, trades=0)
        return self.watch.look(now_ns, health.Facts(parts=parts, engine=engine))[0]

    def alerts(self) -> tuple[Alert, ...]:
        """Those that are not resolved."""
        return self.watch.alerts.active()

    def _turn(self) -> None:
        events, payloads = self.desk.take(self.now_ns())
        first = self.session.events
        self.session.feed(events, payloads)
        self.desk.fed(events, first)

    async def _status(self, request: Request) -> Response:
        while self.silent:
            await asyncio.sleep(0.05)
        if not desk.may(request.headers.get("Authorization", ""), self.token):
            return PlainTextResponse("expected the token\n", 401)
        return Response(msgspec.json.encode(self.status()), media_type="application/json")

    async def _figures(self, _request: Request) -> Response:
        return Response(metrics.exposition(self.status()))

    async def _controls(self, request: Request) -> Response:
        if not desk.may(request.headers.get("Authorization", ""), self.token):
            return PlainTextResponse("expected the token\n", 401)
        try:
            asked = await desk.read(request.stream())
            answer = await self.desk.ask(asked, self.watch.alerts)
        except BadInput as error:
            return PlainTextResponse(f"{error}\n", 422)
        except Fault as error:
            return PlainTextResponse(f"{error}\n", 503)
        return Response(msgspec.json.encode(answer), media_type="application/json")

    async def _serve(self, stop: asyncio.Event) -> None:
        routes = [
            Route("/status", self._status),
            Route("/metrics", self._figures),
            Route("/controls", self._controls, methods=["POST"]),
        ]
        with bound(0) as listening:
            self.place = desk.Running(
                address=f"http://127.0.0.1:{listening.getsockname()[1]}",
                token=self.token,
                pid=os.getpid(),
                mode="PAPER",
                speed=1.0,
                started_ns=1,
            )
            config = uvicorn.Config(
                Starlette(routes=routes),
                log_level="critical",
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
            server = Server(config, self._ready.set)
            serving = asyncio.create_task(server.serve([listening]))
            await stop.wait()
            server.should_exit = True
            await serving


@contextmanager
def trading(run: Path, at_ns: int) -> Iterator[HandEngine]:
    """A process that trades during the block, and has said so in the run's folder."""
    engine = HandEngine(run, at_ns)
    stop = asyncio.Event()

    def live() -> None:
        asyncio.set_event_loop(engine.loop)
        engine.loop.run_until_complete(engine._serve(stop))

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    try:
        assert engine._ready.wait(SERVED_S)
        desk.write(run, engine.place)
        yield engine
    finally:
        engine.silent = False
        engine.loop.call_soon_threadsafe(stop.set)
        thread.join(SERVED_S)
        engine.session.close(with_tables=False)
        engine.loop.close()
        desk.write(run, msgspec.structs.replace(engine.place, ended=True))


def wait_for(what: Any, within_s: float = 10.0) -> Any:
    """The first true value of a function; a failure when there is none in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"expected it within {within_s} s: {what}")
