"""Everything that can be looked at in one run: views of its journal, and of the engine that runs.

In: a run directory. Out: a snapshot for each topic, beats, how far all this is.
Never here: viewers, a view that is shown as good after the replica and the journal disagreed.
"""

import asyncio
import logging
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from fairwind.api import live
from fairwind.api.engine_link import EngineLink, Phase
from fairwind.api.follow import Follower
from fairwind.api.live import Machine, Scene
from fairwind.api.wire import Beat, Refusal
from fairwind.core.config import nearest
from fairwind.core.errors import BadInput, FairwindError
from fairwind.views import topics
from fairwind.views.shapes import Snapshot

LOG = logging.getLogger("fairwind.pages")
PAGE_BYTES = resource.getpagesize()


class Listed(msgspec.Struct, frozen=True):
    """A view that can be asked for."""

    topic: str
    says: str
    arguments: list[str]  # of what stands behind the slash; none: nothing does


class Board:
    """The views of one run. Raises what Follower raises."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.follower = Follower(run)
        self.engine = EngineLink(run)
        self.viewers: Callable[[], int] = lambda: 0
        self.failed = ""
        """Why the journal cannot be followed any more; empty: it is."""
        self.caught_up = False
        self.ready = asyncio.Event()
        """Set once the engine's code is loaded and its replica has begun."""
        self._live = {one.topic: one for one in live.VIEWS}
        self._defects: set[str] = set()
        """Topics whose defect was logged."""
        self._began_s = time.monotonic()
        self._machine: tuple[int, Machine] | None = None

    @property
    def scene(self) -> Scene:
        """What live views are folded from."""
        return Scene(self.follower, self.engine, self.machine)

    @property
    def machine(self) -> Machine:
        """This process, as of this second."""
        second = int(time.monotonic() - self._began_s)
        if self._machine is None or self._machine[0] != second:
            pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
            free = shutil.disk_usage(self.run).free
            found = Machine(pages * PAGE_BYTES, free, self.viewers(), second, self.failed)
            self._machine = second, found
        return self._machine[1]

    def add(self, view: live.Live) -> None:
        """Show one more view that is not the journal's."""
        self._live[view.topic] = view

    def follow(self, for_s: float) -> bool:
        """Take what the journal has, for so long; whether there was nothing more."""
        if self.failed:
            return True
        try:
            self.caught_up = self.follower.follow(for_s)
        except Exception as error:  # one of ours would come again in every new process
            ours = isinstance(error, FairwindError)
            self.failed = str(error) if ours else f"a defect ({error!r}); see the log"
            LOG.error("the journal cannot be followed: %s", error, exc_info=not ours)
            return True
        return self.caught_up

    def version(self, topic: str) -> tuple[object, ...]:
        """As long as it is the same, so is the topic's view."""
        if topic.partition("/")[0] in self._live:
            return self.follower.mark, self.engine.looks, self.engine.phase, self.machine
        return self.follower.mark, self.failed

    def snapshot(self, topic: str) -> Snapshot:
        """The view of that topic now.

        Raises BadInput for one that does not exist; Refusal when it cannot be known, or when it
        has a defect, which is logged and concerns no other view.
        """
        name, slash, _ = topic.partition("/")
        try:
            if name in self._live and not slash:
                return self._live[name].fold(self.scene)
            if name not in topics.TOPICS:
                known = (*topics.TOPICS, *self._live)
                raise BadInput(f"no view {topic!r}; {nearest(name, known)}")
            if self.failed:
                raise Refusal(503, f"the journal cannot be followed: {self.failed}")
            return topics.snapshot(self.follower.look, topic)
        except (FairwindError, Refusal):
            raise
        except Exception as error:
            if topic not in self._defects:
                LOG.exception("the view %s has a defect", topic)
            self._defects.add(topic)
            raise Refusal(500, f"this view has a defect ({error!r}); see the log") from error

    def beat(self) -> Beat:
        """How fresh everything is."""
        shown_ns, status = self.follower.look.now_ns, self.engine.status
        phase = self.engine.phase
        runs = phase == Phase.RUNNING and status is not None
        now_ns = max(status.now_ns, shown_ns) if runs and status is not None else shown_ns
        return Beat(now_ns=now_ns, mode=self.engine.mode, engine=phase, behind_ns=now_ns - shown_ns)

    def listed(self) -> list[Listed]:
        """All views, with what can stand behind their slash now."""
        look = self.follower.look
        found = [
            Listed(one.topic, one.says, list(one.arguments(look)) if one.arguments else [])
            for one in topics.VIEWS
        ]
        return found + [Listed(one.topic, one.says, []) for one in self._live.values()]
