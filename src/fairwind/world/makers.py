"""What is true of a window, and what its makers believe: P(Up) at every grid step.

In: the asset's true path, the boundaries and the averaging. Out: the exact fair probability, and
the value that makers quote around (fair, noise, planted bias). Never here: a book.
"""

import math

import numpy as np
from numpy.typing import NDArray

from fairwind.core.compiled import compiled
from fairwind.world.knobs import Knobs, stream
from fairwind.world.spot import STEPS, Path, decaying

NOISE_HALF_LIFE_S = 5.0


def weights(increments: NDArray[np.int64], boundary: int, averaging_s: int) -> NDArray[np.float64]:
    """Weight of each increment (numbers, (n,)) in the log settlement value at step `boundary`.

    The value is the mean of `averaging_s` whole-second points up to the boundary (0: that point).
    An increment counts in the points after it.
    """
    points = max(averaging_s, 1)
    after = (boundary - increments) // STEPS + 1
    return np.clip(after, 0, points) / points


@compiled
def chances(mean, variance):  # type: ignore[no-untyped-def]
    """P(mean + N(0, variance) >= 0) for each row; a step function where variance is zero."""
    out = np.empty_like(mean)
    for i in range(len(mean)):
        if variance[i] > 0.0:
            out[i] = 0.5 * math.erfc(-mean[i] / math.sqrt(2.0 * variance[i]))
        else:
            out[i] = 1.0 if mean[i] >= 0.0 else 0.0
    return out


def fair(truth: Path, start: int, end: int, averaging_s: int) -> NDArray[np.float64]:
    """True P(Up) at grid steps `start` - 60 s to `end`, given the price so far and all variances.

    log final - log strike is a weighted sum of independent normal increments, so what is left of
    it is normal. Means of prices stand for means of their logarithms; over minutes the two
    differ by less than 1e-4 of a deviation.
    """
    first = start - 60 * STEPS
    rows = slice(first, end + 1)
    increments = np.arange(first, end + 1)
    weight = weights(increments, end, averaging_s) - weights(increments, start, averaging_s)
    known = np.cumsum(weight * truth.moves[rows])
    to_come = later(weight * truth.drift[rows])
    to_vary = later(weight * weight * truth.variance[rows])
    up: NDArray[np.float64] = chances(known + to_come, to_vary)
    return up


def later(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the rows after each row."""
    return np.concatenate((np.cumsum(values[:0:-1])[::-1], np.zeros(1)))


def quoted(knobs: Knobs, truth: NDArray[np.float64], *key: int) -> NDArray[np.float64]:
    """The value that makers quote around, per grid step: true, or with noise and planted bias.

    Both fade towards 0 and 1, where nobody errs by cents.
    """
    if knobs.zero_edge:
        return truth
    rng = stream(knobs, "makers", *key)
    steps = len(truth)
    room = np.minimum(1.0, truth * (1.0 - truth) * 10.0)
    decay = 0.5 ** (1.0 / (STEPS * NOISE_HALF_LIFE_S))
    error = knobs.quote_noise * decaying(rng.standard_normal(steps), decay)
    changes = rng.random(steps) < 1.0 / (STEPS * knobs.stretch_s)
    signs = rng.choice(np.array([-1.0, 1.0]), steps)
    since = np.maximum.accumulate(np.where(changes, np.arange(steps), 0))
    off: NDArray[np.float64] = room * (error + knobs.planted_edge * signs[since])
    return np.clip(truth + off, 0.0, 1.0)
