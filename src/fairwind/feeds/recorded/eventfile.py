"""Our own event file: an array of EVENT as `.events.npy`, with labels beside it as `.json`.

In: a Recording or a path. Out: the file, or a Recording whose events are memory-mapped. Never here:
an array of another dtype, an event out of order or outside its range.
"""

import mmap
from pathlib import Path

import msgspec
import numpy as np

from fairwind.core.errors import BadInput, DiskFault
from fairwind.core.events import EVENT, Events, Kind, Side
from fairwind.feeds.recorded.ladder import GRID_E4
from fairwind.feeds.recorded.recording import Check, Problem, Recording, Window

SUFFIX = ".events.npy"
_CHUNK = 1 << 20


class _Labels(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file beside the events holds."""

    windows: tuple[Window, ...] = ()
    problems: tuple[Problem, ...] = ()
    assumptions: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()


def save(path: Path, recording: Recording) -> None:
    """Write the events to `path` (ends in `.events.npy`) and the rest beside it."""
    if not path.name.endswith(SUFFIX):
        raise BadInput(f"expected a file name that ends in {SUFFIX}, found {path.name}")
    beside = _Labels(
        windows=recording.windows,
        problems=recording.problems,
        assumptions=recording.assumptions,
        checks=recording.checks,
    )
    try:
        np.save(path, recording.events)
        _beside(path).write_bytes(msgspec.json.format(msgspec.json.encode(beside)))
    except OSError as error:
        raise DiskFault(f"{path}: cannot be written ({error.strerror or error})") from error


def forget(events: Events) -> None:
    """Let the system have back the memory of mapped events that were read; they stay readable."""
    if isinstance(events.base, mmap.mmap):
        events.base.madvise(mmap.MADV_DONTNEED)


def load(path: Path) -> Recording:
    """The recording in `path`; its events are mapped read-only, not copied.

    Raises BadInput for a damaged file, another dtype, or an event that cannot be.
    """
    try:
        events = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadInput(
            f"{path}: expected a whole event file, found a damaged one ({error}); write it again"
        ) from error
    if events.dtype != EVENT or events.ndim != 1 or not len(events):
        raise BadInput(
            f"{path}: expected a non-empty array of events (40 bytes each), found shape"
            f" {events.shape} of dtype {events.dtype}"
        )
    for start in range(0, len(events), _CHUNK):
        _check(path, events[max(start - 1, 0) : start + _CHUNK], max(start - 1, 0))
        forget(events)
    try:
        stored = _beside(path).read_bytes() if _beside(path).exists() else b"{}"
        beside = msgspec.json.decode(stored, type=_Labels)
    except (OSError, msgspec.MsgspecError) as error:
        raise BadInput(
            f"{_beside(path)}: expected the labels of {path.name} ({error}); remove it or write"
            " the events again"
        ) from error
    return Recording(
        events=events,
        windows=beside.windows,
        problems=beside.problems,
        assumptions=beside.assumptions,
        checks=beside.checks,
    )


def _beside(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(SUFFIX) + ".json")


def _check(path: Path, events: Events, first: int) -> None:
    """BadInput naming the first event of the chunk that cannot be; `first` is its number."""
    kind, level = events["kind"], events["kind"] == Kind.LEVEL
    price, size = events["price"], events["size"]
    off_grid = (price <= 0) | (price >= 10_000) | (price % GRID_E4 != 0)
    late = np.zeros(len(events), bool)
    late[1:] = np.diff(events["ts_ns"]) < 0
    for bad, expected in (
        ((kind < Kind.LISTED) | (kind > Kind.CONTROL), "a known kind"),
        (events["side"] > Side.NONE, "a known side"),
        (late, "a receipt time not before the previous event's"),
        (level & (off_grid | (size < 0)), "a level's price on the grid and a size not below 0"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise BadInput(f"{path} event {first + row}: expected {expected}, found {events[row]}")
