"""The one way to compile a function: numba with the settings that keep results reproducible.

In: a plain function over numbers and arrays. Out: the same function, compiled and kept on disk;
the function itself when NUMBA_DISABLE_JIT is set. Never here: fastmath, threads, stale caches.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, overload

CACHES_KEPT = 5

Function = TypeVar("Function", bound=Callable[..., Any])

INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
"""True when this process runs the plain Python functions."""


def source_hash(package: Path) -> str:
    """A name for the present text of every file that compiled code is made from.

    Numba notices a change in a function's own file only, not in the files of what it calls.
    """
    digest = sha256()
    for part in ("core", "engine", "feeds/scanned"):
        for path in sorted((package / part).rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def cache_folder(name: str) -> Path:
    """An existing folder of ours for the cache `name`: in the user's cache, else temporary.

    Older caches beyond the newest `CACHES_KEPT` are removed. Raises OSError if neither works.
    """
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = home / "fairwind" / "numba" / name
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)  # marks it as used, and fails where nothing can be written
    except (OSError, RuntimeError):  # read-only, or the user has no home
        return temporary_folder(name)
    with suppress(OSError):  # another process may remove the same ones
        caches = [(entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(folder.parent)]
        for _, path in sorted(caches, reverse=True)[CACHES_KEPT:]:
            shutil.rmtree(path, ignore_errors=True)
    return folder


def temporary_folder(name: str) -> Path:
    """A private folder for the cache `name` below the system's temporary folder.

    Cache files are executed, so a folder that somebody else owns is not used.
    """
    folder = Path(tempfile.gettempdir()) / f"fairwind-numba-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="fairwind-numba-"))
    return folder


def load_numba() -> Any:
    """Numba, with its cache in the folder that belongs to the present sources."""
    if "NUMBA_CACHE_DIR" not in os.environ:
        package = Path(__file__).resolve().parents[1]
        os.environ["NUMBA_CACHE_DIR"] = str(cache_folder(source_hash(package)))
    numba = import_module("numba")
    numba.config.reload_config()  # in case somebody imported numba before us
    return numba


numba: Any = None if INTERPRETED else load_numba()


@overload
def compiled(function: Function) -> Function: ...


@overload
def compiled(*, forceinline: bool = False) -> Callable[[Function], Function]: ...


def compiled(function: Function | None = None, *, forceinline: bool = False) -> Any:
    """Compile `function` at its first call; `forceinline` copies its body into its callers.

    Use as `@compiled` or `@compiled(forceinline=True)`.
    """

    def decorator(plain: Function) -> Function:
        if INTERPRETED:
            return plain
        options = {"forceinline": True} if forceinline else {}
        dispatcher: Function = numba.njit(
            cache=True, boundscheck=False, error_model="numpy", **options
        )(plain)
        return dispatcher

    return decorator if function is None else decorator(function)
