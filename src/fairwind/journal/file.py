"""A run directory: the journal of one run, its snapshots and its control payloads.

In: inputs, then (after a commit) outputs and marks. Out: the same, checked, in order.
Never here: running the engine; an output is never written before its inputs are durable.
"""

import copy
import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
from numpy.typing import NDArray

from fairwind.core.controls import payload_id
from fairwind.core.errors import BadInput, Corrupt, FairwindError
from fairwind.core.events import EVENT, Events
from fairwind.core.outputs import TABLES
from fairwind.journal import log, record
from fairwind.journal.record import Frame, Kind, Mark, Position, events_of, mark_of, rows_of

SNAPSHOTS_MAX = 4
"""Newest snapshots that are kept; older ones are only a slower way to the same state."""

FRAME_EVENTS_MAX = 1 << 20
_SNAPSHOT = struct.Struct("<Q32s")
_POSITION = struct.Struct("<Q16s6Q?")
"""What a snapshot's file begins with: size of the state, then a Position."""
LAYOUT = hashlib.blake2b(
    repr([dtype.descr for dtype in (EVENT, *TABLES.values())]).encode(), digest_size=8
).hexdigest()
"""Names the layout of events and outputs: a journal is read by code with the same layout."""


class Meta(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a journal is, in its first frame."""

    code: str  # version of Fairwind that wrote it
    created_ns: int
    source: str  # where the inputs come from
    strategies: tuple[str, ...]  # ids in the order of the strategy numbers
    layout: str = LAYOUT


class Snapshot(NamedTuple):
    """The state at a place of the journal; the journal names it in the commit behind."""

    position: Position
    state: bytes


class Batch(NamedTuple):
    """Inputs from mark to mark. No mark: their outputs are not known to be complete."""

    events: Events
    mark: Mark | None


class Journal:
    """The writing end of a run. Opening it is recovery and raises what `log.Log` raises.

    Only what stands behind the newest snapshot is read and checked; `fairwind verify` checks all.
    Order for each batch: `append_inputs`, `commit`, run the engine, `append_outputs`, `mark`.
    The outputs become durable with the next commit; recovery derives the ones that did not.
    """

    def __init__(self, run: Path, meta: Meta) -> None:
        self.run = run
        self._marked = True
        for folder in ("journal", "snapshots", "payloads", "tables"):
            with log.faults(run / folder):
                (run / folder).mkdir(parents=True, exist_ok=True)
        with log.faults(run):
            log.sync_folder(run)
        self._lock = _locked(run)
        try:
            self.newest = newest_snapshot(run)
            start = self.newest.position if self.newest else None
            self._log = log.Log(run / "journal", start)
            self.meta = self._met(meta)
            self._remove_unnamed()
        except FairwindError:
            os.close(self._lock)
            raise

    @property
    def damage(self) -> log.Damage | None:
        """The unfinished last commit that opening this journal has cut, if there was one."""
        return self._log.damage

    @property
    def events(self) -> int:
        """Number of events that are durable."""
        return self._log.position.events

    @property
    def broken(self) -> bool:
        """Whether a commit failed; nothing more is written, what was durable before stays."""
        return self._log.broken

    @property
    def commits(self) -> int:
        """Number of commits so far."""
        return self._log.position.commit

    @property
    def skipped(self) -> tuple[str, ...]:
        """Snapshots that opening could not use though the journal names them, and why."""
        named = [_SNAPSHOT.unpack(payload) for payload in self._log.snapshots]
        return tuple(
            f"expected the snapshot that the journal names after {events} events, found {found}"
            for events, digest in reversed(named[-SNAPSHOTS_MAX:])
            if (found := wrong_snapshot(self.run, events, digest))
        )

    def append_inputs(self, events: Events) -> None:
        """Add events, shape (n,), to the next commit. The batch before it must be marked."""
        assert self._marked, "the last batch was broken off; open the run again"
        self._marked = False
        for start in range(0, len(events), FRAME_EVENTS_MAX):
            part = events[start : start + FRAME_EVENTS_MAX]
            self._log.append(Kind.INPUT, part.tobytes())

    def append_outputs(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Add rows by table name to the next commit; empty tables take no room."""
        for name, table in rows.items():
            if len(table):
                self._log.append(Kind.OUTPUT, record.pack_rows(name, table))

    def mark(self, events: int, digest: int) -> None:
        """Say that the outputs of the first `events` events are complete."""
        self._log.append(Kind.MARK, record.pack_mark(record.Mark(events, digest)))
        self._marked = True

    def commit(self) -> None:
        """Make what was appended durable."""
        self._log.commit()

    def snapshot(self, state: bytes) -> None:
        """Keep the state after all events, which are committed and marked. Durable on return."""
        position = msgspec.structs.astuple(self._log.position)
        packed = _POSITION.pack(len(state), *position)
        packed += pa.compress(state, codec="zstd", asbytes=True)
        log.write_whole(_snapshot_path(self.run, self.events), packed)
        self._log.append(Kind.SNAPSHOT, _SNAPSHOT.pack(self.events, _digest(packed)))
        self.commit()
        for path in sorted((self.run / "snapshots").glob("*.snap"))[:-SNAPSHOTS_MAX]:
            with log.faults(path):
                path.unlink()

    def keep_payload(self, payload: bytes) -> int:
        """Keep a control's payload; durable on return. Returns its id."""
        number = payload_id(payload)
        path = _payload_path(self.run, number)
        if not path.exists():
            log.write_whole(path, payload)
        return number

    def payload_of(self, number: int) -> bytes:
        """See the function of that name."""
        return payload_of(self.run, number)

    def close(self) -> None:
        """Commit and seal the last segment; only let go of a run that was broken off in a batch."""
        try:
            if self._marked and not self.broken:
                self.commit()
                self._log.seal()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the run as it is, without writing anything."""
        self._log.close()
        os.close(self._lock)

    def _remove_unnamed(self) -> None:
        """Remove a snapshot that a crash kept from being named: it would oust one that is."""
        named = {_SNAPSHOT.unpack(payload)[0] for payload in self._log.snapshots}
        newest = self.newest.position.events if self.newest else 0
        for path in (self.run / "snapshots").glob("*.snap"):
            if int(path.stem) > newest and int(path.stem) not in named:
                with log.faults(path):
                    path.unlink()

    def _met(self, meta: Meta) -> Meta:
        if self.commits:
            return meta_of(self.run)
        self._log.append(Kind.META, msgspec.json.encode(meta))
        self._log.commit()
        return meta


def meta_of(run: Path) -> Meta:
    """The first frame of a run's journal.

    Raises BadInput when `run` is no run, or is one of another layout than this code reads.
    """
    frame = next(log.frames(run / "journal"), None)
    if frame is None or frame.kind != Kind.META:
        raise BadInput(
            f"{run}: expected a run directory with a journal, found none; check the path"
        )
    try:
        meta = msgspec.json.decode(frame.payload, type=Meta)
    except msgspec.DecodeError as error:
        raise BadInput(f"{run}: the journal's description does not parse: {error}") from error
    if meta.layout != LAYOUT:
        raise BadInput(
            f"{run}: expected journal layout {LAYOUT}, found {meta.layout}; "
            f"read this run with Fairwind {meta.code}"
        )
    return meta


def frames(run: Path) -> Iterator[Frame]:
    """All frames of whole commits, in order. Raises Corrupt on damage."""
    return log.frames(run / "journal")


def inputs(run: Path, after: Position | None = None) -> Iterator[Events | Mark]:
    """The events behind a snapshot's position or all, frame by frame, and the marks after them."""
    for frame in log.frames(run / "journal", after):
        if frame.kind == Kind.INPUT:
            yield events_of(frame)
        elif frame.kind == Kind.MARK:
            yield mark_of(frame)


def batches(run: Path, after: Position | None, least: int) -> Iterator[Batch]:
    """The same joined to batches of at least `least` events, as far as there are so many.

    The last one has no mark when there are events behind the last mark.
    """
    parts: list[Events] = []
    held, marked = 0, 0
    mark: Mark | None = None
    for part in inputs(run, after):
        if not isinstance(part, Mark):
            parts.append(part)
            held += len(part)
            continue
        mark, marked = part, len(parts)
        if held >= least:
            yield Batch(record.joined(parts), mark)
            held, marked, mark = 0, 0, None
            parts.clear()
    if marked:
        yield Batch(record.joined(parts[:marked]), mark)
    if len(parts) > marked:
        yield Batch(record.joined(parts[marked:]), None)


def outputs(run: Path, table: str) -> Iterator[NDArray[Any]]:
    """The rows of one output table, frame by frame."""
    for frame in frames(run):
        if frame.kind == Kind.OUTPUT:
            name, rows = rows_of(frame)
            if name == table:
                yield rows


def payload_of(run: Path, number: int) -> bytes:
    """The payload of that id. Raises BadInput when it is missing, Corrupt when it is another."""
    path = _payload_path(run, number)
    with log.faults(path):
        payload = path.read_bytes()
    if payload_id(payload) != number:
        raise Corrupt(
            f"{path}: expected content with id {number:016x}, found {payload_id(payload):016x}; "
            "restore this file from a copy"
        )
    return payload


def newest_snapshot(run: Path) -> Snapshot | None:
    """The newest one that is what the journal names; None when none is. Changes nothing."""
    for path in sorted((run / "snapshots").glob("*.snap"), reverse=True):
        packed = _read(path)
        if len(packed) < _POSITION.size:
            continue
        size, *values = _POSITION.unpack_from(packed)
        position = Position(*values)
        if _named_behind(run, copy.copy(position), _digest(packed)):
            body = packed[_POSITION.size :]
            return Snapshot(position, pa.decompress(body, size, codec="zstd", asbytes=True))
    return None


def wrong_snapshot(run: Path, events: int, digest: bytes) -> str:
    """What lies in the place of a snapshot that the journal names; empty when it is that one."""
    path = _snapshot_path(run, events)
    if not path.exists():
        return f"no file {path}"
    return "" if _digest(_read(path)) == digest else f"other bytes in {path}"


def _read(snapshot: Path) -> bytes:
    """Its bytes, or none where the disk does not give them: an older snapshot does as well."""
    try:
        return snapshot.read_bytes()
    except OSError:
        return b""


def _named_behind(run: Path, position: Position, digest: bytes) -> bool:
    """Whether the journal goes on from `position` and names a snapshot of it there.

    Then the hash chain proves `position`, of which nothing is believed before.
    """
    events = position.events
    if position.segment > len(log.segment_paths(run / "journal")):
        return False
    for found in log.walk(run / "journal", position):
        if isinstance(found, log.Damage) or found.kind == Kind.INPUT:
            break
        if found.kind == Kind.SNAPSHOT:
            return bytes(found.payload) == _SNAPSHOT.pack(events, digest)
    return False


def _digest(packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=32).digest()


def _snapshot_path(run: Path, events: int) -> Path:
    return run / "snapshots" / f"{events:012d}.snap"


def _payload_path(run: Path, number: int) -> Path:
    return run / "payloads" / f"{number:016x}"


def _locked(run: Path) -> int:
    """A lock that ends with the process, however it ends."""
    with log.faults(run):
        file = os.open(run, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        raise BadInput(f"{run}: another process writes this run; stop it first") from error
    return file
