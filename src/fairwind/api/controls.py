"""Controls over HTTP: what a browser may ask of the engine, checked and sent on with a name.

In: typed bodies with an idempotency key and an operator. Out: the event that the journal holds.
Never here: a control that arms live trading, one that is done twice, a dangerous one by accident.
"""

import logging
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from fairwind.api.auth import Door
from fairwind.api.board import Board
from fairwind.api.wire import Refusal, answer, documented
from fairwind.core import controls
from fairwind.engine.run import roster
from fairwind.run import desk
from fairwind.run.alerts import Kind

LOG = logging.getLogger("fairwind.pages")
router = APIRouter(prefix="/api/controls", tags=["controls"])

Name = Annotated[str, Field(min_length=1, max_length=desk.NAME_MAX)]
Strategy = Annotated[
    str,
    Field(
        min_length=1,
        max_length=32,
        json_schema_extra={"enum": [spec.id for spec in roster()]},
    ),
]
Figure = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=128,
        pattern="^[!-~]+$",
        description="the same key asks for the same thing: it is done once, answered every time",
    ),
]


class Wish(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    operator: Name


class EnableWish(Wish):
    """Switch a strategy on or off for new entries."""

    strategy: Strategy
    enabled: bool


class ParameterWish(Wish):
    """Set a parameter of a strategy within its bounds."""

    strategy: Strategy
    name: Annotated[str, Field(min_length=1, max_length=64)]
    value: Figure


class MultiplierWish(Wish):
    """Scale a strategy's size."""

    strategy: Strategy
    value: Annotated[float, Field(ge=0.0, le=2.0)]


class RiskWish(Wish):
    """Set limits of capital; what is not named stays."""

    confirm: Literal["RISK"]
    cap_strategy: Share | None = None
    cap_family: Share | None = None
    cap_underlying: Share | None = None
    cap_direction: Share | None = None
    cap_utilization: Share | None = None
    drawdown_stop: Share | None = None


class HaltWish(Wish):
    """The kill switch: no new entries, resting orders are cancelled."""

    confirm: Literal["HALT"]
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class ResumeWish(Wish):
    """Let entries through again after a halt or a drawdown stop."""

    confirm: Literal["RESUME"]


class ResetWish(Wish):
    """Cancel open orders, forget cooldowns and counters; with `force_defaults` settings too."""

    confirm: Literal["RESET"]
    force_defaults: bool = False


class DepositWish(Wish):
    """Paper money arrives."""

    confirm: Literal["DEPOSIT"]
    amount_micro: Annotated[int, Field(ge=1, le=10**15)]


class AcknowledgeWish(Wish):
    """Somebody knows of a firing alert."""

    kind: Kind
    subject: Annotated[str, Field(min_length=1, max_length=200)]


class Asker:
    """Sends one request's control on. Raises Refusal."""

    def __init__(self, request: Request, key: Key) -> None:
        self._board: Board = request.app.state.board
        self._door: Door = request.app.state.door
        self._session: str = request.state.session.id
        self._key = key
        self._path = request.url.path

    async def control(self, wish: Wish, control: desk.Asked) -> Response:
        """Have a control done."""
        self._allow()
        desk.checked(control)
        request = desk.Request(key=self._key, operator=wish.operator, control=control)
        return await self._send(request)

    async def acknowledge(self, wish: AcknowledgeWish) -> Response:
        """Have an alert acknowledged."""
        self._allow()
        what = desk.Acknowledge(kind=wish.kind, subject=wish.subject)
        return await self._send(
            desk.Request(key=self._key, operator=wish.operator, acknowledge=what)
        )

    def _allow(self) -> None:
        """One kind of control does not use up what another may need: a halt is always possible."""
        self._door.controls.take(f"{self._session} {self._path}")
        if self._board.engine.mode == "REPLAY":
            raise Refusal(409, f"{self._board.engine.why}: it is only shown, and takes no controls")

    async def _send(self, request: desk.Request) -> Response:
        try:
            done = await self._board.engine.send(request)
        except Refusal as refusal:
            LOG.warning("refused: %s by %r: %s", self._path, request.operator, refusal.text)
            raise
        return answer(done)


Asked = Annotated[Asker, Depends(Asker)]
DONE: dict[str, Any] = {
    "responses": documented(desk.Answer, 400, 401, 403, 409, 413, 422, 429, 503),
    "response_class": Response,
}


@router.post("/enable", **DONE)
async def enable(wish: EnableWish, asked: Asked) -> Response:
    """Switch one strategy on or off for new entries."""
    made = controls.Enable(strategy=wish.strategy, enabled=wish.enabled)
    return await asked.control(wish, made)


@router.post("/parameter", **DONE)
async def parameter(wish: ParameterWish, asked: Asked) -> Response:
    """Set one parameter of one strategy, within its bounds."""
    made = controls.SetParameter(strategy=wish.strategy, name=wish.name, value=wish.value)
    return await asked.control(wish, made)


@router.post("/multiplier", **DONE)
async def multiplier(wish: MultiplierWish, asked: Asked) -> Response:
    """Scale one strategy's size, 0 to 2."""
    made = controls.SetMultiplier(strategy=wish.strategy, value=wish.value)
    return await asked.control(wish, made)


@router.post("/risk", **DONE)
async def risk(wish: RiskWish, asked: Asked) -> Response:
    """Set limits of capital; what is not named stays as it is."""
    made = desk.Limit(**wish.model_dump(exclude={"operator", "confirm"}))
    return await asked.control(wish, made)


@router.post("/halt", **DONE)
async def halt(wish: HaltWish, asked: Asked) -> Response:
    """Stop all new entries until a resume; resting orders are cancelled."""
    return await asked.control(wish, controls.Halt(reason=wish.reason))


@router.post("/resume", **DONE)
async def resume(wish: ResumeWish, asked: Asked) -> Response:
    """Allow entries again after a halt or a drawdown stop."""
    return await asked.control(wish, controls.Resume())


@router.post("/reset", **DONE)
async def reset(wish: ResetWish, asked: Asked) -> Response:
    """Cancel open orders and forget cooldowns, streaks and counters."""
    made = controls.Reset(force_defaults=wish.force_defaults)
    return await asked.control(wish, made)


@router.post("/deposit", **DONE)
async def deposit(wish: DepositWish, asked: Asked) -> Response:
    """Add paper money."""
    made = controls.Deposit(amount_micro=wish.amount_micro)
    return await asked.control(wish, made)


@router.post("/acknowledge", **DONE)
async def acknowledge(wish: AcknowledgeWish, asked: Asked) -> Response:
    """Say that somebody knows of a firing alert."""
    return await asked.acknowledge(wish)
