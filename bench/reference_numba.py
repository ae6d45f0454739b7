"""The same loop in Numba: what Python can reach when the hot state stands in local variables.

In: a data set's name, a number of repeats. Out: one JSON line per mode.
Never here: an engine. It has no orders, no ledger, and it knows one window at a time.
"""

import argparse
import math
import time

import numpy as np
from job import (
    CLEAR,
    DELTA,
    EDGE,
    FEE,
    FIRST_VARIANCE,
    HALF_ROOT,
    LEFT_MAX_S,
    LEFT_MIN_S,
    OPEN,
    RESOLVE,
    SHARES,
    SPOT,
    WEIGHT,
    WINDOW_NS,
    load,
    report,
    since,
    timed,
)
from numba import int64, njit, uint64

SLOTS = 128  # per book side; unsigned indices, so that no index is checked for being negative
SIZE_MICRO = SHARES * 1_000_000


@njit(inline="always")
def best_bid(levels, at, px, size, best):
    """The best bid after the level `px` became `size`."""
    if size > 0:
        return max(px, best)
    while best > 0 and levels[at + uint64(best)] == 0:
        best -= 1
    return best


@njit(inline="always")
def best_ask(levels, at, px, size, best):
    """The best ask after the level `px` became `size`."""
    if size > 0:
        return min(px, best)
    while best < 100 and levels[at + uint64(best)] == 0:
        best += 1
    return best


@njit(inline="always")
def fair_value(distance, variance, left_s):
    """P(Up): `distance` is log(spot / strike), `variance` per second."""
    return 0.5 * (1.0 + math.erf(distance / math.sqrt(variance * left_s) * HALF_ROOT))


@njit(inline="always")
def next_variance(variance, spot, last, seconds):
    """The variance after one more spot tick."""
    if last <= 0.0 or seconds <= 1e-6:
        return variance
    move = math.log(spot / last)
    return variance + WEIGHT * (move * move / seconds - variance)


@njit(inline="always")
def edge(fair, cents):
    """Profit per share of buying at `cents` after the fee."""
    price = cents * 0.01
    return fair - price - FEE * price * (1.0 - price)


@njit(inline="always")
def fee_micro(size, cents):
    """Taker fee of `size` micro shares, rounded to micro dollars."""
    return (size * 7 * cents * (100 - cents) + 500_000) // 1_000_000


@njit(cache=True, boundscheck=False, error_model="numpy")
def replay(records, levels, mode):
    """(buys, cash in micro dollars, sum of fair values) of the whole set."""
    variance, last, strike, distance, fair_sum = FIRST_VARIANCE, 0.0, 0.0, 0.0, 0.0
    last_ts = close = cash = up = down = buys = bought = 0
    bid_up = bid_down = 0
    ask_up = ask_down = 100
    for i in range(uint64(0), uint64(len(records))):
        record = records[i]
        kind, ts, px, size = record.kind, record.ts, int64(record.px), record.size
        token = uint64(record.token) & uint64(1)
        if kind == DELTA:
            at = (token * uint64(2) + uint64(record.side)) * uint64(SLOTS)
            levels[at + uint64(px)] = size
            if record.side == 0 and token == 0:
                bid_up = best_bid(levels, at, px, size, bid_up)
            elif record.side == 0:
                bid_down = best_bid(levels, at, px, size, bid_down)
            elif token == 0:
                ask_up = best_ask(levels, at, px, size, ask_up)
            else:
                ask_down = best_ask(levels, at, px, size, ask_down)
        elif kind == SPOT:
            spot = px * 0.01
            variance = next_variance(variance, spot, last, (ts - last_ts) * 1e-9)
            last, last_ts = spot, ts
            distance = math.log(spot / strike) if strike > 0.0 else 0.0
        elif kind == CLEAR:
            levels[token * uint64(2 * SLOTS) : (token + uint64(1)) * uint64(2 * SLOTS)] = 0
        elif kind == OPEN:
            strike, bought = px * 0.01, 0
            distance = math.log(last / strike)
            close = ts // WINDOW_NS * WINDOW_NS + WINDOW_NS
            bid_up = bid_down = 0
            ask_up = ask_down = 100
            continue
        elif kind == RESOLVE:
            cash += (up * px + down * (100 - px)) // 100
            up = down = 0
            strike = 0.0
        if mode == 0 or strike <= 0.0:
            continue
        left_s = max((close - ts) * 1e-9, 1e-3)
        fair = fair_value(distance, variance, left_s)
        fair_sum += fair
        if bought == 1 or left_s <= LEFT_MIN_S or left_s >= LEFT_MAX_S:
            continue
        if ask_up < 100 and edge(fair, ask_up) > EDGE:
            size = min(levels[SLOTS + ask_up], SIZE_MICRO)
            cash -= size * ask_up // 100 + fee_micro(size, ask_up)
            up, bought, buys = up + size, 1, buys + 1
        elif ask_down < 100 and edge(1.0 - fair, ask_down) > EDGE:
            size = min(levels[3 * SLOTS + ask_down], SIZE_MICRO)
            cash -= size * ask_down // 100 + fee_micro(size, ask_down)
            down, bought, buys = down + size, 1, buys + 1
    return buys, cash, fair_sum


def main() -> None:
    """Report modes 0 and 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("repeats", type=int)
    options = parser.parse_args()
    records = load(options.name)
    for mode in (0, 1):
        replay(records[:8], np.zeros(4 * SLOTS, np.int64), mode)
        answer = {}

        def once(mode: int = mode, answer: dict = answer) -> float:
            levels = np.zeros(4 * SLOTS, np.int64)
            start = time.perf_counter()
            buys, cash, fair_sum = replay(records, levels, mode)
            seconds = since(start)
            answer |= {"buys": buys, "pnl": cash / 1e6, "fair_sum": round(fair_sum, 6)}
            return seconds

        seconds = timed(options.repeats, once)
        report("Numba loop", str(mode), events=len(records), seconds=seconds, **answer)


if __name__ == "__main__":
    main()
