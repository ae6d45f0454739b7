"""One WebSocket connection that is kept up: its own reader, a bounded queue, and nothing forgotten.

In: an address, and what has to be subscribed to whenever a connection opens. Out: raw frames with
receipt times, and a mark wherever data was lost. Never here: a parsed frame; a frame lost silently.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from fairwind.core.clock import now_ns
from fairwind.core.units import SECOND_NS

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 30.0
"""Bounds of the wait before the next attempt: between 0 and a limit that doubles (full jitter)."""
STEADY_S = 10.0
"""A connection that lasted so long was good: the next wait is short again."""
LOOPBACK = ("127.0.0.1", "localhost")
"""No proxy of the environment stands between us and these."""
FRAME_BYTES_MAX = 32 * 2**20
"""Coinbase's first book is larger than the library's own limit."""

K = TypeVar("K", bound=Hashable)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to keep one connection. Times are the venue's: at `speed` 20 all waits are 20 times
    shorter."""

    url: str
    ping: str | None = None  # a text the venue wants to hear, beside the protocol's own pings
    ping_every_s: float = 10.0
    silent_s: float = 15.0  # without any frame for so long, the connection is given up
    open_s: float = 10.0
    queue_frames_max: int = 65_536
    speed: float = 1.0


class Frame(NamedTuple):
    """A payload as it came, and when."""

    ts_ns: int
    payload: bytes


class Lost(NamedTuple):
    """The connection ended here, or frames were dropped: what follows is a new beginning."""

    ts_ns: int
    why: str


class Socket:
    """One connection of one owner.

    `subscriptions` is asked at each opening for all frames that have to be sent, the first one
    before any ping; while it returns none, nothing is opened. When the queue is full, because the
    owner is too slow, it is emptied and the connection is given up: books with a hole would be
    wrong, so they start anew.
    """

    def __init__(
        self,
        settings: Settings,
        subscriptions: Callable[[], Sequence[bytes]],
        *,
        clock: Callable[[], int] = now_ns,
        chance: random.Random | None = None,
        ready: asyncio.Event | None = None,
    ) -> None:
        self.ready = ready or asyncio.Event()
        """Set while something waits to be drained; several sockets of one owner may share it."""
        self.connected = False
        self.problem = ""
        """Why it is not connected, in words; empty before the first attempt and while it is."""
        self.closings: Counter[str] = Counter()
        """How often each thing ended a connection or an attempt."""
        self._settings = settings
        self._subscriptions = subscriptions
        self._clock = clock
        self._chance = chance or random.Random()
        self._connection: ClientConnection | None = None
        self._queue: list[Frame | Lost] = []
        self._wanted = asyncio.Event()
        self._ending = ""
        self._opened = False
        self.heard_ns = clock()
        """When the last frame came, or the connection was opened."""

    @property
    def waiting(self) -> int:
        """How many frames wait to be drained."""
        return len(self._queue)

    @property
    def waiting_max(self) -> int:
        """How many may."""
        return self._settings.queue_frames_max

    async def run(self) -> None:
        """Connect, read, and connect again, until cancelled."""
        failures = 0
        while True:
            await self._something_to_subscribe()
            opened_ns, wait_s = self._clock(), 0.0
            try:
                await self._connection_life()
            except (OSError, WebSocketException, ConnectionClosed, ImportError) as error:
                wait_s = self._lose(error)
            lasted_s = (self._clock() - opened_ns) / SECOND_NS
            failures = 0 if lasted_s > STEADY_S else failures + 1
            limit_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures, 16))
            await self._sleep(max(wait_s, self._chance.uniform(0, limit_s)))

    def drain(self) -> list[Frame | Lost]:
        """Everything that came since the last call. The owner clears `ready` before it drains."""
        found, self._queue = self._queue, []
        return found

    async def caught_up(self) -> None:
        """Return when all that the venue had sent by now is queued: its pong comes after that.

        Returns at once without a connection.
        """
        if self._connection is None:
            return
        try:
            await (await self._connection.ping())
        except ConnectionClosed:
            return  # the reader marks the loss

    async def send(self, frames: Sequence[bytes]) -> None:
        """Send client frames now, if there is a connection.

        Otherwise nothing is lost: what is wanted is sent from `subscriptions` at the next opening.
        """
        self._wanted.set()
        if self._connection is None:
            return
        try:
            await _sent(self._connection, frames)
        except ConnectionClosed:
            return  # the reader has noticed as well, and connects again

    def reconnect(self, why: str) -> None:
        """Give up the connection at once, without a farewell: a frozen peer would not answer."""
        if self._connection is not None:
            self._ending = self._ending or why
            self._connection.transport.abort()

    async def _something_to_subscribe(self) -> None:
        """A connection that subscribes to nothing is closed by the venues."""
        while not self._subscriptions():
            self._wanted.clear()
            await self._wanted.wait()

    async def _connection_life(self) -> None:
        """From opening to the exception that ends it."""
        self._ending = ""
        async with connect(
            self._settings.url,
            open_timeout=self._settings.open_s,
            ping_interval=None,
            close_timeout=1.0,
            max_size=FRAME_BYTES_MAX,
            compression=None,
            proxy=None if urlsplit(self._settings.url).hostname in LOOPBACK else True,
        ) as connection:
            self._connection, self.heard_ns = connection, self._clock()
            await _sent(connection, self._subscriptions())
            self.connected, self._opened, self.problem = True, True, ""
            beside = [asyncio.create_task(one) for one in (self._ping(), self._watch())]
            try:
                await self._read(connection)
            finally:
                self._connection, self.connected = None, False
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)

    async def _read(self, connection: ClientConnection) -> None:
        """Put each frame into the queue, and do nothing else."""
        while True:
            payload = await connection.recv(decode=False)
            self.heard_ns = self._clock()
            if len(self._queue) >= self._settings.queue_frames_max:
                self._queue.clear()
                self._ending = "the queue is full"
                raise ConnectionResetError(f"{self._settings.queue_frames_max} frames are waiting")
            self._queue.append(Frame(self.heard_ns, payload))
            self.ready.set()

    async def _ping(self) -> None:
        while self._settings.ping is not None and self._connection is not None:
            await self._connection.send(self._settings.ping)
            await self._sleep(self._settings.ping_every_s)

    async def _watch(self) -> None:
        """Give up a connection on which nothing comes any more."""
        while True:
            await self._sleep(self._settings.silent_s / 4)
            if self._clock() - self.heard_ns > self._settings.silent_s * SECOND_NS:
                self.reconnect(f"nothing came for {self._settings.silent_s:g} s")

    def _lose(self, error: Exception) -> float:
        """Mark the loss; returns the seconds that the venue asked to wait, or 0."""
        wait_s = 0.0
        name = self._ending or type(error).__name__
        if isinstance(error, ConnectionClosed) and error.rcvd is not None and not self._ending:
            name = f"closed by the venue with {error.rcvd.code}"
        if isinstance(error, InvalidStatus):
            name = f"refused with HTTP {error.response.status_code}"
            asked = error.response.headers.get("Retry-After", "")
            wait_s = min(float(asked), LONGEST_WAIT_S) if asked.isdigit() else 0.0
        self.closings[name] += 1
        self.problem = f"{self._settings.url}: {name} ({error}); trying again"
        if self._opened:
            self._opened = False
            self._queue.append(Lost(self._clock(), name))
            self.ready.set()
        return wait_s

    def _sleep(self, seconds: float) -> Awaitable[None]:
        return asyncio.sleep(seconds / self._settings.speed)


class Watchdog(Generic[K]):
    """When each thing that should keep sending was heard last.

    A subscription may be accepted, and pings answered, while its data never comes.
    """

    def __init__(self, silent_ns: int) -> None:
        self._silent_ns = silent_ns
        self._heard: dict[K, int] = {}

    def expect(self, key: K, ts_ns: int) -> None:
        """From now on `key` should be heard."""
        self._heard.setdefault(key, ts_ns)

    def forget(self, key: K) -> None:
        """`key` may be silent."""
        self._heard.pop(key, None)

    def heard(self, key: K, ts_ns: int) -> None:
        """`key` was heard, if it is expected."""
        if key in self._heard:
            self._heard[key] = ts_ns

    def silent(self, ts_ns: int) -> list[K]:
        """What was not heard for too long."""
        return [key for key, at in self._heard.items() if ts_ns - at > self._silent_ns]


async def _sent(connection: ClientConnection, frames: Sequence[bytes]) -> None:
    for frame in frames:
        await connection.send(frame, text=True)
