"""The bench's strategies, written against the public contract like any other strategy file.

In: market, position, parameters, memory. Out: a signal. Never here: a loop made for the bench.
`SOLO` is the job of `job.py`: it keeps its own variance, because the other programs do too.
`STACK` is four strategies on the engine's shared fair value: two that take, two that make.
They are evaluated on change, as shipped strategies are; also measured: on every event.
"""

import dataclasses
import math

import numpy as np
from job import (
    EDGE,
    FEE,
    FIRST_VARIANCE,
    LEFT_MAX_S,
    LEFT_MIN_S,
    SHARES,
    START_NS,
    WEIGHT,
)

from fairwind.core.compiled import compiled
from fairwind.core.holds import Hold
from fairwind.core.outputs import Family, OrderType, Unit
from fairwind.engine import gates
from fairwind.engine.contract import On, Parameter, StrategySpec, Wish
from fairwind.engine.math import log, normal_cdf
from fairwind.engine.state import GRID_E4, TOP_LEVEL

VARIANCE, LAST, LAST_S, DISTANCE, FAIR_SUM, BOUGHT_NS = range(6)  # places in the solo's memory
QUOTED, QUOTED_SIDE = range(2)  # places in a maker's memory
LEVEL = GRID_E4 * 1e-4  # dollars
EDGE_MIN = gates.EDGE_MIN
BUY, CANCEL = int(Wish.BUY), int(Wish.CANCEL)
FAK, POST_ONLY = int(OrderType.FAK), int(OrderType.POST_ONLY)
UP, DOWN = 0, 1
PASS = np.uint64(0)
NO_EDGE = np.uint64(1 << Hold.EDGE_BELOW_THRESHOLD)
UNCERTAIN = np.uint64(1 << Hold.UNCERTAINTY)


def solo(market, position, parameter, memory, signal):
    """Buy at the best ask when the fair value by our own variance is worth more after the fee."""
    spot_s = (market.spot_ts_ns - START_NS) * 1e-9
    if memory[VARIANCE] == 0.0 or spot_s != memory[LAST_S]:
        learn(market, memory, spot_s)
    left_s = max(market.left_s, 1e-3)
    fair = normal_cdf(memory[DISTANCE] / math.sqrt(memory[VARIANCE] * left_s))
    memory[FAIR_SUM] += fair
    if memory[BOUGHT_NS] == market.start_ns or left_s <= LEFT_MIN_S or left_s >= LEFT_MAX_S:
        return NO_EDGE
    # Levels, because prices in dollars are brought up to date only for those who read On.FAIR.
    up, down = market.ask * LEVEL, 1.0 - market.bid * LEVEL
    up_edge = fair - up - FEE * up * (1.0 - up) if market.ask < TOP_LEVEL else -1.0
    down_edge = 1.0 - fair - down - FEE * down * (1.0 - down) if market.bid > 0 else -1.0
    if up_edge > EDGE:
        signal.side, signal.price, signal.net_edge = UP, up, up_edge
    elif down_edge > EDGE:
        signal.side, signal.price, signal.net_edge = DOWN, down, down_edge
    else:
        return NO_EDGE
    signal.wish, signal.type, signal.shares = BUY, FAK, SHARES
    signal.limit, signal.stderr, signal.required = signal.price, 0.0, EDGE
    signal.score, signal.threshold = signal.net_edge * 1e4, EDGE * 1e4
    memory[BOUGHT_NS] = market.start_ns
    return PASS


@compiled
def learn(market, memory, spot_s):
    """Take a spot tick into the variance, and measure how far spot is from the strike."""
    variance = memory[VARIANCE] if memory[VARIANCE] > 0.0 else FIRST_VARIANCE
    seconds = spot_s - memory[LAST_S]
    if memory[LAST] > 0.0 and seconds > 1e-6:
        move = log(market.spot / memory[LAST])
        variance += WEIGHT * (move * move / seconds - variance)
    memory[VARIANCE], memory[LAST], memory[LAST_S] = variance, market.spot, spot_s
    memory[DISTANCE] = log(market.spot / market.strike)


def taker(market, position, parameter, memory, signal):
    """Take the better outcome at its best ask, once per window."""
    fair = market.fair_up
    if not 0.0 <= fair <= 1.0:
        return UNCERTAIN
    up = fair - market.eff_up - market.fee_up if market.depth_up_micro > 0 else -1.0
    down = 1.0 - fair - market.eff_down - market.fee_down if market.depth_down_micro > 0 else -1.0
    signal.side = UP if up >= down else DOWN
    signal.net_edge = max(up, down)
    signal.price = market.eff_up if up >= down else market.eff_down
    signal.stderr = market.fair_stderr
    signal.required = parameter[EDGE_MIN] * 1e-4
    signal.limit = signal.price
    signal.score, signal.threshold = signal.net_edge * 1e4, parameter[EDGE_MIN]
    if position.entries > 0 or signal.net_edge <= signal.required:
        return NO_EDGE
    signal.wish, signal.type, signal.shares = BUY, FAK, SHARES
    return PASS


def maker(market, position, parameter, memory, signal):
    """Rest one bid at the best bid of the outcome that is worth more; cancel when it is not."""
    fair = market.fair_up
    if not 0.0 <= fair <= 1.0 or market.bid_e4 <= 0 or market.ask_e4 >= 10_000:
        return UNCERTAIN
    up, down = fair - market.bid_e4 * 1e-4, market.ask_e4 * 1e-4 - fair
    if position.open_orders > 0:
        worth = fair if memory[QUOTED_SIDE] == UP else 1.0 - fair
        if worth < memory[QUOTED]:
            signal.wish = CANCEL
        return NO_EDGE
    signal.side = UP if up >= down else DOWN
    signal.net_edge = max(up, down)
    signal.price = (market.bid_e4 if up >= down else 10_000 - market.ask_e4) * 1e-4
    signal.stderr = market.fair_stderr
    signal.required = parameter[EDGE_MIN] * 1e-4
    signal.limit = signal.price
    signal.score, signal.threshold = signal.net_edge * 1e4, parameter[EDGE_MIN]
    if signal.net_edge <= signal.required:
        return NO_EDGE
    signal.wish, signal.type, signal.shares = BUY, POST_ONLY, SHARES
    memory[QUOTED], memory[QUOTED_SIDE] = signal.price, signal.side
    return PASS


ON_CHANGE = On.SPOT | On.TOP | On.TRADE | On.TIMER | On.FAIR
ON_EVERY_EVENT = On.SPOT | On.TOP | On.BOOK | On.TRADE


def spec(name, scan, on=ON_CHANGE, **changed):
    """A strategy for every series; `changed` are its parameters."""
    parameters = tuple(
        Parameter(p.name, p.unit, changed.get(p.name, p.default), p.low, p.high)
        for p in gates.COMMON
    )
    assert set(changed) <= {p.name for p in parameters}
    return StrategySpec(
        id=name,
        family=Family.MARKET_MAKING if scan is maker else Family.FAIR_VALUE,
        unit=Unit.EDGE_E4,
        series=-1,
        subscriptions=on,
        parameters=parameters,
        scan=scan,
    )


AT_THE_TOP = {"depth_ticks": 0.0, "kelly_fraction": 1.0, "order_min": 0.0, "order_max": 1e6}
# The data has no oracle stream beyond the print at each boundary.
WITHOUT_STREAM = {"reference_budget": 1e6, "divergence_max": 10_000.0}
WIDE = {
    "edge_min": -10_000.0,
    "edge_stderrs": 0.0,
    "price_low": 0.0,
    "price_high": 10_000.0,
    "spread_max": 10_000.0,
    "entry_cutoff": 0.0,
    "coinflip_band": 0.0,
    "coinflip_edge": 0.0,
    "volatility_ratio_max": 1_000.0,
    "entry_cooldown": 0.0,
    "max_positions": 1e6,
    "trades_per_window": 1e6,
    "book_budget": 1e6,
    "spot_budget": 1e6,
    "loss_cooldown": 0.0,
    "streak_losses": 1e6,
    "streak_cooldown": 0.0,
}
SOLO = (spec("FAIR", solo, ON_EVERY_EVENT, **AT_THE_TOP, **WITHOUT_STREAM, **WIDE),)
BUSY = {"max_positions": 5.0, "trades_per_window": 5.0, "entry_cooldown": 0.2}
STACK = (
    spec("TAKER_2", taker, **AT_THE_TOP, **WITHOUT_STREAM, edge_min=200.0),
    spec("MAKER_2", maker, **AT_THE_TOP, **WITHOUT_STREAM, **BUSY, edge_min=200.0),
    spec("TAKER_3", taker, **AT_THE_TOP, **WITHOUT_STREAM, edge_min=300.0),
    spec("MAKER_3", maker, **AT_THE_TOP, **WITHOUT_STREAM, **BUSY, edge_min=300.0),
)
STACK_ON_EVERY_EVENT = tuple(
    dataclasses.replace(strategy, subscriptions=ON_EVERY_EVENT | On.FAIR) for strategy in STACK
)
