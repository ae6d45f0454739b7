"""One WebSocket of the built-in market: a bounded buffer out, client frames in.

In: texts to send, a function that hears client frames. Out: a served connection. Never here: an
unbounded buffer; a reader that does not read is closed with 1013.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from fairwind.world.faults import SLOW, Close, Faults, Line, LineName

BUFFER_FRAMES = 2_000
SUBSCRIBE_WITHIN_S = 5.0
DRAIN_WITHIN_S = 10.0
"""How long a step of a stepped clock waits for a reader, in wall time."""
CLOSE_WITHIN_S = 1.0
POLICY = Close(1008, "invalid subscription payload")
RESTART = Close(1012, "service restart")
C = TypeVar("C", bound="Connection")


class Connection:
    """A reader of a line. `subscribed` once it has asked for anything.

    `hear` acts on a client frame and says whether to close for it.
    """

    def __init__(
        self, sockets: "Sockets", name: LineName, hear: Callable[[Any, str], Close | None]
    ) -> None:
        self.subscribed = False
        self.closed: Close | None = None
        self._sockets = sockets
        self._hear = hear
        self._line = Line(name, sockets.faults)
        self._buffer: asyncio.Queue[bytes] = asyncio.Queue(BUFFER_FRAMES)
        self._ending = asyncio.Event()
        sockets.open[self] = None

    @property
    def name(self) -> LineName:
        """What it reads."""
        return self._line.name

    def hear(self, text: str) -> Close | None:
        """Act on a client frame; why to close for it, if so."""
        return self._hear(self, text)

    def put(self, frame: bytes, sent_ns: int) -> None:
        """Send in its turn, as far as the line's faults let it through."""
        self._line.send(frame, sent_ns)
        self.flush(sent_ns)

    def flush(self, now_ns: int) -> None:
        """Send what a fault has held back until now; a full buffer ends the connection."""
        for frame in self._line.due(now_ns):
            if isinstance(frame, Close):
                self.end(frame)
            elif self._buffer.full():
                self.end(SLOW)
            elif not self._ending.is_set():
                self._buffer.put_nowait(frame)

    def take(self) -> list[bytes]:
        """What would be sent: for a reader in the same process, without a socket."""
        frames = []
        while not self._buffer.empty():
            frames.append(self._buffer.get_nowait())
            self._buffer.task_done()
        return frames

    def end(self, reason: Close | None) -> None:
        """Close for a reason, or without a word (None). The first reason holds."""
        if not self._ending.is_set():
            self.closed = reason
            self._ending.set()

    async def serve(self, socket: WebSocket) -> None:
        """Serve until the client goes, says what it is closed for, or `end` is called."""
        try:
            await socket.accept()
            await self._talk(socket)
            if self.closed is not None:
                with suppress(TimeoutError):  # a client that does not read is not heard either
                    await asyncio.wait_for(socket.close(*self.closed), CLOSE_WITHIN_S)
        finally:
            del self._sockets.open[self]

    async def drained(self) -> None:
        """Until all that was put is with the transport, or the connection has ended."""
        try:
            await asyncio.wait_for(self._buffer.join(), DRAIN_WITHIN_S)
        except TimeoutError:
            self.end(SLOW)

    async def _talk(self, socket: WebSocket) -> None:
        """Hear and send until there is a reason to end. A defect of `hear` is raised."""
        listening = asyncio.create_task(self._listen(socket))
        tasks: set[asyncio.Task[Any]] = {
            listening,
            asyncio.create_task(self._write(socket)),
            asyncio.create_task(self._ending.wait()),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.end(None)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.take()  # let nobody wait for frames that will never be sent
        if not listening.cancelled():
            listening.result()

    async def _listen(self, socket: WebSocket) -> None:
        reason: Close | None = None
        while reason is None:
            wait_s = None if self.subscribed else SUBSCRIBE_WITHIN_S
            try:
                message = await asyncio.wait_for(socket.receive(), wait_s)
            except TimeoutError:
                message = {}
            if message.get("type") == "websocket.disconnect":
                break
            text = message.get("text")
            reason = POLICY if text is None else self.hear(text)
        self.end(reason)

    async def _write(self, socket: WebSocket) -> None:
        while True:
            frame = await self._buffer.get()
            try:
                await socket.send_text(frame.decode())
            except WebSocketDisconnect:
                self.end(None)
            finally:
                self._buffer.task_done()


class Sockets:
    """All connections that are open, and the faults of their lines."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.open: dict[Connection, None] = {}

    def of(self, kind: type[C], name: LineName) -> list[C]:
        """The open connections of a line, oldest first."""
        return [one for one in self.open if isinstance(one, kind) and one.name is name]

    def flush(self, now_ns: int) -> None:
        """Send what faults have held back until now."""
        for connection in self.open:
            connection.flush(now_ns)

    async def drained(self) -> None:
        """Until every frame that was put is with its transport."""
        await asyncio.gather(*(connection.drained() for connection in list(self.open)))

    async def close(self, reason: Close) -> None:
        """End all connections, and wait until they are closed."""
        for connection in list(self.open):
            connection.end(reason)
        while self.open:
            await asyncio.sleep(0)
