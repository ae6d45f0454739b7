"""The bytes of a journal: one frame, its payload, and the header of one segment.

In: events, rows, marks. Out: a frame with length, CRC32C and hash chain, and back, without copies.
Never here: files (journal/log.py).
"""

import hashlib
import itertools
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import google_crc32c
import msgspec
import numpy as np
from numpy.typing import NDArray

from fairwind.core.events import EVENT, Events
from fairwind.core.outputs import TABLES

FORMAT = 1
MAGIC = b"FAIRWIND"
SEGMENT_HEADER = struct.Struct("<8sIIQ16s24x")
"""Magic, format, segment number, events before this segment, chain before it: 64 bytes."""
FRAME_HEADER = struct.Struct("<IIBBHI16s")
"""Payload length, CRC32C, kind, end of commit, mark, commit number, chain: 32 bytes."""
FRAME_MARK = 0xFA1D
PAYLOAD_MAX = 1 << 30
GENESIS = bytes(16)
_ALIGNMENT = 8
_OUTPUT = struct.Struct("<II")
_MARK = struct.Struct("<QQ")
_NAMES = tuple(TABLES)


class Kind(IntEnum):
    """What a frame holds."""

    META = 1  # JSON of Meta in journal/file.py; the first frame of a journal
    INPUT = 2  # events, dtype EVENT
    OUTPUT = 3  # u32 table number, u32 row count, rows of one output table
    MARK = 4  # u64 events so far, u64 digest: inputs up to here have all their outputs before it
    SNAPSHOT = 5  # u64 events so far, BLAKE2b-256 of the snapshot's file
    SEAL = 6  # empty; the last frame of a segment that is complete


class Frame(NamedTuple):
    """One whole frame as it lies in a segment; `payload` is a view of the bytes that were read."""

    kind: Kind
    payload: memoryview
    end: bool  # the last frame of its commit
    commit: int
    chain: bytes
    stop: int  # offset after the frame


class Mark(msgspec.Struct, frozen=True):
    """All outputs of the first `events` events stand before it; `digest` is the engine's there."""

    events: int
    digest: int


class Position(msgspec.Struct):
    """Where a reader stands, at the end of a commit: all that the next frame is checked against."""

    chain: bytes = GENESIS
    commit: int = 0
    events: int = 0
    marked: int = 0  # events at the last MARK
    segment: int = 0
    frames: int = 0  # in the segment
    offset: int = 0  # in the segment
    sealed: bool = True

    def after(self, frame: Frame) -> None:
        """Move past `frame`."""
        self.chain = frame.chain
        self.commit = frame.commit
        self.events += events_in(frame.kind, len(frame.payload))
        self.frames += 1
        self.offset = frame.stop
        self.sealed = frame.kind == Kind.SEAL
        if frame.kind == Kind.MARK:
            self.marked = self.events


def pack_rows(table: str, rows: NDArray[Any]) -> bytes:
    """The payload of an OUTPUT frame."""
    assert rows.dtype == TABLES[table], f"rows of {table} have another layout"
    return _OUTPUT.pack(_NAMES.index(table), len(rows)) + rows.tobytes()


def pack_mark(mark: Mark) -> bytes:
    """The payload of a MARK frame."""
    return _MARK.pack(mark.events, mark.digest)


def events_of(frame: Frame) -> Events:
    """The events of an INPUT frame, as a view of the bytes that were read."""
    return np.frombuffer(frame.payload, EVENT)


def joined(parts: Sequence[NDArray[Any]], dtype: np.dtype[np.void] = EVENT) -> NDArray[Any]:
    """The rows of many small frames as one array; NumPy's own joining compares their layouts."""
    return np.frombuffer(b"".join(part.data for part in parts), dtype)


def rows_of(frame: Frame) -> tuple[str, NDArray[Any]]:
    """Table name and rows of an OUTPUT frame, as a view of the bytes that were read."""
    number, count = _OUTPUT.unpack_from(frame.payload)
    table = _NAMES[number]
    return table, np.frombuffer(frame.payload, TABLES[table], count, _OUTPUT.size)


def mark_of(frame: Frame) -> Mark:
    """The mark of a MARK frame."""
    return Mark(*_MARK.unpack(frame.payload))


def segment_header(number: int, events: int, chain: bytes) -> bytes:
    """The only header that segment `number` can have after `events` events and `chain`."""
    return SEGMENT_HEADER.pack(MAGIC, FORMAT, number, events, chain)


def events_in(kind: int, length: int) -> int:
    """Number of events in a payload of that kind and length in bytes."""
    return length // EVENT.itemsize if kind == Kind.INPUT else 0


def padded(length: int) -> int:
    """Bytes that a payload of `length` bytes takes, so that rows stay aligned in the file."""
    return -(-length // _ALIGNMENT) * _ALIGNMENT


def frame_size(payload: bytes) -> int:
    """Bytes of the frame that holds `payload`."""
    return FRAME_HEADER.size + padded(len(payload))


def encode(kind: Kind, payload: bytes, chain: bytes, commit: int, end: bool) -> tuple[bytes, bytes]:
    """The frame after `chain`, and the chain after the frame."""
    assert len(payload) <= PAYLOAD_MAX, f"a frame holds at most {PAYLOAD_MAX} bytes"
    head = FRAME_HEADER.pack(len(payload), 0, kind, end, FRAME_MARK, commit, bytes(16))
    after = _link(chain, head, payload)
    rest = head[8:16] + after + payload + bytes(padded(len(payload)) - len(payload))
    crc = int(google_crc32c.extend(google_crc32c.value(head[:4]), rest))
    return head[:4] + crc.to_bytes(4, "little") + rest, after


def decode(data: memoryview, offset: int) -> Frame | None:
    """The frame at `offset`; None when no whole frame with a right checksum lies there."""
    if offset + FRAME_HEADER.size > len(data):
        return None
    length, crc, kind, end, mark, commit, chain = FRAME_HEADER.unpack_from(data, offset)
    body = offset + FRAME_HEADER.size
    stop = body + padded(length)
    if mark != FRAME_MARK or stop > len(data) or not Kind.META <= kind <= Kind.SEAL:
        return None
    if crc != _checksum(data[offset:stop]):
        return None
    return Frame(Kind(kind), data[body : body + length], bool(end), commit, chain, stop)


def follows(data: memoryview, offset: int, chain: bytes) -> bool:
    """Whether the whole frame at `offset` continues `chain`."""
    length, *_, found = FRAME_HEADER.unpack_from(data, offset)
    body = offset + FRAME_HEADER.size
    head = bytes(data[offset:body])
    return bool(_link(chain, head, data[body : body + length]) == found)


def later_commit(data: memoryview, offset: int, commit: int) -> bool:
    """Whether a whole frame of a commit after `commit` lies behind `offset`.

    It proves that the bytes at `offset` were durable once: damage, not a torn write.
    """
    whole = (len(data) - offset) // _ALIGNMENT * _ALIGNMENT
    words = np.frombuffer(data[offset : offset + whole], "<u4").reshape(-1, 2)
    marked = (words[1:, 0] >> 16 == FRAME_MARK) & (words[1:, 1] > commit)
    return any(
        decode(data, offset + _ALIGNMENT * int(row)) is not None for row in np.flatnonzero(marked)
    )


def flipped_byte(data: memoryview, offset: int, chain: bytes) -> int | None:
    """Offset of the one changed byte that explains a bad frame at `offset`; None when more changed.

    A CRC is linear, so the difference between the stored and the computed one, run backwards one
    byte at a time, becomes the changed bits of a single byte where that byte lies (syndrome
    decoding). The hash chain then tells the true place from a chance one.
    """
    length, crc, *_ = FRAME_HEADER.unpack_from(data, offset)
    stop = offset + FRAME_HEADER.size + padded(length)
    if stop > len(data):
        return None
    frame = bytearray(data[offset:stop])
    difference = int(crc) ^ _checksum(memoryview(frame))
    # The checksum reads the frame without its own field: 4 bytes, then all after the 8th.
    for position in itertools.chain(range(len(frame) - 1, 7, -1), range(3, -1, -1)):
        index = _UNSTEP[difference >> 24]
        difference = ((difference ^ _STEP[index]) << 8) & 0xFFFFFFFF | index
        if difference < len(_STEP):
            frame[position] ^= difference
            if follows(memoryview(frame), 0, chain):
                return offset + position
            frame[position] ^= difference
    return offset + 4 if follows(data, offset, chain) else None


def _link(chain: bytes, head: bytes, payload: bytes | memoryview) -> bytes:
    after = hashlib.blake2b(chain, digest_size=16)
    after.update(head[:4] + head[8:16])
    after.update(payload)
    return after.digest()


def _checksum(frame: memoryview) -> int:
    return int(google_crc32c.extend(google_crc32c.value(bytes(frame[:4])), bytes(frame[8:])))


def _step(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_STEP = [_step(byte) for byte in range(256)]
_UNSTEP = {value >> 24: byte for byte, value in enumerate(_STEP)}
