"""The log: frames in numbered segment files, written by group commit, read back as checked frames.

In: frames. Out: durable segments, the frames of whole commits, and where and how they are damaged.
A commit is there as a whole or not at all; only an unfinished last commit is ever cut.
"""

import copy
import errno
import itertools
import mmap
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from fairwind.core.errors import BadInput, Corrupt, DiskFault
from fairwind.journal import record
from fairwind.journal.record import Frame, Kind, Position

SEGMENT_MAX = 64 << 20
"""Bytes after which a segment is sealed; only a single larger commit makes a larger segment."""

_BAD_CHECKSUM = "bytes with a wrong checksum"
_UNFINISHED = "the end of the file inside a commit"
_ADVICE = {
    errno.ENOSPC: "free some space on this disk, then start again",
    errno.EDQUOT: "free some space in this quota, then start again",
    errno.EFBIG: "raise the file size limit (ulimit -f), then start again",
    errno.EROFS: "mount this disk writable, then start again",
    errno.EACCES: "give this user the right to write here, then start again",
    errno.ENOTDIR: "a file stands where a folder has to be: move it, or choose another folder",
    errno.EEXIST: "a file stands where a folder has to be: move it, or choose another folder",
}


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that are not what was written. `torn`: an unfinished last commit, which is normal
    after a crash and is cut at the next start."""

    path: Path
    segment: int
    offset: int
    frame: int  # number in its segment, from 0
    first_event: int  # the damaged batch begins with this event number
    events: int  # events known before the damage
    chain: bytes  # before the damage
    reason: str
    torn: bool
    cut: int  # bytes from the last whole commit to the end of the file

    def __str__(self) -> str:
        advice = "restore this file from a copy, or run its sources again into a new folder"
        if self.torn:
            advice = f"the last commit is unfinished; the next start cuts its {self.cut} bytes"
        return (
            f"{self.path}: expected a whole frame at offset {self.offset} (frame {self.frame} of "
            f"segment {self.segment}, batch from event {self.first_event}), found {self.reason}; "
            f"{advice}"
        )


class Log:
    """The writing end. Opening it is recovery: an unfinished last commit is cut.

    What stands before `start` is taken to be whole, as far as `walk` does. `damage` is what was
    cut, or None; `snapshots` the payloads of the SNAPSHOT frames behind `start`. Raises Corrupt
    on any other damage and DiskFault when the disk does not take the bytes; then the log is
    `broken` and takes nothing more.
    """

    def __init__(self, folder: Path, start: Position | None = None) -> None:
        self.folder = folder
        self.damage: Damage | None = None
        self.position = copy.copy(start) if start else Position()
        self.snapshots: list[bytes] = []
        self.broken = False
        self._pending: list[tuple[Kind, bytes]] = []
        self._file = -1
        for found in walk(folder, self.position):
            if isinstance(found, Damage):
                self.damage = _torn(found)
            elif found.kind == Kind.SNAPSHOT:
                self.snapshots.append(bytes(found.payload))
        if self.position.segment and not self.position.sealed:
            self._continue_segment()

    def append(self, kind: Kind, payload: bytes) -> None:
        """Add a frame to the next commit."""
        self._pending.append((kind, payload))

    def commit(self) -> None:
        """Make all appended frames durable, as a whole: one write and one sync."""
        frames, self._pending = self._pending, []
        if not frames:
            return
        size = sum(record.frame_size(payload) for _, payload in frames)
        seal = record.FRAME_HEADER.size
        if not self.position.sealed and self.position.offset + size + seal > SEGMENT_MAX:
            self.seal()
        with self._whole_or_broken():
            if self.position.sealed:
                self._start_segment()
            self._write(frames)

    def seal(self) -> None:
        """End the present segment, if one is open."""
        assert not self._pending, "commit before sealing"
        if not self.position.sealed:
            with self._whole_or_broken():
                self._write([(Kind.SEAL, b"")])
            self.close()

    def close(self) -> None:
        """Let go of the file without sealing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _path(self) -> Path:
        return segment_path(self.folder, self.position.segment)

    def _continue_segment(self) -> None:
        path, size = self._path(), self.position.offset
        with faults(path):
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
            os.ftruncate(self._file, size)
            os.fsync(self._file)

    def _start_segment(self) -> None:
        position = self.position
        number = position.segment + 1
        header = record.segment_header(number, position.events, position.chain)
        path = segment_path(self.folder, number)
        write_whole(path, header)
        with faults(path):
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        position.segment, position.offset, position.frames = number, len(header), 0
        position.sealed = False

    def _write(self, frames: list[tuple[Kind, bytes]]) -> None:
        ahead, parts = copy.copy(self.position), []
        commit = ahead.commit + 1
        for number, (kind, payload) in enumerate(frames, 1):
            end = number == len(frames)
            data, chain = record.encode(kind, payload, ahead.chain, commit, end)
            stop = ahead.offset + len(data)
            ahead.after(Frame(kind, memoryview(payload), end, commit, chain, stop))
            parts.append(data)
        with faults(self._path()):
            _write_all(self._file, b"".join(parts))
        self.position = ahead

    @contextmanager
    def _whole_or_broken(self) -> Iterator[None]:
        """Take back a commit that did not become durable, so that the file ends with a frame."""
        assert not self.broken, "this log was broken off in a commit; open the run again"
        self.broken = True
        try:
            yield
            self.broken = False
        finally:
            if self.broken:
                self._take_back()

    def _take_back(self) -> None:
        with suppress(OSError):
            if self._file >= 0:
                os.ftruncate(self._file, self.position.offset)
                os.fsync(self._file)
        self.close()


def walk(
    folder: Path, position: Position | None = None, *, walked: bool = False
) -> Iterator[Frame | Damage]:
    """The frames of all whole commits behind `position`, the beginning unless one is given, in
    order; then, if there is damage, the first of it. `position` is moved along.

    Of the segments before it only ends and beginnings are read, by which the hash chain goes on;
    nothing when the caller has `walked` them. Corrupt when they do not fit, or one is missing.
    """
    position = position or Position()
    paths = segment_paths(folder)
    for path, after in itertools.pairwise([] if walked else paths[: position.segment]):
        _check_seam(path, after)
    for path in paths[position.segment - (not position.sealed) :]:
        damage = yield from _walk_segment(path, position, path == paths[-1])
        if damage is not None:
            yield damage
            return


def frames(folder: Path, after: Position | None = None) -> Iterator[Frame]:
    """The frames of all whole commits, or of those behind a position; Corrupt on damage other than
    an unfinished last commit."""
    for found in walk(folder, copy.copy(after)):
        if isinstance(found, Frame):
            yield found
        else:
            _torn(found)


def segment_frames(folder: Path, number: int) -> Iterator[Frame]:
    """The frames of the whole commits of one segment; Corrupt as in `frames`."""
    path = segment_path(folder, number)
    last = path == segment_paths(folder)[-1]
    damage = yield from _walk_segment(path, beginning(folder, number), last)
    if damage is not None:
        _torn(damage)


def beginning(folder: Path, number: int) -> Position:
    """Where segment `number` begins, by its own header and the end of the one before."""
    _, _, _, events, chain = record.SEGMENT_HEADER.unpack(_header(segment_path(folder, number)))
    seal = _seal(segment_path(folder, number - 1)) if number > 1 else None
    commit = seal.commit if seal else 0
    return Position(chain=chain, commit=commit, events=events, segment=number - 1)


def is_sealed(path: Path) -> bool:
    """Whether the segment ends with a seal."""
    return _seal(path) is not None


def segment_paths(folder: Path) -> list[Path]:
    """All segments in order. Raises Corrupt when one is missing."""
    paths = sorted(folder.glob("*.seg"))
    for number, path in enumerate(paths, 1):
        if path != segment_path(folder, number):
            raise Corrupt(
                f"{folder}: expected segment {number}, found {path.name}; "
                "restore the missing segment from a copy"
            )
    return paths


def segment_path(folder: Path, number: int) -> Path:
    """The file of segment `number`, counted from 1."""
    return folder / f"{number:08d}.seg"


def mapped(path: Path) -> memoryview:
    """The file's bytes, read-only and memory-mapped; valid as long as any view of them lives."""
    with faults(path), path.open("rb") as file:
        if path.stat().st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def copied(path: Path, start: int) -> memoryview:
    """Its bytes as they are now, zeros before `start`: the system kills who maps what is cut."""
    with faults(path), path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= start:
            return memoryview(b"")
        data = memoryview(mmap.mmap(-1, size))  # pages that are not written take no room
        file.seek(start)
        return data[: start + file.readinto(data[start:])]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there as a whole or not at all; durable on return."""
    draft = path.with_name(path.name + ".tmp")
    with faults(path):
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            _write_all(file, data)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)
        draft.rename(path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn what the system says about `path` into a DiskFault that says what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadInput(f"{path}: expected a file, found nothing; check the path") from error
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "check this disk, then start again")
        raise DiskFault(
            f"{path}: expected the disk to work, found '{error.strerror}'; {advice}"
        ) from error


def _walk_segment(
    path: Path, position: Position, last: bool
) -> Generator[Frame, None, Damage | None]:
    """Yields the frames of whole commits and returns the first damage, or None."""
    data = mapped(path) if not last else copied(path, 0 if position.sealed else position.offset)
    commit: list[Frame] = []
    reason = ""
    if position.sealed:
        position.segment, position.offset, position.frames = position.segment + 1, 0, 0
        position.sealed = False
        header = record.segment_header(position.segment, position.events, position.chain)
        if bytes(data[: len(header)]) == header:
            position.offset = len(header)
        else:
            reason = "another segment header"
    offset = position.offset
    while not reason and offset < len(data) and not position.sealed:
        frame = record.decode(data, offset)
        if frame is None:
            reason = _BAD_CHECKSUM
            break
        if not record.follows(data, offset, commit[-1].chain if commit else position.chain):
            reason = "a frame that breaks the hash chain: it was changed after it was written"
            break
        commit.append(frame)
        offset = frame.stop
        if frame.end:
            for whole in commit:
                position.after(whole)
                yield whole
            commit.clear()
    reason = reason or _ending(position, offset < len(data), bool(commit), last)
    if not reason:
        return None
    ahead = copy.copy(position)
    for frame in commit:
        ahead.after(frame)
    torn = last and (
        reason == _UNFINISHED
        or (reason == _BAD_CHECKSUM and not record.later_commit(data, offset, position.commit + 1))
    )
    return Damage(
        path=path,
        segment=position.segment,
        offset=offset,
        frame=ahead.frames,
        chain=ahead.chain,
        first_event=ahead.marked,
        events=ahead.events,
        reason=reason,
        torn=torn,
        cut=len(data) - position.offset,
    )


def _check_seam(path: Path, after: Path) -> None:
    """Corrupt unless the segment `path` ends with the seal that the next one begins behind."""
    seal, header = _seal(path), _header(after)
    if seal is not None and len(header) == record.SEGMENT_HEADER.size:
        number, events = int(after.stem), record.SEGMENT_HEADER.unpack(header)[3]
        if header == record.segment_header(number, events, seal.chain):
            return
    raise Corrupt(
        f"{path}: expected a seal that {after.name} goes on from, found other bytes at its end, or "
        f"at the beginning of {after.name}; restore these files from a copy"
    )


def _seal(path: Path) -> Frame | None:
    with faults(path), path.open("rb") as file:
        file.seek(max(path.stat().st_size - record.FRAME_HEADER.size, record.SEGMENT_HEADER.size))
        frame = record.decode(memoryview(file.read(record.FRAME_HEADER.size)), 0)
    return frame if frame is not None and frame.kind == Kind.SEAL else None


def _header(path: Path) -> bytes:
    return bytes(mapped(path)[: record.SEGMENT_HEADER.size])  # never cut


def _ending(position: Position, more: bool, unfinished: bool, last: bool) -> str:
    """What is wrong with the end of a segment whose frames are all good; empty when nothing."""
    if more:
        return "bytes after the seal"
    if unfinished:
        return _UNFINISHED
    return "" if last or position.sealed else "no seal before the next segment"


def _torn(damage: Damage) -> Damage:
    if not damage.torn:
        raise Corrupt(str(damage))
    return damage


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.fsync(file)
