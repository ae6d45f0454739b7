"""Follows a run's journal: the same engine on the same inputs, as far as they are durable.

In: a run directory that grows, or is complete. Out: the engine's state and what it has told, proved
at each mark. Never here: a write to the run, an input that is not known to be durable.
"""

import time
from pathlib import Path

import numpy as np

from fairwind.core.errors import Corrupt, Diverged
from fairwind.core.events import EVENT, Events
from fairwind.engine.run import Out
from fairwind.engine.state import fresh
from fairwind.journal import file, log
from fairwind.journal.log import Damage
from fairwind.journal.record import Kind, Mark, Position, events_of, joined, mark_of
from fairwind.run.loop import outputs
from fairwind.views.told import Look, seconds
from fairwind.views.topics import told


class Follower:
    """A replica of a run's engine, and the memory of its views.

    Raises BadInput when `run` is no run of this layout, Corrupt when it is damaged.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.meta = file.meta_of(run)
        self.state = fresh()
        self.told = told()
        self.mark = Mark(0, self.state.digest())
        """Where replica and journal were found to agree last."""
        self._position = Position()
        self._out = Out.fresh()
        self._held: list[Events] = []

    @property
    def look(self) -> Look:
        """What views are folded from."""
        return Look(self.state, self.told, int(self.state.record.now_ns))

    def follow(self, for_s: float = float("inf")) -> bool:
        """Take what has become durable, for so long; whether there was nothing more.

        Raises Corrupt for a damaged journal, Diverged when the replica says something else.
        """
        until_s = time.monotonic() + for_s
        for found in log.walk(self.run / "journal", self._position):
            if isinstance(found, Damage):
                if not found.torn:
                    raise Corrupt(str(found))
                return True  # a commit that is being written
            if found.kind == Kind.INPUT:
                self._held.append(events_of(found).copy())
            elif found.kind == Kind.MARK and self._held:
                self._take(mark_of(found))
            if found.end and time.monotonic() > until_s:
                return False
        return True

    def _take(self, mark: Mark) -> None:
        events = joined([*self._held, np.zeros(0, EVENT)])
        self._held = []
        for part in seconds(events):
            for rows in outputs(self.state, part, self._out, self._payload):
                self.told.take(rows, self.state)
        if (self.state.events(), self.state.digest()) != (mark.events, mark.digest):
            raise Diverged(
                f"{self.run}: expected digest {mark.digest:016x} after {mark.events} events, found "
                f"{self.state.digest():016x} after {self.state.events()}; read this run with "
                f"Fairwind {self.meta.code}, or run `fairwind verify` to see the first difference"
            )
        self.mark = mark

    def _payload(self, number: int) -> bytes:
        return file.payload_of(self.run, number)
