"""Shows a session while it runs: a screen on a terminal, now and then a line elsewhere.

In: a session that is looked at. Out: frames on stderr, the last of which stays. Never here: what a
frame holds or looks like, a session that waits for its watcher.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec
from rich.live import Live

from fairwind.cli.dashboard import line, render
from fairwind.cli.screen import said
from fairwind.cli.view import View, view_of
from fairwind.core.units import SECOND_NS
from fairwind.run.status import Looking

FRAME_S = 0.5
LINE_S = 5.0
BETWEEN_TURNS_S = 0.005
PATIENCE_S = 1.0
"""The engine is not waited for longer than this, so that a stalled disk is seen."""
RATE_NS = 10 * SECOND_NS
"""Messages are counted over so much market time, or between two frames if that is more."""


async def watch(looking: Looking, address: str, pages: Callable[[], str] = lambda: "") -> None:
    """Show the session, whose status is served at `address`, until it stops; `pages` says where
    its pages are."""
    frames, stop = Frames(looking, address, pages), looking.paper.stop
    show = _screen if said.is_terminal else _lines
    try:
        await show(frames, stop)
    finally:
        view = await frames.last()
        if view is not None:
            said.print(
                render(view, said.width, 0) if said.is_terminal else line(view), soft_wrap=True
            )


async def _screen(frames: "Frames", stop: asyncio.Event) -> None:
    with Live(console=said, screen=True, auto_refresh=False) as live:
        while not stop.is_set():
            view = await frames.next()
            if view is not None:
                live.update(render(view, said.width, said.height), refresh=True)
            await asyncio.sleep(FRAME_S)


async def _lines(frames: "Frames", stop: asyncio.Event) -> None:
    while not stop.is_set():
        await asyncio.sleep(LINE_S)
        view = await frames.next()
        if view is not None:
            said.print(line(view), soft_wrap=True)


class Frames:
    """Views of a session, one after the other."""

    def __init__(
        self, looking: Looking, address: str, pages: Callable[[], str] = lambda: ""
    ) -> None:
        self._looking = looking
        self._pages = pages
        self._address = address
        self._counts: deque[tuple[int, dict[str, int]]] = deque()
        self._last: View | None = None

    async def next(self) -> View | None:
        """The session between two turns.

        When the engine or its journal does not come to an end: what was known before it began,
        with the status of now; None when nothing was.
        """
        paper, waited_s = self._looking.paper, 0.0
        while paper.feeding_since_ns is not None:
            if waited_s > PATIENCE_S:
                return self._last and msgspec.structs.replace(
                    self._last, status=self._looking.status
                )
            await asyncio.sleep(BETWEEN_TURNS_S)
            waited_s += BETWEEN_TURNS_S
        found = view_of(self._looking, self._address, self._per_s())
        self._last = msgspec.structs.replace(found, pages=self._pages())
        return self._last

    async def last(self) -> View | None:
        """A session that ended, with its connections as they were before they were closed."""
        before, view = self._last, await self.next()
        if before is None or view is None:
            return view
        return msgspec.structs.replace(view, feeds=before.feeds)

    def _per_s(self) -> dict[str, float]:
        """Each feed's messages per second of market time, lately; nothing before time passed."""
        paper = self._looking.paper
        channels, now_ns = paper.inbox.channels, paper.clock.now_ns()
        counts = {str(name): channels[name].kpis.counts["messages"] for name in paper.sockets}
        self._counts.append((now_ns, counts))
        while len(self._counts) > 2 and self._counts[1][0] <= now_ns - RATE_NS:
            self._counts.popleft()
        then_ns, before = self._counts[0]
        if now_ns <= then_ns:
            return {}
        passed_s = (now_ns - then_ns) / SECOND_NS
        return {name: (counts[name] - before[name]) / passed_s for name in counts}
