"""A connection to a server of this machine that is asked the same thing again and again.

In: an address of loopback, paths. Out: bodies. Never here: another machine, an answer without an
end. (A general client takes a millisecond for each question; asked twice a second that is a cost.)
"""

import asyncio
import re

from fairwind.core.errors import Fault

BODY_BYTES_MAX = 4 << 20
TIMEOUT_S = 1.5
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Line:
    """Keeps its connection between questions; not for two at a time."""

    def __init__(self) -> None:
        self._address = self._token = ""
        self._streams: _Streams | None = None

    async def get(self, address: str, path: str, token: str) -> bytes:
        """The body of an answer with status 200. Fault for any other, or none in time."""
        if address != self._address:
            self.close()
            self._address = address
        self._token = token
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._kept(path)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            self.close()
            raise Fault(f"no answer ({type(error).__name__})") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _kept(self, path: str) -> bytes:
        """Ask, and once more if the server had closed what we kept open."""
        if self._streams is None:
            return await self._asked(path)
        try:
            return await self._asked(path)
        except (ConnectionError, EOFError):
            self.close()
            return await self._asked(path)

    async def _asked(self, path: str) -> bytes:
        host, _, port = self._address.removeprefix("http://").partition(":")
        if self._streams is None:
            self._streams = await asyncio.open_connection(host, int(port))
        reader, writer = self._streams
        asked = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        writer.write(f"{asked}Authorization: Bearer {self._token}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 401 "):
            raise Fault(f"another program answers at its address {self._address}")
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise ValueError(f"expected an answer with its length, found {head[:80]!r}")
        if int(length[1]) > BODY_BYTES_MAX:
            raise ValueError(f"expected at most {BODY_BYTES_MAX} bytes, found {int(length[1])}")
        return await reader.readexactly(int(length[1]))
