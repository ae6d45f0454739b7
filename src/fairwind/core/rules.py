"""Dated rules of Polymarket's window markets: what settles, costs, delays and sizes when.

In: a kind of rule, a horizon and a time. Out: the row in force then, and the fee in integers.
Never here: a market's own published schedule (that is an event, and it overrides the fee row).
"""

from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairwind.core.compiled import compiled
from fairwind.core.errors import BadInput
from fairwind.core.units import SECOND_NS

RULE = np.dtype(
    [("from_ns", "<i8"), ("a", "<i8"), ("b", "<i8"), ("kind", "<i8"), ("horizon", "<i8")]
)
"""One row as the engine reads it; `a` and `b` by kind, see RuleKind."""

EVERY_HORIZON = -1


class RuleKind(IntEnum):
    """What a row rules, and what its `a` and `b` mean."""

    SETTLEMENT = 0  # by window start. a = averaging seconds of the stream (0: point values; -1:
    #                 settled on another source, not traded), b = 1: the print at the boundary
    #                 decides, 0: the last print at or before it
    FEE = 1  # by window start. a = rate_e6, b = FeeForm
    TAKER_DELAY = 2  # by submit time. a = delay in ns, b = 1: cancellable while delayed
    MIN_SIZE = 3  # a = resting order in micro shares, b = marketable buy in micro dollars
    TICK = 4  # a = tick_e4 at listing, b = tick_e4 after the price leaves [0.04, 0.96]


class FeeForm(IntEnum):
    """How a taker's fee grows with the price p, per share."""

    NONE = 0
    SYMMETRIC = 1  # rate p (1 - p)
    BUYER_WEIGHTED = 2  # rate p (p (1 - p))^2


class Rule(NamedTuple):
    """One rule from `effective` (UTC) on, for one horizon number or for EVERY_HORIZON."""

    kind: RuleKind
    effective: str
    horizon: int
    a: int
    b: int
    source: str

    @property
    def from_ns(self) -> int:
        """`effective` as ns since the epoch."""
        return round(datetime.fromisoformat(self.effective).timestamp()) * SECOND_NS


ALWAYS = "1970-01-01T00:00Z"
_5M, _15M, _1H, _4H = range(4)  # positions in core.events.HORIZONS_S
_MS = 1_000_000

POINT = "documentation: Chainlink stream point values until 2026-08-06"
CANDLE = "documentation: Binance one-hour candle, close at or above open is Up"
FIRST_AVERAGE = "changelog 2026-08: 30 s average on 5m, 60 s on 15m and 4h; hour of day assumed"
SECOND_AVERAGE = "changelog 2026-08: 60 s average on 5m as well, from 00:00 UTC"
FREE = "secondary: no fee before January 2026"
FIRST_FEE = "documentation of the time: 0.25 p (p(1-p))^2; the venue took a BUY's fee in shares"
SECOND_FEE = "Gamma feeSchedule of 2026-04-28: 0.072; charged in dollars at match since that day"
THIRD_FEE = "0.07: documentation and Gamma by 2026-06-18; the day is secondary"
DELAY_500 = "500 ms on 15m and 1h; whether it could be cancelled is not known, so it cannot"
DELAY_OFF = "removed between 2026-02-15 and 2026-02-18; the later, less favourable day"
DELAY_250 = "250 ms, cancellable; the day is approximate"

RULES: tuple[Rule, ...] = (
    Rule(RuleKind.SETTLEMENT, ALWAYS, _5M, 0, 0, POINT),
    Rule(RuleKind.SETTLEMENT, ALWAYS, _15M, 0, 0, POINT),
    Rule(RuleKind.SETTLEMENT, ALWAYS, _4H, 0, 0, POINT),
    Rule(RuleKind.SETTLEMENT, ALWAYS, _1H, -1, 0, CANDLE),
    Rule(RuleKind.SETTLEMENT, "2026-08-07T00:00Z", _5M, 30, 1, FIRST_AVERAGE),
    Rule(RuleKind.SETTLEMENT, "2026-08-07T00:00Z", _15M, 60, 1, FIRST_AVERAGE),
    Rule(RuleKind.SETTLEMENT, "2026-08-07T00:00Z", _4H, 60, 1, FIRST_AVERAGE),
    Rule(RuleKind.SETTLEMENT, "2026-08-14T00:00Z", _5M, 60, 1, SECOND_AVERAGE),
    Rule(RuleKind.FEE, ALWAYS, EVERY_HORIZON, 0, FeeForm.NONE, FREE),
    Rule(RuleKind.FEE, "2026-01-05T00:00Z", _15M, 250_000, FeeForm.BUYER_WEIGHTED, FIRST_FEE),
    Rule(RuleKind.FEE, "2026-02-12T00:00Z", _5M, 250_000, FeeForm.BUYER_WEIGHTED, FIRST_FEE),
    Rule(RuleKind.FEE, "2026-03-30T00:00Z", EVERY_HORIZON, 72_000, FeeForm.SYMMETRIC, SECOND_FEE),
    Rule(RuleKind.FEE, "2026-05-08T00:00Z", EVERY_HORIZON, 70_000, FeeForm.SYMMETRIC, THIRD_FEE),
    Rule(RuleKind.TAKER_DELAY, ALWAYS, EVERY_HORIZON, 0, 0, "no delay known"),
    Rule(RuleKind.TAKER_DELAY, "2025-11-14T00:00Z", _15M, 500 * _MS, 0, DELAY_500),
    Rule(RuleKind.TAKER_DELAY, "2025-11-14T00:00Z", _1H, 500 * _MS, 0, DELAY_500),
    Rule(RuleKind.TAKER_DELAY, "2026-02-18T00:00Z", EVERY_HORIZON, 0, 0, DELAY_OFF),
    Rule(RuleKind.TAKER_DELAY, "2026-02-25T00:00Z", EVERY_HORIZON, 250 * _MS, 1, DELAY_250),
    Rule(RuleKind.TAKER_DELAY, "2026-06-05T00:00Z", EVERY_HORIZON, 250 * _MS, 0, "changelog"),
    Rule(RuleKind.TAKER_DELAY, "2026-08-17T11:00Z", EVERY_HORIZON, 50 * _MS, 0, "changelog"),
    Rule(RuleKind.TAKER_DELAY, "2026-09-04T14:00Z", EVERY_HORIZON, 150 * _MS, 0, "changelog"),
    Rule(RuleKind.MIN_SIZE, ALWAYS, EVERY_HORIZON, 5_000_000, 1_000_000, "orderMinSize; refusals"),
    Rule(
        RuleKind.TICK, ALWAYS, EVERY_HORIZON, 100, 10, "documentation; 210 of 292 markets flipped"
    ),
)
"""Ordered by kind, then by time; of the rows that apply, the last one is in force."""


def table() -> NDArray[np.void]:
    """`RULES` as the engine reads them: shape (number of rules,), dtype RULE, same order."""
    rows = [(rule.from_ns, rule.a, rule.b, rule.kind, rule.horizon) for rule in RULES]
    return np.array(rows, RULE)


@compiled
def rule_row(
    rules: NDArray[np.void], kind: int | np.int64, horizon: int | np.int64, ts_ns: int
) -> int:
    """The index in `rules` (see `table`) of the row in force at `ts_ns`; -1 if there is none."""
    found = -1
    for i in range(rules.shape[0]):
        row = rules[i]
        applies = row["horizon"] == horizon or row["horizon"] == EVERY_HORIZON
        if row["kind"] == kind and applies and row["from_ns"] <= ts_ns:
            found = i
    return found


def in_force(kind: RuleKind, horizon: int, ts_ns: int) -> Rule:
    """The rule in force at `ts_ns`; `horizon` is a position in core.events.HORIZONS_S.

    Raises BadInput when no rule is known for that horizon or time.
    """
    row = rule_row(table(), int(kind), horizon, ts_ns)
    if row < 0:
        raise BadInput(
            f"expected a {kind.name} rule for horizon {horizon} at {ts_ns} ns, found none: "
            f"use a known horizon and a time after {ALWAYS}, or add a row to core/rules.py"
        )
    return RULES[row]


BASE = 1_000_000_000


@compiled
def fee_micro(size_micro: int, price_e4: int, rate_e6: int, form: int) -> int:
    """A taker's fee in micro dollars, rounded half up to 0.00001 dollar; less than that is 0.

    Exact for any size below 10^12 shares and rates up to 0.9: `size x fee of one share` in units
    of 1e-5 dollar is a product over 10^27, taken in limbs of base 10^9. Source of the formulas:
    the venue's fee page; the rounding direction is not published, half up is assumed.
    """
    if form == FeeForm.NONE:
        return 0
    variance = price_e4 * (10_000 - price_e4)
    if form == FeeForm.SYMMETRIC:
        factor, high, low = rate_e6, variance * 1_000, 0
    else:
        square = variance * variance
        factor, high, low = rate_e6 * price_e4, square // BASE, square % BASE
    product = factor * low
    fee_0 = product % BASE
    product = factor * high + product // BASE
    fee_1, fee_2 = product % BASE, product // BASE
    size_0, size_1 = size_micro % BASE, size_micro // BASE
    carry = (size_0 * fee_0) // BASE
    carry = (size_1 * fee_0 + size_0 * fee_1 + carry) // BASE
    carry += size_1 * fee_1 + size_0 * fee_2
    return 10 * (size_1 * fee_2 + (carry + BASE // 2) // BASE)
