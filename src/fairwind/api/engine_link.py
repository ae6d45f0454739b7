"""The trading process as the pages' process hears it: its status twice a second, and its desk.

In: RUN/engine.json, answers on loopback. Out: the newest Status and its age; controls sent on.
Never here: an address beyond loopback, a token that is shown, an old status taken for a new one.
"""

import asyncio
import os
import time
from enum import StrEnum
from pathlib import Path

import httpx
import msgspec

from fairwind.api import line
from fairwind.api.line import Line
from fairwind.api.wire import Refusal
from fairwind.core import clock as wall
from fairwind.core.errors import BadInput, Fault
from fairwind.run import desk
from fairwind.run.alerts import Alert, Alerts
from fairwind.run.desk import Answer, Request, Running
from fairwind.run.health import HISTORY_SHOWN, Status

POLL_S = 0.5
SILENT_S = 2.0
"""A status that is older, in wall time, is an old one."""
ANSWER_S = desk.ANSWER_S + 2.0
LOOPBACK = "http://127.0.0.1:"
REPLAY = "REPLAY"
CONTINUE = "look at the terminal of `fairwind paper` and at log.jsonl; continue the run there"


class Phase(StrEnum):
    """Whether the trading process answers."""

    RUNNING = "running"
    SILENT = "silent"
    OVER = "over"


class EngineLink:
    """One run's trading process. Call `look` about twice a second, or let `follow` do it."""

    def __init__(self, run: Path) -> None:
        self.status: Status | None = None
        """The newest that came, however old."""
        self.alarms = Alerts()
        """Ours: what the engine cannot say of itself, by the clock of this machine."""
        self.looks = 0
        """Grows with each look, so that a reader sees that something may be other."""
        self._run = run
        self._problem = ""
        self._running: Running | None = None
        self._running = self._found()
        self._since_s = time.monotonic()
        self._heard_s: float | None = None
        self._line = Line()
        self._client = httpx.AsyncClient(trust_env=False, timeout=line.TIMEOUT_S)

    @property
    def phase(self) -> Phase:
        """Running as long as the newest status is young; over when the run says that it ended."""
        if self._running is None or self._running.ended:
            return Phase.OVER
        return Phase.SILENT if self.silent_s > SILENT_S else Phase.RUNNING

    @property
    def silent_s(self) -> float:
        """How old the newest status is in wall time; since we listen, when none came yet."""
        return time.monotonic() - (self._since_s if self._heard_s is None else self._heard_s)

    @property
    def mode(self) -> str:
        """What the run is shown as."""
        if self._running is None or self._running.ended:
            return REPLAY
        return self._running.mode

    @property
    def speed(self) -> float | None:
        """Market seconds per second; None when nothing runs."""
        return None if self._running is None else self._running.speed

    @property
    def failed(self) -> str:
        """Why the session ended, when that was not as it should."""
        return "" if self._running is None else self._running.failed

    @property
    def active(self) -> tuple[Alert, ...]:
        """Alerts that are not resolved, the engine's and ours."""
        said = () if self.status is None else self.status.alerts
        return (*self.alarms.active(), *said)

    @property
    def history(self) -> tuple[Alert, ...]:
        """Alerts that were resolved lately, the engine's and ours."""
        said = () if self.status is None else self.status.history
        return (*said, *self.alarms.newest(HISTORY_SHOWN))

    @property
    def why(self) -> str:
        """What is the matter, in words; empty while it runs."""
        match self.phase:
            case Phase.RUNNING:
                return ""
            case Phase.OVER:
                return (
                    f"the session failed: {self.failed}" if self.failed else "the session is over"
                )
        gone = self._running is not None and not _lives(self._running.pid)
        problem = "its process has ended" if gone else self._problem or "no answer yet"
        return f"silent for {self.silent_s:.0f} s: {problem}"

    async def follow(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Ask once how the engine is."""
        self.looks += 1
        self._running, before = self._found(), self._running
        if self._running is None or self._running.ended:
            return
        if before is not None and before.token != self._running.token:  # a session goes on with it
            self.status, self._heard_s, self._since_s = None, None, time.monotonic()
        try:
            running = self._running
            said = await self._line.get(_loopback(running), "/status", running.token)
            self.status = msgspec.json.decode(said, type=Status)
            self._heard_s, self._problem = time.monotonic(), ""
        except Fault as error:
            self._problem = str(error)
        except msgspec.DecodeError as error:
            self._problem = f"its status does not parse ({error}): is it of another version?"
        except Refusal as refusal:
            self._problem = refusal.text

    async def metrics(self) -> bytes:
        """What the engine says to Prometheus; nothing when it does not answer."""
        try:
            if self._running is None or self.phase != Phase.RUNNING:
                return b""
            headers = {"Authorization": f"Bearer {self._running.token}"}
            address = f"{_loopback(self._running)}/metrics"
            answer = await self._client.get(address, headers=headers)
            return answer.raise_for_status().content
        except (httpx.HTTPError, Refusal):
            return b""

    async def send(self, request: Request) -> Answer:
        """Have a control or an acknowledgement done. Raises Refusal."""
        running, wish, now_ns = self._running, request.acknowledge, wall.now_ns()
        if wish and self.alarms.acknowledge(wish.kind, wish.subject, request.operator, now_ns):
            return Answer(event=None, ts_ns=now_ns)
        if running is None or running.ended:
            raise Refusal(409, "this run is over and only shown; controls need one that trades")
        try:
            said = await self._client.post(
                f"{_loopback(running)}/controls",
                content=msgspec.json.encode(request),
                headers={
                    "Authorization": f"Bearer {running.token}",
                    "Content-Type": "application/json",
                },
                timeout=ANSWER_S,
            )
        except httpx.HTTPError as error:
            text = f"the engine does not answer ({type(error).__name__}); {CONTINUE}"
            raise Refusal(503, text) from error
        if said.status_code != httpx.codes.OK:
            raise _refusal(said)
        try:
            return msgspec.json.decode(said.content, type=Answer)
        except msgspec.DecodeError as error:
            text = f"the engine's answer does not parse ({error}); is it of another version?"
            raise Refusal(503, text) from error

    async def close(self) -> None:
        """Let go of its connections."""
        self._line.close()
        await self._client.aclose()

    def _found(self) -> Running | None:
        try:
            return desk.found(self._run)
        except BadInput as error:
            self._problem = str(error)
            return self._running


def _refusal(said: httpx.Response) -> Refusal:
    """What the engine refuses, in its own words; what it should not say is a fault of ours."""
    try:
        found = msgspec.json.decode(said.content)
        text = str(found["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        text = said.text[:500]
    if said.status_code in (409, 422, 429):
        return Refusal(said.status_code, text)
    return Refusal(503, f"{text or said.status_code}; {CONTINUE}")


def _loopback(running: Running) -> str:
    """Its address; the token never goes to another machine."""
    if not running.address.startswith(LOOPBACK):
        raise Refusal(503, f"expected the engine at {LOOPBACK}…, found {running.address}")
    return running.address


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
