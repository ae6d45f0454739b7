"""Is this installation fit for work: versions, cache, compiled engine, disk, clock, data at hand.

In: the machine. Out: findings, each with what to do when it is not as it should be.
Never here: a change to anything but the cache of compiled code.
"""

import os
import platform
import shutil
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from fairwind.core import clock
from fairwind.core.compiled import INTERPRETED, cache_folder, source_hash
from fairwind.core.errors import BadInput
from fairwind.core.units import SECOND_NS
from fairwind.engine.run import roster
from fairwind.feeds.recorded import samples
from fairwind.research import replay

DISK_MIN_BYTES = 2 << 30
SHARED = Path("../shared/data")
_RELEASED_NS = int(datetime(2026, 8, 1, tzinfo=UTC).timestamp()) * SECOND_NS


class Finding(NamedTuple):
    """One thing that was looked at. `needed` is False where Fairwind works without it."""

    what: str
    fine: bool
    found: str
    fix: str
    needed: bool = True


def examine(runs: Path) -> list[Finding]:
    """Look at everything; `runs` is where runs are kept. Compiles the engine if need be."""
    return [_python(), _numba(), _cache(), _engine(), _disk(runs), _clock(), *_samples(), _shared()]


def _python() -> Finding:
    return Finding(
        "Python 3.11 to 3.13",
        (3, 11) <= sys.version_info[:2] <= (3, 13),
        f"{platform.python_version()}, {platform.machine()}",
        "install Python 3.11 and run scripts/test again",
    )


def _numba() -> Finding:
    try:
        found = f"numba {version('numba')}, numpy {version('numpy')}"
    except PackageNotFoundError as error:
        return Finding("numba and numpy", False, str(error), "run scripts/test: it installs them")
    if INTERPRETED:
        fix = "unset NUMBA_DISABLE_JIT"
        return Finding("numba and numpy", False, f"{found}, switched off", fix)
    return Finding("numba and numpy", True, found, "")


def _cache() -> Finding:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache_folder(source_hash(replay.PACKAGE))
    return Finding(
        "cache of compiled code",
        folder.is_relative_to(home) and os.access(folder, os.W_OK),
        f"{folder}, {'filled' if replay.is_compiled() else 'empty'}",
        f"make {home} writable, or set XDG_CACHE_HOME; else the engine may compile at each start",
    )


def _engine() -> Finding:
    """The engine runs a control and a timer."""
    started = time.monotonic()
    replay.warm_up()
    seconds = time.monotonic() - started
    return Finding("engine", True, f"{len(roster())} strategies, ready in {seconds:.1f} s", "")


def _disk(runs: Path) -> Finding:
    place = next(path for path in (runs.absolute(), *runs.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    return Finding(
        f"room for runs, {DISK_MIN_BYTES >> 30} GiB",
        free >= DISK_MIN_BYTES and os.access(place, os.W_OK),
        f"{free / (1 << 30):.1f} GiB free, {'writable' if os.access(place, os.W_OK) else 'not'}",
        f"free some space at {place}, or set run.directory to another disk",
    )


def _clock() -> Finding:
    """The wall clock is later than this version, and runs as fast as the monotonic one."""
    wall, steady = clock.now_ns(), time.monotonic_ns()
    time.sleep(0.05)
    drift_ms = abs((clock.now_ns() - wall) - (time.monotonic_ns() - steady)) / 1e6
    now = datetime.fromtimestamp(wall // SECOND_NS, UTC)
    return Finding(
        "clock",
        wall > _RELEASED_NS and drift_ms < 5,
        f"{now:%Y-%m-%d %H:%M:%S} UTC, {drift_ms:.2f} ms off in 50 ms",
        "set the clock and keep it set (NTP); only live and paper trading need it exact",
        needed=False,
    )


def _samples() -> list[Finding]:
    found = []
    for name in samples.SAMPLES:
        try:
            path, fine, text = samples.files(name)[0], True, ""
            text = f"{path.stat().st_size / 1e6:.1f} MB"
        except BadInput as error:
            fine, text = False, str(error)
        fix = "pip install 'fairwind[samples]', or run scripts/test"
        found.append(Finding(f"sample {name}", fine, text, fix, needed=False))
    return found


def _shared() -> Finding:
    return Finding(
        "recorded data beside the project",
        SHARED.is_dir(),
        str(SHARED) if SHARED.is_dir() else f"none at {SHARED.absolute()}",
        "not needed: the samples are replayed instead",
        needed=False,
    )
