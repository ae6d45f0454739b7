"""Frame to decision of a live paper session, with five viewers and without, by turns in one run.

In: seconds of a turn, how many turns. Out: percentiles as Markdown, and the ratio of the two. Never
here: a viewer in the process of the session.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from live_sessions import compile_all
from pages import PAGE, read_on
from served_pages import Page, served

from fairwind.core.events import Events
from fairwind.feeds.socket import Frame, Lost
from fairwind.run import trading
from fairwind.run.inbox import Inbox, Line
from fairwind.run.loop import Session
from fairwind.run.paper import Paper
from fairwind.run.status import Looking

SETTLE_S = 2.0
"""Of each turn, while viewers come or go; it is not counted."""
MARKET = ("--windows=72", "--knob=history_s=120", "--speed=1.0")


class Stopwatch:
    """Ages of frames when the engine has decided on them, by who watches."""

    def __init__(self) -> None:
        self.watched: str | None = None
        self.ages: dict[str, list[int]] = defaultdict(list)
        self._came: list[int] = []

    def patches(self) -> list[Any]:
        """What notes each frame's receipt, and the end of the engine's work on its batch."""
        take, feed, begin = Inbox.take, Session.feed, Paper.__init__

        def noted_begin(paper: Paper, *args: Any, **more: Any) -> None:
            begin(paper, *args, **more)
            self.clock = paper.clock

        def noted_take(
            inbox: Inbox, found: Mapping[Line, Sequence[Frame | Lost]], *more: Any
        ) -> Events:
            self._came = [
                one.ts_ns for items in found.values() for one in items if isinstance(one, Frame)
            ]
            return take(inbox, found, *more)

        def noted_feed(session: Session, *args: Any, **more: Any) -> None:
            feed(session, *args, **more)
            if self.watched is not None and self._came:
                now_ns = self.clock.now_ns()
                self.ages[self.watched] += [now_ns - at_ns for at_ns in self._came]
            self._came = []

        return [
            patch.object(Paper, "__init__", noted_begin),
            patch.object(Inbox, "take", noted_take),
            patch.object(Session, "feed", noted_feed),
        ]


def view(run: Path, turn_s: float, turns: int, viewers: int) -> None:
    """In a process of its own: a server of the pages, and viewers in every second turn."""
    with served(run) as pages:
        for turn in range(2 * turns):
            stop, threads = threading.Event(), []
            for _ in range(viewers if turn % 2 else 0):
                page = Page(pages, *PAGE)
                threads.append(threading.Thread(target=read_on, args=(page, stop)))
                threads[-1].start()
            time.sleep(SETTLE_S)
            print("watched" if turn % 2 else "alone", flush=True)
            time.sleep(turn_s)
            print("", flush=True)
            stop.set()
            for one in threads:
                one.join()
            for opened in pages.opened:
                opened.close()
            pages.opened.clear()


async def nobody(looking: Looking, _address: str) -> None:
    """Wait for the end."""
    await looking.paper.stop.wait()


def listened(process: "subprocess.Popen[str]", watch: Stopwatch, stop: Any) -> None:
    """Heed what the viewers' process says, and end the session after it."""
    assert process.stdout is not None
    for line in process.stdout:
        watch.watched = line.strip() or None
    stop()


async def session(run: Path, arguments: Sequence[str], watch: Stopwatch) -> None:
    """Trade while the viewers come and go."""

    async def watching(looking: Looking, address: str) -> None:
        process = subprocess.Popen(
            [sys.executable, __file__, "--view", str(run), *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        loop = asyncio.get_running_loop()

        def stop() -> None:
            loop.call_soon_threadsafe(looking.paper.stop.set)

        threading.Thread(target=listened, args=(process, watch, stop), daemon=True).start()
        await nobody(looking, address)

    await trading.trade(trading.Plan(run=run, market=MARKET), watching)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--view", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--viewers", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.view is not None:
        view(chosen.view, chosen.seconds, chosen.turns, chosen.viewers)
        return
    arguments = [f"--{name}={getattr(chosen, name)}" for name in ("seconds", "turns", "viewers")]
    watch = Stopwatch()
    compile_all()
    with tempfile.TemporaryDirectory() as folder:
        for one in watch.patches():
            one.start()
        asyncio.run(session(Path(folder) / "run", arguments, watch))
    print("| viewers | frames | p50, ms | p95, ms | p99, ms |\n| --- | --- | --- | --- | --- |")
    p99 = {}
    for name, viewers in (("alone", 0), ("watched", chosen.viewers)):
        ages = np.array(watch.ages[name]) / 1e6
        p50, p95, p99[name] = np.percentile(ages, (50, 95, 99))
        print(f"| {viewers} | {len(ages)} | {p50:.2f} | {p95:.2f} | {p99[name]:.2f} |")
    print(f"\np99 with viewers / without: {p99['watched'] / p99['alone']:.3f}")


if __name__ == "__main__":
    main()
