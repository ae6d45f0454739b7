"""Alerts told to people: by mail, chat or webhook, to each at the severities that concern him.

In: the engine's alerts, or its silence; targets. Out: messages through Apprise, the view
`delivery`, alerts of our own. Never here: an address in a text, a message twice, a page that waits.
"""

import asyncio
import logging
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import apprise
import msgspec

from fairwind.api.engine_link import SILENT_S, EngineLink, Phase
from fairwind.core import clock as wall
from fairwind.core.config import Target
from fairwind.core.errors import BadConfig
from fairwind.journal.log import faults
from fairwind.run.alerts import Alert, Condition, Kind, Severity, State
from fairwind.views.shapes import Scalar, Values

LOOK_S = 0.5
WAITS_S = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Between two attempts at a message; after the last one it is given up."""
SEND_MAX_S = 30.0
"""An attempt that takes longer has failed."""
WAITING_MAX = 256
"""Messages that wait for one target; the oldest give way, and count as failed."""
SENT_MAX = 4_000
"""Messages that are remembered as sent."""
FAREWELL_S, LAST_WORD_S = 5.0, 30.0
"""For what waits when all ends as it should, and when nobody knows yet that the engine is gone."""
FILE = "delivered.txt"
"""What has reached whom, in the run's folder: pages that are begun anew do not say it again."""
HIDDEN = "***"
SHORT = 3
"""Parts of an address that are no longer than this give nothing away."""

_TYPES = {
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.INFO: apprise.NotifyType.INFO,
}
_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)


class _Hearing(logging.Handler):
    """Gives what Apprise says to whoever has called it."""

    def emit(self, record: logging.LogRecord) -> None:
        lines = _HEARD.get()
        if lines is not None:
            lines.append(record.getMessage())


_LOGGER = logging.getLogger("apprise")
_LOGGER.propagate = False  # it would write addresses to the log
_LOGGER.addHandler(_Hearing(logging.WARNING))


class Message(NamedTuple):
    """One alert that fired or was resolved."""

    id: str
    title: str
    body: str
    kind: apprise.NotifyType


class Mailbox:
    """One target: what waits for it, and what became of the rest.

    Raises BadConfig for an address that Apprise does not understand.
    """

    def __init__(self, name: str, target: Target, waits_s: Sequence[float] = WAITS_S) -> None:
        self.severities = target.severities
        self.waiting: deque[Message] = deque()
        self.sent = self.failed = self.retried = 0
        self.error = ""
        """Of the last attempt; empty when it was understood."""
        self.last_error, self.last_sent_ns = "", 0
        self._waits_s = waits_s
        self._url = target.url
        self._there = asyncio.Event()
        self._apprise = apprise.Apprise()
        with _heard():
            known = self._apprise.add(target.url)
        scheme = target.url.partition(":")[0]
        if not known:
            raise BadConfig(
                f"alerts.targets, {name}: expected an address as Apprise writes them, found a "
                f"{scheme!r} that it does not understand; see the list of its services"
            )
        self.name = f"{name} {scheme}"

    def put(self, message: Message) -> None:
        """One more."""
        self.waiting.append(message)
        if len(self.waiting) > WAITING_MAX:
            self.waiting.popleft()
            self.failed += 1
            self.last_error = f"more than {WAITING_MAX} messages waited"
        self._there.set()

    async def run(self, done: Callable[["Mailbox", Message], None]) -> None:
        """Send what comes, for ever; `done` is called for each that was taken."""
        while True:
            while not self.waiting:
                self._there.clear()
                await self._there.wait()
            message = self.waiting[0]
            if await self._brought(message):
                self.sent, self.last_sent_ns = self.sent + 1, wall.now_ns()
                done(self, message)
            else:
                self.failed += 1
            if self.waiting and self.waiting[0] is message:
                self.waiting.popleft()

    async def _brought(self, message: Message) -> bool:
        for wait_s in (*self._waits_s, None):
            self.error = await self._attempt(message)
            if not self.error:
                return True
            self.last_error = self.error
            if wait_s is not None:
                self.retried += 1
                await asyncio.sleep(wait_s)
        return False

    async def _attempt(self, message: Message) -> str:
        """Why it was not taken; empty when it was."""
        try:
            return await asyncio.wait_for(asyncio.to_thread(self._send, message), SEND_MAX_S)
        except TimeoutError:
            return f"no answer within {SEND_MAX_S:g} s"
        except Exception as error:  # its text may hold the address
            return f"Apprise failed ({type(error).__name__})"

    def _send(self, message: Message) -> str:
        with _heard() as lines:
            taken = self._apprise.notify(
                title=message.title, body=message.body, notify_type=message.kind
            )
        return "" if taken else without(self._url, " ".join(lines) or "it was not taken")


class Delivery:
    """All targets of one run's pages. `now_ns` is the time that silences are measured in."""

    def __init__(
        self,
        run: Path,
        engine: EngineLink,
        targets: Sequence[Target],
        *,
        waits_s: Sequence[float] = WAITS_S,
        now_ns: Callable[[], int] = wall.now_ns,
    ) -> None:
        self.boxes = [Mailbox(str(n), one, waits_s) for n, one in enumerate(targets, 1)]
        self._run = run
        self._engine = engine
        self._now_ns = now_ns
        self._since_ns: int | None = None
        self._known: OrderedDict[str, None] = OrderedDict()
        """Alerts that were told, or are about to be."""
        self._path = run / FILE
        self._sent = OrderedDict.fromkeys(self._read())

    async def run(self) -> None:
        """Look and tell until cancelled."""
        async with asyncio.TaskGroup() as sending:
            for box in self.boxes:
                sending.create_task(box.run(self._note))
            while True:
                self.look()
                await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Tell what is new."""
        now_ns = self._now_ns()
        for alert in self._engine.alarms.update(now_ns, self._conditions()):
            self._tell(alert)
        status = self._engine.status
        if status is None:
            return
        if self._since_ns is None:
            self._since_ns = status.now_ns
        for alert in (*status.history, *status.alerts):
            if alert.state == State.RESOLVED and alert.fired_ns < self._since_ns:
                if alert.id in self._known:
                    self._tell(alert)
            else:
                self._tell(alert)

    async def farewell(self) -> None:
        """Bring what waits before the pages end; first find out whether the engine is gone."""
        began_s = time.monotonic()
        while self.boxes and self._is_dying(time.monotonic() - began_s):
            await asyncio.sleep(LOOK_S)
        until_s = time.monotonic() + FAREWELL_S
        while any(box.waiting for box in self.boxes) and time.monotonic() < until_s:
            await asyncio.sleep(LOOK_S / 10)

    def view(self) -> Values:
        """What was sent, what was not, and why."""
        told: dict[str, Scalar] = {
            "targets": len(self.boxes),
            "sent": sum(box.sent for box in self.boxes),
            "failed": sum(box.failed for box in self.boxes),
            "retried": sum(box.retried for box in self.boxes),
            "waiting": sum(len(box.waiting) for box in self.boxes),
        }
        for box in self.boxes:
            told |= {
                f"{box.name}: severities": ", ".join(box.severities),
                f"{box.name}: sent": box.sent,
                f"{box.name}: failed": box.failed,
                f"{box.name}: last_sent_at_ns": box.last_sent_ns or None,
                f"{box.name}: last_error": box.last_error or None,
            }
        return Values(values=told)

    def _conditions(self) -> Iterator[Condition]:
        engine = self._engine
        failed = engine.phase == Phase.OVER and engine.failed
        if engine.phase == Phase.SILENT or (failed and engine.status is not None):
            yield Condition(Kind.ENGINE_GONE, "engine", engine.why)
        for box in self.boxes:
            if box.error:
                yield Condition(Kind.DELIVERY_FAILED, box.name, box.error)

    def _is_dying(self, for_s: float) -> bool:
        """Whether it is about to become an alert that the engine is gone, as far as can be told
        after so long."""
        engine = self._engine
        if any(one.kind == Kind.ENGINE_GONE for one in engine.alarms.active()):
            return False
        if engine.phase == Phase.RUNNING:
            return for_s < 2 * SILENT_S
        return for_s < LAST_WORD_S and (engine.phase == Phase.SILENT or bool(engine.failed))

    def _tell(self, alert: Alert) -> None:
        resolved = alert.state == State.RESOLVED
        if resolved and alert.id not in self._known:  # so short that it was not seen firing
            self._tell(msgspec.structs.replace(alert, state=State.FIRING, resolved_ns=0))
        message = _message(alert, self._run, resolved)
        if message.id in self._known:
            return
        self._known |= {message.id: None, alert.id: None}
        while len(self._known) > SENT_MAX:
            self._known.popitem(last=False)
        for box in self.boxes:
            if alert.severity in box.severities and (box.name, message.id) not in self._sent:
                box.put(message)

    def _note(self, box: Mailbox, message: Message) -> None:
        """Remember that somebody was told, also beyond this process."""
        self._sent[box.name, message.id] = None
        while len(self._sent) > SENT_MAX:
            self._sent.popitem(last=False)
        with suppress(OSError), self._path.open("a", encoding="utf-8") as out:
            out.write(f"{box.name}\t{message.id}\n")

    def _read(self) -> list[tuple[str, str]]:
        if not self._path.exists():
            return []
        with faults(self._path):
            text = self._path.read_text(encoding="utf-8", errors="replace")
            lines = text.splitlines()[-SENT_MAX:]
        pairs = (line.partition("\t") for line in lines)
        return [(name, message) for name, tab, message in pairs if tab]


def without(url: str, text: str) -> str:
    """The text without what an address holds beside its scheme."""
    _, _, rest = url.partition("://")
    parts = {part for one in (rest, unquote(rest)) for part in re.split(r"[/:@?&=#,;+\s]+", one)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) > SHORT:
            text = text.replace(part, HIDDEN)
    return text


def _message(alert: Alert, run: Path, resolved: bool) -> Message:
    word = "resolved" if resolved else alert.severity.upper()
    shown = [alert.text, alert.detail, f"run {run}", alert.playbook]
    return Message(
        id=f"{alert.id} resolved" if resolved else alert.id,
        title=f"[{word}] {alert.kind} {alert.subject}",
        body="\n".join(one for one in shown if one),
        kind=apprise.NotifyType.SUCCESS if resolved else _TYPES[alert.severity],
    )


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What Apprise complains of in this call, also from threads that it sends in."""
    lines: list[str] = []
    token = _HEARD.set(lines)
    try:
        yield lines
    finally:
        _HEARD.reset(token)
