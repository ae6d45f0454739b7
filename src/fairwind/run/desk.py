"""The desk of a running session: what an operator asks of it, and what became of that.

In: requests, each with a key and an operator's name. Out: controls for the next turn; an answer to
each request once it is durable; `engine.json`, which says where the desk is. Never here: a control
that was not checked, a key that acts twice, a control without a name.
"""

import asyncio
import hmac
import os
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, structs

from fairwind.core import controls
from fairwind.core.controls import AnyControl
from fairwind.core.errors import BadInput, Fault
from fairwind.core.events import Events, Kind, empty
from fairwind.engine.controls import check
from fairwind.engine.run import roster
from fairwind.journal.log import faults
from fairwind.run import alerts
from fairwind.run.alerts import Alerts

WAITING_MAX = 64
"""Controls that wait for a turn; more are refused."""
KEYS_MAX = 1000
"""Requests whose answers are remembered. A restart forgets them: the journal says what was done."""
BODY_BYTES_MAX = 4096
ANSWER_S = 10.0
"""A request that is not durable by then is told so; asked again, it gets its answer."""
NAME_MAX = 64
OURS = "config"
"""The operator of the controls that a run begins with; nobody else may have this name."""
FILE = "engine.json"


class Limit(controls.Control, frozen=True, kw_only=True):
    """Set limits of capital; what is not named stays. The journal holds it as a Configure."""

    cap_strategy: float | None = None
    cap_family: float | None = None
    cap_underlying: float | None = None
    cap_direction: float | None = None
    cap_utilization: float | None = None
    drawdown_stop: float | None = None


Asked = (
    Limit
    | controls.Configure
    | controls.Deposit
    | controls.Enable
    | controls.SetParameter
    | controls.SetMultiplier
    | controls.Halt
    | controls.Resume
    | controls.Reset
)
"""Controls that may be asked for while a session runs."""


class Words(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what is sent and written here."""


class Acknowledge(Words, frozen=True, kw_only=True):
    """Somebody knows of a firing alert."""

    kind: alerts.Kind
    subject: str


class Request(Words, frozen=True, kw_only=True):
    """One wish: a control or an acknowledgement. The same key asks for the same thing."""

    key: Annotated[str, Meta(min_length=1, max_length=200)]
    operator: Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
    control: Asked | None = None
    acknowledge: Acknowledge | None = None


class Answer(Words, frozen=True, kw_only=True):
    """What was done, and when in market time. `event` is its number in the journal, from 0."""

    event: int | None
    ts_ns: int


class Running(Words, frozen=True, kw_only=True):
    """What `engine.json` says: where a session is asked, and by what right."""

    address: str
    token: str
    pid: int
    mode: str  # PAPER
    speed: float
    started_ns: int  # UTC
    ended: bool = False
    failed: str = ""  # why it ended, when that was not as it should


class _Waiting(NamedTuple):
    control: Asked
    answer: asyncio.Future[Answer]


class Desk:
    """Takes requests beside the turns. `wake` is called when a control waits for the next one;
    `configured` says between two turns what the engine's limits are."""

    def __init__(
        self,
        now_ns: Callable[[], int],
        wake: Callable[[], None],
        configured: Callable[[], controls.Configure] = controls.Configure,
    ) -> None:
        self._now_ns = now_ns
        self._wake = wake
        self._configured = configured
        self._waiting: deque[_Waiting] = deque()
        self._taken: list[_Waiting] = []
        self._answers: OrderedDict[str, tuple[Request, asyncio.Future[Answer]]] = OrderedDict()
        self._closed = False

    async def ask(self, request: Request, known: Alerts) -> Answer:
        """Wait until a request is done and durable.

        Raises BadInput for what cannot be done, Fault when the session is ending, too much waits,
        or the journal takes longer than ANSWER_S.
        """
        before = self._answers.get(request.key)
        if before is not None and before[0] != request:
            raise BadInput(f"key {request.key!r}: it was used for another request; make a new one")
        answer = self._accept(request, known) if before is None else before[1]
        try:
            return await asyncio.wait_for(asyncio.shield(answer), ANSWER_S)
        except TimeoutError as error:
            raise Fault(
                f"expected the journal to take the control within {ANSWER_S:g} s, found it still "
                "waiting; ask again with the same key, and look at the disk"
            ) from error

    def take(self, now_ns: int) -> tuple[Events, dict[int, bytes]]:
        """The controls that wait, as events of this moment, and their payloads by id.

        A Limit opens a batch: it changes some of what the controls before it have set.
        """
        assert not self._taken, "the batch before this one is not durable yet"
        while self._waiting and not (self._taken and isinstance(self._waiting[0].control, Limit)):
            self._taken.append(self._waiting.popleft())
        if self._waiting:
            self._wake()
        encoded = [controls.encode(now_ns, self._whole(one.control)) for one in self._taken]
        events: Events = np.concatenate([empty(0), *(event for event, _ in encoded)])
        return events, {int(event["price"][0]): payload for event, payload in encoded}

    def fed(self, events: Events, first: int) -> None:
        """The batch with the controls that were taken is durable; its first event's number."""
        places = np.flatnonzero(events["kind"] == Kind.CONTROL)
        for place, one in zip(places.tolist(), self._taken, strict=True):
            _answer(one, Answer(event=first + place, ts_ns=int(events["ts_ns"][place])))
        self._taken = []

    def close(self) -> None:
        """The session ends: what waits is not done any more."""
        self._closed = True
        for one in (*self._taken, *self._waiting):
            if not one.answer.done():
                one.answer.set_exception(_ending())
                one.answer.exception()  # whoever asked may be gone
        self._taken, self._waiting = [], deque()

    def _accept(self, request: Request, known: Alerts) -> asyncio.Future[Answer]:
        if not request.operator.isprintable() or request.operator.strip() in ("", OURS):
            raise BadInput(
                f"operator: expected 1 to {NAME_MAX} printable characters that are not {OURS!r}, "
                f"found {request.operator!r}"
            )
        if (request.control is None) == (request.acknowledge is None):
            raise BadInput("expected a control or an alert to acknowledge, found both or none")
        if self._closed:
            raise _ending()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if request.acknowledge is not None:
            self._acknowledge(request.acknowledge, request.operator, known, answer)
        elif request.control is not None:
            self._queue(structs.replace(request.control, operator=request.operator), answer)
        self._answers[request.key] = request, answer
        while len(self._answers) > KEYS_MAX:
            self._answers.popitem(last=False)
        return answer

    def _queue(self, control: Asked, answer: asyncio.Future[Answer]) -> None:
        checked(control)
        if len(self._waiting) >= WAITING_MAX:
            raise Fault(f"{WAITING_MAX} controls wait already; ask again when the engine is free")
        self._waiting.append(_Waiting(control, answer))
        self._wake()

    def _whole(self, control: Asked) -> AnyControl:
        """As the engine takes it."""
        if not isinstance(control, Limit):
            return control
        return structs.replace(self._configured(), operator=control.operator, **_named(control))

    def _acknowledge(
        self, what: Acknowledge, operator: str, known: Alerts, answer: asyncio.Future[Answer]
    ) -> None:
        now_ns = self._now_ns()
        if not known.acknowledge(what.kind, what.subject, operator, now_ns):
            raise BadInput(f"no alert {what.kind} of {what.subject!r} fires; look at /status")
        answer.set_result(Answer(event=None, ts_ns=now_ns))


def checked(control: Asked) -> None:
    """BadConfig when the engine could not do it."""
    if isinstance(control, Limit):
        control = structs.replace(controls.Configure(), **_named(control))
    check(control, roster())


def _named(limit: Limit) -> dict[str, float]:
    named = structs.asdict(limit)
    return {name: one for name, one in named.items() if name != "operator" and one is not None}


def may(header: str, token: str) -> bool:
    """Whether an Authorization header names the token; takes as long for any that does not."""
    return hmac.compare_digest(header.encode(), f"Bearer {token}".encode())


async def read(body: AsyncIterator[bytes]) -> Request:
    """The request in a body. BadInput for one that is too long or says something else."""
    whole = bytearray()
    async for part in body:
        whole += part
        if len(whole) > BODY_BYTES_MAX:
            raise BadInput(f"expected at most {BODY_BYTES_MAX} bytes, found more")
    try:
        return msgspec.json.decode(whole, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"expected a control or an alert to acknowledge: {error}") from error


def write(run: Path, running: Running) -> None:
    """Say in a run's folder where it is asked; nobody else on this machine may read it.

    Raises DiskFault.
    """
    place = run / FILE
    fresh = place.with_suffix(".tmp")
    with faults(place):
        fresh.unlink(missing_ok=True)
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(running)))
        fresh.replace(place)


def found(run: Path) -> Running | None:
    """Where a run is asked; None when no session has said so. BadInput for a file that is none."""
    place = run / FILE
    try:
        return msgspec.json.decode(place.read_bytes(), type=Running)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"{place}: expected what a session writes, found: {error}") from error


def _answer(one: _Waiting, answer: Answer) -> None:
    if not one.answer.done():
        one.answer.set_result(answer)


def _ending() -> Fault:
    return Fault("expected a session that trades, found one that is ending; continue the run first")
