"""Follows a run's journal: the same engine on the same inputs, as far as they are durable.

In: a run directory that grows, or is complete. Out: the engine's state and what it has told, proved
at marks. Never here: a write to the run, an input that is not known to be durable.
"""

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fairwind.core import controls
from fairwind.core.controls import AnyControl
from fairwind.core.errors import BadInput, Corrupt, Diverged
from fairwind.core.events import EVENT, Events
from fairwind.core.events import Kind as EventKind
from fairwind.engine.run import Out, roster
from fairwind.engine.state import fresh
from fairwind.journal import file, log
from fairwind.journal.log import Damage
from fairwind.journal.record import Frame, Kind, Mark, Position, events_of, joined, mark_of
from fairwind.run.loop import outputs
from fairwind.views.told import Look, seconds
from fairwind.views.topics import told

EVENTS_AT_ONCE = 8_192
"""More than these are not held before the engine takes them, so that a slice of time stays one."""
CONTROLS_MAX = 2_000
"""Newest controls that are kept; older ones are in the journal."""


class Given(NamedTuple):
    """A control as the journal holds it; `event` is its number there, from 0."""

    event: int
    at_ns: int
    control: AnyControl


class Follower:
    """A replica of a run's engine, and the memory of its views.

    Raises BadInput when `run` is no run of this layout and roster, Corrupt when it is damaged.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.meta = file.meta_of(run)
        ours = tuple(spec.id for spec in roster())
        if self.meta.strategies != ours:
            raise BadInput(
                f"{run}: expected a run of {', '.join(ours)}, found one of "
                f"{', '.join(self.meta.strategies)}; look at it with Fairwind {self.meta.code}"
            )
        self.state = fresh()
        self.told = told()
        self.mark = Mark(0, self.state.digest())
        """Where replica and journal were found to agree last."""
        self.controls: deque[Given] = deque(maxlen=CONTROLS_MAX)
        self._position = Position()
        self._way: Iterator[Frame | Damage] | None = None
        """What is left of a walk that took too long for one slice of time."""
        self._out = Out.fresh()
        self._held: list[Events] = []
        self._waiting = 0
        """Events that are held."""
        self._marked = 0
        """How many of the parts that are held stand before `_due`."""
        self._due: Mark | None = None

    @property
    def sealed(self) -> bool:
        """Whether the run was closed where the reader stands."""
        return self._position.sealed and self._position.segment > 0

    @property
    def look(self) -> Look:
        """What views are folded from."""
        return Look(self.state, self.told, int(self.state.record.now_ns))

    def follow(self, for_s: float = float("inf")) -> bool:
        """Take what has become durable, for so long; whether there was nothing more.

        Raises Corrupt for a damaged journal, Diverged when the replica says something else.
        """
        until_s = time.monotonic() + for_s
        if self._way is None:
            if not (self.run / "journal").is_dir():
                raise Corrupt(
                    f"{self.run}: expected its journal, found none any more; bring it back"
                )
            self._way = log.walk(self.run / "journal", self._position, walked=True)
        for found in self._way:
            if isinstance(found, Damage):
                if not found.torn:
                    raise Corrupt(str(found))
                break  # a commit that is being written
            if found.kind == Kind.INPUT:
                self._held.append(events_of(found).copy())
                self._waiting += len(self._held[-1])
            elif found.kind == Kind.MARK and self._held:
                self._due, self._marked = mark_of(found), len(self._held)
            if found.end:
                if self._waiting > EVENTS_AT_ONCE:
                    self._take()
                if time.monotonic() > until_s:
                    self._take()
                    return False
        self._way = None
        self._take()
        return True

    def _take(self) -> None:
        """Give the engine all that is held before the newest mark, and compare there."""
        if self._due is None:
            return
        mark, self._due = self._due, None
        events = joined([*self._held[: self._marked], np.zeros(0, EVENT)])
        del self._held[: self._marked]
        self._waiting = sum(map(len, self._held))
        self._note(events)
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

    def _note(self, events: Events) -> None:
        first = self.state.events()
        for place in np.flatnonzero(events["kind"] == EventKind.CONTROL).tolist():
            number = int(events["price"][place])
            control = controls.decode(self._payload(number), number)
            self.controls.append(Given(first + place, int(events["ts_ns"][place]), control))

    def _payload(self, number: int) -> bytes:
        return file.payload_of(self.run, number)
