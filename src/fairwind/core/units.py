"""The integer units that every part speaks, and the only conversions into and out of them.

In: decimal text, floats or Decimals as the outside world writes them. Out: integers whose unit
is the last part of their name. Never here: rounding that loses money silently.
"""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

PRICE_ONE_E4 = 10_000
SHARE_MICRO = 1_000_000
DOLLAR_MICRO = 1_000_000
SPOT_ONE_E8 = 100_000_000
SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000
REMAINDER_ONE_E18 = 10_000_000_000
"""One unit of `value_e8` in units of 1e-18: a reference value is `value_e8` plus a remainder."""


def scaled(value: str | float | Decimal, exponent: int) -> int:
    """`value` x 10^exponent as the nearest integer (ties to even).

    Floats are read by their shortest decimal form, so 0.29 is 29/100 and not 0.28999....
    Raises ValueError for text that is not a finite decimal number.
    """
    try:
        decimal = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(f"expected a number, found {value!r}") from error
    if not decimal.is_finite():
        raise ValueError(f"expected a finite number, found {value!r}")
    return int(decimal.scaleb(exponent).to_integral_value(ROUND_HALF_EVEN))


def price_e4(value: str | float | Decimal) -> int:
    """A contract price in dollars (0.37) as 1/10 000 dollar (3700)."""
    return scaled(value, 4)


def size_micro(value: str | float | Decimal) -> int:
    """A number of shares as 1e-6 shares."""
    return scaled(value, 6)


def spot_e8(value: str | float | Decimal) -> int:
    """A spot price in dollars as 1e-8 dollar."""
    return scaled(value, 8)


def reference_parts(value: str | float | Decimal) -> tuple[int, int]:
    """A reference value in dollars as (value_e8, remainder_e18), exact to 18 decimals."""
    value_e18 = scaled(value, 18)
    return divmod(value_e18, REMAINDER_ONE_E18)


def reference_value(value_e8: int, remainder_e18: int) -> Decimal:
    """The exact decimal value that `reference_parts` took apart, without trailing zeros."""
    e18 = int(value_e8) * REMAINDER_ONE_E18 + int(remainder_e18)
    value = Decimal(e18).scaleb(-18)
    return value.normalize() if value % 1 else value.quantize(Decimal(1))
