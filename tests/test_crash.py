"""Kill -9 at random moments: the run that comes back is the run that was never disturbed.

A market is fed as a live loop does, a few events at a time, and what leaves the process is kept.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from conftest import LONG, ROOT
from test_loop import META, journaled, undisturbed_digest

from fairwind.core.config import Config, configure
from fairwind.core.controls import encode
from fairwind.core.events import Events
from fairwind.core.outputs import TABLES
from fairwind.journal import file
from fairwind.research.verify import verify
from fairwind.run import loop
from fairwind.run.loop import Rows, Session
from fairwind.world.generator import generate
from fairwind.world.knobs import Knobs
from fairwind.world.server.tape import tape

KILLS = 200 if LONG else 12
KILLS_PER_RUN = 4
SEED = 1
STEP_MAX = 20
SNAPSHOT_COMMITS = 300
HANGS_S = 120
Market = tuple[Events, dict[int, bytes]]


def a_market() -> Market:
    """A generated window with its opening controls: events in order, payloads by id."""
    events = tape(generate(Knobs(windows=1)))
    opening = [encode(int(events["ts_ns"][0]), control) for control in configure(Config())]
    payloads = {int(event["price"][0]): payload for event, payload in opening}
    return np.concatenate([*(event for event, _ in opening), events]), payloads


def kill_many(folder: Path) -> None:
    """Feed runs in children that are killed, again and again, and then let each finish.

    In a process of its own, without threads, so that forking is safe.
    """
    loop.SNAPSHOT_COMMITS = SNAPSHOT_COMMITS
    market = a_market()
    undisturbed_digest(*market)  # the children inherit the compiled engine
    started = time.monotonic()
    _finish(folder / "undisturbed", market, seed=0)
    needed_s = time.monotonic() - started
    chance = random.Random(SEED)
    kills = runs = 0
    while kills < KILLS:
        runs += 1
        assert runs <= KILLS, "most children end before they are killed: the delays are too long"
        run = folder / f"killed{runs}"
        for _ in range(KILLS_PER_RUN):
            kills += _killed(run, market, chance.uniform(0, needed_s / KILLS_PER_RUN), chance)
        _finish(run, market, chance.getrandbits(32))


def left(run: Path) -> Path:
    """Where the orders go that leave a run's process, each with the events that it follows from."""
    return run.with_suffix(".left")


def _feed_all(run: Path, market: Market, seed: int, ready: int) -> None:
    """A child's whole life; it says on `ready` when the run is open."""
    events, payloads = market
    steps = random.Random(seed)

    def tell(rows: Rows) -> None:
        needed = session.events.to_bytes(8, "little")
        parts = (needed + order.tobytes() for order in rows["orders"])
        os.write(outside, b"".join(parts))

    outside = os.open(left(run), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    session = Session(run, META, tell=tell)
    os.write(ready, b".")
    while session.events < len(events):
        session.feed(events[session.events :][: steps.randint(1, STEP_MAX)], payloads)
    session.close()


def _killed(run: Path, market: Market, delay_s: float, chance: random.Random) -> bool:
    """Whether a child that feeds the run was killed after a delay, not done before.

    The delay counts from the moment when the run is open, or, in one of four, from the start.
    """
    reader, writer = os.pipe()
    child = _child(run, market, chance.getrandbits(32), writer)
    os.close(writer)
    if chance.random() < 0.75:
        os.read(reader, 1)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    os.close(reader)
    if _completed(child):
        return False
    _nothing_left_before_its_inputs_were_durable(run)
    return True


def _nothing_left_before_its_inputs_were_durable(run: Path) -> None:
    if not (run / "journal").exists():
        return
    inputs = (part for part in file.inputs(run) if isinstance(part, np.ndarray))
    durable = sum(map(len, inputs))
    assert all(events <= durable for events, _ in told(run))


def told(run: Path) -> list[tuple[int, bytes]]:
    """What has left a run: the events that it follows from and the bytes of each order."""
    size = 8 + TABLES["orders"].itemsize
    data = left(run).read_bytes()
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return [(int.from_bytes(part[:8], "little"), part[8:]) for part in parts]


def _finish(run: Path, market: Market, seed: int) -> None:
    assert _completed(_child(run, market, seed, 2)), "nobody killed this child"


def _child(run: Path, market: Market, seed: int, ready: int) -> int:
    child = os.fork()
    if child == 0:
        signal.alarm(HANGS_S)
        try:
            _feed_all(run, market, seed, ready)
            os._exit(0)
        finally:
            os._exit(1)
    return child


def _completed(child: int) -> bool:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), f"the child failed by itself: {code}"
    return code == 0


def test_after_kills_at_random_moments_a_run_is_that_of_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    script = "import sys, pathlib, test_crash; test_crash.kill_many(pathlib.Path(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
    )
    market = a_market()
    digest = undisturbed_digest(*market)
    whole = dict(journaled(tmp_path / "undisturbed"))
    undisturbed = [order for _, order in told(tmp_path / "undisturbed")]
    assert b"".join(undisturbed) == whole["orders"]
    assert list((tmp_path / "undisturbed" / "snapshots").iterdir())
    for run in sorted(path for path in tmp_path.glob("killed*") if path.is_dir()):
        verdict = verify(run, batch_sizes=(256,))
        assert verdict.proved, str(verdict.divergence)
        assert (verdict.digest, verdict.proved_events) == (digest, len(market[0]))
        assert dict(journaled(run)) == whole
        orders = iter(undisturbed)
        assert all(order in orders for _, order in told(run)), "an order was told that is not so"
