"""One WebSocket of the built-in market: a bounded buffer out, client frames in.

In: texts to send, a function that hears client frames. Out: a served connection. Never here: an
unbounded buffer; a reader that does not read is closed with 1013.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

BUFFER_FRAMES = 2_000
SUBSCRIBE_WITHIN_S = 5.0
POLICY = (1008, "invalid subscription payload")
SLOW = (1013, "slow consumer: send buffer full")
Close = tuple[int, str]


class Connection:
    """A reader. `subscribed` once it has asked for anything."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.subscribed = False
        self._buffer: asyncio.Queue[str] = asyncio.Queue(BUFFER_FRAMES)
        self._slow = asyncio.Event()

    def put(self, text: str) -> None:
        """Send in its turn; a full buffer ends the connection."""
        try:
            self._buffer.put_nowait(text)
        except asyncio.QueueFull:
            self._slow.set()

    async def serve(self, hear: Callable[[str], Close | None]) -> None:
        """Serve until the client goes, says what `hear` closes for, or is too slow."""
        listening = asyncio.create_task(self._listen(hear))
        writing = asyncio.create_task(self._write())
        slow = asyncio.create_task(self._slow.wait())
        tasks: set[asyncio.Task[Any]] = {listening, writing, slow}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            reason = listening.result() if listening.done() else SLOW
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if reason is not None:
            await self.socket.close(*reason)

    async def _listen(self, hear: Callable[[str], Close | None]) -> Close | None:
        """Why to close; None when the client has gone."""
        reason: Close | None = None
        try:
            while reason is None:
                wait_s = None if self.subscribed else SUBSCRIBE_WITHIN_S
                reason = hear(await asyncio.wait_for(self.socket.receive_text(), wait_s))
        except TimeoutError:
            return POLICY
        except WebSocketDisconnect:
            return None
        return reason

    async def _write(self) -> None:
        while True:
            await self.socket.send_text(await self._buffer.get())
