"""Sizing: fractional Kelly on the lower bound of the edge, under every cap.

In: the signal, equity, capital in use by bucket. Out: shares (whole lots) and the mask of caps
that bind to nothing. Never here: a size that a model's confidence could push above a cap.
"""

import numpy as np

from fairwind.core.compiled import compiled
from fairwind.core.holds import Hold
from fairwind.engine import features, gates, orders
from fairwind.engine.ledger import BY_ASSET, BY_DIRECTION, BY_FAMILY
from fairwind.engine.state import CASH, POSITIONS, RESERVED

LOT_MICRO = 10_000
ROUNDING_MICRO = 2_000.0
CAPS = tuple(Hold(number) for number in range(Hold.CAP_STRATEGY, Hold.CASH + 1))
LIMITS = ("KELLY", "ORDER_MAX", *(cap.name for cap in CAPS))
"""What can limit a stake; the smallest one binds."""
POST_ONLY, GTC = 3, 2
_CASH, _MIN_SIZE = np.uint64(1 << Hold.CASH), np.uint64(1 << Hold.MIN_SIZE)
_STRATEGY, _FAMILY = np.uint64(1 << Hold.CAP_STRATEGY), np.uint64(1 << Hold.CAP_FAMILY)
_UNDERLYING = np.uint64(1 << Hold.CAP_UNDERLYING)
_CORRELATED = np.uint64(1 << Hold.CAP_CORRELATED)
_UTILIZATION = np.uint64(1 << Hold.CAP_UTILIZATION)


@compiled
def kelly(edge, stderr, cost, fraction):  # type: ignore[no-untyped-def]
    """Fraction of equity to stake on a share that costs `cost` and pays 1.

    Kelly (1956) for a binary payoff, f = (p - c) / (1 - c), at p lowered by one standard error,
    times `fraction`. 0 when the lower bound of the edge is not positive.
    """
    lower = edge - stderr
    if not (lower > 0.0 and 0.0 < cost < 1.0):
        return 0.0
    return fraction * lower / (1.0 - cost)


@compiled
def rooms(state, strategy, slot, outcome):  # type: ignore[no-untyped-def]
    """Micro-dollars that each cap leaves, in the order of CAPS."""
    market = state.markets[slot]
    used = state.used
    equity = float(state.equity_micro)
    busy = float(state.accounts[RESERVED] + state.accounts[POSITIONS])
    family = BY_FAMILY + state.strategies[strategy].family
    direction = BY_DIRECTION + market.series * 2 + outcome
    return (
        state.cap_strategy * equity - used[strategy],
        state.cap_family * equity - used[family],
        state.cap_underlying * equity - used[BY_ASSET + market.asset],
        state.cap_direction * equity - used[direction],
        state.cap_utilization * equity - busy,
        float(state.accounts[CASH]),
    )


@compiled
def caps(room, least):  # type: ignore[no-untyped-def]
    """Mask of the caps that leave less than the least order."""
    mask = gates.when(room[0] < least, _STRATEGY)
    mask |= gates.when(room[1] < least, _FAMILY)
    mask |= gates.when(room[2] < least, _UNDERLYING)
    mask |= gates.when(room[3] < least, _CORRELATED)
    mask |= gates.when(room[4] < least, _UTILIZATION)
    mask |= gates.when(room[5] < least, _CASH)
    return mask


@compiled
def stakes(state, strategy, slot, room):  # type: ignore[no-untyped-def]
    """The largest stake in micro-dollars for the present signal by each of LIMITS."""
    signal = state.signal
    market = state.markets[slot]
    parameter = state.parameters[strategy]
    expected = signal.price + features.fee_per_share(
        signal.price, market.fee_rate_e6, market.fee_form
    )
    fraction = kelly(signal.net_edge, signal.stderr, expected, parameter[gates.KELLY_FRACTION])
    equity = float(state.equity_micro)
    # What the reserve adds for rounding must fit into the room as well.
    return (
        fraction * equity * state.strategies[strategy].multiplier,
        parameter[gates.ORDER_MAX] * 1e6,
        room[0] - ROUNDING_MICRO,
        room[1] - ROUNDING_MICRO,
        room[2] - ROUNDING_MICRO,
        room[3] - ROUNDING_MICRO,
        room[4] - ROUNDING_MICRO,
        room[5] - ROUNDING_MICRO,
    )


@compiled
def size(state, strategy, slot):  # type: ignore[no-untyped-def]
    """(shares micro in whole lots, mask) for the present signal; 0 shares when a cap says no."""
    signal = state.signal
    market = state.markets[slot]
    parameter = state.parameters[strategy]
    room = rooms(state, strategy, slot, signal.side)
    mask = caps(room, parameter[gates.ORDER_MIN] * 1e6)
    # The limit, not the expected price, is what the order may cost.
    dearest = orders.dearest_e4(market, int(signal.limit * 1e4 + 0.5)) * 1e-4
    cost = signal.limit + features.fee_per_share(dearest, market.fee_rate_e6, market.fee_form)
    stake = min(stakes(state, strategy, slot, room))
    if stake < parameter[gates.ORDER_MIN] * 1e6 or stake <= 0.0 or signal.limit <= 0.0:
        return 0, mask | _MIN_SIZE
    shares = int(stake / cost)
    if signal.shares > 0.0:
        shares = min(shares, int(signal.shares * 1e6 + 0.5))
    shares = shares // LOT_MICRO * LOT_MICRO
    resting = signal.type == POST_ONLY or signal.type == GTC
    too_small = shares * signal.limit < market.min_buy_micro
    if resting:
        too_small = shares < market.min_size_micro
    if too_small or shares <= 0:
        mask |= _MIN_SIZE
    return shares, mask
