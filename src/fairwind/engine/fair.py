"""Fair value of a window: P(Up) under an averaging settlement, its error and its delta.

In: time left, spot, what of the average is already known, strike, variance per second.
Out: mean and variance of the settlement value, P(Up). Never here: drift, calibration, a clock.
"""

import math

from fairwind.core.compiled import compiled
from fairwind.engine.math import normal_cdf, normal_pdf

STDERR_FLOOR = 0.002
"""P(Up) is never claimed to be known better than this."""
VOLATILITY_STDERR = 0.08
"""Relative standard error of a volatility learned from a few hundred one-second returns."""


@compiled
def settlement(left_s, averaging_s, spot, known_mean, variance_per_s):  # type: ignore[no-untyped-def]
    """(mean, variance) of the settlement value, dollars and dollars squared.

    Source: DESIGN.md, "Fair value"; the integral of a Brownian path over the last
    `averaging_s` seconds, of which all but `left_s` are known to average `known_mean`.
    """
    if averaging_s <= 0.0:
        return spot, variance_per_s * left_s
    if left_s >= averaging_s:
        return spot, variance_per_s * (left_s - 2.0 * averaging_s / 3.0)
    mean = ((averaging_s - left_s) * known_mean + left_s * spot) / averaging_s
    cubed = left_s * left_s * left_s
    return mean, variance_per_s * cubed / (3.0 * averaging_s * averaging_s)


@compiled
def probability(mean, variance, strike, level_variance):  # type: ignore[no-untyped-def]
    """(P(Up), standard error, d P / d mean) for a settlement value of `mean` and `variance`.

    `level_variance` is the variance of our error in the settlement stream's level (dollars
    squared). The error combines it with the volatility's own, to first order.
    """
    deviation = math.sqrt(variance + level_variance)
    if deviation <= 0.0:
        return (1.0 if mean >= strike else 0.0), STDERR_FLOOR, 0.0
    distance = (mean - strike) / deviation
    density = normal_pdf(distance)
    by_volatility = density * distance * VOLATILITY_STDERR
    by_level = density * math.sqrt(level_variance) / deviation
    stderr = math.sqrt(
        by_volatility * by_volatility + by_level * by_level + STDERR_FLOOR * STDERR_FLOOR
    )
    return normal_cdf(distance), stderr, density / deviation
