"""One window's order book and trades, event by event, around the value that its makers quote.

In: quoted value and liquidity per 100 ms step, rates. Out: CLEAR, LEVEL, TICK and TRADE events in
receipt order, atomic groups flagged MORE. Calibrated to venue_facts section 8. Never here: truth.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairwind.core.compiled import compiled
from fairwind.core.events import EVENT, Events, Flag, Kind, Side, Source

TOP = 1000
"""Levels are numbered in the finest tick, 0.001: a coarse tick is ten of them."""
LEVEL_E4 = 10
COARSE = 10
FINE_LEVELS = 50
FLIP_HIGH, FLIP_LOW = 0.96, 0.04
STEP_NS = 100_000_000
MEDIAN_TOP_SHARES = 273.0
MEDIAN_NEXT_SHARES = 378.0
SIZE_SPREAD = 0.8
MEDIAN_TRADE_SHARES = 7.1
TRADE_SPREAD = 1.5
SIZE_STEP_MICRO = 10_000  # sizes are whole hundredths of a share
TOP_CHANGES = 0.5  # share of level changes at the best price
PULLED = 0.004  # chance that a change of the best level removes it until the next message
# 99.1 % of decreases of the best level are cancels although trades are one message in forty, so
# most trades must be refilled at once.
REFILLED = 0.9
HYSTERESIS = 0.25  # ticks that the value may leave the quoted spread before makers move
LAG_MEDIAN_NS = 9_000_000.0
LAG_SPREAD = 0.86
BID, ASK = int(Side.BID), int(Side.ASK)
MORE = int(Flag.MORE)
LEVEL, CLEAR, TRADE, TICK = int(Kind.LEVEL), int(Kind.CLEAR), int(Kind.TRADE), int(Kind.TICK)
NONE, POLYMARKET = int(Side.NONE), int(Source.POLYMARKET)
SOURCE_NS, RECEIPT_NS, COUNT, TICK_NOW, EXTREME = range(5)
GROUP_MAX = 2 * TOP + 10


class Plan(NamedTuple):
    """What does not change while a window's book runs."""

    market: int
    open_ns: int  # source time of the first snapshot
    changes: float  # expected messages per step
    trade_share: float  # of messages
    flip_steps: int
    wide: bool  # at least a tick on either side of the quoted value


class Desk(NamedTuple):
    """The book and the tape under construction."""

    out: Events
    now: NDArray[np.int64]  # source time, receipt time, events written, tick, steps at an extreme
    sizes: NDArray[np.int64]  # shares micro, by side and level
    best: NDArray[np.int64]  # quoted bid and ask levels; 0 and TOP when none


@compiled
def advance(desk, source_ns, rng):  # type: ignore[no-untyped-def]
    """Move on to a source time and to its receipt, which keeps the order (one connection)."""
    desk.now[SOURCE_NS] = source_ns
    lag = LAG_MEDIAN_NS * math.exp(LAG_SPREAD * rng.standard_normal())
    desk.now[RECEIPT_NS] = max(desk.now[RECEIPT_NS], source_ns + int(lag))


@compiled
def put(desk, kind, side, level, size):  # type: ignore[no-untyped-def]
    """Write one event of an atomic group; `seal` ends the group."""
    row = desk.out[desk.now[COUNT]]
    row["ts_ns"] = desk.now[RECEIPT_NS]
    row["ts_source_ns"] = desk.now[SOURCE_NS]
    row["price"] = level * LEVEL_E4
    row["size"] = size
    row["kind"] = kind
    row["side"] = side
    row["flags"] = MORE
    desk.now[COUNT] += 1
    if kind == LEVEL:
        desk.sizes[side, level] = size


@compiled
def seal(desk):  # type: ignore[no-untyped-def]
    """End the atomic group: its last event has no MORE."""
    if desk.now[COUNT] > 0:
        desk.out[desk.now[COUNT] - 1]["flags"] = 0


@compiled
def shares(rng, median, spread):  # type: ignore[no-untyped-def]
    """A lognormal size in micro shares, at least one hundredth of a share."""
    drawn = median * math.exp(spread * rng.standard_normal()) * 1e6
    return max(int(drawn) // SIZE_STEP_MICRO, 1) * SIZE_STEP_MICRO


@compiled
def resting(desk, side, level, liquidity, rng):  # type: ignore[no-untyped-def]
    """A level's size: smaller at the best price than behind it."""
    median = MEDIAN_TOP_SHARES if level == desk.best[side] else MEDIAN_NEXT_SHARES
    return shares(rng, median * liquidity, SIZE_SPREAD)


@compiled
def touch(desk, value, wide):  # type: ignore[no-untyped-def]
    """(bid, ask) levels that makers want at this value; 0 and TOP mean none."""
    tick = desk.now[TICK_NOW]
    at = value * TOP
    bid = math.floor(at / tick) * tick
    ask = bid + tick
    if wide:
        ask = math.ceil(at / tick) * tick + tick
        bid -= tick
    elif desk.best[ASK] - desk.best[BID] == tick:
        slack = HYSTERESIS * tick
        if desk.best[BID] - slack <= at <= desk.best[ASK] + slack:
            return desk.best[BID], desk.best[ASK]
    return max(min(bid, TOP - tick), 0), min(max(ask, tick), TOP)


@compiled
def requote(desk, bid, ask, liquidity, rng):  # type: ignore[no-untyped-def]
    """Move both best prices in one atomic change, removals first, so that nothing ever crosses."""
    tick = desk.now[TICK_NOW]
    old_bid, old_ask = desk.best[BID], desk.best[ASK]
    for level in range(old_bid, bid, -1):
        if desk.sizes[BID, level] > 0:
            put(desk, LEVEL, BID, level, 0)
    for level in range(old_ask, ask):
        if desk.sizes[ASK, level] > 0:
            put(desk, LEVEL, ASK, level, 0)
    desk.best[BID], desk.best[ASK] = bid, ask
    deepest = max(old_bid + tick, bid - FINE_LEVELS * tick)
    for level in range(bid, min(deepest, bid) - 1, -tick):
        if level > 0 and desk.sizes[BID, level] == 0:
            put(desk, LEVEL, BID, level, resting(desk, BID, level, liquidity, rng))
    deepest = min(old_ask - tick, ask + FINE_LEVELS * tick)
    for level in range(ask, max(deepest, ask) + 1, tick):
        if level < TOP and desk.sizes[ASK, level] == 0:
            put(desk, LEVEL, ASK, level, resting(desk, ASK, level, liquidity, rng))
    seal(desk)


@compiled
def snapshot(desk, liquidity, rng):  # type: ignore[no-untyped-def]
    """Replace the whole book: CLEAR and every level, one atomic change.

    A coarse book reaches to both ends; a fine one goes on in coarse steps behind its fine levels.
    """
    desk.sizes[:] = 0
    put(desk, CLEAR, NONE, 0, 0)
    for side in (BID, ASK):
        away = -1 if side == BID else 1
        level = desk.best[side]
        written = 0
        while 0 < level < TOP and written < FINE_LEVELS:
            put(desk, LEVEL, side, level, resting(desk, side, level, liquidity, rng))
            level += away * desk.now[TICK_NOW]
            written += 1
    seal(desk)


@compiled
def flip(desk, value, plan):  # type: ignore[no-untyped-def]
    """Whether the tick becomes fine now: the value has been extreme for long enough. Never back."""
    if FLIP_LOW <= value <= FLIP_HIGH or desk.now[TICK_NOW] == 1:
        desk.now[EXTREME] = 0
        return False
    desk.now[EXTREME] += 1
    return desk.now[EXTREME] > plan.flip_steps


@compiled
def trade(desk, side, liquidity, rng):  # type: ignore[no-untyped-def]
    """A taker takes from the best level of `side`; makers mostly refill it at once."""
    level = desk.best[side]
    there = desk.sizes[side, level]
    size = min(shares(rng, MEDIAN_TRADE_SHARES, TRADE_SPREAD), there)
    put(desk, TRADE, ASK if side == BID else BID, level, size)
    if rng.random() < REFILLED:
        seal(desk)
        return
    left = there - size
    put(desk, LEVEL, side, level, left)
    if left == 0:
        put(desk, LEVEL, side, level, resting(desk, side, level, liquidity, rng))
    seal(desk)


@compiled
def change(desk, plan, liquidity, rng):  # type: ignore[no-untyped-def]
    """One message: a trade, or a level's new total (orders placed and cancelled)."""
    side = BID if rng.random() < 0.5 else ASK
    best = desk.best[side]
    if not 0 < best < TOP:
        return
    if desk.sizes[side, best] == 0:  # was pulled
        put(desk, LEVEL, side, best, resting(desk, side, best, liquidity, rng))
    elif rng.random() < plan.trade_share:
        trade(desk, side, liquidity, rng)
    else:
        away = 0 if rng.random() < TOP_CHANGES else 1 + int(FINE_LEVELS * rng.random() ** 2)
        level = best + (away if side == ASK else -away) * desk.now[TICK_NOW]
        if not 0 < level < TOP:
            return
        size = resting(desk, side, level, liquidity, rng)
        put(desk, LEVEL, side, level, 0 if away == 0 and rng.random() < PULLED else size)
    seal(desk)


@compiled
def fill(desk, values, liquidity, plan, rng):  # type: ignore[no-untyped-def]
    """Write the events of all steps (n,); the number written, or -1 when `out` is too small."""
    capacity = len(desk.out)
    for step in range(len(values)):
        at_ns = plan.open_ns + step * STEP_NS
        before = desk.now[COUNT]
        if capacity - before < GROUP_MAX:
            return -1
        advance(desk, at_ns, rng)
        flipped = flip(desk, values[step], plan)
        if flipped:
            desk.now[TICK_NOW] = 1
            put(desk, TICK, NONE, 1, 0)
        bid, ask = touch(desk, values[step], plan.wide)
        if flipped or step == 0:
            desk.best[BID], desk.best[ASK] = bid, ask
            snapshot(desk, liquidity[step], rng)
        elif bid != desk.best[BID] or ask != desk.best[ASK]:
            requote(desk, bid, ask, liquidity[step], rng)
        messages = rng.poisson(max(plan.changes - (desk.now[COUNT] - before), 0.0))
        if capacity - desk.now[COUNT] < 3 * messages + GROUP_MAX:
            return -1
        for k in range(messages):
            advance(desk, at_ns + int((k + rng.random()) / messages * STEP_NS), rng)
            change(desk, plan, liquidity[step], rng)
    return desk.now[COUNT]


def tape(
    plan: Plan,
    values: NDArray[np.float64],
    liquidity: NDArray[np.float64],
    rng: np.random.Generator,
) -> Events:
    """The window's market events in receipt order, for quoted values and liquidity (steps,)."""
    beginning = rng.bit_generator.state
    capacity = GROUP_MAX * 2 + int(len(values) * (3 * plan.changes + 40))
    while True:
        desk = Desk(
            np.empty(capacity, EVENT),
            np.array([0, 0, 0, COARSE, 0], np.int64),
            np.zeros((2, TOP + 1), np.int64),
            np.array([0, TOP], np.int64),
        )
        rng.bit_generator.state = beginning
        count = fill(desk, values, liquidity, plan, rng)
        if count >= 0:
            events = desk.out[:count].copy()  # the tape is mostly longer than what is on it
            events["ref"] = 0
            events["market"] = plan.market
            events["source"] = POLYMARKET
            return events
        capacity *= 2
