"""The true price of one asset on a 100 ms grid, and the spot prints of it.

In: knobs. Out: log returns with their true variance, regimes, prices, SPOT events. Given its
variance the price is a martingale (unless `trend` is set), so P(Up) has a closed form.
Never here: books, settlement.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairwind.core.compiled import compiled
from fairwind.core.events import Events, Kind, Side, Source, empty
from fairwind.core.units import SECOND_NS, SPOT_ONE_E8
from fairwind.engine.math import exp
from fairwind.world.knobs import Knobs, stream

STEPS = 10
"""Grid steps per second."""
STEP_NS = SECOND_NS // STEPS
YEAR_S = 365.25 * 86_400
LAG_MEDIAN_NS = 9_000_000
LAG_SPREAD = 0.86
"""Receipt 9 ms after the source in the median, 37 ms at p95 (venue_facts 8.1)."""
BP = 1e-4


class Path(NamedTuple):
    """One asset's truth, one row per grid step; increment i leads from step i - 1 to i."""

    t0_ns: int
    drift: NDArray[np.float64]  # of log price, per step
    variance: NDArray[np.float64]  # of log price, per step, jumps included
    moves: NDArray[np.float64]  # log returns
    price: NDArray[np.float64]  # dollars
    regime: NDArray[np.uint8]

    def step(self, ts_ns: int) -> int:
        """The grid step at a time that lies on the grid."""
        return (ts_ns - self.t0_ns) // STEP_NS


@compiled
def decaying(noise, decay):  # type: ignore[no-untyped-def]
    """Stationary first-order autoregression, unit variance, from unit normals (n,)."""
    out = np.empty_like(noise)
    fresh = np.sqrt(1.0 - decay * decay)
    value = noise[0]
    out[0] = value
    for i in range(1, len(noise)):
        value = decay * value + fresh * noise[i]
        out[i] = value
    return out


@compiled
def exponentials(values):  # type: ignore[no-untyped-def]
    """exp of each value (n,), the same on every machine."""
    out = np.empty_like(values)
    for i in range(len(values)):
        out[i] = exp(values[i])
    return out


def path(knobs: Knobs, asset: int, t0_ns: int, steps: int) -> Path:
    """The asset's true path over `steps` grid steps from `t0_ns`."""
    # One stream each, so that a longer path goes on where a shorter one ends.
    draws = {what: stream(knobs, what, asset) for what in ("regime", "level", "jumps", "moves")}
    regime, signs = regimes(knobs, draws["regime"], steps)
    rows = [(r.volatility, r.drift) for r in knobs.regimes]
    multiplier, trend = (np.array(column)[regime] for column in zip(*rows, strict=True))
    decay = 0.5 ** (1.0 / (STEPS * knobs.volatility_half_life_s))
    spread = knobs.volatility_of_volatility
    # The mean variance stays `volatility` squared whatever its spread.
    level = exponentials(
        spread * decaying(draws["level"].standard_normal(steps), decay) - spread * spread
    )
    per_step = knobs.volatility * knobs.volatility / (YEAR_S * STEPS)
    diffusion = per_step * multiplier * multiplier * level * level
    jumps = draws["jumps"].poisson(knobs.jumps_per_hour / (3600.0 * STEPS), steps)
    variance = diffusion + jumps * (knobs.jump_bp * BP) ** 2
    # `trend` deviations per 300 s: drift a step = trend x sqrt(variance of 300 s) / steps of 300 s
    drift = knobs.trend * trend * signs * np.sqrt(per_step / (300 * STEPS))
    moves = drift + np.sqrt(variance) * draws["moves"].standard_normal(steps)
    moves[0] = 0.0
    return Path(t0_ns, drift, variance, moves, knobs.spot * exponentials(np.cumsum(moves)), regime)


def regimes(
    knobs: Knobs, rng: np.random.Generator, steps: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """(regime number, sign of its drift) per grid step; exponential stays, Markov changes."""
    numbers, signs, lengths, total = [], [], [], 0
    number = int(rng.integers(len(knobs.regimes)))
    while total < steps:
        stay = 1 + int(rng.exponential(knobs.regime_dwell_s * STEPS))
        numbers.append(number)
        signs.append(1.0 if rng.random() < 0.5 else -1.0)
        lengths.append(min(stay, steps - total))
        total += stay
        number = int(rng.choice(len(knobs.regimes), p=knobs.transitions[number]))
    return np.repeat(np.array(numbers, np.uint8), lengths), np.repeat(np.array(signs), lengths)


def receipts(
    rng: np.random.Generator, source_ns: NDArray[np.int64], median_ns: float, spread: float
) -> NDArray[np.int64]:
    """Receipt times: a lognormal lag after the source's, in order (one connection)."""
    lag = median_ns * exponentials(spread * rng.standard_normal(len(source_ns)))
    return np.maximum.accumulate(source_ns + lag.astype(np.int64))


def spot_events(knobs: Knobs, truth: Path, asset: int, from_ns: int) -> Events:
    """SPOT prints of the whole path from `from_ns` on: the true price with bounce."""
    last_ns = truth.t0_ns + (len(truth.price) - 1) * STEP_NS
    times = np.arange(from_ns, last_ns, round(SECOND_NS / knobs.spot_rate))
    steps = (times - truth.t0_ns) // STEP_NS
    bounce = np.array([r.bounce for r in knobs.regimes])[truth.regime[steps]]
    scatter = (
        knobs.bounce_bp * BP * bounce * stream(knobs, "spot", asset).standard_normal(len(times))
    )
    events = empty(len(times))
    events["kind"] = Kind.SPOT
    # The engine must not know that a market is synthetic, so the sources are the venues' own.
    events["source"] = Source.COINBASE
    events["side"] = Side.NONE
    events["market"] = asset
    events["ts_source_ns"] = times
    events["ts_ns"] = receipts(stream(knobs, "spot lag", asset), times, LAG_MEDIAN_NS, LAG_SPREAD)
    events["price"] = np.rint(truth.price[steps] * (1.0 + scatter) * SPOT_ONE_E8)
    return events
