"""exp, log and the normal distribution, the same to the last bit on every CPU and interpreter.

In: one float. Out: one float, compiled and interpreted alike. Never here: a C library's or a
vector unit's own exp or log, a fused multiply-add, or anything but + - * /, comparison, exact
scaling by powers of two and tables made with correctly rounded decimal arithmetic.
"""

import math
from decimal import Context, Decimal

import numpy as np
from numpy.typing import NDArray

from fairwind.core.compiled import compiled

STEPS = 64
"""exp works on a grid of this many steps per power of two."""


def _roots_of_two() -> NDArray[np.float64]:
    """2^(j / STEPS) for j in [0, STEPS), each the nearest float: 1/64 is six square roots."""
    context = Context(prec=40)
    step = Decimal(2)
    for _ in range(STEPS.bit_length() - 1):
        step = context.sqrt(step)
    roots = [Decimal(1)]
    for _ in range(STEPS - 1):
        roots.append(context.multiply(roots[-1], step))
    return np.array([float(root) for root in roots])


ROOTS = _roots_of_two()
LOWEST_POWER = -540
POWERS = np.array([math.ldexp(1.0, power) for power in range(LOWEST_POWER, 520)])
"""2^LOWEST_POWER and up, all exact. Two of them multiplied reach every float."""

LOG2_HIGH = 6.93147180369123816490e-01  # ln 2 to 33 bits, so that its multiples are exact
LOG2_LOW = 1.90821492927058770002e-10  # ln 2 - LOG2_HIGH
STEP_HIGH = LOG2_HIGH / STEPS
STEP_LOW = LOG2_LOW / STEPS
STEPS_PER_UNIT = STEPS / 0.6931471805599453
EXP_OVERFLOWS_ABOVE = 709.782712893384
EXP_VANISHES_BELOW = -745.1332191019412

SQRT_HALF = 0.7071067811865476
ONE_BY_SQRT_PI = 0.5641895835477563
ONE_BY_SQRT_TWO_PI = 0.3989422804014327
SPLITTER = 134217729.0  # 2^27 + 1 halves the 53 bits of a float (Dekker 1971)
CDF_IS_ONE_ABOVE = 8.5
CDF_VANISHES_BELOW = -38.6
GAUSSIAN_VANISHES_ABOVE = 39.0


@compiled
def exp(x: float) -> float:
    """e^x within 2 ulp; inf above 709.78, 0 below -745.13, nan for nan.

    x = n ln 2 / 64 + r with |r| < 0.0055, so e^x = 2^(n // 64) 2^(n % 64 / 64) e^r, and five
    terms of e^r's Taylor series suffice (the table-driven reduction of Tang 1989).
    """
    if x != x:
        return x
    if x > EXP_OVERFLOWS_ABOVE:
        return math.inf
    if x < EXP_VANISHES_BELOW:
        return 0.0
    steps = math.floor(x * STEPS_PER_UNIT + 0.5)
    r = (x - steps * STEP_HIGH) - steps * STEP_LOW
    square = r * r
    growth = r + square * ((0.5 + r * (1.0 / 6.0)) + square * (1.0 / 24.0 + r * (1.0 / 120.0)))
    root = float(ROOTS[steps & (STEPS - 1)])
    power = steps >> 6
    half = power >> 1
    scaled = (root + root * growth) * float(POWERS[half - LOWEST_POWER])
    return scaled * float(POWERS[power - half - LOWEST_POWER])


@compiled
def log(x: float) -> float:
    """ln x within 2 ulp; -inf for 0, nan for negative x and nan, inf for inf.

    x = 2^n (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), s = f / (2 + f), and
    ln(1 + f) = 2 artanh(s) = f - s (f - 2 (s^2/3 + s^4/5 + ...)), ten terms of the series.
    """
    if not x > 0.0:
        return -math.inf if x == 0.0 else math.nan
    if x == math.inf:
        return x
    mantissa, power = math.frexp(x)  # exact
    if mantissa < SQRT_HALF:
        mantissa += mantissa
        power -= 1
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    z2 = z * z
    low = (2.0 / 3.0 + z * (2.0 / 5.0)) + z2 * (2.0 / 7.0 + z * (2.0 / 9.0))
    middle = (2.0 / 11.0 + z * (2.0 / 13.0)) + z2 * (2.0 / 15.0 + z * (2.0 / 17.0))
    high = 2.0 / 19.0 + z * (2.0 / 21.0)
    z4 = z2 * z2
    rest = z * (low + z4 * (middle + z4 * high))
    return power * LOG2_HIGH + (f - (s * (f - rest) - power * LOG2_LOW))


@compiled
def gaussian(x: float) -> float:
    """e^(-x^2 / 2), to a few ulp also where x^2 is large: x^2 is taken with its rounding error.

    The exact error of a square: Dekker 1971. 0 beyond |x| = 39; nan for nan.
    """
    if abs(x) > GAUSSIAN_VANISHES_ABOVE:
        return 0.0
    spread = SPLITTER * x
    upper = spread - (spread - x)
    lower = x - upper
    square = x * x
    error = ((upper * upper - square) + 2.0 * upper * lower) + lower * lower
    value = exp(-0.5 * square)
    return value - value * (0.5 * error)


@compiled
def normal_pdf(x: float) -> float:
    """The standard normal density at `x`; nan for nan."""
    return ONE_BY_SQRT_TWO_PI * gaussian(x)


@compiled
def normal_cdf(x: float) -> float:
    """P(Z <= x) for standard normal Z, to 1e-14 of itself on both sides; nan for nan.

    erf and erfc by the rational approximations of W. J. Cody, "Rational Chebyshev approximations
    for the error function", Math. Comp. 23 (1969), at |x| / sqrt(2).
    """
    if x != x:
        return x
    if x > CDF_IS_ONE_ABOVE:
        return 1.0
    if x < CDF_VANISHES_BELOW:
        return 0.0
    y = abs(x) * SQRT_HALF
    if y <= 0.46875:
        return 0.5 + 0.5 * (x * SQRT_HALF) * _erf_ratio(y * y)
    ratio = _erfc_ratio_middle(y) if y <= 4.0 else _erfc_ratio_far(y)
    tail = 0.5 * gaussian(x) * ratio
    return tail if x < 0.0 else 1.0 - tail


@compiled(forceinline=True)
def _erf_ratio(z: float) -> float:
    """erf(y) / y for z = y^2, y <= 0.46875."""
    above = 1.85777706184603153e-1
    above = above * z + 3.16112374387056560e0
    above = above * z + 1.13864154151050156e2
    above = above * z + 3.77485237685302021e2
    above = above * z + 3.20937758913846947e3
    below = z + 2.36012909523441209e1
    below = below * z + 2.44024637934444173e2
    below = below * z + 1.28261652607737228e3
    below = below * z + 2.84423683343917062e3
    return above / below


@compiled(forceinline=True)
def _erfc_ratio_middle(y: float) -> float:
    """erfc(y) e^(y^2) for 0.46875 < y <= 4."""
    above = 2.15311535474403846e-8
    above = above * y + 5.64188496988670089e-1
    above = above * y + 8.88314979438837594e0
    above = above * y + 6.61191906371416295e1
    above = above * y + 2.98635138197400131e2
    above = above * y + 8.81952221241769090e2
    above = above * y + 1.71204761263407058e3
    above = above * y + 2.05107837782607147e3
    above = above * y + 1.23033935479799725e3
    below = y + 1.57449261107098347e1
    below = below * y + 1.17693950891312499e2
    below = below * y + 5.37181101862009858e2
    below = below * y + 1.62138957456669019e3
    below = below * y + 3.29079923573345963e3
    below = below * y + 4.36261909014324716e3
    below = below * y + 3.43936767414372164e3
    below = below * y + 1.23033935480374942e3
    return above / below


@compiled(forceinline=True)
def _erfc_ratio_far(y: float) -> float:
    """erfc(y) e^(y^2) for y > 4."""
    z = 1.0 / (y * y)
    above = 1.63153871373020978e-2
    above = above * z + 3.05326634961232344e-1
    above = above * z + 3.60344899949804439e-1
    above = above * z + 1.25781726111229246e-1
    above = above * z + 1.60837851487422766e-2
    above = above * z + 6.58749161529837803e-4
    below = z + 2.56852019228982242e0
    below = below * z + 1.87295284992346725e0
    below = below * z + 5.27905102951428412e-1
    below = below * z + 6.05183413124413191e-2
    below = below * z + 2.33520497626869185e-3
    return (ONE_BY_SQRT_PI - z * above / below) / y
