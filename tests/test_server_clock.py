"""The built-in market's clock: steps that tell everything, sessions that repeat, seek and pause."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from built_in_market import announced
from test_server_streams import closing
from websockets.asyncio.client import ClientConnection, connect

from fairwind.core.events import Events, Kind
from fairwind.core.units import SECOND_NS
from fairwind.world.clock import MarketClock
from fairwind.world.faults import SLOW, LineName
from fairwind.world.generator import generate
from fairwind.world.knobs import Knobs
from fairwind.world.server import sockets
from fairwind.world.server.app import Market
from fairwind.world.server.tape import tape
from fairwind.world.server.venue import Venue

EVENTS = tape(generate(Knobs(windows=2, quote_rate=0.05, spot_rate=2.0)))
FIRST_NS = int(EVENTS["ts_ns"][0])
START_NS = int(EVENTS["ts_source_ns"][EVENTS["kind"] == Kind.LISTED][0])
LISTED_NS = START_NS - 50 * SECOND_NS
PATHS = ("/ws/market", "/rtds", "/coinbase")


class Session:
    """A stepped market and one connection to each of its public streams."""

    def __init__(self, address: str, http: httpx.AsyncClient) -> None:
        self.host = address.removeprefix("http://")
        self.http = http
        self.sockets: dict[str, ClientConnection] = {}
        self.heard: dict[str, list[str | bytes]] = {path: [] for path in PATHS}

    async def control(self, what: str, **body: int) -> Any:
        answer = await self.http.post(f"/control/{what}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def tokens(self) -> list[str]:
        events = (await self.http.get("/gamma/events")).json()
        return [t for e in events for t in json.loads(e["markets"][0]["clobTokenIds"])]

    async def open(self) -> None:
        """Connect, subscribe, and hear the first frames."""
        market = {"type": "market", "assets_ids": await self.tokens()}
        wanted = {"topic": "crypto_prices_twap_sixty", "type": "*", "filters": ""}
        asked: dict[str, list[Any]] = {
            "/ws/market": [{**market, "custom_feature_enabled": True}],
            "/rtds": [{"action": "subscribe", "subscriptions": [wanted]}],
            "/coinbase": [
                {"type": "subscribe", "channel": "heartbeats"},
                {"type": "subscribe", "channel": "ticker", "product_ids": ["BTC-USD"]},
            ],
        }
        for path, frames in asked.items():
            socket = await connect(f"ws://{self.host}{path}", max_queue=None)
            self.sockets[path] = socket
            for frame in frames:
                await socket.send(json.dumps(frame))
            self.heard[path].append(await socket.recv())
        await asyncio.sleep(0.1)
        await self.hear()

    async def hear(self) -> None:
        """Take all frames that were sent before the answer to a ping."""
        for path, socket in self.sockets.items():
            await (await socket.ping())
            with suppress(TimeoutError):
                while True:
                    self.heard[path].append(await asyncio.wait_for(socket.recv(), 0.005))

    async def close(self) -> None:
        for socket in self.sockets.values():
            await socket.close()
        self.sockets.clear()


@asynccontextmanager
async def session(events: Events, clock: MarketClock) -> AsyncIterator[Session]:
    """A session with a market of its own."""
    async with (
        announced(Market(Venue(events), clock)) as announcement,
        httpx.AsyncClient(base_url=announcement.address) as http,
        asyncio.timeout(60),
    ):
        found = Session(announcement.address, http)
        try:
            yield found
        finally:
            await found.close()


def stepped(steps: Callable[[Session], Awaitable[None]]) -> dict[str, list[str | bytes]]:
    """Run steps against a stepped market; everything that was heard, by path."""

    async def run() -> dict[str, list[str | bytes]]:
        async with session(EVENTS, MarketClock(FIRST_NS, stepped=True)) as found:
            await steps(found)
        return found.heard

    return asyncio.run(run())


async def a_minute(found: Session) -> None:
    await found.control("step", to_ns=LISTED_NS)
    await found.open()
    for k in range(1, 31):
        await found.control("step", to_ns=LISTED_NS + 2 * k * SECOND_NS)
        await found.hear()


def test_two_stepped_sessions_hear_the_same_bytes_on_each_connection() -> None:
    one, two = stepped(a_minute), stepped(a_minute)
    assert one == two
    assert all(len(frames) > 50 for frames in one.values())


def test_a_step_tells_the_same_however_many_rows_it_plays() -> None:
    async def one_step(found: Session) -> None:
        await found.control("step", to_ns=LISTED_NS)
        await found.open()
        await found.control("step", to_ns=LISTED_NS + 60 * SECOND_NS)
        await found.hear()

    assert stepped(one_step) == stepped(a_minute)


def test_after_a_seek_the_market_goes_on_as_if_it_had_never_gone_beyond() -> None:
    later: dict[str, list[str | bytes]] = {}

    async def there_and_back(found: Session) -> None:
        await found.control("step", to_ns=LISTED_NS + 100 * SECOND_NS)
        await found.open()
        await found.control("step", to_ns=LISTED_NS + 130 * SECOND_NS)
        clock = await found.control("seek", to_ns=LISTED_NS)
        assert clock["now_ns"] == clock["played_ns"] == LISTED_NS
        for socket in found.sockets.values():
            assert (await closing(socket))[0] == 1012
        await found.close()
        later.update({path: list(frames) for path, frames in found.heard.items()})
        found.heard = {path: [] for path in PATHS}
        await found.open()
        for k in range(1, 31):
            await found.control("step", to_ns=LISTED_NS + 2 * k * SECOND_NS)
            await found.hear()

    again = stepped(there_and_back)
    assert again == stepped(a_minute)
    assert all(later[path] for path in PATHS)


def test_a_step_back_or_on_a_running_clock_is_refused() -> None:
    async def refused(found: Session) -> None:
        for body, text in (
            ({"to_ns": FIRST_NS - 1}, f"expected a time from {FIRST_NS} on"),
            ({"to_ns": "soon"}, "expected JSON of To"),
            ({"at": 1}, "expected JSON of To"),
        ):
            answer = await found.http.post("/control/step", json=body)
            assert (answer.status_code, text in answer.text) == (400, True)
        early = await found.http.post("/control/seek", json={"to_ns": FIRST_NS - 1})
        assert early.status_code == 400 and "from the tape's first" in early.text

    stepped(refused)

    async def running() -> None:
        async with session(EVENTS, MarketClock(FIRST_NS)) as found:
            answer = await found.http.post("/control/step", json={"to_ns": LISTED_NS})
            assert answer.status_code == 409 and "expected a stepped clock" in answer.text

    asyncio.run(running())


def test_a_step_waits_for_a_reader_and_closes_one_that_never_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sockets, "DRAIN_WITHIN_S", 0.3)

    async def run() -> None:
        market = Market(Venue(EVENTS), MarketClock(FIRST_NS, stepped=True))
        async with (
            announced(market) as announcement,
            httpx.AsyncClient(base_url=announcement.address) as http,
        ):
            reader = market.connect(LineName.COINBASE)
            reader.hear('{"type":"subscribe","channel":"heartbeats"}')
            reader.take()
            step = asyncio.create_task(http.post("/control/step", json={"to_ns": LISTED_NS}))
            await asyncio.sleep(0.1)
            assert not step.done()
            assert (await step).status_code == 200 and reader.closed == SLOW

    asyncio.run(run())


def count(found: Session) -> int:
    return sum(len(frames) for frames in found.heard.values())


def test_a_paused_market_says_nothing_until_it_is_resumed() -> None:
    async def run() -> None:
        async with session(EVENTS, MarketClock(LISTED_NS, speed=20.0)) as found:
            await found.open()
            paused = await found.control("pause")
            assert paused["paused"]
            await asyncio.sleep(0.1)
            await found.hear()
            heard = count(found)
            await asyncio.sleep(0.3)
            clock = (await found.http.get("/control/clock")).json()
            assert clock["now_ns"] == paused["now_ns"]
            await found.hear()
            assert count(found) == heard
            resumed = await found.control("resume")
            assert not resumed["paused"] and resumed["now_ns"] - paused["now_ns"] < SECOND_NS
            await asyncio.sleep(0.3)
            await found.hear()
            assert count(found) > heard

    asyncio.run(run())


def test_at_speed_20_the_market_keeps_up_with_its_clock() -> None:
    busy = tape(generate(Knobs(windows=1, quote_rate=0.3)))
    start_ns = int(busy["ts_ns"][0]) + 240 * SECOND_NS

    async def run() -> None:
        behind_s = []
        async with session(busy, MarketClock(start_ns, speed=20.0)) as found:
            await found.open()
            for _ in range(15):
                await asyncio.sleep(0.2)
                await found.hear()
                clock = (await found.http.get("/control/clock")).json()
                behind_s.append((clock["now_ns"] - clock["played_ns"]) / SECOND_NS)
        rate = len(found.heard["/ws/market"]) / (clock["now_ns"] - start_ns) * SECOND_NS
        assert rate > 20, f"{rate} frames per market second"
        assert sorted(behind_s)[7] < 2.0, behind_s

    asyncio.run(run())
