"""The line to the engine: one connection, kept as long as it is good; a Fault for all else."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from fairwind.api.line import Line
from fairwind.core.errors import Fault

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def asked(answer: Answer, times: int = 1) -> list[bytes]:
    """What comes back from a server that answers so."""

    async def work() -> list[bytes]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        line = Line()
        try:
            return [await line.get(f"http://127.0.0.1:{port}", "/x", "t") for _ in range(times)]
        finally:
            line.close()
            server.close()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*left, return_exceptions=True)

    return asyncio.run(work())


def test_a_connection_is_kept_and_made_anew_when_the_server_closed_it() -> None:
    made: list[bytes] = []

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            made.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(GOOD)
        writer.close()

    assert asked(twice, 3) == [b"hi"] * 3
    assert len(made) == 3 and b"\r\nAuthorization: Bearer t\r\n" in made[0]


@pytest.mark.parametrize(
    "said",
    [
        b"x" * 200_000,
        b"\r\n\r\n",
        b"HTTP/1.1 500 no\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 401 no\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        b"",
    ],
    ids=lambda said: str(said[:40]),
)
def test_whoever_else_has_the_port_is_a_fault_and_no_defect(said: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    with pytest.raises(Fault):
        asked(other)
