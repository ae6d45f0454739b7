"""What the whole job costs at bare metal, in Numba: a yardstick, not an engine.

In: a data set's name, a number of repeats. Out: JSON lines for 4 strategies: the rate, and the
time of one event per call. Books, takers and makers, gates, 75 ms latency, queue position, partial
fills, fees, settlement, ledger rows and a rolling digest; one window at a time.
"""

import argparse
import math
import time
from typing import Any

import numpy as np
from job import (
    CLEAR,
    DELTA,
    FIRST_VARIANCE,
    LEFT_MAX_S,
    LEFT_MIN_S,
    OPEN,
    RESOLVE,
    SPOT,
    TRADE,
    WINDOW_NS,
    load,
    report,
    since,
    timed,
)
from numba import int64, njit, uint64
from reference_numba import (
    SLOTS,
    best_ask,
    best_bid,
    edge,
    fair_value,
    fee_micro,
    next_variance,
)

STRATEGIES = 4  # even ones take, odd ones make
LATENCY_NS = 75_000_000
IN_FLIGHT = 1024
LEDGER_ROWS = 1 << 16
SECONDS = 1 << 16
POSITION_MAX_MICRO = 50_000_000
LOSS_MAX_MICRO = 500_000_000
BAND = (3, 97)
ORDERS_PER_S, BURST = 5.0, 10.0
TAKE, MAKE, CANCEL = 0, 1, 2


def _table(integers: str, floats: str = "") -> np.dtype:
    return np.dtype([(n, "<i8") for n in integers.split()] + [(n, "<f8") for n in floats.split()])


STRATEGY = _table("size maker up down cash orders bought in_flight gated token_ts", "edge tokens")
RESTING = _table("px left ahead")
ORDER = _table("due strategy token px type size")
LEDGER = _table("ts strategy token px size fee cash")
CLOCK = _table(
    "last_ts close rows head tail killed next_second seconds chain",
    "variance last strike distance fair_sum",
)
STATE = np.dtype(
    [
        *CLOCK.descr,
        ("strategies", STRATEGY, (STRATEGIES,)),
        ("resting", RESTING, (STRATEGIES, 2)),
        ("orders", ORDER, (IN_FLIGHT,)),  # a ring of those on their way
        ("levels", "<i8", (4 * SLOTS,)),  # token, side, cents
        ("tops", "<i8", (4,)),  # bid and ask of Up, bid and ask of Down
        ("equity", "<i8", (SECONDS, STRATEGIES)),
        ("ledger", LEDGER, (LEDGER_ROWS,)),
    ]
)
"""One record: a pointer is cheap to pass, and nothing in it is counted by reference."""


def fresh() -> np.ndarray:
    """The state before the first event, shape (1,)."""
    state = np.zeros(1, STATE)
    state["variance"] = FIRST_VARIANCE
    strategies = state["strategies"][0]
    strategies["size"] = 10_000_000
    strategies["maker"] = np.arange(STRATEGIES) % 2
    strategies["edge"] = 0.02 + 0.01 * (np.arange(STRATEGIES) // 2)
    strategies["tokens"] = BURST
    state["tops"] = (0, 100, 0, 100)
    return state


@njit(inline="always")
def write(t, number, token, px, size, fee):
    """Move money and shares, and write the ledger row."""
    strategy = t.strategies[number]
    strategy.cash -= size * px // 100 + fee
    if token == 0:
        strategy.up += size
    else:
        strategy.down += size
    row = t.ledger[t.rows % LEDGER_ROWS]
    row.ts, row.strategy, row.token, row.px = t.last_ts, number, token, px
    row.size, row.fee, row.cash = size, fee, strategy.cash
    t.rows += 1


@njit
def arrive(t):
    """The oldest order on its way meets the book as it stands."""
    order = t.orders[t.tail % IN_FLIGHT]
    t.tail += 1
    t.strategies[order.strategy].in_flight -= 1
    resting = t.resting[order.strategy, order.token]
    if t.strike <= 0.0:
        return
    if order.type == CANCEL:
        resting.left = 0
    elif order.type == MAKE:
        resting.px, resting.left = order.px, order.size
        resting.ahead = t.levels[order.token * 2 * SLOTS + order.px]
    else:
        left, walked, px = order.size, 0, t.tops[order.token * 2 + 1]
        while left > 0 and px <= order.px and px < 100 and walked < 3:
            size = min(t.levels[(order.token * 2 + 1) * SLOTS + px], left)
            if size > 0:
                write(t, order.strategy, order.token, px, size, fee_micro(size, px))
                left -= size
                walked += 1
            px += 1


@njit(inline="always")
def delta(t, record):
    """A level changes: bests, queue positions, resting bids that the ask crossed."""
    size, px, token = record.size, int64(record.px), int64(record.token) & 1
    book = uint64(token) * uint64(2) + uint64(record.side)
    at = book * uint64(SLOTS)
    t.levels[at + uint64(px)] = size
    if record.side == 0:
        t.tops[book] = best_bid(t.levels, at, px, size, t.tops[book])
        for number in range(STRATEGIES):
            resting = t.resting[number, token]
            if resting.left > 0 and resting.px == px:
                resting.ahead = min(resting.ahead, size)
        return
    t.tops[book] = best_ask(t.levels, at, px, size, t.tops[book])
    for number in range(STRATEGIES):
        resting = t.resting[number, token]
        if resting.left > 0 and t.tops[book] <= resting.px:
            write(t, number, token, resting.px, resting.left, 0)
            resting.left = 0


@njit
def trade(t, record):
    """A buyer of one token is a seller into the other one's bids: it eats the queue, then us."""
    token, px = 1 - (int64(record.token) & 1), 100 - int64(record.px)
    for number in range(STRATEGIES):
        resting = t.resting[number, token]
        if resting.left <= 0 or resting.px < px:
            continue
        ahead = resting.ahead if resting.px == px else 0
        resting.ahead = max(ahead - record.size, 0)
        size = min(record.size - ahead, resting.left)
        if size > 0:
            write(t, number, token, resting.px, size, 0)
            resting.left -= size


@njit
def spot(t, record):
    """Learn the variance."""
    price = record.px * 0.01
    seconds = (record.ts - t.last_ts) * 1e-9
    t.variance = next_variance(t.variance, price, t.last, seconds)
    t.last, t.last_ts = price, record.ts
    if t.strike > 0.0:
        t.distance = math.log(price / t.strike)


@njit
def opened(t, record):
    """A new window: strike, fresh counters."""
    t.strike = record.px * 0.01
    t.distance = math.log(t.last / t.strike)
    t.close = record.ts // WINDOW_NS * WINDOW_NS + WINDOW_NS
    for number in range(STRATEGIES):
        t.strategies[number].bought = 0
        t.resting[number, 0].left = 0
        t.resting[number, 1].left = 0


@njit
def resolved(t, record):
    """Pay out, and stop everything after too large a loss."""
    t.strike = 0.0
    for number in range(STRATEGIES):
        strategy = t.strategies[number]
        if strategy.up != 0 or strategy.down != 0:
            payout = (strategy.up * record.px + strategy.down * (100 - record.px)) // 100
            strategy.up = strategy.down = 0
            strategy.cash += payout
            write(t, number, 0, 0, 0, 0)
            strategy.up = strategy.down = 0
        t.resting[number, 0].left = 0
        t.resting[number, 1].left = 0
        t.killed |= strategy.cash < -LOSS_MAX_MICRO


@njit(inline="always")
def wish(t, number, token, fair):
    """(order type or -1, price) that the strategy wants in one token."""
    strategy = t.strategies[number]
    if strategy.maker == 0:
        ask = t.tops[uint64(token * 2 + 1)]
        if strategy.bought == 0 and ask < 100 and edge(fair, ask) > strategy.edge:
            return TAKE, ask
        return -1, 0
    resting = t.resting[number, token]
    bid = t.tops[uint64(token * 2)]
    if strategy.in_flight != 0:
        return -1, 0
    if resting.left > 0:
        return (CANCEL if fair * 100.0 < resting.px else -1), resting.px
    return (MAKE if bid > 0 and fair - bid * 0.01 > strategy.edge else -1), bid


@njit
def order(t, number, token, kind, px, ts):
    """Gates (rate, position, band, orders on their way), then the order leaves."""
    strategy = t.strategies[number]
    passed = (ts - strategy.token_ts) * 1e-9
    strategy.tokens = min(strategy.tokens + passed * ORDERS_PER_S, BURST)
    strategy.token_ts = ts
    held = strategy.up if token == 0 else strategy.down
    barred = strategy.tokens < 1.0 or held + strategy.size > POSITION_MAX_MICRO
    barred |= not BAND[0] <= px <= BAND[1] or strategy.in_flight >= 4
    if kind != CANCEL and barred:
        strategy.gated += 1
        return False
    strategy.tokens -= 1.0
    row = t.orders[t.head % IN_FLIGHT]
    row.due, row.strategy, row.token, row.px = ts + LATENCY_NS, number, token, px
    row.type, row.size = kind, strategy.size
    t.head += 1
    strategy.in_flight += 1
    strategy.orders += 1
    strategy.bought |= kind == TAKE
    return True


@njit(inline="always")
def decide(t, ts, left_s):
    """The fair value once, then every strategy on both tokens."""
    fair = fair_value(t.distance, t.variance, left_s)
    t.fair_sum += fair
    if not LEFT_MIN_S < left_s < LEFT_MAX_S or t.killed:
        return
    for number in range(STRATEGIES):
        for token in range(2):
            kind, px = wish(t, number, token, 1.0 - fair if token else fair)
            if kind >= 0 and order(t, number, token, kind, px, ts):
                break


@njit(inline="always")
def mark(t, ts):
    """Equity of every strategy, once a second."""
    tops = t.tops
    t.next_second = (ts // 1_000_000_000 + 1) * 1_000_000_000
    for number in range(STRATEGIES):
        s = t.strategies[number]
        held = s.up * (tops[0] + tops[1]) + s.down * (tops[2] + tops[3])
        t.equity[t.seconds % SECONDS, number] = s.cash + held // 200
    t.seconds += 1


@njit(cache=True, boundscheck=False, error_model="numpy")
def run(records, state):
    """Take all records in."""
    t = state[0]
    tops = t.tops
    for i in range(uint64(0), uint64(len(records))):
        record = records[i]
        ts, kind = record.ts, record.kind
        while t.tail < t.head and t.orders[t.tail % IN_FLIGHT].due <= ts:
            arrive(t)
        if kind == DELTA:
            delta(t, record)
        elif kind == TRADE:
            trade(t, record)
        elif kind == SPOT:
            spot(t, record)
        elif kind == CLEAR:
            at = (int64(record.token) & 1) * 2
            t.levels[at * SLOTS : (at + 2) * SLOTS] = 0
            tops[at], tops[at + 1] = 0, 100
        elif kind == OPEN:
            opened(t, record)
        elif kind == RESOLVE:
            resolved(t, record)
        if t.strike > 0.0:
            decide(t, ts, max((t.close - ts) * 1e-9, 1e-3))
        state = tops[0] | tops[1] << 8 | tops[2] << 16 | tops[3] << 24 | t.rows << 32
        t.chain = (t.chain ^ ts ^ state) * 1_099_511_628_211
        if ts >= t.next_second:
            mark(t, ts)


def main() -> None:
    """Report the rate, and the time of one event per call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("repeats", type=int)
    options = parser.parse_args()
    records = load(options.name)
    run(records[:8], fresh())
    answer: dict[str, Any] = {}

    def once(step: int, n: int) -> float:
        state = fresh()
        start = time.perf_counter()
        for at in range(0, n, step):
            run(records[at : at + step], state)
        seconds = since(start)
        orders, rows = int(state["strategies"]["orders"].sum()), int(state["rows"][0])
        pnl = round(int(state["strategies"]["cash"].sum()) / 1e6, 4)
        answer.update(orders=orders, ledger_rows=rows, pnl=pnl)
        return seconds

    n = len(records)
    seconds = timed(options.repeats, lambda: once(n, n))
    report("Numba yardstick", "whole", events=n, seconds=seconds, **answer)
    n = 100_000
    report("Numba yardstick", "whole, 1 per call", events=n, seconds=timed(3, lambda: once(1, n)))


if __name__ == "__main__":
    main()
