"""The built-in market beside a session: its own process, its addresses, its clock.

In: knobs of its world, or the address of one that runs. Out: addresses, a clock in step with it.
Never here: its insides; a market that outlives the session which began it.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import msgspec

from fairwind.core.errors import BadInput, Fault
from fairwind.core.units import SECOND_NS
from fairwind.run.paper import Addresses
from fairwind.world.clock import MarketClock
from fairwind.world.console import Clock
from fairwind.world.generator import generate
from fairwind.world.knobs import Knobs
from fairwind.world.serve import Announcement

COMMAND = "from fairwind.cli import main; main()"
ANSWER_S = 30.0
CLOCK_TRIES = 3


def warm_up() -> None:
    """Compile the generator of its world, the first time."""
    generate(Knobs(windows=1))


def client() -> httpx.AsyncClient:
    """For loopback: no proxy of the environment stands between."""
    return httpx.AsyncClient(timeout=ANSWER_S, trust_env=False)


class Console:
    """The market's own controls."""

    def __init__(self, address: str, client: httpx.AsyncClient) -> None:
        self.address = address
        self._client = client

    async def clock(self) -> Clock:
        """Where the market's clock is. Fault when nothing answers there."""
        found = await self._ask("GET", "clock")
        try:
            return msgspec.json.decode(found, type=Clock)
        except msgspec.DecodeError as error:
            raise self._other(found.decode(errors="replace")) from error

    async def in_step(self) -> tuple[Clock, MarketClock]:
        """Where the market's clock is, and one of ours that shows the same.

        The quickest of a few answers counts, and half of the time that it took. BadInput for a
        market that is paused.
        """
        tries: list[tuple[float, Clock, MarketClock]] = []
        for _ in range(CLOCK_TRIES):
            asked_s = time.monotonic()
            state = await self.clock()
            took_s = time.monotonic() - asked_s
            passed_ns = 0 if state.stepped else round(took_s / 2 * state.speed * SECOND_NS)
            clock = MarketClock(state.now_ns + passed_ns, state.speed, stepped=state.stepped)
            tries.append((took_s, state, clock))
        _, state, clock = min(tries, key=lambda one: one[0])
        if state.paused:
            raise BadInput(
                f"{self.address}: expected a market that runs, found a paused one; "
                "POST /control/resume, then start again"
            )
        return state, clock

    async def step(self, to_ns: int) -> None:
        """Play a stepped market up to a time; its frames are sent when this returns."""
        await self._ask("POST", "step", to_ns)

    async def seek(self, to_ns: int) -> None:
        """Play the market anew up to a time."""
        await self._ask("POST", "seek", to_ns)

    async def _ask(self, method: str, route: str, to_ns: int | None = None) -> bytes:
        url = f"{self.address}/control/{route}"
        body = None if to_ns is None else msgspec.json.encode({"to_ns": to_ns})
        try:
            answer = await self._client.request(method, url, content=body, timeout=ANSWER_S)
        except httpx.HTTPError as error:
            raise Fault(
                f"{url}: expected the built-in market, found {type(error).__name__} {error}; "
                "start it with `fairwind venue`, or leave --address away"
            ) from error
        if answer.status_code != 200:
            raise self._other(f"HTTP {answer.status_code} {answer.text}")
        return answer.content

    def _other(self, found: str) -> Fault:
        """Something else answers at this address, or it refuses."""
        return Fault(
            f"{self.address}: expected the built-in market, found "
            f"{' '.join(found.split())[:120]!r}; "
            "check --address, or leave it away"
        )


def addresses(address: str) -> Addresses:
    """Where a built-in market at `http://host:port` serves each venue."""
    socket = "ws" + address.removeprefix("http")
    return Addresses(
        clob=address,
        gamma=f"{address}/gamma",
        market=f"{socket}/ws/market",
        rtds=f"{socket}/rtds",
        bolt=f"{socket}/polybolt",
        coinbase=f"{socket}/coinbase",
    )


@asynccontextmanager
async def began(arguments: Sequence[str]) -> AsyncIterator[str]:
    """The address of a built-in market that runs as long as the block.

    Fault, with what it said, when it does not start.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", COMMAND, "venue", "--attached", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        line = await process.stdout.readline()
        if not line:
            raise Fault("the built-in market did not start; its message stands above")
        yield msgspec.json.decode(line, type=Announcement).address
    finally:
        process.stdin.close()
        await process.wait()
