"""The reader under load: frames of the real capture's shape, with fresh stamps, over loopback.

In: `--rate` frames a second for `--seconds`. Out: a JSON line; exit code 1 when a frame was lost,
the server had to close, or memory grew. The server is a process of its own, as the venue is.
Never here: a frame sent faster because an earlier one was late: a reader that is behind is seen.
"""

import argparse
import asyncio
import multiprocessing
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from capture import captured, markets
from job import report
from websockets.asyncio.server import ServerConnection, serve

from fairwind.core.clock import now_ns
from fairwind.core.units import MILLISECOND_NS
from fairwind.feeds.kpis import health
from fairwind.feeds.polymarket import PING, MarketChannel, subscribe_first
from fairwind.feeds.socket import Frame, Settings, Socket

PONG = "PONG"
PAUSE_S = 0.01
"""Between two drains, as a loop that makes each batch durable."""
BEHIND_S = 1.0
"""A reader so far behind is closed with 1013, as the venue does."""
GROWTH_MB = 16
WARM_S = 2.0
"""Memory is compared from then on: compiled code and buffers are there."""


def fresh_frames() -> Iterator[tuple[bytes, bytes]]:
    """The capture over and over, each frame in two parts with the time between them."""
    stamped = b'"timestamp":"'
    parts = []
    for _, payload in captured():
        at = payload.index(stamped) + len(stamped)
        parts.append((payload[:at], payload[at + 13 :]))
    return cycle(parts)


async def answer(connection: ServerConnection) -> None:
    """Answer the reader's pings; what it sends is read, or else its pongs would wait behind."""
    async for _ in connection:
        await connection.send(PONG)


async def send(connection: ServerConnection, rate: int, seconds: float) -> None:
    """Send on schedule until the time is over or the reader is too far behind."""
    await connection.recv()
    answering = asyncio.create_task(answer(connection))
    frames, sent, begun = fresh_frames(), 0, time.monotonic()
    while sent < rate * seconds:
        due = min(int((time.monotonic() - begun) * rate), int(rate * seconds))
        if due - sent > rate * BEHIND_S:
            await connection.close(1013, "too slow")
            return
        for _ in range(due - sent):
            before, after = next(frames)
            stamp = str(now_ns() // MILLISECOND_NS).encode()
            await connection.send(before + stamp + after, text=True)
        sent = due
        await asyncio.sleep(0.001)
    await connection.wait_closed()
    await answering


def served(port: "multiprocessing.Queue[int]", rate: int, seconds: float) -> None:
    """The venue's process."""

    async def run() -> None:
        async def one(connection: ServerConnection) -> None:
            await send(connection, rate, seconds)

        async with serve(one, "127.0.0.1", 0, compression=None) as server:
            port.put(server.sockets[0].getsockname()[1])
            await server.serve_forever()

    asyncio.run(run())


@dataclass
class Seen:
    """What the reader saw."""

    frames: int = 0
    rows: int = 0
    batches: int = 0
    lost: list[str] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)  # of each batch's oldest frame, to its rows
    rss_mb: list[float] = field(default_factory=list)


def resident_mb() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


async def read(url: str, frames: int) -> tuple[Seen, MarketChannel, Socket]:
    """Read and decode until all frames came, none come any more, or the connection is lost."""
    MarketChannel().take_batch(list(captured()))  # compiled code is loaded before it is needed
    channel, seen = MarketChannel(), Seen()
    for market in markets(list(captured())):
        channel.watch(market, now_ns())
    socket = Socket(
        Settings(url=url, ping=PING.decode()), lambda: [subscribe_first(channel.asset_ids())]
    )
    task = asyncio.create_task(socket.run())
    begun = time.monotonic()
    while seen.frames < frames and not seen.lost:
        await asyncio.wait_for(socket.ready.wait(), 10)
        socket.ready.clear()
        found = socket.drain()
        batch = [one for one in found if isinstance(one, Frame)]
        seen.lost += [one.why for one in found if not isinstance(one, Frame)]
        if batch:
            seen.rows += len(channel.take_batch(batch))
            seen.frames += sum(one.payload != PONG.encode() for one in batch)
            seen.batches += 1
            seen.waits_ms.append((now_ns() - batch[0].ts_ns) / MILLISECOND_NS)
        if time.monotonic() - begun > WARM_S + len(seen.rss_mb):
            seen.rss_mb.append(resident_mb())
        await asyncio.sleep(PAUSE_S)
    task.cancel()
    return seen, channel, socket


def main() -> int:
    """Both processes, and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    port: multiprocessing.Queue[int] = context.Queue()
    venue = context.Process(target=served, args=(port, options.rate, options.seconds), daemon=True)
    venue.start()
    wanted = int(options.rate * options.seconds)
    cpu = time.process_time()
    url = f"ws://127.0.0.1:{port.get(timeout=60)}"
    seen, channel, socket = asyncio.run(read(url, wanted))
    cpu = time.process_time() - cpu
    venue.terminate()
    waits = sorted(seen.waits_ms)
    figures = health("market", channel.kpis)
    growth = max(seen.rss_mb) - seen.rss_mb[0]
    report(
        "Fairwind",
        "load",
        frames=seen.frames,
        lost=seen.lost,
        closings=dict(socket.closings),
        frames_per_s=options.rate,
        for_s=options.seconds,
        rows=seen.rows,
        frames_per_batch=round(seen.frames / seen.batches, 1),
        wait_p50_ms=round(waits[len(waits) // 2], 2),
        wait_p99_ms=round(waits[len(waits) * 99 // 100], 2),
        age_p50_ms=round(figures.age_p50_ns / 1e6, 2),
        age_p99_ms=round(figures.age_p99_ns / 1e6, 2),
        refused=figures.refused,
        gaps=figures.gaps,
        cpu_percent=round(100 * cpu / options.seconds, 1),
        rss_start_mb=round(seen.rss_mb[0], 1),
        rss_growth_mb=round(growth, 1),
    )
    kept = seen.frames == wanted and not seen.lost and not socket.closings and growth <= GROWTH_MB
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
