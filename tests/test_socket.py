"""A connection against a small server that misbehaves as told: what is sent, lost, and tried again.

Waits are those of real venues, made short by the speed.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from fairwind.core.clock import now_ns
from fairwind.feeds.socket import Frame, Lost, Settings, Socket, Watchdog

SPEED = 50.0
Script = Callable[["Venue", ServerConnection], Awaitable[None]]


def market_ns() -> int:
    """A clock that runs at the sockets' speed."""
    return int(now_ns() * SPEED)


class Venue:
    """Remembers what each connection sent, and then plays its script."""

    def __init__(self, *scripts: Script) -> None:
        self.heard: list[list[str | bytes]] = []
        self.scripts = scripts

    async def __call__(self, connection: ServerConnection) -> None:
        number = len(self.heard)
        self.heard.append([])
        self.heard[number].append(await connection.recv())
        with suppress(ConnectionClosed):
            await self.scripts[min(number, len(self.scripts) - 1)](self, connection)
            async for message in connection:
                self.heard[number].append(message)


def sends(*frames: str) -> Script:
    async def script(venue: Venue, connection: ServerConnection) -> None:
        for frame in frames:
            await connection.send(frame)

    return script


def closes(code: int, *frames: str) -> Script:
    async def script(venue: Venue, connection: ServerConnection) -> None:
        await sends(*frames)(venue, connection)
        await connection.close(code, "as told")

    return script


async def drops(venue: Venue, connection: ServerConnection) -> None:
    connection.transport.abort()


@asynccontextmanager
async def connected(venue: Any, wanted: list[bytes] | None = None, **settings: Any) -> Any:
    """A running socket of that venue; `wanted` is its list of subscriptions."""
    process = settings.pop("process", None)
    async with serve(venue, "127.0.0.1", 0, process_request=process, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        socket = Socket(
            Settings(url=f"ws://127.0.0.1:{port}", speed=SPEED, **settings),
            lambda: [b"subscribe"] if wanted is None else wanted,
            clock=market_ns,
            chance=random.Random(7),
        )
        task = asyncio.create_task(socket.run())
        try:
            yield socket
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def take(socket: Socket, number: int) -> list[Frame | Lost]:
    """At least so many items, or the test fails."""
    found: list[Frame | Lost] = []
    async with asyncio.timeout(20):
        while len(found) < number:
            await socket.ready.wait()
            socket.ready.clear()
            found += socket.drain()
    return found


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.002)


def told(found: list[Frame | Lost]) -> list[str]:
    return [one.payload.decode() if isinstance(one, Frame) else one.why for one in found]


def test_frames_come_whole_in_order_and_with_their_receipt() -> None:
    async def scene() -> None:
        async with connected(Venue(sends("a", "b", "c"))) as socket:
            before = market_ns()
            found = await take(socket, 3)
            assert told(found) == ["a", "b", "c"]
            assert before - 60 * 10**9 < found[0].ts_ns <= found[2].ts_ns <= market_ns()

    asyncio.run(scene())


def test_what_is_wanted_is_sent_as_text_before_the_first_ping() -> None:
    async def scene() -> None:
        venue = Venue(sends("a"))
        wanted = [b"first", b"heartbeats"]
        async with connected(venue, wanted, ping="PING", ping_every_s=0.5):
            await until(lambda: bool(venue.heard) and venue.heard[0].count("PING") >= 3)
            assert venue.heard[0][:3] == ["first", "heartbeats", "PING"]

    asyncio.run(scene())


def test_nothing_is_opened_before_there_is_something_to_subscribe() -> None:
    async def scene() -> None:
        venue, wanted = Venue(sends("a")), []
        async with connected(venue, wanted) as socket:
            await asyncio.sleep(0.05)
            assert venue.heard == [] and not socket.connected
            wanted.append(b"late")
            await socket.send([b"late"])
            assert told(await take(socket, 1)) == ["a"]
            assert venue.heard[0] == ["late"]

    asyncio.run(scene())


def test_a_frame_that_is_sent_later_reaches_the_venue_at_once() -> None:
    async def scene() -> None:
        venue = Venue(sends("a"))
        async with connected(venue) as socket:
            await take(socket, 1)
            await socket.send([b"more"])
            await until(lambda: venue.heard[0] == ["subscribe", "more"])

    asyncio.run(scene())


@pytest.mark.parametrize("code", [1008, 1013, 4003])
def test_a_closing_is_marked_and_everything_wanted_is_sent_again(code: int) -> None:
    async def scene() -> None:
        venue, wanted = Venue(closes(code, "a"), sends("b")), [b"one"]
        async with connected(venue, wanted) as socket:
            wanted.append(b"two")
            found = await take(socket, 3)
            assert told(found) == ["a", f"closed by the venue with {code}", "b"]
            await until(lambda: venue.heard[-1] == ["one", "two"])
            assert socket.closings == {f"closed by the venue with {code}": 1}
            assert socket.connected and socket.problem == ""

    asyncio.run(scene())


def test_a_connection_that_breaks_without_a_word_is_marked() -> None:
    async def scene() -> None:
        async with connected(Venue(drops, sends("b"))) as socket:
            assert told(await take(socket, 2)) == ["ConnectionClosedError", "b"]

    asyncio.run(scene())


def test_a_frozen_connection_is_given_up() -> None:
    async def scene() -> None:
        async with connected(Venue(sends("a"), sends("b")), silent_s=5.0) as socket:
            assert told(await take(socket, 3)) == ["a", "nothing came for 5 s", "b"]

    asyncio.run(scene())


def test_the_owner_may_give_it_up_for_want_of_data() -> None:
    async def scene() -> None:
        async with connected(Venue(sends("a"), sends("b"))) as socket:
            assert told(await take(socket, 1)) == ["a"]
            socket.reconnect("Up of btc-updown is silent")
            assert told(await take(socket, 2)) == ["Up of btc-updown is silent", "b"]

    asyncio.run(scene())


def test_a_full_queue_is_emptied_and_the_connection_given_up() -> None:
    async def scene() -> None:
        many = sends(*[str(number) for number in range(50)])
        async with connected(Venue(many, sends("b")), queue_frames_max=10) as socket:
            await until(lambda: socket.closings["the queue is full"] == 1)
            # Whatever of the first connection was waiting is gone: there is no hole before it.
            await until(lambda: socket.connected)
            assert told(await take(socket, 2)) == ["the queue is full", "b"]

    asyncio.run(scene())


def test_a_refused_handshake_is_tried_again_after_the_time_asked_for() -> None:
    asked: list[int] = []

    def busy(connection: ServerConnection, request: Request) -> Response | None:
        asked.append(market_ns())
        if len(asked) > 1:
            return None
        response = connection.respond(503, "busy")
        response.headers["Retry-After"] = "2"
        return response

    async def scene() -> None:
        async with connected(Venue(sends("a")), process=busy) as socket:
            # Nothing was lost, for nothing had been open.
            assert told(await take(socket, 1)) == ["a"]
            assert socket.closings == {"refused with HTTP 503": 1}
        assert asked[1] - asked[0] >= 2 * 10**9

    asyncio.run(scene())


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "http://127.0.0.1", "nonsense"])
def test_a_wrong_address_is_named_and_tried_again(url: str) -> None:
    async def scene() -> None:
        socket = Socket(Settings(url=url, speed=1000.0), lambda: [b"x"], clock=market_ns)
        task = asyncio.create_task(socket.run())
        await until(lambda: sum(socket.closings.values()) >= 3)
        assert url in socket.problem and not socket.connected
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scene())


def test_waits_grow_with_jitter_up_to_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def scene() -> None:
        socket = Socket(Settings(url="nonsense"), lambda: [b"x"], chance=random.Random(1))

        async def slept(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 400:
                raise asyncio.CancelledError

        monkeypatch.setattr(socket, "_sleep", slept)
        with suppress(asyncio.CancelledError):
            await socket.run()

    asyncio.run(scene())
    assert all(wait <= 0.25 * 2**number for number, wait in enumerate(waits, 1))
    assert 25 < max(waits) <= 30 and min(waits[20:]) < 5
    assert len(set(waits)) == len(waits)


def test_a_watchdog_names_what_is_expected_and_silent() -> None:
    watchdog = Watchdog[str](silent_ns=10)
    watchdog.expect("up", 0)
    watchdog.expect("down", 5)
    watchdog.heard("never expected", 5)
    assert watchdog.silent(10) == []
    assert watchdog.silent(11) == ["up"]
    watchdog.heard("up", 11)
    watchdog.expect("up", 20)
    assert watchdog.silent(21) == ["down"]
    watchdog.forget("down")
    assert watchdog.silent(21) == [] and watchdog.silent(22) == ["up"]
