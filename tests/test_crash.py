"""Kill -9 at random moments: the run that comes back is the run that was never disturbed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import LONG, ROOT
from test_loop import META, journaled, made_events, undisturbed_digest

from fairwind.core.events import Events
from fairwind.research.verify import verify
from fairwind.run.loop import Session

KILLS = 200 if LONG else 12
KILLS_PER_RUN = 4
SEED = 1
STEP = 97
SNAPSHOT_EVENTS = 1500
HANGS_S = 120


def kill_many(folder: Path) -> None:
    """Feed runs in children that are killed, again and again, and then let each finish.

    In a process of its own, without threads, so that forking is safe.
    """
    made = made_events(windows=2)
    undisturbed_digest(*made)  # the children inherit the compiled engine
    started = time.monotonic()
    _finish(folder / "undisturbed", made)
    needed_s = time.monotonic() - started
    chance = random.Random(SEED)
    kills = runs = 0
    while kills < KILLS:
        runs += 1
        assert runs <= KILLS, "most children end before they are killed: the delays are too long"
        run = folder / f"killed{runs}"
        for _ in range(KILLS_PER_RUN):
            kills += _killed(run, made, chance.uniform(0, needed_s / KILLS_PER_RUN), chance)
        _finish(run, made)


def _feed_all(run: Path, made: tuple[Events, dict[int, bytes]], ready: int = 2) -> None:
    """A child's whole life; it says on `ready` when the run is open."""
    events, payloads = made
    session = Session(run, META, snapshot_events=SNAPSHOT_EVENTS)
    os.write(ready, b".")
    while session.events < len(events):
        session.feed(events[session.events :][:STEP], payloads)
    session.close()


def _killed(
    run: Path, made: tuple[Events, dict[int, bytes]], delay_s: float, chance: random.Random
) -> bool:
    """Whether a child that feeds the run was killed after a delay, not done before.

    The delay counts from the moment when the run is open, or, in one of four, from the start.
    """
    reader, writer = os.pipe()
    child = _child(run, made, writer)
    os.close(writer)
    if chance.random() < 0.75:
        os.read(reader, 1)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    os.close(reader)
    return not _completed(child)


def _finish(run: Path, made: tuple[Events, dict[int, bytes]]) -> None:
    assert _completed(_child(run, made, 2)), "nobody killed this child"


def _child(run: Path, made: tuple[Events, dict[int, bytes]], ready: int) -> int:
    child = os.fork()
    if child == 0:
        signal.alarm(HANGS_S)
        try:
            _feed_all(run, made, ready)
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
    made = made_events(windows=2)
    digest = undisturbed_digest(*made)
    whole = dict(journaled(tmp_path / "undisturbed"))
    for run in sorted(tmp_path.glob("killed*")):
        verdict = verify(run, batch_sizes=(256,))
        assert verdict.proved, str(verdict.divergence)
        assert (verdict.digest, verdict.proved_events) == (digest, len(made[0]))
        assert dict(journaled(run)) == whole
