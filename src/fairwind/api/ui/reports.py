"""What lies on disk beside the run that is shown: other runs, their reports, the checklist.

In: the folder of a run. Out: the runs of its folder, the progress that was counted last.
Never here: a run's figures (views have them), a check that is run for a page.
"""

from pathlib import Path
from typing import NamedTuple

import msgspec

from fairwind.core.errors import FairwindError
from fairwind.journal import file
from fairwind.research.progress import FILE as PROGRESS
from fairwind.research.progress import Progress

FILE = "report.html"
RUNS_MAX = 200


class Run(NamedTuple):
    """One run beside the one that is shown. Times are UTC."""

    name: str
    source: str
    code: str
    created_ns: int
    reported_ns: int | None  # None: no report was written
    shown: bool


class Counted(NamedTuple):
    """The checklist as it was counted at that time."""

    at_ns: int
    progress: Progress


def runs(run: Path) -> list[Run]:
    """Runs that can be read, the newest first."""
    folders = [one for one in run.parent.iterdir() if one.is_dir() and not one.is_symlink()]
    found = [one for folder in folders if (one := _run(folder, run)) is not None]
    return sorted(found, key=lambda one: -one.created_ns)[:RUNS_MAX]


def progress(run: Path) -> Counted | None:
    """How much of the checklist held; None when nobody has counted."""
    place = run.parent / PROGRESS
    try:
        counted = msgspec.json.decode(place.read_bytes(), type=Progress)
        return Counted(place.stat().st_mtime_ns, counted)
    except (OSError, msgspec.DecodeError):
        return None


def _run(folder: Path, shown: Path) -> Run | None:
    try:
        meta = file.meta_of(folder)
    except FairwindError:
        return None
    report = folder / FILE
    reported_ns = report.stat().st_mtime_ns if report.exists() else None
    return Run(folder.name, meta.source, meta.code, meta.created_ns, reported_ns, folder == shown)
