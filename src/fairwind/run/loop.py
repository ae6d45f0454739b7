"""A session: one run directory and one engine that are always at the same event.

In: batches of events and the payloads of their controls. Out: the journal of inputs and outputs.
Opening it is recovery. No output is written before the inputs that it came from are durable.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fairwind.core import controls
from fairwind.core.errors import BadInput, Corrupt, Diverged, FairwindError
from fairwind.core.events import Events, Kind
from fairwind.engine.contract import StrategySpec
from fairwind.engine.run import Out, roster, run
from fairwind.engine.state import State, fresh, restore, snapshot
from fairwind.journal import file, tables
from fairwind.journal.log import Damage
from fairwind.journal.record import Mark, Position

BATCH_EVENTS_MAX = 65_536
"""Events between two commits; a longer feed is cut."""

SNAPSHOT_EVENTS = 1_000_000
"""Events between two snapshots."""

SNAPSHOT_COMMITS = 50_000
"""Commits between two snapshots: many small commits take longer to read than to run."""

Rows = dict[str, NDArray[Any]]
"""Output rows by table name."""


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What opening a run found and did."""

    cut: Damage | None  # the unfinished last commit
    skipped: tuple[str, ...]  # snapshots that could not be used, and why
    snapshot_events: int  # where the replay began
    replayed_events: int
    derived_events: int  # of them, those whose outputs were lost and are written again


class Session:
    """Feeds an engine and keeps its journal.

    Recovery starts from the newest good snapshot, runs the journaled inputs after it and compares
    the digest at marks, the last one at least. Inputs behind the last mark were durable, but their
    outputs may be lost: they are derived again and written with a mark, so that the run goes on as
    if nothing had happened. `session.events` says from which event on the source has to be fed.

    `tell` is the outbox: it gets the output rows of what is fed, once the inputs that made them
    are durable. The rows are views that hold during the call. Rows that recovery makes again are
    not told: whether they had left the process is not known to the journal.

    Raises Corrupt or Diverged for a run that does not prove itself, DiskFault, and BadInput for a
    run of other strategies.
    """

    def __init__(
        self,
        folder: Path,
        meta: file.Meta,
        *,
        specs: Sequence[StrategySpec] | None = None,
        snapshot_events: int = SNAPSHOT_EVENTS,
        tell: Callable[[Rows], None] = lambda _rows: None,
    ) -> None:
        self._specs = roster() if specs is None else specs
        self._snapshot_events = snapshot_events
        self._tell = tell
        self._out = Out.fresh()
        self._last_snapshot = 0, 0  # events, commits
        self.journal = file.Journal(folder, meta)
        try:
            self._same_strategies()
            self.recovery = self._recover()
        except FairwindError:
            self.journal.abandon()
            raise

    @property
    def events(self) -> int:
        """Number of events that the engine has consumed; all of them are durable."""
        return self.state.events()

    def feed(self, events: Events, payloads: Mapping[int, bytes] | None = None) -> None:
        """Journal `events`, shape (n,), run the engine on them, journal what it says.

        `payloads` holds the controls' payloads by id. On return the inputs are durable; the
        outputs become so with the next feed or `close`. Raises BadInput, before anything is
        written, for events out of order or a control without its payload; DiskFault.
        """
        for payload in (payloads or {}).values():
            self.journal.keep_payload(payload)
        self._check(events)
        for start in range(0, len(events), BATCH_EVENTS_MAX):
            self._feed(events[start : start + BATCH_EVENTS_MAX])

    def close(self, *, with_tables: bool = True) -> None:
        """Make everything durable, seal the journal and write its tables.

        After a DiskFault it only lets go of the run; the next opening finds all that was durable.
        Tables of a long run take a while; without them they are made when they are asked for.
        """
        self.journal.close()
        if with_tables and not self.journal.broken:
            tables.complete(self.journal.run)

    def _feed(self, events: Events) -> None:
        self.journal.append_inputs(events)
        self.journal.commit()
        for rows in self._run(events):
            self.journal.append_outputs(rows)
            self._tell(rows)
        self.journal.mark(self.events, self.state.digest())
        if self._snapshot_is_due():
            self.journal.snapshot(snapshot(self.state, self._specs))
            self._last_snapshot = self.events, self.journal.commits

    def _snapshot_is_due(self) -> bool:
        events, commits = self._last_snapshot
        return (
            self.events - events >= self._snapshot_events
            or self.journal.commits - commits >= SNAPSHOT_COMMITS
        )

    def _run(self, events: Events) -> Iterator[Rows]:
        return outputs(self.state, events, self._out, self.journal.payload_of, self._specs)

    def _check(self, events: Events) -> None:
        times = events["ts_ns"]
        before = np.concatenate(([int(self.state.record.now_ns)], times[:-1]))
        late = np.flatnonzero(times < before)
        if len(late):
            raise BadInput(
                f"event {self.events + int(late[0])}: expected a receipt time not before the event "
                f"ahead of it, found {int(times[late[0]])}; sort the events with in_order"
            )
        for number in events["price"][events["kind"] == Kind.CONTROL]:
            controls.decode(self.journal.payload_of(int(number)), int(number))

    def _same_strategies(self) -> None:
        found = self.journal.meta.strategies
        expected = tuple(spec.id for spec in self._specs)
        if found != expected:
            raise BadInput(
                f"{self.journal.run}: expected a run of {', '.join(expected)}, found one of "
                f"{', '.join(found)}; start a new run"
            )

    def _recover(self) -> Recovery:
        after, skipped = self._start()
        start = marked = self.events
        self._last_snapshot = start, after.commit if after else 0
        for batch in file.batches(self.journal.run, after, BATCH_EVENTS_MAX):
            for rows in self._run(batch.events):
                if batch.mark is None:
                    self.journal.append_outputs(rows)
            if batch.mark is not None:
                self._prove(batch.mark)
                marked = self.events
        derived = self.events - marked
        if derived:
            self.journal.mark(self.events, self.state.digest())
            self.journal.commit()
        return Recovery(
            cut=self.journal.damage,
            skipped=skipped,
            snapshot_events=start,
            replayed_events=self.events - start,
            derived_events=derived,
        )

    def _start(self) -> tuple[Position | None, tuple[str, ...]]:
        """Set the state from the newest usable snapshot, or afresh; also returns its place."""
        newest, skipped = self.journal.newest, self.journal.skipped
        if newest is not None:
            try:
                self.state = restore(newest.state, self._specs)
                return newest.position, skipped
            except Corrupt as error:
                skipped = (*skipped, str(error))
        self.state = fresh(self._specs)
        return None, skipped

    def _prove(self, mark: Mark) -> None:
        found = self.state.digest()
        if (self.events, found) != (mark.events, mark.digest):
            raise Diverged(
                f"{self.journal.run}: expected digest {mark.digest:016x} after event "
                f"{mark.events - 1}, found {found:016x}; read this run with Fairwind "
                f"{self.journal.meta.code}, or run `fairwind verify` to see the first difference"
            )


def outputs(
    state: State,
    events: Events,
    out: Out,
    payload_of: Callable[[int], bytes],
    specs: Sequence[StrategySpec] | None = None,
) -> Iterator[Rows]:
    """Run the engine on all `events`; yields its rows whenever `out` is full and at the end.

    The rows are views of `out` and hold until the next ones are asked for.
    """
    if not events.flags.writeable:  # compiled code has one form for writable arrays only
        events = events.copy()
    done = 0
    while done < len(events):
        done += run(state, events[done:], out, payload_of, specs)
        yield out.rows()
        out.clear()
