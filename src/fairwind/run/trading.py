"""A paper session from its first line to its last: run directory, market, loop, farewell.

In: a plan. Out: a run directory whose journal proves itself. Never here: a session that goes on
after its journal failed; a run continued with other settings than it began with.
"""

import asyncio
import os
import secrets
import shlex
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fairwind import __version__
from fairwind.core import clock as wall
from fairwind.core import controls
from fairwind.core.config import Config, configure
from fairwind.core.errors import BadInput, DiskFault, FairwindError, Fault
from fairwind.core.events import Events, Kind
from fairwind.core.units import SECOND_NS
from fairwind.engine.contract import StrategySpec
from fairwind.engine.run import roster
from fairwind.feeds.gamma import Rest, clock_skew
from fairwind.feeds.recorded.raw import Recorder
from fairwind.journal import file
from fairwind.journal.record import Mark
from fairwind.run import built_in, desk, logs
from fairwind.run.inbox import TIMER_NS
from fairwind.run.loop import Session
from fairwind.run.paper import BINANCE, Addresses, Credentials, Paper
from fairwind.run.status import Looking, served
from fairwind.views.told import Told
from fairwind.world.clock import MarketClock

Watch = Callable[[Looking, str], Coroutine[Any, Any, None]]
"""Shows a session, and where its status is served, until it is cancelled."""
AT = "--address="
SKEW_MAX_NS = SECOND_NS
LOG = "log.jsonl"
RECORDING = "frames"


class Venue(StrEnum):
    """Whose market data a session trades on."""

    BUILT_IN = "built-in"
    POLYMARKET = "polymarket"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to trade, where and for how long."""

    run: Path
    config: Config = Config()
    series: tuple[int, ...] = ()  # to follow; none: what the enabled strategies trade
    venue: Venue = Venue.BUILT_IN
    address: str = ""  # of a built-in market that runs already
    market: tuple[str, ...] = ()  # options of `fairwind venue` for one that is begun
    for_ns: int | None = None  # market time; None: until the market ends or ctrl-C
    record: bool = False  # keep every frame as it came
    port: int = 0  # of loopback for status and metrics; 0: any free one
    credentials: Credentials | None = None
    binance: bool = False  # as a second spot


class Place(msgspec.Struct, frozen=True):
    """Where a session trades, the market's clock, when it ends and how it is stepped."""

    addresses: Addresses
    clock: MarketClock
    end_ns: int | None = None
    console: built_in.Console | None = None


async def trade(plan: Plan, watch: Watch) -> Session:
    """Run a session to its end; the closed session is returned.

    Raises what Session raises, Fault when there is no market, BadInput for other settings than
    the run began with.
    """
    told = Told()
    session: Session = Session(
        plan.run, _meta(plan), tell=lambda rows: told.take(rows, session.state)
    )
    try:
        async with AsyncExitStack() as stack:
            place = await stack.enter_async_context(_place(plan, session))
            _open(session, plan.config, place.clock.now_ns())
            recorder = stack.enter_context(_recorder(plan))
            paper = Paper(
                session,
                place.addresses,
                place.clock,
                plan.series or _series(plan.config),
                real=plan.venue == Venue.POLYMARKET,
                credentials=plan.credentials,
                recorder=recorder,
            )
            log = logs.configure(plan.run / LOG, market_ns=place.clock.now_ns)
            looking = Looking(paper, told, log)
            address = await stack.enter_async_context(_served(plan, looking))
            for beside in (looking.run(), watch(looking, address)):
                await stack.enter_async_context(_beside(beside, paper.stop))
            _stop_on_signals(paper)
            log.info("started", source=source_of(plan), events=session.events, status=address)
            try:
                await paper.run(_until_ns(plan, place), _pace(paper, place))
            except BaseException as error:
                log.error("failed", why=str(error), kind=type(error).__name__)
                await looking.last_words(error)
                raise
            digest, unused = f"{session.state.digest():016x}", session.state.unused()
            log.info("stopped", events=session.events, digest=digest, unused=unused)
    finally:
        session.close(with_tables=False)  # made when somebody asks for them
    return session


@asynccontextmanager
async def _served(plan: Plan, looking: Looking) -> AsyncIterator[str]:
    """Serve status and controls; `engine.json` says where, and at the end that there is nothing."""
    async with served(looking, plan.port, token := secrets.token_urlsafe(32)) as address:
        running = desk.Running(
            address=address,
            token=token,
            pid=os.getpid(),
            mode="PAPER",
            speed=looking.paper.clock.speed,
            started_ns=wall.now_ns(),
        )
        desk.write(plan.run, running)
        failed = ""
        try:
            yield address
        except Exception as error:
            failed = _said(error)
            raise
        finally:
            with suppress(DiskFault):  # the same disk: then the silence has to tell
                desk.write(plan.run, msgspec.structs.replace(running, ended=True, failed=failed))


def _said(error: Exception) -> str:
    """Why a session ends, in words that are never empty: somebody is told of it."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FairwindError):
        return str(error)
    return f"a defect ({error!r}); the terminal of `fairwind paper` says where"


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> AsyncIterator[None]:
    """Do this during the block; it is cancelled, and waited for, at its end. If it fails, the
    session stops: nobody should trade unseen."""

    def ended(done: asyncio.Task[None]) -> None:
        if not done.cancelled() and done.exception() is not None:
            stop.set()

    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@contextmanager
def _recorder(plan: Plan) -> Iterator[Recorder | None]:
    if not plan.record:
        yield None
        return
    recorder = Recorder(plan.run / RECORDING)
    try:
        yield recorder
    finally:
        recorder.close()


def source_of(plan: Plan) -> str:
    """What the journal says of where its inputs come from; a market can be begun from it again."""
    place = (f"{AT}{plan.address}",) if plan.address else plan.market
    return shlex.join([plan.venue, *(place if plan.venue == Venue.BUILT_IN else ())])


@asynccontextmanager
async def _place(plan: Plan, session: Session) -> AsyncIterator[Place]:
    last_ns = int(session.state.record.now_ns)
    source = session.journal.meta.source
    if shlex.split(source)[:1] != [plan.venue]:
        raise BadInput(
            f"{plan.run}: expected the venue of this run ({source}), found --venue {plan.venue}; "
            "give its own, or begin a new run"
        )
    if plan.venue == Venue.POLYMARKET:
        real = Addresses(binance=BINANCE if plan.binance else "")
        await right_clock(real.clob)
        yield _checked(Place(real, MarketClock(wall.now_ns())), last_ns)
        return
    options = shlex.split(source)[1:]
    if not plan.address and any(one.startswith(AT) for one in options):
        raise BadInput(
            f"{plan.run}: expected the market of this run, {options[0]}; give it again, or begin "
            "a new run"
        )
    async with built_in.client() as client, AsyncExitStack() as stack:
        address = plan.address or await stack.enter_async_context(built_in.began(options))
        console = built_in.Console(address, client)
        if last_ns and ((await console.clock()).stepped or not plan.address):
            await console.seek(last_ns)
        state, clock = await console.in_step()
        place = Place(built_in.addresses(address), clock, state.end_ns, console)
        yield _checked(place, last_ns)


async def right_clock(clob: str) -> None:
    """Fault when this machine's clock is not the venue's, or the venue cannot be reached."""
    venue = Rest(clob)
    try:
        skew = await clock_skew(venue)
    finally:
        await venue.close()
    if abs(skew.skew_ns) > skew.within_ns + SKEW_MAX_NS:
        raise Fault(
            f"expected this machine's clock to be within {SKEW_MAX_NS / SECOND_NS:g} s of the "
            f"venue's, found {skew.skew_ns / SECOND_NS:+.1f} s; set it by a time service first"
        )


def _checked(place: Place, last_ns: int) -> Place:
    now_ns = place.clock.now_ns()
    if now_ns < last_ns:
        raise BadInput(
            f"expected a market whose time is not before the run's last event ({last_ns}), found "
            f"one at {now_ns}; begin a new run, or start the market that this run belongs to"
        )
    return place


def _open(session: Session, config: Config, now_ns: int) -> None:
    """Give a new run its settings; see that a continued one has the same."""
    encoded = [controls.encode(now_ns, control) for control in configure(config)]
    opening: Events = np.concatenate([event for event, _ in encoded])
    if session.events == 0:
        session.feed(opening, {int(event["price"][0]): payload for event, payload in encoded})
        return
    found = _opening(session.journal.run)
    if found["price"].tolist() != opening["price"].tolist():
        raise BadInput(
            f"{session.journal.run}: expected the settings that this run began with, found others; "
            "begin a new run, or give the same --config and --set"
        )


def _opening(run: Path) -> Events:
    """The controls that a run began with: those at its first moment."""
    first = next(part for part in file.inputs(run) if not isinstance(part, Mark))
    at_once = first[first["ts_ns"] == first["ts_ns"][0]]
    given: Events = at_once[at_once["kind"] == Kind.CONTROL]

    def ours(number: int) -> bool:  # an operator may have been as quick
        return controls.decode(file.payload_of(run, number), number).operator == desk.OURS

    return given[[ours(int(number)) for number in given["price"]]]


def _meta(plan: Plan) -> file.Meta:
    return file.Meta(
        code=__version__,
        created_ns=wall.now_ns(),
        source=source_of(plan),
        strategies=tuple(spec.id for spec in roster()),
    )


def _series(config: Config) -> list[int]:
    """The series that strategies trade which are switched on."""

    def is_on(spec: StrategySpec) -> bool:
        return bool(config.strategies.get(spec.id, {}).get("enabled", spec.enabled))

    return sorted({spec.series for spec in roster() if spec.series >= 0 and is_on(spec)})


def _until_ns(plan: Plan, place: Place) -> int:
    ends = [] if place.end_ns is None else [place.end_ns]
    if plan.for_ns is not None:
        ends.append(place.clock.now_ns() + plan.for_ns)
    return min(ends, default=np.iinfo(np.int64).max)


def _pace(paper: Paper, place: Place) -> Callable[[], Awaitable[None]] | None:
    """A market that stands is moved from timer to timer, each frame waited for."""
    console, clock = place.console, place.clock
    if console is None or not clock.stepped:
        return None

    async def step() -> None:
        await paper.connected()
        if paper.stop.is_set():
            return
        await paper.caught_up()  # so that the market has what we asked for
        clock.move((clock.now_ns() // TIMER_NS + 1) * TIMER_NS)
        await console.step(clock.now_ns())
        await paper.caught_up()

    return step


def _stop_on_signals(paper: Paper) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, paper.stop.set)
