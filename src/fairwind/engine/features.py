"""What is learned from prices, once per change and shared by all strategies.

In: spot prices, oracle prints, seconds that pass. Out: volatility on a one-second grid, the
offset between spot and the oracle, the known part of each settlement average, fair values.
Never here: tick-by-tick variance (it measures bounce), a look beyond the event at hand.
"""

import math

from numpy import int64

from fairwind.core.compiled import compiled
from fairwind.engine import books, fair
from fairwind.engine.state import RING

SECOND_NS = 1_000_000_000
SILENT_NS = 5_000_000_000
"""A spot source that said nothing for so long is not sampled, and hands over to the next one."""
FAST = 1.0 - 0.5 ** (1.0 / 60.0)
SLOW = 1.0 - 0.5 ** (1.0 / 600.0)
"""Weights per second for half-lives of 1 and 10 minutes."""
TRUNCATION = 16.0
OUTLIER = 0.1
"""No asset here moves by a tenth within 5 seconds, nor trades a tenth away from its oracle."""
WARM_SAMPLES = 60
BASIS_WEIGHT = 1.0 / 30.0
VALUE_AGE_NS = 1_000_000
"""Up to the last entries, 12 s before the end, a millisecond moves no probability by 3e-5."""
QUOTE_MICRO, QUOTE_TICKS = int64(100_000_000), int64(books.REACH_TICKS)
"""Prices are quoted for 100 shares within 2 ticks of the best."""
UP, DOWN = int64(0), int64(1)


@compiled
def spot(asset, ring, price, ts_ns, source):  # type: ignore[no-untyped-def]
    """Take a spot price (dollars). Whole seconds that passed before it are sampled first.

    One source at a time: two exchanges differ by more than they move in a second. A preferred
    (lower) source takes over at once, another one when the present one has been silent.
    A price further than `OUTLIER` from the one just before it is an error of the feed; if it was
    the former one that was wrong, its silence lets the next price in. Returns whether it was taken.
    """
    recent = asset.spot > 0.0 and ts_ns - asset.spot_ts_ns < SILENT_NS
    if recent and abs(price - asset.spot) > OUTLIER * asset.spot:
        return False
    if source != asset.spot_source and asset.spot > 0.0:
        if source > asset.spot_source and ts_ns - asset.spot_ts_ns < SILENT_NS:
            return False
        # What was learned of the former source says nothing about this one.
        asset.prints = 0
        asset.spot = asset.basis = asset.basis_variance = asset.last_sample = 0.0
        ring[:] = 0.0
    seconds(asset, ring, ts_ns)
    asset.spot = price
    asset.spot_ts_ns = ts_ns
    asset.spot_source = source
    return True


@compiled
def seconds(asset, ring, ts_ns):  # type: ignore[no-untyped-def]
    """Sample the last spot at every whole second up to `ts_ns` and update both variances.

    `ring[second % RING]` keeps the samples, 0 where spot was silent. A silence is not sampled:
    neither its quiet nor the step at its end is a return.
    """
    now = ts_ns // SECOND_NS
    silent = asset.spot <= 0.0 or ts_ns - asset.spot_ts_ns > SILENT_NS
    first = max(asset.second + 1, now - RING + 1)
    for second in range(first, now + 1):
        ring[second % RING] = 0.0 if silent else asset.spot
        if not silent:
            sample(asset, asset.spot)
    if silent:
        asset.last_sample = 0.0
    asset.second = max(asset.second, now)


@compiled
def sample(asset, price):  # type: ignore[no-untyped-def]
    """One more second of the grid: its squared return updates both variances (per second).

    Truncated realised variance (Mancini, 2009): a return beyond 4 standard deviations counts as
    4, so a jump does not pass for volatility.
    """
    before = asset.last_sample
    asset.last_sample = price
    if before <= 0.0:
        return
    squared = (price - before) * (price - before) / (before * before)
    if asset.samples >= WARM_SAMPLES and asset.variance_slow > 0.0:
        squared = min(squared, TRUNCATION * asset.variance_slow)
    asset.samples += 1
    # Until a window is full its weight is 1/n, so that the start is a plain average.
    asset.variance_fast += max(FAST, 1.0 / asset.samples) * (squared - asset.variance_fast)
    asset.variance_slow += max(SLOW, 1.0 / asset.samples) * (squared - asset.variance_slow)


@compiled
def basis(asset, ring, value, observed_ns, averaging_s):  # type: ignore[no-untyped-def]
    """Learn the oracle's offset from spot: a print less the spot average that it should be."""
    last = observed_ns // SECOND_NS
    if last > asset.second or last - averaging_s <= asset.second - RING + 2:
        return
    total = 0.0
    for second in range(last - max(averaging_s - 1, 0), last + 1):
        sampled = ring[second % RING]
        if sampled <= 0.0:
            return
        total += sampled
    offset = value - total / max(averaging_s, 1)
    if abs(offset) > OUTLIER * value:
        return
    asset.prints += 1
    weight = max(BASIS_WEIGHT, 1.0 / asset.prints)
    surprise = offset - asset.basis
    asset.basis += weight * surprise
    asset.basis_variance += weight * (surprise * surprise - asset.basis_variance)


@compiled
def known_average(market, asset):  # type: ignore[no-untyped-def]
    """Add the present second to the known part of the market's settlement average."""
    now = market.now_ns // SECOND_NS
    first = market.end_ns // SECOND_NS - market.averaging_s
    if now <= first or now <= market.settling_second or market.now_ns > market.end_ns:
        return
    if market.now_ns - asset.spot_ts_ns > SILENT_NS or asset.prints == 0:
        return
    market.settling_second = now
    market.settling_sum += asset.spot + asset.basis
    market.settling_count += 1


@compiled
def observe(state, market):  # type: ignore[no-untyped-def]
    """Copy the asset's spot and the latest print of its settlement stream to the market's row."""
    asset = state.assets[market.asset]
    reference = state.references[market.asset * 3 + market.averaging_s // 30]
    market.spot = asset.spot
    market.spot_ts_ns = asset.spot_ts_ns
    market.reference = reference.value
    market.reference_ts_ns = reference.ts_ns
    market.valued_ns = 0


@compiled
def valuation(state, slot):  # type: ignore[no-untyped-def]
    """Bring fair value and prices in the market's row to the present event; once per event.

    Fair value is computed anew when spot, oracle, strike or average moved, else when it is older
    than `VALUE_AGE_NS`; prices when a level that they can reach changed.
    """
    market = state.markets[slot]
    if market.valued_event == state.events + 1:
        return
    market.valued_event = state.events + 1
    moved = market.valued_ns == 0
    if moved:
        scale(market, state.assets[market.asset])
    if moved or market.now_ns - market.valued_ns >= VALUE_AGE_NS:
        market.valued_ns = market.now_ns
        value(market)
    if market.near == 0:
        return
    market.near = 0
    market.eff_up, market.depth_up_micro = books.walk(state, slot, UP, QUOTE_MICRO, QUOTE_TICKS)
    market.eff_down, market.depth_down_micro = books.walk(
        state, slot, DOWN, QUOTE_MICRO, QUOTE_TICKS
    )
    market.fee_up = fee_per_share(market.eff_up, market.fee_rate_e6, market.fee_form)
    market.fee_down = fee_per_share(market.eff_down, market.fee_rate_e6, market.fee_form)


@compiled
def scale(market, asset):  # type: ignore[no-untyped-def]
    """What fair value needs of prices: level, variance per second, error of the level.

    The variance stays 0, which says unknown, without a strike, before volatility is learned, and
    for prices that never moved: they say nothing about how they will.
    """
    market.variance_per_s = 0.0
    if market.strike <= 0.0 or asset.spot <= 0.0 or asset.samples < WARM_SAMPLES:
        return
    if asset.prints == 0:
        return
    level = asset.spot + asset.basis
    if level <= 0.0 or market.reference <= 0.0:
        return
    market.level = level
    market.variance_per_s = 0.5 * (asset.variance_fast + asset.variance_slow) * level * level
    # A print's scatter around our offset is mostly the lag between the venues; its mean is what
    # moves the settlement, known to about the scatter over the root of the prints averaged.
    market.level_variance = asset.basis_variance * BASIS_WEIGHT
    market.divergence = abs(level - market.reference) / market.reference
    market.volatility_ratio = 0.0
    if asset.variance_slow > 0.0:
        market.volatility_ratio = math.sqrt(asset.variance_fast / asset.variance_slow)


@compiled
def value(market):  # type: ignore[no-untyped-def]
    """P(Up) with its error and delta at the market's moment; nan while the scale is unknown."""
    market.fair_up = math.nan
    market.fair_stderr = 1.0
    if market.variance_per_s <= 0.0:
        return
    known = market.level
    if market.settling_count > 0:
        known = market.settling_sum / market.settling_count
    left = max(market.left_s, 0.0)
    market.expected, market.variance = fair.settlement(
        left, float(market.averaging_s), market.level, known, market.variance_per_s
    )
    market.fair_up, market.fair_stderr, market.fair_delta = fair.probability(
        market.expected, market.variance, market.strike, market.level_variance
    )


@compiled
def fee_per_share(price, rate_e6, form):  # type: ignore[no-untyped-def]
    """Taker fee in dollars per share at `price`, before rounding (core.rules, FEE forms)."""
    both = price * (1.0 - price)
    if form == 1:
        return rate_e6 * 1e-6 * both
    if form == 2:
        return rate_e6 * 1e-6 * price * both * both
    return 0.0
