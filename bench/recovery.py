"""How long a run that was killed after a day takes to open again, and what a commit costs.

In: `--windows N` of five minutes (default 288, a day), `--folder` on the disk to be measured.
Out: a table in Markdown. Never here: a run that is left behind.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairwind import __version__
from fairwind.core.config import Config, configure
from fairwind.core.controls import encode
from fairwind.core.events import Events
from fairwind.journal import file
from fairwind.research.replay import strategies
from fairwind.run.loop import SNAPSHOT_COMMITS, Session
from fairwind.world.generator import generate
from fairwind.world.knobs import Knobs
from fairwind.world.server.tape import tape

BATCH_EVENTS = 10  # of a live loop, about twenty commits a second
MORE_WINDOWS = 12  # beyond the day, so that the tail can be made as long as it gets
WARM_UP_EVENTS = 20_000
OPENINGS = 5
COMMITS = 2000


def opened(run: Path, events: Events) -> Session:
    """A session on `run`; a new one gets the default settings at the time of the first event."""
    meta = file.Meta(code=__version__, created_ns=0, source="bench", strategies=strategies())
    session = Session(run, meta)
    if not session.events:
        opening = [encode(int(events["ts_ns"][0]), control) for control in configure(Config())]
        payloads = {int(event["price"][0]): payload for event, payload in opening}
        session.feed(np.concatenate([event for event, _ in opening]), payloads)
    return session


def feed_a_day(run: Path, windows: int) -> None:
    """Feed a day without waiting for the disk; be killed just before the next snapshot."""
    os.fsync = lambda _file: None
    events = tape(generate(Knobs(windows=windows + MORE_WINDOWS, quote_rate=1.0)))
    session = opened(run, events)
    day = len(events) * windows // (windows + MORE_WINDOWS)
    sizes = np.random.default_rng(0).integers(1, 2 * BATCH_EVENTS, len(events))
    at = 0
    took: dict[bool, list[float]] = {False: [], True: []}
    for size in sizes.tolist():
        before = session._last_snapshot
        started = time.perf_counter()
        session.feed(events[at : at + size])
        took[session._last_snapshot != before].append(time.perf_counter() - started)
        at += size
        tail = session.journal.commits - session._last_snapshot[1]
        if at >= day and tail >= SNAPSHOT_COMMITS - 1:
            break
    middle, slowest = np.median(took[True]) * 1000, max(took[True]) * 1000
    print(f"| feed with a snapshot of the state | p50 {middle:.0f} ms, slowest {slowest:.0f} ms |")
    middle, late = np.percentile(took[False], [50, 99.99]) * 1000
    print(f"| any other, not synced | p50 {middle:.2f} ms, p99.99 {late:.2f} ms |", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def open_again(run: Path) -> None:
    """Open a killed run and say how long it took."""
    started = time.perf_counter()
    meta = file.Meta(code=__version__, created_ns=0, source="bench", strategies=strategies())
    session = Session(run, meta)
    took_s = time.perf_counter() - started
    session.journal.abandon()
    print(took_s, session.events, session.journal.commits, session.recovery.replayed_events)


def timed_feeds(folder: Path) -> Iterator[tuple[int, NDArray[Any]]]:
    """Batch size and seconds of each feed, synced to the disk."""
    events = tape(generate(Knobs(windows=12, quote_rate=1.0)))
    for size in (1, 5, 20, 100):
        session = opened(folder / f"batch{size}", events)
        session.feed(events[:WARM_UP_EVENTS])
        took = []
        for at in range(WARM_UP_EVENTS, WARM_UP_EVENTS + COMMITS * size, size):
            started = time.perf_counter()
            session.feed(events[at : at + size])
            took.append(time.perf_counter() - started)
        session.journal.abandon()
        yield size, np.array(took)


def report(folder: Path, windows: int) -> None:
    """Build, kill, open; print the table."""
    run = folder / "day"
    again = [sys.executable, __file__, "--run", str(run)]
    print("| | |\n| --- | --- |", flush=True)
    subprocess.run([*again, "--windows", str(windows)], check=False)
    found = []
    for _ in range(OPENINGS):
        started = time.perf_counter()
        done = subprocess.run(again, check=True, capture_output=True, text=True)
        whole_s = time.perf_counter() - started
        found.append((whole_s, *map(float, done.stdout.split())))
    whole_s, took_s, events, commits, replayed = np.median(found, axis=0)
    size = sum(path.stat().st_size for path in (run / "journal").iterdir())
    print(f"| journal | {events:,.0f} events in {commits:,.0f} commits, {size / 1e6:,.0f} MB |")
    print(f"| tail behind the snapshot | {replayed:,.0f} events in {SNAPSHOT_COMMITS:,} commits |")
    print(f"| opening, median of {OPENINGS} | {took_s:.1f} s |")
    print(f"| the whole process, with imports | {whole_s:.1f} s |")
    for batch, took in timed_feeds(folder):
        middle, late = np.percentile(took, [50, 99]) * 1000
        print(f"| feed of {batch}, synced to the disk | p50 {middle:.2f} ms, p99 {late:.2f} ms |")


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--windows", type=int)
    options.add_argument("--folder", type=Path, default=Path("bench_data"))
    options.add_argument("--run", type=Path, help="one step of the bench in a process of its own")
    given = options.parse_args()
    if given.run and given.windows:
        feed_a_day(given.run, given.windows)
    elif given.run:
        open_again(given.run)
    else:
        given.folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=given.folder) as made:
            report(Path(made), given.windows or 288)
