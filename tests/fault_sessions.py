"""Paper sessions on a faulty market, in one process and in market time.

In: a seed or faults, a run directory. Out: the run, written by the real loop, inbox, engine and
journal. Never here: a socket, the wall clock, chance that the seed does not repeat.
"""

import asyncio
import os
import random
import selectors
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import httpx
import msgspec
import numpy as np
from fault_stages import CONTROLS, LISTED_BEFORE_NS, SPECS, WORLDS, Stage, stage

from fairwind.core.controls import AnyControl, encode
from fairwind.core.events import Events
from fairwind.core.units import SECOND_NS
from fairwind.engine.contract import StrategySpec
from fairwind.feeds.gamma import Gamma, Rest
from fairwind.feeds.socket import FIRST_WAIT_S, LONGEST_WAIT_S, Frame, Lost
from fairwind.journal.file import Meta
from fairwind.run import discovery
from fairwind.run import paper as loop_on_paper
from fairwind.run.discovery import RESULT_LATE_NS
from fairwind.run.inbox import Line
from fairwind.run.loop import Session
from fairwind.run.paper import PINGS, SILENT_S, Addresses, Credentials, Paper
from fairwind.world.clock import MarketClock
from fairwind.world.faults import Fault, Faults, LineName, schedule
from fairwind.world.faults import Kind as Trouble
from fairwind.world.front import Front
from fairwind.world.server.app import GAMMA, Market
from fairwind.world.server.sockets import Connection
from fairwind.world.server.tape import RESULT_AFTER_NS
from fairwind.world.server.venue import Venue

AFTER_NS = 150 * SECOND_NS
"""A session without a result ends so long after its last window."""
REQUESTS_NS = 15 * SECOND_NS
"""So long requests fail."""
TURN_S = (0.1, 0.9)
"""Turns are as irregular as on a busy machine; all frames of a turn are received at its time."""
QUIET_TURN_S = (1.0, 3.0)
"""When the window is over."""
LINES = (LineName.MARKET, LineName.RTDS, LineName.POLYBOLT, LineName.COINBASE, LineName.GAMMA)
"""What a session on paper hears."""
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
URL = f"http://market{GAMMA}"


def faults_of(seed: int, stage: Stage) -> list[Fault]:
    """The schedule of a seed. Requests are rare, so what befalls them has its time set: when the
    window is looked for, or when its result is."""
    drawn = schedule(seed, stage.begin_ns, stage.end_ns + RESULT_AFTER_NS + SECOND_NS, lines=LINES)
    late = any(one.kind in (Trouble.LATE_RESULT, Trouble.LOST_RESULT) for one in drawn)
    listed_ns = stage.windows[0].start_ns - LISTED_BEFORE_NS
    from_ns = stage.end_ns + RESULT_LATE_NS if late else listed_ns
    until_ns = from_ns + REQUESTS_NS
    return [
        msgspec.structs.replace(one, from_ns=from_ns, until_ns=until_ns, skip=0)
        if one.line is LineName.GAMMA
        else one
        for one in drawn
    ]


class _Leap(selectors.DefaultSelector):
    """Does not wait: the time of the next timer is now."""

    passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing is scheduled: the session would wait for ever"
        self.passed_s += max(timeout, 0.0)
        return super().select(0)


class MarketTime(asyncio.SelectorEventLoop):
    """A loop whose time passes only while all tasks wait, and then at once. No threads."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        """Seconds since the session began."""
        return self._leap.passed_s

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Run it here and now."""
        done = self.create_future()
        done.set_result(func(*args))
        return done


class LoopClock(MarketClock):
    """The loop's time as market time."""

    def __init__(self, begin_ns: int) -> None:
        super().__init__(begin_ns, stepped=True)
        self.stepped = False
        self._begin_ns = begin_ns

    def now_ns(self) -> int:
        """Market time."""
        return self._begin_ns + round(asyncio.get_running_loop().time() * SECOND_NS)


class Reader:
    """Stands for a `feeds.socket.Socket`: a connection in the same process, kept as it does."""

    waiting, waiting_max = 0, 65_536

    def __init__(
        self,
        market: Market,
        line: Line,
        subscriptions: Callable[[], Sequence[bytes]],
        chance: random.Random,
    ) -> None:
        self.problem = ""
        self.closings: Counter[str] = Counter()
        self.heard_ns = 0
        self._market, self._line = market, line
        self._subscriptions, self._chance = subscriptions, chance
        self._connection: Connection | None = None
        self._opens_ns = self._opened_ns = self._pinged_ns = 0
        self._failures = 0
        self._ending = ""

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    async def run(self) -> None:
        """All is done in the loop's own turns."""

    def drain(self) -> list[Frame | Lost]:
        """What came since the last turn."""
        now_ns = self._market.venue.now_ns
        if self._connection is None and now_ns >= self._opens_ns:
            self._open(now_ns)
        if self._connection is None:
            return []
        self._ping(now_ns)
        found: list[Frame | Lost] = [Frame(now_ns, one) for one in self._connection.take()]
        if found:
            self.heard_ns = now_ns
        elif now_ns - self.heard_ns > SILENT_S * SECOND_NS:
            self.reconnect("silent")
        if self._connection.closed is not None:
            self._ending = f"closed with {self._connection.closed.code}"
        return [*found, self._lose(now_ns)] if self._ending else found

    async def send(self, frames: Iterable[bytes]) -> None:
        """Send client frames, if there is a connection."""
        if self._connection is not None:
            self._say(frames)

    def reconnect(self, why: str) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._ending = self._ending or why

    def _open(self, now_ns: int) -> None:
        wanted = self._subscriptions()
        if wanted:
            self._connection = self._market.connect(LineName(self._line))
            self.heard_ns = self._opened_ns = self._pinged_ns = now_ns
            self.problem = ""
            self._say(wanted)

    def _ping(self, now_ns: int) -> None:
        ping, every_s = PINGS[self._line]
        if ping and now_ns >= self._pinged_ns + every_s * SECOND_NS:
            self._say([ping.encode()])
            self._pinged_ns = now_ns

    def _say(self, frames: Iterable[bytes]) -> None:
        assert self._connection is not None
        for frame in frames:
            refusal = self._connection.hear(frame.decode())
            if refusal is not None:
                self._connection.end(refusal)

    def _lose(self, now_ns: int) -> Lost:
        assert self._connection is not None
        self._connection.end(None)
        del self._market.sockets.open[self._connection]
        steady = now_ns - self._opened_ns > 60 * SECOND_NS
        self._failures = 0 if steady else self._failures + 1
        limit_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**self._failures)
        self._opens_ns = now_ns + round(self._chance.uniform(0, limit_s) * SECOND_NS)
        self._connection, self.problem, self._ending = None, self._ending, ""
        self.closings[self.problem] += 1
        return Lost(now_ns, self.problem)


class Collecting(Session):
    """A session that feeds all at its end: one commit instead of hundreds, so that it is quick."""

    def __init__(self, run: Path, meta: Meta, **more: Any) -> None:
        super().__init__(run, meta, **more)
        self._kept: list[Events] = []

    def feed(self, events: Events, payloads: Mapping[int, bytes] | None = None) -> None:
        """Keep them."""
        for payload in (payloads or {}).values():
            self.journal.keep_payload(payload)
        self._kept.append(events)

    def close(self, *, with_tables: bool = False) -> None:
        """Feed what was kept."""
        super().feed(np.concatenate(self._kept))
        super().close(with_tables=with_tables)


def opened(
    run: Path,
    begin_ns: int,
    kind: type[Session] = Session,
    specs: Sequence[StrategySpec] = SPECS,
    controls: Sequence[AnyControl] = CONTROLS,
    **more: Any,
) -> Session:
    """A new run that has its settings."""
    strategies = tuple(spec.id for spec in specs)
    meta = Meta(code="test", created_ns=0, source="faults", strategies=strategies)
    session = kind(run, meta, specs=specs, **more)
    encoded = [encode(begin_ns, one) for one in controls]
    session.feed(
        np.concatenate([event for event, _ in encoded]),
        {int(event["price"][0]): payload for event, payload in encoded},
    )
    return session


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is played, and how."""

    run: Path
    seed: int = 0
    faults: Sequence[Fault] = ()
    windows: int = 1
    live: bool = False  # a commit every turn
    specs: Sequence[StrategySpec] = SPECS
    controls: Sequence[AnyControl] = CONTROLS
    turn_s: tuple[float, float] = TURN_S
    watch: Callable[[Paper], None] = lambda _paper: None  # called before each turn

    @property
    def stage(self) -> Stage:
        """The world that it is played in."""
        return stage(self.seed % WORLDS, self.windows)


class Played(NamedTuple):
    """A session that is over."""

    paper: Paper
    faults: Faults
    stage: Stage


def played(plan: Plan) -> Played:
    """A session from before its first window to its last result. Its disk is not waited for."""
    kind = Session if plan.live else Collecting
    with mock.patch.object(os, "fsync"):
        session = opened(plan.run, plan.stage.begin_ns, kind, plan.specs, plan.controls)
        try:
            with asyncio.Runner(loop_factory=MarketTime) as runner:
                return runner.run(_played(session, plan))
        finally:
            session.close(with_tables=False)


async def _played(session: Session, plan: Plan) -> Played:
    scene, chance = plan.stage, random.Random(plan.seed)
    clock = LoopClock(scene.begin_ns)
    market = Market(Venue(scene.tape, Faults(plan.faults)), clock)
    market.turn(scene.begin_ns)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(Front(market)))
    gamma = Gamma(Rest(URL, client=client, chance=chance))
    both = chance.random() < 0.5 or any(one.line is LineName.POLYBOLT for one in plan.faults)
    words = _credentials(market) if both else None
    with (
        mock.patch.object(loop_on_paper, "Gamma", lambda _rest: gamma),
        mock.patch.object(discovery, "wanted", lambda _series, now_ns: scene.wanted(now_ns)),
    ):
        series = [scene.windows[0].series]
        paper = Paper(session, Addresses(gamma=URL), clock, series, credentials=words)
        for line in paper.sockets:
            wished = partial(paper.inbox.subscriptions, line)
            paper.sockets[line] = Reader(market, line, wished, chance)  # type: ignore[assignment]
        await paper.run(scene.end_ns + AFTER_NS, _pace(paper, market, plan, chance))
    return Played(paper, market.faults, scene)


def _credentials(market: Market) -> Credentials:
    """A key that the market knows, for PolyBolt."""
    keys = market._references.keys
    key = keys.of(ADDRESS, 0)
    keys.active[key.api_key] = key
    return Credentials(apiKey=key.api_key, secret=key.secret, passphrase=key.passphrase)


def _pace(
    paper: Paper, market: Market, plan: Plan, chance: random.Random
) -> Callable[[], Awaitable[None]]:
    """Let the market play for a random time; end the session once it knows all results."""
    end_ns = plan.stage.end_ns

    async def pace() -> None:
        over = paper.turned_ns > end_ns
        await asyncio.sleep(chance.uniform(*(QUIET_TURN_S if over else plan.turn_s)))
        market.turn(paper.clock.now_ns())
        plan.watch(paper)
        if over and all(
            one.number in paper.inbox.resolved for one in paper.discovery.followed.values()
        ):
            paper.stop.set()

    return pace
