"""Proof of a run: journal, payloads and snapshots are whole, and the engine says it all again.

In: a run directory. Out: a verdict; the first difference by event, table, row and field.
Never here: a change to the run.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fairwind.core.events import EVENT, Events
from fairwind.core.outputs import TABLES
from fairwind.engine.contract import StrategySpec
from fairwind.engine.run import Out
from fairwind.engine.state import State, fresh
from fairwind.journal import file, log, record
from fairwind.journal.record import Kind
from fairwind.run.loop import Rows, outputs

Parts = dict[str, list[NDArray[Any]]]
"""Rows by table, in pieces; a table without rows may be absent."""

BATCH_SIZES = (1, 16, 256, 65_536)
SINGLE_EVENTS_MAX = 20_000
"""Events that are run one by one, unless the whole run is asked for."""


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """The first place where the run is not what it should be; texts are empty where unknown."""

    event: int  # the first event concerned, counted from 0
    last_event: int  # the same number when it is known exactly
    ts_ns: int = 0
    table: str = ""
    row: int = -1  # in that table, counted from 0 over the whole run
    field: str = ""
    expected: str
    found: str

    def __str__(self) -> str:
        events = f"event {self.event}"
        if self.last_event > self.event:
            events = f"events {self.event} to {self.last_event}"
        time = f" (ts_ns {self.ts_ns})" if self.ts_ns else ""
        row = f", row {self.row} of {self.table}" if self.row >= 0 else ""
        field = f", field {self.field}" if self.field else ""
        return f"{events}{time}{row}{field}: expected {self.expected}, found {self.found}"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was proved of a run. `divergence` is None when all of it was."""

    events: int = 0
    proved_events: int = 0  # up to the last mark; those after it have no recorded outputs
    rows: int = 0
    marks: int = 0
    digest: int = 0
    batch_sizes: tuple[int, ...] = ()  # that gave the same digest
    divergence: Divergence | None = None

    @property
    def proved(self) -> bool:
        """Whether nothing contradicts the record."""
        return self.divergence is None


class _Batch(msgspec.Struct):
    """The events up to one mark and the rows that the journal holds for them."""

    first: int  # number of the first event
    events: Events
    rows: Parts
    mark: record.Mark | None  # None after a crash, for inputs whose outputs were lost


class _Engine:
    """A fresh engine for the inputs of a run."""

    def __init__(self, run: Path, specs: Sequence[StrategySpec] | None) -> None:
        self._run = run
        self._specs = specs
        self._out = Out.fresh()
        self.state: State = fresh(specs)

    def __call__(self, events: Events) -> Parts:
        """All rows that the engine makes of `events`."""
        parts: Parts = {}
        for rows in outputs(self.state, events, self._out, self._payload_of, self._specs):
            for table, part in rows.items():
                if len(part):
                    parts.setdefault(table, []).append(part.copy())
        return parts

    def _payload_of(self, number: int) -> bytes:
        return file.payload_of(self._run, number)


def verify(
    run: Path,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    whole: bool = False,
    specs: Sequence[StrategySpec] | None = None,
) -> Verdict:
    """Check every byte of the journal, then run its inputs again and compare every output.

    The snapshots that are kept must be the ones that the journal names. What is derived (Parquet
    tables, report) is not looked at.

    First as the journal was cut, row by row; then in batches of `batch_sizes`, by digest. Single
    events stop after SINGLE_EVENTS_MAX unless `whole`. Raises BadInput when `run` is no run, and
    Corrupt when a segment or a control's payload is missing or another.
    """
    damage = next((d for d in log.walk(run / "journal") if isinstance(d, log.Damage)), None)
    if damage is not None:
        return Verdict(events=damage.events, divergence=_damaged(damage))
    file.meta_of(run)
    verdict, marks = _rerun(run, specs)
    if verdict.proved:
        verdict = msgspec.structs.replace(verdict, divergence=_different_snapshot(run))
    for size in batch_sizes if verdict.proved else ():
        limit = SINGLE_EVENTS_MAX if size == 1 and not whole else verdict.events
        divergence = _rebatched(_Engine(run, specs), _cut(run, size, limit), marks)
        if divergence is not None:
            return msgspec.structs.replace(verdict, divergence=divergence)
        verdict = msgspec.structs.replace(verdict, batch_sizes=(*verdict.batch_sizes, size))
    return verdict


def _rerun(run: Path, specs: Sequence[StrategySpec] | None) -> tuple[Verdict, dict[int, int]]:
    """Compare all rows and marks, as the journal was cut. Also returns digest by event count."""
    engine = _Engine(run, specs)
    rows = dict.fromkeys(TABLES, 0)
    marks: dict[int, int] = {}
    divergence = None
    for group in _groups(run):
        if not _says_again(engine, group):
            divergence = _first_difference(run, group, rows, specs)
            break
        for batch in group:
            if batch.mark is None:
                break
            marks[batch.mark.events] = batch.mark.digest
            rows |= {table: rows[table] + sum(map(len, batch.rows[table])) for table in batch.rows}
    proved = max(marks, default=0)
    verdict = Verdict(
        events=engine.state.events(),
        proved_events=proved,
        rows=sum(rows.values()),
        marks=len(marks),
        digest=marks.get(proved, 0),
        divergence=divergence,
    )
    return verdict, marks


def _says_again(engine: _Engine, group: Sequence[_Batch]) -> bool:
    """Whether an engine that stands before the group says what the journal holds for it.

    Digests are compared at every mark; rows together, because a live run has few in each batch.
    """
    recorded: Parts = {}
    made: Parts = {}
    for batch in group:
        rows = engine(batch.events)
        if batch.mark is None:
            break
        if _different_digest(batch.first, engine.state, batch.mark) is not None:
            return False
        for found, more in ((recorded, batch.rows), (made, rows)):
            for table, parts in more.items():
                found.setdefault(table, []).extend(parts)
    before, again = _joined(recorded), _joined(made)
    return all(_place(before[table], again[table]) is None for table in TABLES)


def _first_difference(
    run: Path, group: Sequence[_Batch], rows: dict[str, int], specs: Sequence[StrategySpec] | None
) -> Divergence | None:
    """The first difference in a group that has one; `rows` are those before it, by table."""
    engine = _Engine(run, specs)
    counts = dict(rows)
    for events in _cut(run, max(BATCH_SIZES), group[0].first):
        engine(events)
    for batch in group:
        made = _joined(engine(batch.events))
        if batch.mark is None:
            break
        divergence = _different_row(run, batch, made, specs)
        if divergence is not None:
            row = divergence.row + counts[divergence.table]
            return msgspec.structs.replace(divergence, row=row)
        divergence = _different_digest(batch.first, engine.state, batch.mark)
        if divergence is not None:
            return divergence
        for table, part in made.items():
            counts[table] += len(part)
    return None


def _rebatched(
    engine: _Engine, batches: Iterator[Events], marks: dict[int, int]
) -> Divergence | None:
    proved = 0
    for events in batches:
        engine(events)
        count = engine.state.events()
        if count in marks:
            divergence = _different_digest(proved, engine.state, record.Mark(count, marks[count]))
            if divergence is not None:
                return divergence
            proved = count
    return None


def _different_row(
    run: Path, batch: _Batch, made: Rows, specs: Sequence[StrategySpec] | None
) -> Divergence | None:
    """The first differing row of a batch; row numbers count from the batch's first."""
    held = _joined(batch.rows)
    places = {table: _place(held[table], made[table]) for table in TABLES}
    differing = {table: row for table, row in places.items() if row is not None}
    if not differing:
        return None
    event, table = _origin(run, batch, differing, specs)
    row = differing[table]
    recorded, again = held[table][row : row + 1], made[table][row : row + 1]
    field, expected, found = "", "the recorded row", "none"
    if len(again) and not len(recorded):
        expected, found = "no row", "one"
    elif len(again):
        names = recorded.dtype.names or ()
        field = next(n for n in names if recorded[n].tobytes() != again[n].tobytes())
        expected, found = str(recorded[field][0]), str(again[field][0])
    return Divergence(
        event=batch.first if event is None else event,
        last_event=batch.first + len(batch.events) - 1 if event is None else event,
        ts_ns=int((recorded if len(recorded) else again)["ts_ns"][0]),
        table=table,
        row=row,
        field=field,
        expected=expected,
        found=found,
    )


def _origin(
    run: Path, batch: _Batch, rows: dict[str, int], specs: Sequence[StrategySpec] | None
) -> tuple[int | None, str]:
    """The event that makes the first of the differing rows, and that row's table.

    Found by running the batch again one by one; None when the engine makes none of the rows.
    """
    engine = _Engine(run, specs)
    for events in _cut(run, max(BATCH_SIZES), batch.first):
        engine(events)
    counts = dict.fromkeys(rows, 0)
    for at in range(len(batch.events)):
        made = engine(batch.events[at : at + 1])
        for table, row in rows.items():
            counts[table] += sum(map(len, made.get(table, ())))
            if counts[table] > row:
                return batch.first + at, table
    return None, next(iter(rows))


def _different_digest(first: int, state: State, mark: record.Mark) -> Divergence | None:
    if (state.events(), state.digest()) == (mark.events, mark.digest):
        return None
    return Divergence(
        event=first,
        last_event=mark.events - 1,
        expected=f"digest {mark.digest:016x} after {mark.events} events",
        found=f"{state.digest():016x} after {state.events()}",
    )


def _different_snapshot(run: Path) -> Divergence | None:
    """The oldest kept snapshot that is not what its frame says. Older ones have no file."""
    frames = (frame for frame in file.frames(run) if frame.kind == Kind.SNAPSHOT)
    digests = dict(file._SNAPSHOT.unpack(frame.payload) for frame in frames)
    for events, digest in list(digests.items())[-file.SNAPSHOTS_MAX :]:
        found = file.wrong_snapshot(run, events, digest)
        if found:
            return Divergence(
                event=events - 1,
                last_event=events - 1,
                expected=f"the snapshot that the journal names after {events} events",
                found=found,
            )
    return None


def _place(expected: NDArray[Any], found: NDArray[Any]) -> int | None:
    """Number of the first row that is not the same byte by byte; None when all are."""
    common = min(len(expected), len(found))
    differing = np.flatnonzero((_bytes(expected[:common]) != _bytes(found[:common])).any(axis=1))
    if len(differing):
        return int(differing[0])
    return common if len(expected) != len(found) else None


def _bytes(rows: NDArray[Any]) -> NDArray[np.uint8]:
    return rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)


def _groups(run: Path) -> Iterator[list[_Batch]]:
    """The batches of a run, as many at once as have the events of the largest batch size."""
    group: list[_Batch] = []
    for batch in _batches(run):
        group.append(batch)
        if batch.first + len(batch.events) - group[0].first >= max(BATCH_SIZES):
            yield group
            group = []
    if group:
        yield group


def _batches(run: Path) -> Iterator[_Batch]:
    """The inputs and outputs of a run from mark to mark."""
    first = 0
    events: list[Events] = []
    rows: Parts = {}
    for frame in file.frames(run):
        if frame.kind == Kind.INPUT:
            events.append(record.events_of(frame))
        elif frame.kind == Kind.OUTPUT:
            table, part = record.rows_of(frame)
            rows.setdefault(table, []).append(part)
        elif frame.kind == Kind.MARK:
            batch = _Batch(first, record.joined(events), rows, record.mark_of(frame))
            yield batch
            first += len(batch.events)
            events, rows = [], {}
    if events:
        yield _Batch(first, record.joined(events), rows, None)


def _cut(run: Path, size: int, limit: int) -> Iterator[Events]:
    """The first `limit` inputs of a run in batches of `size`, the last one smaller."""
    kept: list[Events] = []
    held = 0
    for part in file.inputs(run):
        if isinstance(part, record.Mark):
            continue
        kept.append(part[:limit])
        limit -= len(kept[-1])
        held += len(kept[-1])
        if held >= max(size, *BATCH_SIZES):
            events = record.joined(kept)
            whole = held - held % size
            yield from (events[at : at + size] for at in range(0, whole, size))
            kept, held = [events[whole:]], held - whole
        if not limit:
            break
    events = record.joined(kept)
    yield from (events[at : at + size] for at in range(0, held, size))


def _joined(parts: Parts) -> Rows:
    return {table: record.joined(parts.get(table, ()), dtype) for table, dtype in TABLES.items()}


def _damaged(damage: log.Damage) -> Divergence:
    """What a damaged frame held, as far as its bytes still say."""
    data = log.mapped(damage.path)
    body = damage.offset + record.FRAME_HEADER.size
    known = Divergence(
        event=damage.first_event,
        last_event=max(damage.first_event, damage.events - 1),
        expected="the bytes that were written",
        found=str(damage),
    )
    if body > len(data):
        return known
    length = int.from_bytes(data[damage.offset : damage.offset + 4], "little")
    count = record.events_in(data[damage.offset + 8], length)
    place = record.flipped_byte(data, damage.offset, damage.chain)
    if place is not None:
        known = msgspec.structs.replace(known, found=f"{damage}; byte {place} was changed")
    if not count:
        return known
    if place is None or not body <= place < body + length:
        last = damage.events + count - 1
        return msgspec.structs.replace(known, event=damage.events, last_event=last)
    number, inside = divmod(place - body, EVENT.itemsize)
    event = damage.events + number
    starts = {name: part[1] for name, part in (EVENT.fields or {}).items()}
    field = next(name for name, start in reversed(starts.items()) if start <= inside)
    return msgspec.structs.replace(known, event=event, last_event=event, field=field)
