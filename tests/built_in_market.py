"""A built-in market for tests: a hand-made window, served on a free port of loopback.

In: nothing. Out: a tape, a running server, the official SDK's environment for it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from polymarket import PRODUCTION, Environment
from polymarket._internal.environment import PRODUCTION_CONFIG, with_environment_config

from fairwind.core.clock import now_ns
from fairwind.core.events import EVENT, Events, Flag, Kind, Side, Source
from fairwind.core.units import SECOND_NS, SHARE_MICRO
from fairwind.world.clock import MarketClock
from fairwind.world.serve import Announcement, bound, run
from fairwind.world.server.app import GAMMA, POLYBOLT, RTDS, Market
from fairwind.world.server.venue import Venue

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
SERIES = 0  # BTC, 5 minutes
OPEN_BIDS = {4900 - 100 * k: 100 + k for k in range(5)}
OPEN_ASKS = {5100 + 100 * k: 200 + k for k in range(5)}


def row(ts_ns: int, kind: Kind, /, **fields: int) -> Any:
    """One event of market 0."""
    event = np.zeros(1, EVENT)
    event["ts_ns"] = event["ts_source_ns"] = ts_ns
    event["kind"], event["source"] = kind, Source.POLYMARKET
    for name, value in fields.items():
        event[name] = value
    return event


def level(ts_ns: int, side: Side, price_e4: int, shares: float, flags: int = 0) -> Any:
    """A level's new total."""
    size = round(shares * SHARE_MICRO)
    return row(ts_ns, Kind.LEVEL, side=side, price=price_e4, size=size, flags=flags)


def listed(ts_ns: int, start_ns: int, book: bool = True) -> list[Any]:
    """A window with its fees and, five levels a side, its first book."""
    head = [
        row(ts_ns, Kind.LISTED, ref=SERIES, price=100, size=5_000_000, ts_source_ns=start_ns),
        row(ts_ns, Kind.FEES, price=70_000, size=1),
    ]
    if not book:
        return head
    sides = ((Side.BID, OPEN_BIDS), (Side.ASK, OPEN_ASKS))
    levels = [
        level(ts_ns, side, price, shares, int(Flag.MORE))
        for side, of_side in sides
        for price, shares in of_side.items()
    ]
    levels[-1]["flags"] = 0
    return [*head, row(ts_ns, Kind.CLEAR, flags=int(Flag.MORE)), *levels]


def tape(*rows: Any) -> Events:
    """Events in one array."""
    return np.concatenate(rows)


def window_now() -> tuple[int, int]:
    """(a moment ago, start of the running five-minute window), ns."""
    now = now_ns()
    return now - SECOND_NS, now // (300 * SECOND_NS) * 300 * SECOND_NS


@asynccontextmanager
async def announced(market: Market, **options: Any) -> AsyncIterator[Announcement]:
    """A market on a free port, as its process serves it."""
    ended, place = asyncio.Event(), asyncio.get_running_loop().create_future()
    with bound(0) as listening:
        running = asyncio.create_task(run(market, listening, place.set_result, ended, **options))
        await asyncio.wait([running, place], return_when=asyncio.FIRST_COMPLETED)
        try:
            yield place.result()
        finally:
            ended.set()
            await running


@asynccontextmanager
async def served(venue: Venue, **options: Any) -> AsyncIterator[str]:
    """`127.0.0.1:port` of a server that plays the venue's tape by the wall clock."""
    async with announced(Market(venue, MarketClock(now_ns()), **options)) as announcement:
        yield announcement.address.removeprefix("http://")


def environment(host: str) -> Environment:
    """The official SDK's own environment with nothing but its addresses replaced."""
    config = replace(
        PRODUCTION_CONFIG,
        clob_url=f"http://{host}",
        gamma_url=f"http://{host}{GAMMA}",
        clob_market_ws_url=f"ws://{host}/ws/market",
        clob_user_ws_url=f"ws://{host}/ws/user",
        rtds_ws_url=f"ws://{host}{RTDS}",
        realtime_ws_url=f"ws://{host}{POLYBOLT}",
    )
    return with_environment_config(PRODUCTION, config=config)
