"""Live paper sessions for tests: a built-in market beside them, and lives that end by kill -9.

In: options of a market, a plan, a seed. Out: run directories, and what left each life's process.
Lives are forked from a process that has no threads and has the engine loaded: one starts at once.
"""

import asyncio
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from fairwind.core.config import Capital, Config
from fairwind.core.events import Events, empty
from fairwind.core.ids import series_name
from fairwind.core.outputs import TABLES
from fairwind.engine.run import Out
from fairwind.engine.state import fresh
from fairwind.journal import file
from fairwind.research.replay import warm_up
from fairwind.run import loop, paper, trading
from fairwind.run.built_in import COMMAND
from fairwind.run.loop import Rows, Session, outputs
from fairwind.run.status import Looking
from fairwind.world.console import Clock
from fairwind.world.serve import Announcement

LIFE_MAX_S = 240
"""A life that hangs ends by then, and fails its test."""
OPENED = struct.Struct("<QQ")
"""What a life says when its run is open: events and digest."""
SNAPSHOT_COMMITS = 300
SERIES = 0  # BTC, 5 minutes
EAGER: dict[str, float | bool] = {
    "edge_min": -300.0,
    "edge_stderrs": 0.0,
    "coinflip_band": 0.0,
    "entry_cooldown": 1.0,
    "max_positions": 1000.0,
    "trades_per_window": 1000.0,
    "streak_losses": 1000.0,
}
"""Trades at nearly any price, so that there is much to lose."""


class Replayed(NamedTuple):
    """What the journal's inputs alone lead to."""

    events: Events
    digest: int
    rows: dict[str, NDArray[Any]]  # by table


class Ending(NamedTuple):
    """How a life went."""

    opened: tuple[int, int] | None  # events and digest when its run was open, if it came so far
    killed: bool  # False: it came to its end


def eager_plan(run: Path, address: str) -> trading.Plan:
    """Trade one series at nearly any price until the market ends."""
    config = Config(
        capital=Capital(deposit=1e5, drawdown_stop=1.0), strategies={series_name(SERIES): EAGER}
    )
    return trading.Plan(run=run, address=address, config=config, series=(SERIES,))


@contextmanager
def market(*options: str) -> Iterator[Announcement]:
    """A built-in market in a process of its own, which ends with ours."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "venue", "--attached", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            yield msgspec.json.decode(process.stdout.readline(), type=Announcement)
        finally:
            process.kill()


def seek(address: str, to_ns: int) -> None:
    """Begin the market anew."""
    httpx.post(f"{address}/control/seek", json={"to_ns": to_ns}, timeout=30).raise_for_status()


def now_ns(address: str) -> int:
    """Where the market's clock is."""
    answer = httpx.get(f"{address}/control/clock", timeout=30).raise_for_status()
    return msgspec.json.decode(answer.content, type=Clock).now_ns


def compile_all() -> None:
    """Load the compiled code of a session, or compile it."""
    warm_up()
    paper.warm_up()


def load() -> None:
    """What all lives inherit: the loaded engine, and snapshots often enough for a short run."""
    compile_all()
    loop.SNAPSHOT_COMMITS = SNAPSHOT_COMMITS


def finish(plan: trading.Plan, told: Path) -> Ending:
    """A life until the market's end."""
    child, reader = _begin(plan, told, lambda: None)
    return _ended(child, reader)


def kill_later(plan: trading.Plan, told: Path, delay_s: float, from_start: bool) -> Ending:
    """A life that is killed after a delay, counted from its start or from when its run is open."""
    child, reader = _begin(plan, told, lambda: None)
    said = b"" if from_start else os.read(reader, OPENED.size)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    return _ended(child, reader, said)


def kill_at_sync(plan: trading.Plan, told: Path, number: int, before: bool) -> Ending:
    """A life that is killed before or after the disk was told for the n-th time to keep data."""
    sync, left = os.fsync, [number]

    def dying(file: int) -> None:
        left[0] -= 1
        if left[0] == 0 and before:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(file)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    child, reader = _begin(plan, told, lambda: setattr(os, "fsync", dying))
    return _ended(child, reader)


def replayed(run: Path) -> Replayed:
    """A fresh engine on everything that a run's journal holds."""
    parts = [part for part in file.inputs(run) if isinstance(part, np.ndarray)]
    events = np.concatenate([empty(0), *parts])
    state, out = fresh(), Out.fresh()
    made: dict[str, list[NDArray[Any]]] = {name: [] for name in TABLES}
    for rows in outputs(state, events, out, lambda number: file.payload_of(run, number)):
        for name, part in rows.items():
            made[name].append(part.copy())
    joined = {
        name: np.concatenate([np.zeros(0, dtype), *made[name]]) for name, dtype in TABLES.items()
    }
    return Replayed(events, state.digest(), joined)


def told_rows(told: Path) -> dict[str, NDArray[Any]]:
    """What left a life's process, by table; a row that was being written is not there."""
    found = {}
    for name, dtype in TABLES.items():
        data = (told / name).read_bytes() if (told / name).exists() else b""
        found[name] = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
    return found


def _begin(plan: trading.Plan, told: Path, prepare: Callable[[], None]) -> tuple[int, int]:
    """The process of a new life, and a pipe on which it says what it has opened."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LIFE_MAX_S)
        try:
            prepare()
            _live(plan, told, writer)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    return child, reader


def _live(plan: trading.Plan, told: Path, ready: int) -> None:
    """A life: what the session tells goes to files, as to a venue that remembers all."""
    told.mkdir(parents=True)
    outside = {name: os.open(told / name, os.O_WRONLY | os.O_CREAT) for name in TABLES}

    def opened(run: Path, meta: file.Meta, *, tell: Callable[[Rows], None]) -> Session:
        def kept(rows: Rows) -> None:  # no sync: a kill leaves the system's own buffers alone
            for name, part in rows.items():
                os.write(outside[name], part.tobytes())
            tell(rows)

        session = Session(run, meta, tell=kept)
        os.write(ready, OPENED.pack(session.events, session.state.digest()))
        return session

    async def unwatched(_looking: Looking, _address: str) -> None:
        """Nobody looks."""

    with patch.object(trading, "Session", opened):
        try:
            asyncio.run(trading.trade(plan, unwatched))
        except BaseException as error:
            print(f"a life failed: {error!r}", file=sys.stderr, flush=True)
            raise


def _ended(child: int, reader: int, said: bytes = b"") -> Ending:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = said or os.read(reader, OPENED.size)
    os.close(reader)
    assert code in (0, -signal.SIGKILL), f"a life ended by itself: {code}"
    return Ending(OPENED.unpack(said) if said else None, code != 0)
