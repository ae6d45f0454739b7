"""The interval of a mean whose samples come in clusters, for reports, views and decisions alike.

In: numerators, denominators, clusters. Out: the ratio of their sums with its 95 % interval.
Never here: chance (the seed is fixed), an interval from too few clusters to promise one.
"""

from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
MIN_WINDOWS = 10
"""With fewer, an interval would promise more than it holds; see `ratio_interval`."""
CONFIDENCE = 0.95

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Interval(msgspec.Struct, frozen=True):
    """A mean with its 95 % interval; None where the sample is too small to say."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    windows: int


def ratio_interval(numerator: Floats, denominator: Floats, cluster: Ints) -> Interval:
    """sum(numerator) / sum(denominator) with its 95 % bias-corrected accelerated bootstrap.

    Arrays of shape (n,). Whole clusters (windows) are drawn, because trades of one window share
    its result; the seed is fixed. No interval (low and high None) for fewer than MIN_WINDOWS
    clusters: measured on samples of normal profits, one of 2, 3, 5 or 10 windows that is called
    95 % covers the truth in 53, 68, 86 or 91 % of cases.
    Source: B. Efron, Better Bootstrap Confidence Intervals, JASA 82 (1987).
    """
    n = len(numerator)
    names, row = np.unique(cluster, return_inverse=True)
    windows = len(names)
    if n == 0:
        return Interval(None, None, None, 0, 0)
    top = np.bincount(row, numerator, windows)
    bottom = np.bincount(row, denominator, windows)
    mean = float(top.sum() / bottom.sum())
    if windows < MIN_WINDOWS:
        return Interval(round(mean, 9), None, None, n, windows)
    # A bit generator's raw stream is the same in every NumPy version; a Generator's is not.
    bits = np.random.PCG64(0)
    draws = np.empty(RESAMPLES)
    for draw in range(RESAMPLES):
        chosen = bits.random_raw(windows) % np.uint64(windows)
        draws[draw] = top[chosen].sum() / bottom[chosen].sum()
    without = (top.sum() - top) / (bottom.sum() - bottom)
    low, high = np.quantile(draws, _bca_levels(draws, mean, without))
    return Interval(round(mean, 9), round(float(low), 9), round(float(high), 9), n, windows)


def _bca_levels(draws: Floats, mean: float, without: Floats) -> tuple[float, float]:
    """The two quantile levels of the draws, corrected for bias and skew (`without`: jackknife)."""
    normal = NormalDist()
    below = ((draws < mean).sum() + 0.5 * (draws == mean).sum()) / len(draws)
    bias = normal.inv_cdf(min(max(float(below), 1 / len(draws)), 1 - 1 / len(draws)))
    pull = without.mean() - without
    spread = float((pull**2).sum()) ** 1.5
    skew = float((pull**3).sum()) / (6 * spread) if spread > 0 else 0.0
    z = normal.inv_cdf((1 + CONFIDENCE) / 2)
    low, high = (bias + (bias + side) / (1 - skew * (bias + side)) for side in (-z, z))
    return normal.cdf(low), normal.cdf(high)
