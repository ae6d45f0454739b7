"""The built-in market as a process: it announces itself, ends when told, and hides no defect."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from built_in_market import announced, listed, tape, window_now

from fairwind.core.clock import now_ns
from fairwind.core.errors import BadInput, Fault
from fairwind.core.events import empty
from fairwind.world.clock import MarketClock
from fairwind.world.knobs import Knobs
from fairwind.world.serve import Announcement, bound, serve
from fairwind.world.server.app import Market
from fairwind.world.server.venue import Venue

PROCESS = """
import msgspec, sys
from fairwind.world.knobs import Knobs
from fairwind.world.serve import serve

def announce(announcement):
    print(msgspec.json.encode(announcement).decode(), flush=True)

serve(Knobs(windows=1, quote_rate=0.01), announce, speed=20.0, attached=True)
"""


@contextmanager
def process() -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """A market in a process of its own, and what it announced."""
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        try:
            yield child, json.loads(child.stdout.readline())
        finally:
            child.kill()


@pytest.mark.parametrize("ending", ["SIGTERM", "SIGINT", "end of input"])
def test_a_process_announces_its_address_and_ends_cleanly(ending: str) -> None:
    with process() as (child, said):
        clock = httpx.get(f"{said['address']}/control/clock").json()
        assert clock["now_ns"] > said["clock"]["now_ns"] >= said["clock"]["first_ns"]
        assert (clock["speed"], clock["stepped"], clock["paused"]) == (20.0, False, False)
        if ending == "end of input":
            assert child.stdin is not None
            child.stdin.close()
        else:
            child.send_signal(signal.Signals[ending])
        assert child.wait(10) == 0
        assert child.stderr is not None and child.stderr.read() == b""


def test_a_defect_of_the_market_ends_it_with_the_error() -> None:
    class Broken(Market):
        async def play(self, turn_s: float = 0.0) -> None:
            await asyncio.sleep(0.05)
            raise AssertionError("a defect")

    async def run() -> None:
        market = Broken(Venue(tape(*listed(*window_now()))), MarketClock(now_ns()))
        async with announced(market):
            await asyncio.sleep(0.5)

    with pytest.raises(AssertionError, match="a defect"):
        asyncio.run(asyncio.wait_for(run(), 20))


def unheard(announcement: Announcement) -> None:
    raise AssertionError(f"expected nothing to be served, found {announcement}")


def test_a_busy_port_is_named_with_what_to_do() -> None:
    knobs = Knobs(windows=1, quote_rate=0.01, spot_rate=0.1)
    with bound(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Fault, match=f"expected {port} of 127.0.0.1 to be free.*take port 0"):
            serve(knobs, unheard, port=port)
    with socket.socket() as free:
        free.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("speed", {"speed": 0.0}),
        ("speed", {"speed": float("nan")}),
        ("port", {"port": 65_536}),
        ("start_s", {"start_s": -1.0}),
        ("start_s", {"start_s": 1e6}),
    ],
)
def test_an_option_out_of_bounds_is_named(name: str, options: dict[str, Any]) -> None:
    rows = tape(*listed(*window_now()))
    with pytest.raises(BadInput, match=f"^{name}: expected"):
        serve(rows, unheard, **options)


def test_a_tape_without_events_is_refused() -> None:
    with pytest.raises(BadInput, match=r"^tape: expected events"):
        serve(empty(0), unheard)
