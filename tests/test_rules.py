"""The dated venue rules change at the published moment, and the fee is exact."""

from fractions import Fraction
from itertools import product
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairwind.core.errors import BadInput
from fairwind.core.events import HORIZON_NAMES
from fairwind.core.rules import RULES, FeeForm, RuleKind, fee_micro, in_force, rule_row, table

NOW_NS = 1_795_000_000_000_000_000
PLAIN_FEE = getattr(fee_micro, "py_func", fee_micro)
PLAIN_ROW = getattr(rule_row, "py_func", rule_row)

S, F, D = RuleKind.SETTLEMENT, RuleKind.FEE, RuleKind.TAKER_DELAY
ERAS = [  # kind, horizon, seconds since the epoch, (a, b) one ns before, (a, b) from then on
    (S, "5m", 1786060800, (0, 0), (30, 1)),
    (S, "5m", 1786665600, (30, 1), (60, 1)),
    (S, "15m", 1786060800, (0, 0), (60, 1)),
    (S, "15m", 1786665600, (60, 1), (60, 1)),
    (S, "4h", 1786060800, (0, 0), (60, 1)),
    (S, "1h", 1786665600, (-1, 0), (-1, 0)),
    (F, "15m", 1767571200, (0, 0), (250_000, 2)),
    (F, "5m", 1767571200, (0, 0), (0, 0)),
    (F, "5m", 1770854400, (0, 0), (250_000, 2)),
    (F, "5m", 1774828800, (250_000, 2), (72_000, 1)),
    (F, "15m", 1774828800, (250_000, 2), (72_000, 1)),
    (F, "4h", 1774828800, (0, 0), (72_000, 1)),
    (F, "1h", 1778198400, (72_000, 1), (70_000, 1)),
    (F, "5m", 1778198400, (72_000, 1), (70_000, 1)),
    (D, "15m", 1763078400, (0, 0), (500_000_000, 0)),
    (D, "1h", 1763078400, (0, 0), (500_000_000, 0)),
    (D, "5m", 1763078400, (0, 0), (0, 0)),
    (D, "15m", 1771372800, (500_000_000, 0), (0, 0)),
    (D, "5m", 1771977600, (0, 0), (250_000_000, 1)),
    (D, "5m", 1780617600, (250_000_000, 1), (250_000_000, 0)),
    (D, "5m", 1786964400, (250_000_000, 0), (50_000_000, 0)),
    (D, "5m", 1788530400, (50_000_000, 0), (150_000_000, 0)),
]


@pytest.mark.parametrize(("kind", "horizon", "second", "before", "after"), ERAS)
def test_an_era_begins_at_its_first_nanosecond(
    kind: RuleKind, horizon: str, second: int, before: tuple[int, int], after: tuple[int, int]
) -> None:
    number, from_ns = HORIZON_NAMES.index(horizon), second * 10**9
    assert in_force(kind, number, from_ns - 1)[3:5] == before
    assert in_force(kind, number, from_ns)[3:5] == after


def test_every_dated_row_has_its_boundary_tested() -> None:
    tested = {(kind, second * 10**9) for kind, _, second, _, _ in ERAS}
    dated = {(rule.kind, rule.from_ns) for rule in RULES if rule.from_ns > 0}
    assert dated <= tested


def test_sizes_and_ticks_are_the_same_for_every_horizon() -> None:
    for horizon in range(len(HORIZON_NAMES)):
        assert in_force(RuleKind.MIN_SIZE, horizon, NOW_NS)[3:5] == (5_000_000, 1_000_000)
        assert in_force(RuleKind.TICK, horizon, NOW_NS)[3:5] == (100, 10)


def test_rows_are_ordered_by_kind_and_time() -> None:
    keys = [(rule.kind, rule.from_ns) for rule in RULES]
    assert keys == sorted(keys)


def test_compiled_and_plain_lookups_find_the_same_rows() -> None:
    rules = table()
    times = [rule.from_ns - before for rule in RULES for before in (1, 0)]
    horizons = range(-2, len(HORIZON_NAMES) + 1)
    for kind, horizon, ts_ns in product(map(int, RuleKind), horizons, times):
        assert rule_row(rules, kind, horizon, ts_ns) == PLAIN_ROW(rules, kind, horizon, ts_ns)


def test_a_time_before_every_rule_is_refused_with_what_to_do() -> None:
    with pytest.raises(BadInput, match="add a row"):
        in_force(RuleKind.FEE, 0, -1)


def test_the_fee_seen_on_chain_is_reproduced() -> None:
    assert fee_micro(25_000_000, 6_400, 70_000, FeeForm.SYMMETRIC) == 403_200


@pytest.mark.parametrize(
    ("price_e4", "now", "before", "first"),
    [  # micro dollars for 1000 shares, from the venue's table per share
        (100, 693_000, 712_800, 250),
        (9_900, 693_000, 712_800, 24_260),
        (500, 3_325_000, 3_420_000, 28_200),
        (9_500, 3_325_000, 3_420_000, 535_860),
        (1_000, 6_300_000, 6_480_000, 202_500),
        (9_000, 6_300_000, 6_480_000, 1_822_500),
        (2_000, 11_200_000, 11_520_000, 1_280_000),
        (8_000, 11_200_000, 11_520_000, 5_120_000),
        (3_000, 14_700_000, 15_120_000, 3_307_500),
        (7_000, 14_700_000, 15_120_000, 7_717_500),
        (4_000, 16_800_000, 17_280_000, 5_760_000),
        (6_000, 16_800_000, 17_280_000, 8_640_000),
        (5_000, 17_500_000, 18_000_000, 7_812_500),
    ],
)
def test_the_published_fee_table_is_reproduced(
    price_e4: int, now: int, before: int, first: int
) -> None:
    size = 1_000_000_000
    assert fee_micro(size, price_e4, 70_000, FeeForm.SYMMETRIC) == now
    assert fee_micro(size, price_e4, 72_000, FeeForm.SYMMETRIC) == before
    assert fee_micro(size, price_e4, 250_000, FeeForm.BUYER_WEIGHTED) == first
    assert fee_micro(size, price_e4, 250_000, FeeForm.NONE) == 0


def test_a_fee_is_rounded_half_up_and_below_the_smallest_unit_is_zero() -> None:
    # 0.07 x 0.25 per share is 1750 units of 1e-5 dollar
    assert fee_micro(286, 5_000, 70_000, FeeForm.SYMMETRIC) == 10  # 0.5005 units
    assert fee_micro(285, 5_000, 70_000, FeeForm.SYMMETRIC) == 0  # 0.49875 units
    assert fee_micro(2_000, 5_000, 70_000, FeeForm.SYMMETRIC) == 40  # 3.5 units


def exact_fee(size_micro: int, price_e4: int, rate_e6: int, form: int) -> int:
    price, size = Fraction(price_e4, 10_000), Fraction(size_micro, 10**6)
    shape = price * (1 - price) if form == 1 else price * (price * (1 - price)) ** 2
    units = size * Fraction(rate_e6, 10**6) * shape * 100_000
    return 10 * floor(units + Fraction(1, 2))


@settings(max_examples=2000, deadline=None)
@given(
    st.one_of(st.integers(0, 10**12), st.integers(0, 10**18)),
    st.integers(0, 10_000),
    st.one_of(st.sampled_from([70_000, 72_000, 250_000]), st.integers(0, 900_000)),
    st.sampled_from([1, 2]),
)
def test_the_fee_equals_exact_fractions(size: int, price: int, rate: int, form: int) -> None:
    wanted = exact_fee(size, price, rate, form)
    assert fee_micro(size, price, rate, form) == wanted
    assert PLAIN_FEE(size, price, rate, form) == wanted
