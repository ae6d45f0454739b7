"""Gates: every reason not to trade, evaluated before anything is reserved, as one bit mask.

In: a market's row, a position, the strategy's parameters, its signal. Out: a uint64 mask, bit =
Hold value. All gates are always evaluated, so that a counterfactual is possible. Never here: an
effect, or a way for exits and settlements to be held up.
"""

import numpy as np

from fairwind.core.compiled import compiled
from fairwind.core.holds import Hold
from fairwind.engine.contract import Parameter

COMMON = (
    Parameter("edge_min", "e4 per share", 60, -10_000, 10_000),
    Parameter("edge_stderrs", "standard errors", 1.0, 0.0, 10.0),
    Parameter("price_low", "e4", 1_500, 0, 10_000),
    Parameter("price_high", "e4", 8_500, 0, 10_000),
    Parameter("spread_max", "e4", 500, 0, 10_000),
    Parameter("entry_cutoff", "seconds before the end", 12, 0, 14_400),
    Parameter("coinflip_band", "e4 around 0.5", 300, 0, 5_000),
    Parameter("coinflip_edge", "e4 per share", 200, 0, 10_000),
    Parameter("depth_ticks", "ticks beyond the best", 2, 0, 2),
    Parameter("edge_to_spread", "ratio", 0.0, 0.0, 100.0),
    Parameter("divergence_max", "bps of spot from the oracle", 30, 0, 10_000),
    Parameter("volatility_ratio_max", "1 min over 10 min volatility", 4.0, 0.0, 1_000.0),
    Parameter("entry_cooldown", "seconds", 5, 0, 14_400),
    Parameter("max_positions", "open orders and positions per window", 1, 0, 1_000_000),
    Parameter("trades_per_window", "entries", 1, 0, 1_000_000),
    Parameter("book_budget", "seconds", 1.0, 0.001, 1e6),
    Parameter("spot_budget", "seconds", 2.0, 0.001, 1e6),
    Parameter("reference_budget", "seconds", 5.0, 0.001, 1e6),
    Parameter("loss_cooldown", "seconds", 300, 0, 86_400),
    Parameter("streak_losses", "losses in a row", 4, 1, 1_000_000),
    Parameter("streak_cooldown", "seconds", 1_800, 0, 86_400),
    Parameter("order_min", "dollars", 10, 0, 1e6),
    Parameter("order_max", "dollars", 50, 0, 1e6),
    Parameter("kelly_fraction", "of the lower edge bound", 0.25, 0.0, 1.0),
)
(
    EDGE_MIN,
    EDGE_STDERRS,
    PRICE_LOW,
    PRICE_HIGH,
    SPREAD_MAX,
    ENTRY_CUTOFF,
    COINFLIP_BAND,
    COINFLIP_EDGE,
    DEPTH_TICKS,
    EDGE_TO_SPREAD,
    DIVERGENCE_MAX,
    VOLATILITY_RATIO_MAX,
    ENTRY_COOLDOWN,
    MAX_POSITIONS,
    TRADES_PER_WINDOW,
    BOOK_BUDGET,
    SPOT_BUDGET,
    REFERENCE_BUDGET,
    LOSS_COOLDOWN,
    STREAK_LOSSES,
    STREAK_COOLDOWN,
    ORDER_MIN,
    ORDER_MAX,
    KELLY_FRACTION,
) = range(len(COMMON))

_BIT = {hold: np.uint64(1 << hold) for hold in Hold}
_HALTED, _DISABLED = _BIT[Hold.HALTED], _BIT[Hold.DISABLED]
_GAP, _INVALID, _STALE = _BIT[Hold.SEQUENCE_GAP], _BIT[Hold.BOOK_INVALID], _BIT[Hold.BOOK_STALE]
_FEED_DOWN, _SPOT = _BIT[Hold.FEED_DOWN], _BIT[Hold.SPOT_STALE]
_REFERENCE, _STRIKE = _BIT[Hold.REFERENCE_STALE], _BIT[Hold.STRIKE_UNKNOWN]
_CUTOFF, _PARITY, _DIVERGENCE = (
    _BIT[Hold.EXPIRY_CUTOFF],
    _BIT[Hold.PARITY],
    _BIT[Hold.DIVERGENCE],
)
_BAND, _SPREAD, _DEPTH = _BIT[Hold.PRICE_BAND], _BIT[Hold.SPREAD], _BIT[Hold.DEPTH]
_COINFLIP, _TO_SPREAD = _BIT[Hold.COINFLIP_BAND], _BIT[Hold.EDGE_TO_SPREAD]
_VOLATILITY = _BIT[Hold.VOL_BREAKER]
_ENTRY, _POSITIONS, _TRADES = (
    _BIT[Hold.ENTRY_COOLDOWN],
    _BIT[Hold.MAX_POSITIONS],
    _BIT[Hold.TRADES_PER_WINDOW],
)
_LOSSES, _COOLDOWN = _BIT[Hold.CONSECUTIVE_LOSSES], _BIT[Hold.RISK_GUARD_COOLDOWN]
_DRAWDOWN, _ANOMALY = _BIT[Hold.DRAWDOWN], _BIT[Hold.ANOMALY_CAP]
NOTHING = np.uint64(0)
LATE_NS = 15_000_000_000
"""A feed silent for longer than this is down, not only stale."""


@compiled(forceinline=True)
def when(condition, bit):  # type: ignore[no-untyped-def]
    """`bit` when the condition holds, else no bit."""
    return bit if condition else NOTHING


@compiled
def integrity(market, parameter):  # type: ignore[no-untyped-def]
    """Feed, book and window gates: may anything be concluded from what is known now?"""
    now = market.now_ns
    book_age = now - market.book_ts_ns
    spot_age = now - market.spot_ts_ns
    reference_age = now - market.reference_ts_ns
    mask = when(market.gap != 0, _GAP)
    mask |= when(market.valid != 1 or market.bid >= market.ask, _INVALID)
    mask |= when(market.book_ts_ns > 0 and book_age > LATE_NS, _FEED_DOWN)
    mask |= when(book_age > parameter[BOOK_BUDGET] * 1e9, _STALE)
    mask |= when(spot_age > parameter[SPOT_BUDGET] * 1e9, _SPOT)
    mask |= when(reference_age > parameter[REFERENCE_BUDGET] * 1e9, _REFERENCE)
    mask |= when(market.strike <= 0.0, _STRIKE)
    mask |= when(market.priced == 0, _ANOMALY)
    early = now < market.start_ns
    mask |= when(early or market.left_s < parameter[ENTRY_CUTOFF], _CUTOFF)
    mask |= when(market.parity != 0, _PARITY)
    mask |= when(market.divergence * 1e4 > parameter[DIVERGENCE_MAX], _DIVERGENCE)
    return mask


@compiled
def price(market, parameter, signal):  # type: ignore[no-untyped-def]
    """Price, spread and depth gates for the side that the signal chose."""
    mask = when(market.spread_e4 > parameter[SPREAD_MAX], _SPREAD)
    mask |= when(market.volatility_ratio > parameter[VOLATILITY_RATIO_MAX], _VOLATILITY)
    if signal.side == 2:
        return mask
    up = signal.side == 0
    depth = market.depth_up_micro if up else market.depth_down_micro
    at_e4 = signal.price * 1e4
    outside = at_e4 < parameter[PRICE_LOW] or at_e4 > parameter[PRICE_HIGH]
    mask |= when(signal.price > 0.0 and outside, _BAND)
    mask |= when(depth * 1e-6 * signal.price < parameter[ORDER_MIN] or depth == 0, _DEPTH)
    edge_e4 = signal.net_edge * 1e4
    near_half = abs(market.mid_half_e4 - 10_000) < 2.0 * parameter[COINFLIP_BAND]
    mask |= when(near_half and edge_e4 < parameter[COINFLIP_EDGE], _COINFLIP)
    thin = edge_e4 < parameter[EDGE_TO_SPREAD] * market.spread_e4
    mask |= when(parameter[EDGE_TO_SPREAD] > 0.0 and thin, _TO_SPREAD)
    return mask


@compiled
def permission(engine, strategy, position, parameter):  # type: ignore[no-untyped-def]
    """Operator and risk gates: may this strategy enter anything now?"""
    now = engine.now_ns
    mask = when(engine.halted != 0, _HALTED)
    mask |= when(strategy.enabled == 0, _DISABLED)
    mask |= when(engine.drawdown != 0, _DRAWDOWN)
    entered = position.last_entry_ns > 0
    recent = now - position.last_entry_ns < parameter[ENTRY_COOLDOWN] * 1e9
    mask |= when(entered and recent, _ENTRY)
    held = (position.up_micro > 0) + (position.down_micro > 0) + position.open_orders
    mask |= when(held >= parameter[MAX_POSITIONS], _POSITIONS)
    mask |= when(position.entries >= parameter[TRADES_PER_WINDOW], _TRADES)
    cooling = now < strategy.cooldown_until_ns
    streak = strategy.losses >= parameter[STREAK_LOSSES]
    mask |= when(cooling and streak, _LOSSES)
    mask |= when(cooling and not streak, _COOLDOWN)
    return mask


@compiled
def first(mask):  # type: ignore[no-untyped-def]
    """The lowest set bit's number: the Hold that a scan reports. The mask must not be 0."""
    number = 0
    for half in (32, 16, 8, 4, 2, 1):
        low = (np.uint64(1) << np.uint64(half)) - np.uint64(1)
        if mask & low == NOTHING:
            mask >>= np.uint64(half)
            number += half
    return number
