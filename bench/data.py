"""The bench's synthetic data: back-to-back 5-minute windows, reproducible to the last bit.

In: a number of windows, events per window, a seed. Out: NAME.bin (dtype job.RECORD) below
bench_data. Never here: a random generator other than our own, a timestamp that repeats.
"""

import argparse
import hashlib
import math

import numpy as np
from job import (
    CLEAR,
    DATA,
    DELTA,
    NO_TOKEN,
    OPEN,
    RECORD,
    RESOLVE,
    SPOT,
    START_NS,
    TRADE,
    WINDOW_NS,
)
from numba import njit

SETS = {
    "w20_2m": (20, "0a6c0daef1403757a77d0e20f1abae1e5066e07a867e2784e6b0aa0089ce9b16"),
    "w100_10m": (100, "55b370878f908edc5e8fe475fb056b3ef9ca0a377f873e0fe187282716759c9b"),
}
"""Windows and SHA-256 of the sets that results are quoted for."""
EVENTS_PER_WINDOW = 121_500
SEED = 20_260_101
VOLATILITY = 0.55 / math.sqrt(365.0 * 86_400.0)  # of log spot, per root second

WORLD = np.dtype(
    [(n, "<i8") for n in ("n", "ts", "up", "close", "next_spot", "next_quote")]
    + [(n, "<f8") for n in ("spot", "strike", "maker_volatility")]
    + [("chance", "<u8")]
)
"""Where the generator stands: events written, the window at hand, spot in cents, the seed."""


@njit
def uniform(world):
    """The next number in [0, 1) of xorshift64* (Vigna, 2016)."""
    x = world.chance
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    world.chance = x
    return float((x * np.uint64(2685821657736338717)) >> np.uint64(11)) / 9007199254740992.0


@njit
def normal(world):
    """A standard normal number (Box and Muller, 1958)."""
    first = uniform(world)
    while first <= 1e-300:
        first = uniform(world)
    return math.sqrt(-2.0 * math.log(first)) * math.cos(6.283185307179586 * uniform(world))


@njit
def size(world):
    """Lognormal micro shares, 10 to 20,000 shares in hundredths."""
    shares = min(10.0 + math.exp(3.0 + 1.4 * normal(world)), 20_000.0)
    return np.int64(math.floor(shares * 100.0)) * 10_000


@njit
def put(world, out, kind, side, token, what):
    """Write one event at the present time; `what` is (price in cents, size)."""
    row = out[world.n]
    row.ts, row.kind, row.side, row.token = world.ts, kind, side, token
    row.px, row.size = what
    world.n += 1


@njit
def change(world, out, side, token, what):
    """Write a level of one token, and 1 ns later its mirror image on the other one."""
    put(world, out, DELTA, side, token, what)
    world.ts += 1
    put(world, out, DELTA, 1 - side, token ^ 1, (100 - what[0], what[1]))


@njit
def open_window(world, book, out):
    """Spot, the listing with its strike, two cleared books and 25 levels a side."""
    cents = np.int32(round(world.spot))
    put(world, out, SPOT, 0, NO_TOKEN, (cents, 1_000_000))
    world.ts += 1
    put(world, out, OPEN, 0, world.up, (cents, 0))
    for token in (world.up, world.up + 1):
        world.ts += 1
        put(world, out, CLEAR, 0, token, (0, 0))
    book[:] = 0
    for distance in range(1, 26):
        for side in range(2):
            level = 50 - distance if side == 0 else 50 + distance
            book[side, level] = size(world)
            world.ts += 1
            change(world, out, side, world.up, (level, book[side, level]))
    world.strike = float(cents)


@njit
def move_spot(world, history, out):
    """One spot tick: diffusion and now and then a jump, which is what a taker lives on."""
    shock = normal(world)
    move = VOLATILITY * math.sqrt(0.1) * shock
    if uniform(world) < 0.004:
        sign = 1.0 if uniform(world) < 0.5 else -1.0
        move += VOLATILITY * 7.0 * sign * (0.5 + uniform(world))
    world.spot = world.spot * math.exp(move)
    history[:-1] = history[1:].copy()
    history[-1] = world.spot
    volume = np.int64(100_000 + uniform(world) * 5_000_000)
    side = 0 if shock > 0 else 1
    put(world, out, SPOT, side, NO_TOKEN, (np.int32(round(world.spot)), volume))
    world.next_spot += 100_000_000 + np.int64((uniform(world) - 0.5) * 20_000_000)


@njit
def requote(world, book, history, out):
    """Makers quote around the fair value of a spot that they saw 0.3 s ago."""
    world.next_quote = world.ts + 60_000_000 + np.int64(uniform(world) * 240_000_000)
    left = (world.close - world.ts) * 1e-9
    deviation = world.maker_volatility * math.sqrt(left + 0.25)
    distance = math.log(history[4] / world.strike) / deviation
    fair = 0.5 * (1.0 + math.erf(distance * 0.7071067811865476)) + 0.006 * normal(world)
    half = 0.006 + 0.008 * uniform(world)
    bid = min(math.floor((fair - half) * 100.0), 98)
    ask = max(math.ceil((fair + half) * 100.0), 2, bid + 1)
    for level in range(99, bid, -1):
        remove(world, book, out, 0, level)
    for level in range(1, ask):
        remove(world, book, out, 1, level)
    for side, level in ((0, bid), (1, ask)):
        if 1 <= level <= 99:
            book[side, level] = size(world)
            world.ts += 1
            change(world, out, side, world.up, (level, book[side, level]))


@njit
def remove(world, book, out, side, level):
    """Take a level away if it is there."""
    if 1 <= level <= 99 and book[side, level] > 0:
        book[side, level] = 0
        world.ts += 1
        change(world, out, side, world.up, (level, 0))


@njit
def take(world, book, out, side, best):
    """A taker buys half of the best ask of Up (side 0) or Down (side 1): print, then levels."""
    if not 0 < best < 100:
        return
    taken = book[1 - side, best] // 2
    if taken < 10_000_000:
        return
    book[1 - side, best] -= taken
    level = best if side == 0 else 100 - best
    put(world, out, TRADE, 0, world.up + side, (level, taken))
    world.ts += 1
    change(world, out, 1, world.up + side, (level, book[1 - side, best]))


@njit
def bests(book):
    """(best bid, best ask) in cents; 0 and 100 for an empty side."""
    bid = 99
    while bid > 0 and book[0, bid] == 0:
        bid -= 1
    ask = 1
    while ask < 100 and book[1, ask] == 0:
        ask += 1
    return bid, ask


@njit
def flow(world, book, out):
    """A trade, or a level near the best that changes or goes."""
    bid, ask = bests(book)
    side = 0 if uniform(world) < 0.5 else 1
    if uniform(world) < 0.06:
        take(world, book, out, side, ask if side == 0 else bid)
        return
    distance = int(math.log(1.0 - uniform(world) * 0.999999) / math.log(0.86))
    level = bid - distance if side == 0 else ask + distance
    if not 1 <= level <= 99:
        return
    gone = distance > 0 and uniform(world) < 0.15
    book[side, level] = 0 if gone else size(world)
    change(world, out, side, world.up, (level, book[side, level]))


@njit
def window(world, book, history, out, events):
    """One window of about `events` events, from its listing to its resolution."""
    start = world.close
    world.close = start + WINDOW_NS
    world.ts = max(start, world.ts + 1)
    open_window(world, book, out)
    history[:] = world.spot
    step_ns = 300.0e9 / ((events - 3110) / 2.13)
    world.next_spot = start + 100_000_000
    world.next_quote = start + 50_000_000
    world.maker_volatility = VOLATILITY * (0.85 + 0.3 * uniform(world))
    while True:
        wait = np.int64(-step_ns * math.log(1.0 - uniform(world) * 0.999999)) + 4
        then = world.ts + wait
        if world.ts < world.next_spot < then:
            then = world.next_spot
        if then >= world.close - 1000:
            break
        world.ts = then
        if world.ts >= world.next_spot:
            move_spot(world, history, out)
        elif world.ts >= world.next_quote:
            requote(world, book, history, out)
        else:
            flow(world, book, out)
    world.ts = max(world.close - 500, world.ts + 1)
    up_wins = np.int32(round(world.spot)) >= np.int64(world.strike)
    put(world, out, RESOLVE, 0, world.up, (100 if up_wins else 0, 0))
    world.up += 2


@njit
def fill(world, out, windows, events):
    """Fill `out`; returns the number of events."""
    book = np.zeros((2, 101), np.int64)
    history = np.zeros(8)
    for _ in range(windows):
        window(world, book, history, out, events)
    return world.n


def generate(windows: int) -> np.ndarray:
    """Records of `windows` windows, dtype job.RECORD."""
    world = np.zeros(1, WORLD)
    world["chance"], world["spot"], world["close"] = SEED, 90_000_00.0, START_NS
    out = np.zeros(int(windows * EVENTS_PER_WINDOW * 1.3), RECORD)
    return out[: fill(world[0], out, windows, EVENTS_PER_WINDOW)]


def main() -> None:
    """Write the named set and check that it is the one that results are quoted for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SETS)
    name = parser.parse_args().name
    windows, expected = SETS[name]
    records = generate(windows)
    found = hashlib.sha256(records.tobytes()).hexdigest()
    if found != expected:
        raise SystemExit(f"{name}: expected sha256 {expected}, generated {found}; nothing written")
    DATA.mkdir(exist_ok=True)
    records.tofile(DATA / f"{name}.bin")
    print(f"{name}: {len(records):,} events, sha256 {found}")


if __name__ == "__main__":
    main()
