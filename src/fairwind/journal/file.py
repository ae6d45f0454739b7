"""A run directory: the journal of one run, its snapshots, its control payloads and its tables.

In: inputs, then (after a commit) outputs and marks. Out: the same, checked, in order.
Never here: running the engine; an output is never written before its inputs are durable.
"""

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from numpy.typing import NDArray

from fairwind.core.controls import payload_id
from fairwind.core.errors import BadInput, Corrupt, FairwindError
from fairwind.core.events import EVENT, Events
from fairwind.core.outputs import TABLES
from fairwind.journal import log, record, tables
from fairwind.journal.record import Frame, Kind, Mark, events_of, mark_of, rows_of

SNAPSHOTS_MAX = 4
"""Newest snapshots that are kept; older ones are only a slower way to the same state."""

FRAME_EVENTS_MAX = 1 << 20
_SNAPSHOT = struct.Struct("<Q32s")
_SIZE = struct.Struct("<Q")
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


class Journal:
    """The writing end of a run. Opening it is recovery and raises what `log.Log` raises.

    Order for each batch: `append_inputs`, `commit`, run the engine, `append_outputs`, `mark`.
    The outputs become durable with the next commit; recovery derives the ones that did not.
    """

    def __init__(self, run: Path, meta: Meta) -> None:
        self.run = run
        for folder in ("journal", "snapshots", "payloads", "tables"):
            with log.faults(run / folder):
                (run / folder).mkdir(parents=True, exist_ok=True)
        log.sync_folder(run)
        self._lock = _locked(run)
        try:
            self._log = log.Log(run / "journal")
            self.meta = self._met(meta)
            tables.complete(run, self.meta.strategies)
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

    def append_inputs(self, events: Events) -> None:
        """Add events, shape (n,), to the next commit."""
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

    def commit(self) -> None:
        """Make what was appended durable; seals a full segment and writes its tables."""
        self._log.commit()
        self._write_tables()

    def snapshot(self, events: int, state: bytes) -> None:
        """Keep the state after `events` events, which must be marked. Durable on return."""
        packed = _SIZE.pack(len(state)) + pa.compress(state, codec="zstd", asbytes=True)
        log.write_whole(_snapshot_path(self.run, events), packed)
        digest = hashlib.blake2b(packed, digest_size=32).digest()
        self._log.append(Kind.SNAPSHOT, _SNAPSHOT.pack(events, digest))
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
        """Commit, seal the last segment and write its tables."""
        self.commit()
        self._log.seal()
        self._write_tables()
        self.abandon()

    def abandon(self) -> None:
        """Let go of the run as it is, without writing anything."""
        self._log.close()
        os.close(self._lock)

    def _write_tables(self) -> None:
        while self._log.sealed:
            tables.write(self.run, self._log.sealed.pop(0), self.meta.strategies)

    def _met(self, meta: Meta) -> Meta:
        if self._log.position.frames:
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


def inputs(run: Path, start: int = 0) -> Iterator[Events | Mark]:
    """The events from number `start` (counted from 0), frame by frame, and the marks after them."""
    first = 0
    for frame in frames(run):
        if frame.kind == Kind.INPUT:
            events = events_of(frame)
            if first + len(events) > start:
                yield events[max(0, start - first) :]
            first += len(events)
        elif frame.kind == Kind.MARK:
            mark = mark_of(frame)
            if mark.events > start:
                yield mark


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


def newest_snapshot(run: Path) -> tuple[int, bytes, list[str]]:
    """(event count, state, what is wrong with newer ones); (0, b"", ...) when none is good."""
    skipped: list[str] = []
    references = [_SNAPSHOT.unpack(f.payload) for f in frames(run) if f.kind == Kind.SNAPSHOT]
    for events, digest in reversed(references[-SNAPSHOTS_MAX:]):
        path = _snapshot_path(run, events)
        try:
            with log.faults(path):
                packed = path.read_bytes()
        except FairwindError as error:
            skipped.append(str(error))
            continue
        if hashlib.blake2b(packed, digest_size=32).digest() == digest:
            (size,) = _SIZE.unpack_from(packed)
            body = packed[_SIZE.size :]
            return events, pa.decompress(body, size, codec="zstd", asbytes=True), skipped
        skipped.append(f"{path}: expected the snapshot that the journal names, found other bytes")
    return 0, b"", skipped


def _snapshot_path(run: Path, events: int) -> Path:
    return run / "snapshots" / f"{events:012d}.snap"


def _payload_path(run: Path, number: int) -> Path:
    return run / "payloads" / f"{number:016x}"


def _locked(run: Path) -> int:
    """A lock that ends with the process, however it ends."""
    file = os.open(run, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        raise BadInput(f"{run}: another process writes this run; stop it first") from error
    return file
