"""The pages beside a session: a process of their own, begun with it and begun anew when it dies.

In: a run that trades. Out: where the pages are, the part `pages` of the session's status.
Never here: a session that waits for its pages, or pages that outlive it unasked.
"""

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from fairwind.run.built_in import COMMAND
from fairwind.run.health import Part

WAITS_S = (0.0, 1.0, 4.0, 15.0, 60.0, 240.0)
"""Before each start; after the last one the pages stay away."""
LASTED_S = 600.0
"""Pages that lived for so long did not die of what killed those before them."""
ANNOUNCED_S = 20.0
"""A process that has not said by then where it serves is ended."""
FAREWELL_S = 10.0
"""How long it has to end once its standard input has."""
LOG = "pages.log"
LOG_BYTES_MAX = 1 << 20


class Announced(msgspec.Struct, frozen=True):
    """What we read of the first line of the pages' process."""

    link: str  # lets one browser in


class Pages:
    """The process; `options` are those of `fairwind pages`."""

    def __init__(self, run: Path, options: Sequence[str] = ()) -> None:
        self.link = ""
        self.deaths = 0
        self._run = run
        self._options = options
        self._problem = ""
        self._phase = "starting"
        self._known = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start the process, and again when it dies."""
        self._task = asyncio.create_task(self._keep())

    async def announced(self) -> str:
        """A login link once there is one; nothing if there is none after ANNOUNCED_S."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._known.wait(), ANNOUNCED_S)
        return self.link

    async def close(self) -> None:
        """End the process."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def part(self, now_ns: int) -> Part:
        """How it is."""
        return Part(
            name="pages",
            phase=self._phase,
            beat_ns=now_ns,
            problem=self._problem,
            errors=self.deaths,
            detail=f"{self.deaths} times begun anew" if self.deaths else "",
        )

    async def _keep(self) -> None:
        quick = 0
        while quick < len(WAITS_S):
            await asyncio.sleep(WAITS_S[quick])
            began_s = time.monotonic()
            code = await self._live()
            quick = 1 if time.monotonic() - began_s >= LASTED_S else quick + 1
            self.deaths += 1
            self._phase = "ended"
            self._problem = f"its process ended ({code}); {LOG} says why"
        self._phase, self._problem = "given up", f"{self._problem}; `fairwind pages {self._run}`"

    async def _live(self) -> str:
        """One life of the process; how it ended."""
        try:
            process = await self._started()
        except OSError as error:
            return str(error)
        try:
            async with asyncio.timeout(ANNOUNCED_S):
                await self._read(process)
            if self._phase == "running":
                await process.wait()
        except TimeoutError:
            return f"it did not say within {ANNOUNCED_S:g} s where it serves"
        finally:
            await _ended(process)
        return f"code {process.returncode}"

    async def _started(self) -> Process:
        """In a session of its own, so that ctrl-C ends the trading first."""
        log = self._run / LOG
        mode = "ab" if log.exists() and log.stat().st_size < LOG_BYTES_MAX else "wb"
        with log.open(mode) as said:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *("-c", COMMAND, "pages", str(self._run), "--attached", *self._options),
                stdin=PIPE,
                stdout=PIPE,
                stderr=said,
                start_new_session=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        with suppress(msgspec.DecodeError, ValueError):
            line = await process.stdout.readline()
            self.link = msgspec.json.decode(line, type=Announced).link
            self._phase, self._problem = "running", ""
            self._known.set()


async def _ended(process: Process) -> None:
    """Close its input, then wait; a process that does not end is killed."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), FAREWELL_S)
    except TimeoutError:
        process.kill()
        await process.wait()
