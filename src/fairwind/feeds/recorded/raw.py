"""Frames as they came: an append-only file of compressed blocks, and its records read back.

In: payloads and marks by line, with receipt times. Out: a file that whoever is killed leaves
readable; the records in the order in which they were put. Never here: what a frame means.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import msgspec
import pyarrow as pa

from fairwind.core.errors import BadInput, Corrupt, DiskFault
from fairwind.core.units import SECOND_NS
from fairwind.journal.log import faults, mapped

SUFFIX = ".frames"
MAGIC = b"FAIRWIND FRAMES 1\n"
HEADER = struct.Struct("<4sIII")
"""Mark, bytes stored, bytes before compression, CRC32C of these lengths and the stored bytes."""
HEADER_MARK = b"\xfaRAW"
BLOCK_BYTES = 1 << 20
"""So many bytes of payload are written at once, or what came in a second."""
RECORD_BYTES = 32
"""What a record costs beside its payload."""
BLOCK_BYTES_MAX = 1 << 26
"""No frame that a socket takes makes a larger block."""
GAMMA = "gamma"
"""The line of answers over HTTP: each is a market object; it cannot be lost."""
INTERRUPTED = b"the recording was interrupted"


class Mark(IntEnum):
    """What a record is."""

    FRAME = 0  # payload: the bytes as they came
    CONNECTED = 1  # what follows came by a new connection
    LOST = 2  # payload: why, in words


class Record(NamedTuple):
    """One frame or mark."""

    ts_ns: int
    line: str
    mark: Mark
    payload: bytes


class Cut(NamedTuple):
    """The end of a file whose writer was killed: its last `size` bytes from `offset` on are no
    whole block."""

    path: Path
    offset: int
    size: int


_encoder = msgspec.msgpack.Encoder()
_records = msgspec.msgpack.Decoder(list[Record])
_codec = pa.Codec("zstd", compression_level=1)


class Recorder:
    """Writes one new file of a folder.

    Each method may write, and raises DiskFault when the disk does not take the bytes; after that
    it takes nothing more. At most a block and a frame are held in memory, and a second of
    receipt time: a kill loses no more. What a loss of power leaves is the system's affair.
    """

    def __init__(self, folder: Path, *, every_ns: int = SECOND_NS) -> None:
        self._every_ns = every_ns
        self._pending: list[tuple[int, str, int, bytes]] = []
        self._bytes = 0
        self._failed = ""
        with faults(folder):
            folder.mkdir(parents=True, exist_ok=True)
            numbers = [int(one.stem) for one in folder.glob(f"*{SUFFIX}") if one.stem.isdecimal()]
            self.path = folder / f"{max(numbers, default=0) + 1:08d}{SUFFIX}"
            self._file = self.path.open("xb", buffering=0)
        self._write(MAGIC)

    def put(self, line: str, ts_ns: int, payload: bytes) -> None:
        """A frame of `line`, as it came."""
        self._add(ts_ns, line, Mark.FRAME, payload)

    def connected(self, line: str, ts_ns: int) -> None:
        """A connection of `line` has opened."""
        self._add(ts_ns, line, Mark.CONNECTED, b"")

    def lost(self, line: str, ts_ns: int, why: str) -> None:
        """The connection of `line` has ended, or frames of it were dropped."""
        self._add(ts_ns, line, Mark.LOST, why.encode())

    def flush(self) -> None:
        """Hand everything to the system as one block."""
        if not self._pending:
            return
        content = _encoder.encode(self._pending)
        assert len(content) <= BLOCK_BYTES_MAX, "a frame is larger than any that a socket takes"
        self._pending.clear()
        self._bytes = 0
        stored = _codec.compress(content, asbytes=True)
        self._write(_header(stored, len(content)) + stored)

    def close(self) -> None:
        """Write the rest and end."""
        try:
            self.flush()
        finally:
            self._file.close()

    def _add(self, ts_ns: int, line: str, mark: Mark, payload: bytes) -> None:
        self._pending.append((ts_ns, line, int(mark), payload))
        self._bytes += RECORD_BYTES + len(payload)
        waited_ns = ts_ns - self._pending[0][0]
        if self._bytes >= BLOCK_BYTES or not 0 <= waited_ns < self._every_ns:
            self.flush()

    def _write(self, content: bytes) -> None:
        if self._failed:
            raise DiskFault(self._failed)
        rest = memoryview(content)
        try:
            with faults(self.path):
                while rest:
                    rest = rest[self._file.write(rest) :]
        except DiskFault as error:
            # A block behind an unfinished one could not be told from damage.
            self._failed = str(error)
            raise


def is_recording(path: Path) -> bool:
    """Whether `path` is a recorder's file, or a folder with one."""
    if path.is_dir():
        return any(path.glob(f"*{SUFFIX}"))
    return path.suffix == SUFFIX and path.is_file()


def read(path: Path) -> Iterator[Record | Cut]:
    """The records of a file, or of all files of a folder, and where one was cut.

    Each file was another process, so each line that was open in the one before is LOST where that
    ended. Raises Corrupt for damage that is not at the end of a file, BadInput when there is no
    recording, DiskFault.
    """
    files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    if not files:
        raise BadInput(f"{path}: expected recorded frames (*{SUFFIX}), found none; check the path")
    heard: dict[str, int] = {}
    for file in files:
        for line, ts_ns in heard.items():
            yield Record(ts_ns, line, Mark.LOST, INTERRUPTED)
        heard.clear()
        for found in _of_file(file):
            if isinstance(found, Record) and found.line != GAMMA:
                heard[found.line] = found.ts_ns
            if isinstance(found, Record) and found.mark == Mark.LOST:
                heard.pop(found.line, None)
            yield found


def _of_file(path: Path) -> Iterator[Record | Cut]:
    data = mapped(path)
    if not MAGIC.startswith(bytes(data[: len(MAGIC)])):
        raise BadInput(
            f"{path}: expected a file that begins with {MAGIC!r}, found "
            f"{bytes(data[: len(MAGIC)])!r}; it is none of ours, or of a later Fairwind"
        )
    offset = min(len(MAGIC), len(data))
    while offset < len(data):
        found = _block(data, offset)
        if found is None:
            if _is_inside(data, offset):
                raise Corrupt(
                    f"{path}: expected a whole block at offset {offset}, found damage inside the "
                    "file; restore this file from a copy, or take it away"
                )
            yield Cut(path, offset, len(data) - offset)
            return
        offset, records = found
        yield from records


def _block(data: memoryview, offset: int) -> tuple[int, list[Record]] | None:
    """(offset behind the block, its records); None where no whole block lies."""
    start = offset + HEADER.size
    if start > len(data):
        return None
    mark, stored, size, _ = HEADER.unpack_from(data, offset)
    content = bytes(data[start : start + stored])
    if mark != HEADER_MARK or len(content) < stored or size > BLOCK_BYTES_MAX:
        return None
    if bytes(data[offset:start]) != _header(content, size):
        return None
    return start + stored, _records.decode(_codec.decompress(content, size, asbytes=True))


def _is_inside(data: memoryview, offset: int) -> bool:
    """Whether damage at `offset` is not the one unfinished block that a killed writer leaves."""
    if len(data) - offset > BLOCK_BYTES_MAX + HEADER.size:
        return True
    rest = bytes(data[offset:])
    at = rest.find(HEADER_MARK, 1)
    while at >= 0:
        if _block(data, offset + at) is not None:
            return True
        at = rest.find(HEADER_MARK, at + 1)
    return False


def _header(stored: bytes, size: int) -> bytes:
    """The header of a block that holds `stored`, of `size` bytes before compression."""
    lengths = HEADER.pack(HEADER_MARK, len(stored), size, 0)[:-4]
    crc = google_crc32c.extend(google_crc32c.value(lengths), stored)
    return lengths + struct.pack("<I", crc)
