"""exp, log and the normal distribution are accurate, ordered and the same compiled or not."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from fairwind.engine.math import exp, log, normal_cdf, normal_pdf

PRECISE = mpmath.mp.clone()
PRECISE.prec = 160
RANDOM = np.random.default_rng(20261122)
Floats = NDArray[np.float64]
Function = Callable[[float], float]


def worst_ulp(function: Function, truth: Callable[..., mpmath.mpf], points: Floats) -> float:
    worst = 0.0
    for x in points.tolist():
        wanted = truth(PRECISE.mpf(x))
        worst = max(worst, float(abs(function(x) - wanted)) / math.ulp(float(wanted)))
    return worst


@pytest.mark.parametrize("points", [RANDOM.uniform(-700, 700, 3000), RANDOM.uniform(-1, 1, 3000)])
def test_exp_is_within_two_ulp(points: Floats) -> None:
    assert worst_ulp(exp, PRECISE.exp, points) <= 2


@pytest.mark.parametrize(
    "points", [10 ** RANDOM.uniform(-300, 300, 3000), 1 + RANDOM.uniform(-0.3, 0.5, 3000)]
)
def test_log_is_within_two_ulp(points: Floats) -> None:
    assert worst_ulp(log, PRECISE.log, points) <= 2


@pytest.mark.parametrize(
    ("low", "high", "relative"), [(-8, 8, 1e-14), (-0.7, 0.7, 1e-14), (-37, -8, 1e-12)]
)
def test_normal_cdf_is_accurate_relative_to_itself(
    low: float, high: float, relative: float
) -> None:
    for x in RANDOM.uniform(low, high, 2000).tolist():
        wanted = PRECISE.ncdf(PRECISE.mpf(x))
        error = float(abs(normal_cdf(x) - wanted))
        assert error <= min(relative * float(wanted), 1e-15)


def test_normal_pdf_is_accurate_relative_to_itself() -> None:
    for x in RANDOM.uniform(-37, 37, 1000).tolist():
        wanted = float(PRECISE.npdf(PRECISE.mpf(x)))
        assert normal_pdf(x) == pytest.approx(wanted, rel=1e-14, abs=0)


def test_normal_cdf_never_falls() -> None:
    joints = [0.46875 * math.sqrt(2), 4 * math.sqrt(2), 8.5, 38.6, 0.0]
    near = [sign * joint + RANDOM.uniform(-1e-6, 1e-6, 300) for joint in joints for sign in (-1, 1)]
    points = np.unique(np.concatenate([np.linspace(-40, 10, 100_001), *near]).round(12))
    values = np.array([normal_cdf(x) for x in points.tolist()])
    assert (np.diff(values) >= 0).all()
    assert (values[points < 0] <= 0.5).all() and (values[points >= 0] >= 0.5).all()


def test_normal_cdf_saturates_at_zero_and_one() -> None:
    assert [normal_cdf(x) for x in (-math.inf, -50.0, 0.0, 9.0, math.inf)] == [0, 0, 0.5, 1, 1]


def test_not_a_number_stays_not_a_number() -> None:
    assert all(math.isnan(f(math.nan)) for f in (exp, log, normal_pdf, normal_cdf))


def test_exp_and_log_reach_both_ends_of_the_floats() -> None:
    assert [exp(x) for x in (-math.inf, -746.0, 0.0, 709.8, math.inf)] == [
        *(0, 0, 1, math.inf, math.inf)
    ]
    assert exp(709.782712893384) == pytest.approx(sys.float_info.max, rel=1e-12)
    assert exp(-745.0) == 5e-324
    assert [log(x) for x in (0.0, 1.0, math.inf)] == [-math.inf, 0, math.inf]
    assert math.isnan(log(-1.0))
    assert log(5e-324) == pytest.approx(-744.4400719213812, rel=1e-15)


def digests() -> list[str]:
    """Of 20 000 results of each function, over its whole range and most of all near zero."""
    random = np.random.default_rng(7)
    wide = np.concatenate([random.uniform(-40, 40, 10_000), random.uniform(-5, 5, 10_000)])
    positive = np.ldexp(random.uniform(0.5, 1, 20_000), random.integers(-990, 990, 20_000))
    positive[::2] = 1 + wide[::2] / 64
    inputs = ((exp, wide * 18), (log, positive), (normal_pdf, wide), (normal_cdf, wide))
    return [
        sha256(np.array([function(x) for x in points.tolist()]).tobytes()).hexdigest()[:16]
        for function, points in inputs
    ]


DIGESTS = ["94aea6190984d836", "e324c23f7f92334a", "64c8f962c645b46b", "838f7eb8868bfc92"]
"""What every CPU, Python and numba must give."""


@pytest.mark.parametrize("disabled", ["0", "1"])
def test_compiled_and_interpreted_processes_agree_to_the_last_bit(disabled: str) -> None:
    code = "from test_math import digests; print(*digests())"
    paths = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": paths}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert run.stdout.split() == digests() == DIGESTS
