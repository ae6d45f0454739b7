"""One WebSocket of the built-in market: a bounded buffer out, client frames in.

In: texts to send, a function that hears client frames. Out: a served connection. Never here: an
unbounded buffer; a reader that does not read is closed with 1013.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

BUFFER_FRAMES = 2_000
SUBSCRIBE_WITHIN_S = 5.0
DRAIN_WITHIN_S = 10.0
"""How long a step of a stepped clock waits for a reader, in wall time."""
CLOSE_WITHIN_S = 1.0
POLICY = (1008, "invalid subscription payload")
SLOW = (1013, "slow consumer: send buffer full")
RESTART = (1012, "service restart")
Close = tuple[int, str]


class Connection:
    """A reader. `subscribed` once it has asked for anything."""

    def __init__(self, sockets: "Sockets") -> None:
        self.subscribed = False
        self._sockets = sockets
        self._buffer: asyncio.Queue[str] = asyncio.Queue(BUFFER_FRAMES)
        self._ending = asyncio.Event()
        self._reason: Close | None = None

    def put(self, text: str) -> None:
        """Send in its turn; a full buffer ends the connection."""
        if self._ending.is_set():
            return
        try:
            self._buffer.put_nowait(text)
        except asyncio.QueueFull:
            self.end(SLOW)

    def end(self, reason: Close | None) -> None:
        """Close for a reason, or without a word (None). The first reason holds."""
        if not self._ending.is_set():
            self._reason = reason
            self._ending.set()

    async def serve(self, socket: WebSocket, hear: Callable[[str], Close | None]) -> None:
        """Serve until the client goes, says what `hear` closes for, or `end` is called."""
        self._sockets.open[self] = None
        try:
            await self._talk(socket, hear)
            if self._reason is not None:
                with suppress(TimeoutError):  # a client that does not read is not heard either
                    await asyncio.wait_for(socket.close(*self._reason), CLOSE_WITHIN_S)
        finally:
            del self._sockets.open[self]

    async def drained(self) -> None:
        """Until all that was put is with the transport, or the connection has ended."""
        try:
            await asyncio.wait_for(self._buffer.join(), DRAIN_WITHIN_S)
        except TimeoutError:
            self.end(SLOW)

    async def _talk(self, socket: WebSocket, hear: Callable[[str], Close | None]) -> None:
        """Hear and send until there is a reason to end. A defect of `hear` is raised."""
        listening = asyncio.create_task(self._listen(socket, hear))
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
            self._forget()
        if not listening.cancelled():
            listening.result()

    async def _listen(self, socket: WebSocket, hear: Callable[[str], Close | None]) -> None:
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
            reason = POLICY if text is None else hear(text)
        self.end(reason)

    async def _write(self, socket: WebSocket) -> None:
        while True:
            text = await self._buffer.get()
            try:
                await socket.send_text(text)
            except WebSocketDisconnect:
                self.end(None)
            finally:
                self._buffer.task_done()

    def _forget(self) -> None:
        """Let nobody wait for frames that will never be sent."""
        while not self._buffer.empty():
            self._buffer.get_nowait()
            self._buffer.task_done()


class Sockets:
    """All connections that are being served."""

    def __init__(self) -> None:
        self.open: dict[Connection, None] = {}

    async def drained(self) -> None:
        """Until every frame that was put is with its transport."""
        await asyncio.gather(*(connection.drained() for connection in list(self.open)))

    async def close(self, reason: Close) -> None:
        """End all connections, and wait until they are closed."""
        for connection in list(self.open):
            connection.end(reason)
        while self.open:
            await asyncio.sleep(0)
