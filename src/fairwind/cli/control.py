"""The command that steers a running session: the operator's wish, sent to its desk.

In: a run, a verb and what it is about. Out: the number of the journaled control, or why not. Never
here: a change of a run that does not trade, a halt or a reset by a slip of the finger.
"""

import asyncio
import getpass
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import typer

from fairwind.cli.screen import app, shown
from fairwind.core import controls
from fairwind.core.config import nearest
from fairwind.core.errors import BadInput, Fault
from fairwind.run import desk
from fairwind.run.alerts import Kind
from fairwind.run.desk import Acknowledge, Answer, Asked, Request

TIMEOUT_S = desk.ANSWER_S + 2.0
SURE = ("halt", "resume", "reset")
"""What has to be typed again on a terminal."""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What stands on the command line behind the verb."""

    words: tuple[str, ...]
    reason: str
    force_defaults: bool


@app.command("control")
def control_command(
    run: Annotated[Path, typer.Argument(help="run directory of a session that trades")],
    verb: Annotated[str, typer.Argument(help="halt, resume, reset, enable, disable, set, ...")],
    what: Annotated[list[str] | None, typer.Argument(help="what it is about")] = None,
    *,
    reason: Annotated[str, typer.Option(help="of a halt; the journal keeps it")] = "",
    force_defaults: Annotated[
        bool, typer.Option("--force-defaults", help="reset: parameters and toggles as well")
    ] = False,
    operator: Annotated[str, typer.Option(help="who asks; else the login name")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="do not ask again")] = False,
) -> None:
    """Steer a running session: halt | resume | reset | enable STRATEGY | disable STRATEGY |
    set STRATEGY.parameter=value | multiplier STRATEGY FACTOR | acknowledge ALERT SUBJECT."""
    if verb not in VERBS:
        raise BadInput(f"no verb {verb!r}; {nearest(verb, VERBS)}")
    given = Given(words=tuple(what or ()), reason=reason, force_defaults=force_defaults)
    wish = VERBS[verb](given)
    control = None if isinstance(wish, Acknowledge) else wish
    if control is not None:
        desk.checked(control)
    if verb in SURE and not yes and sys.stdin.isatty():
        _sure(verb, run)
    request = Request(
        key=secrets.token_urlsafe(16),
        operator=operator or getpass.getuser(),
        control=control,
        acknowledge=wish if isinstance(wish, Acknowledge) else None,
    )
    answer = asyncio.run(send(run, request))
    done = "acknowledged" if answer.event is None else f"event {answer.event}"
    shown.print(f"{verb:<8} {done} by {request.operator}", markup=False, soft_wrap=True)


async def send(run: Path, request: Request) -> Answer:
    """Have a running session do something; its answer.

    Raises BadInput for a run that does not trade and what its session refuses, Fault when it does
    not answer.
    """
    running = desk.found(run)
    if running is None or running.ended:
        raise BadInput(
            f"{run}: expected a run that trades, found one that is over; continue it with "
            f"`fairwind paper --run {run}`"
        )
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S) as client:
            said = await client.post(
                f"{running.address}/controls",
                content=msgspec.json.encode(request),
                headers={"Authorization": f"Bearer {running.token}"},
            )
    except httpx.HTTPError as error:
        raise Fault(
            f"{run}: expected its session at {running.address}, found no answer "
            f"({type(error).__name__}); see whether process {running.pid} lives, and its terminal"
        ) from error
    if said.status_code != httpx.codes.OK:
        raise (Fault if said.status_code >= 500 else BadInput)(said.text.strip())
    return msgspec.json.decode(said.content, type=Answer)


def _halt(given: Given) -> Asked:
    _words(given, "halt")
    return controls.Halt(reason=given.reason or "by hand")


def _resume(given: Given) -> Asked:
    _words(given, "resume")
    return controls.Resume()


def _reset(given: Given) -> Asked:
    _words(given, "reset")
    return controls.Reset(force_defaults=given.force_defaults)


def _enable(given: Given) -> Asked:
    (strategy,) = _words(given, "enable", "STRATEGY")
    return controls.Enable(strategy=strategy, enabled=True)


def _disable(given: Given) -> Asked:
    (strategy,) = _words(given, "disable", "STRATEGY")
    return controls.Enable(strategy=strategy, enabled=False)


def _set(given: Given) -> Asked:
    (wish,) = _words(given, "set", "STRATEGY.parameter=value")
    place, _, value = wish.partition("=")
    strategy, _, name = place.partition(".")
    return controls.SetParameter(strategy=strategy, name=name, value=_number(value))


def _multiplier(given: Given) -> Asked:
    strategy, factor = _words(given, "multiplier", "STRATEGY", "FACTOR")
    return controls.SetMultiplier(strategy=strategy, value=_number(factor))


def _acknowledge(given: Given) -> Acknowledge:
    kind, subject = _words(given, "acknowledge", "ALERT", "SUBJECT")
    if kind not in list(Kind):
        raise BadInput(f"no alert {kind!r}; {nearest(kind, [one.value for one in Kind])}")
    return Acknowledge(kind=Kind(kind), subject=subject)


VERBS: dict[str, Callable[[Given], Asked | Acknowledge]] = {
    "halt": _halt,
    "resume": _resume,
    "reset": _reset,
    "enable": _enable,
    "disable": _disable,
    "set": _set,
    "multiplier": _multiplier,
    "acknowledge": _acknowledge,
}


def _words(given: Given, verb: str, *expected: str) -> tuple[str, ...]:
    if len(given.words) != len(expected):
        usage = " ".join((verb, *expected))
        raise BadInput(f"expected `{usage}`, found {' '.join((verb, *given.words))!r}")
    return given.words


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"expected a number, found {text!r}") from None


def _sure(verb: str, run: Path) -> None:
    found = typer.prompt(f"{run}: type {verb.upper()} to {verb}", default="", show_default=False)
    if found.strip().upper() != verb.upper():
        raise BadInput(f"expected {verb.upper()}, found {found!r}; nothing was done")
