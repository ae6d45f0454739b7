"""The console of the built-in market: its clock stepped, sought, paused; faults set and cleared.

In: JSON on loopback under `/control`. Out: JSON with the clock or the faults. Never here: anything
that a real venue would offer.
"""

import asyncio
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from fairwind.core.errors import BadInput
from fairwind.world.faults import Fault
from fairwind.world.server.answers import json_answer, refused
from fairwind.world.server.app import Market

CONTROL = "/control"
HEARD_TURNS = 8
"""Turns of the event loop within which a client frame that is here has been acted on."""
T = TypeVar("T")


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """Where the market is. `played_ns` is behind `now_ns` while the machine is too slow."""

    now_ns: int
    played_ns: int
    speed: float
    stepped: bool
    paused: bool
    first_ns: int  # of the tape
    end_ns: int


class To(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a step or a seek."""

    to_ns: int


class Console:
    """The routes of one market."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def routes(self) -> list[BaseRoute]:
        """All below `/control`."""
        return [
            Route(f"{CONTROL}/clock", self.clock),
            Route(f"{CONTROL}/step", self.step, methods=["POST"]),
            Route(f"{CONTROL}/seek", self.seek, methods=["POST"]),
            Route(f"{CONTROL}/pause", self.pause, methods=["POST"]),
            Route(f"{CONTROL}/resume", self.resume, methods=["POST"]),
            Route(f"{CONTROL}/faults", self.faults),
            Route(f"{CONTROL}/faults", self.add_faults, methods=["POST"]),
            Route(f"{CONTROL}/faults", self.clear_faults, methods=["DELETE"]),
        ]

    async def clock(self, request: Request) -> Response:
        """Where the market is; the routes that change the clock answer the same."""
        return json_answer(clock(self._market))

    async def step(self, request: Request) -> Response:
        """Play up to a time; what sockets have received before this request is acted on before.

        The answer comes when each socket's transport has all its frames.
        """
        if not self._market.clock.stepped:
            return refused("expected a stepped clock, found one that runs; start it stepped", 409)
        try:
            to_ns = body(await request.body(), To).to_ns
        except BadInput as error:
            return refused(str(error))
        now_ns = self._market.clock.now_ns()
        if to_ns < now_ns:
            return refused(f"expected a time from {now_ns} on, found {to_ns}; seek goes back")
        for _ in range(HEARD_TURNS):
            await asyncio.sleep(0)
        self._market.clock.move(to_ns)
        await self._market.advance(to_ns, drained=True)
        return await self.clock(request)

    async def seek(self, request: Request) -> Response:
        """Play anew from the tape's beginning up to a time; all connections are closed."""
        try:
            to_ns = body(await request.body(), To).to_ns
        except BadInput as error:
            return refused(str(error))
        first_ns, _ = self._market.venue.span_ns
        if to_ns < first_ns:
            return refused(f"expected a time from the tape's first, {first_ns}, on, found {to_ns}")
        await self._market.seek(to_ns)
        return await self.clock(request)

    async def pause(self, request: Request) -> Response:
        """Let the clock stand; a stepped one does anyhow."""
        if not self._market.clock.stepped:
            self._market.clock.pause()
        return await self.clock(request)

    async def resume(self, request: Request) -> Response:
        """Let the clock run on."""
        self._market.clock.resume()
        return await self.clock(request)

    async def faults(self, request: Request) -> Response:
        """The faults that are set, each with how often it has acted; so answer the next two."""
        return json_answer(self._market.faults.fired())

    async def add_faults(self, request: Request) -> Response:
        """Set all faults of a list, or none when one of them cannot be."""
        try:
            self._market.faults.add(body(await request.body(), list[Fault]))
        except BadInput as error:
            return refused(str(error))
        return await self.faults(request)

    async def clear_faults(self, request: Request) -> Response:
        """Nothing goes wrong any more."""
        self._market.faults.clear()
        return await self.faults(request)


def clock(market: Market) -> Clock:
    """Where a market is."""
    first_ns, end_ns = market.venue.span_ns
    return Clock(
        now_ns=market.clock.now_ns(),
        played_ns=market.venue.now_ns,
        speed=market.clock.speed,
        stepped=market.clock.stepped,
        paused=market.clock.paused,
        first_ns=first_ns,
        end_ns=end_ns,
    )


def body(sent: bytes, kind: type[T]) -> T:
    """The body of a request. BadInput says what was expected."""
    try:
        return msgspec.json.decode(sent, type=kind)
    except msgspec.DecodeError as error:
        name = getattr(kind, "__name__", "the right kind")
        raise BadInput(f"expected JSON of {name}: {error}") from error
