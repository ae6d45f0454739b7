"""A run's figures against values worked out by hand, and the identities that they must keep."""

import numpy as np
import pytest
from hand_made_run import (
    SHARE,
    START_NS,
    bought,
    buy,
    deposit,
    posting,
    rows,
    settled,
    three_windows,
    window,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fairwind.core.costs import MICRO_UNITS, PARTS, fill_costs
from fairwind.core.errors import Corrupt
from fairwind.core.intervals import ratio_interval
from fairwind.core.outputs import Action, Fact
from fairwind.research import metrics

PRICES = st.integers(1, 9999)
MIDS = st.integers(1, 19_999)
FILLS = st.fixed_dictionaries(
    {
        "size_micro": st.integers(1, 10**11),
        "price_e4": PRICES,
        "best_e4": PRICES,
        "decision_mid_half_e4": MIDS,
        "arrival_mid_half_e4": MIDS,
        "match_mid_half_e4": MIDS,
        "fee_micro": st.integers(-(10**7), 10**9),
        "action": st.sampled_from(Action),
    }
)


def positions(tables):
    index = metrics.window_index(tables["windows"])
    return metrics.positions(tables["fills"], tables["postings"], index)


def one_buy(payout_e4, fills, postings):
    return {
        "windows": rows("windows", window(0, payout_e4)),
        "fills": rows("fills", *fills),
        "postings": rows("postings", *postings),
    }


@given(FILLS)
def test_the_costs_of_a_fill_are_its_distance_from_the_mid_it_was_decided_on_plus_the_fee(fill):
    costs = fill_costs(rows("fills", fill))
    away = 2 * fill["price_e4"] - fill["decision_mid_half_e4"]
    paid = away if fill["action"] == Action.BUY else -away
    expected = paid * fill["size_micro"] + fill["fee_micro"] * MICRO_UNITS
    assert sum(int(costs[part][0]) for part in PARTS) == expected


def test_each_cost_of_a_buy_and_of_its_mirror_sale_is_the_one_computed_by_hand():
    mids = {
        "decision_mid_half_e4": 10_000,  # 0.5000
        "arrival_mid_half_e4": 10_040,  # 0.5020
        "match_mid_half_e4": 10_030,  # 0.5015
    }
    bought_up = {"best_e4": 5100, "price_e4": 5150, "action": Action.BUY}
    sold_up = {"best_e4": 4900, "price_e4": 4850, "action": Action.SELL}
    common = {"size_micro": 10 * SHARE, "fee_micro": 12_345}
    costs = fill_costs(rows("fills", mids | bought_up | common, mids | sold_up | common))
    cent = MICRO_UNITS * 10_000
    assert [costs[part].tolist() for part in PARTS] == [
        [2 * cent, -2 * cent],
        [-cent // 2, cent // 2],
        [17 * cent // 2, 23 * cent // 2],
        [5 * cent, 5 * cent],
        [12_345 * MICRO_UNITS] * 2,
    ]


def test_a_won_a_lost_and_a_pending_position_have_the_profit_computed_by_hand():
    found = positions(three_windows())
    assert found["closed"].tolist() == [True, True, False]
    # 10 x 1 - 10 x 0.5 - 0.1 fee; -10 x 0.4 - 0.1; pending: only its fee is booked so far
    assert (found["net"] // MICRO_UNITS).tolist() == [4_900_000, -4_100_000, -100_000]
    # at the mids decided on, 0.495 and 0.395
    assert (found["gross"][:2] // MICRO_UNITS).tolist() == [5_050_000, -3_950_000]


def test_a_void_window_pays_half_to_either_outcome():
    for outcome in (0, 1):
        tables = one_buy(
            5000,
            [buy(0, 10, 4000, outcome=outcome)],
            [*bought(0, 4_000_000), settled(0, 4_000_000, 5_000_000)],
        )
        tables["postings"]["outcome"] = outcome
        assert positions(tables)["net"].tolist() == [900_000 * MICRO_UNITS]


def test_a_position_sold_before_its_result_is_known_is_closed():
    sale = buy(0, 10, 5500, action=Action.SELL)
    proceeds = posting(
        0, Fact.FILL, cash_micro=5_500_000, position_micro=-5_000_000, realised_micro=-500_000
    )
    fee = posting(0, Fact.FEE, cash_micro=-100_000, fees_micro=100_000)
    tables = one_buy(-1, [buy(0, 10, 5000), sale], [*bought(0, 5_000_000), proceeds, fee])
    found = positions(tables)
    assert found["closed"].tolist() == [True]
    assert found["net"].tolist() == [300_000 * MICRO_UNITS]


def test_a_position_that_is_half_sold_stays_open_and_shows_what_is_booked():
    sale = buy(0, 5, 5500, action=Action.SELL)
    proceeds = posting(
        0, Fact.FILL, cash_micro=2_750_000, position_micro=-2_500_000, realised_micro=-250_000
    )
    fee = posting(0, Fact.FEE, cash_micro=-100_000, fees_micro=100_000)
    tables = one_buy(-1, [buy(0, 10, 5000), sale], [*bought(0, 5_000_000), proceeds, fee])
    found = positions(tables)
    assert found["closed"].tolist() == [False]
    assert found["net"].tolist() == [50_000 * MICRO_UNITS]


def test_a_ledger_that_is_one_micro_dollar_off_is_refused():
    tables = three_windows()
    tables["postings"]["realised_micro"][3] += 1
    with pytest.raises(Corrupt, match="fills and result give a profit of 4900000"):
        positions(tables)


def test_a_fee_in_the_ledger_that_no_fill_had_is_refused():
    tables = three_windows()
    tables["postings"]["fees_micro"][-1] += 1
    with pytest.raises(Corrupt, match="after fees of 100001"):
        positions(tables)


def test_a_profit_without_a_fill_is_refused():
    tables = three_windows()
    tables["fills"] = tables["fills"][:1]
    with pytest.raises(Corrupt, match="found none for market 1"):
        positions(tables)


def test_what_the_ledger_rounds_off_is_slippage_and_the_parts_still_sum_exactly():
    # 1.000001 shares at 0.3333 cost 333 300.3333 micro-dollars, of which the ledger books 333 300
    fill = buy(0, 1, 3333, size_micro=1_000_001, best_e4=3333)
    postings = [*bought(0, 333_300), settled(0, 333_300, 1_000_001)]
    found = positions(one_buy(10_000, [fill], postings))[0]
    assert found["net"] == (1_000_001 - 333_300 - 100_000) * MICRO_UNITS
    assert found["cost"]["slippage"] == -6666  # 0.3333 micro-dollars, in our favour
    assert sum(int(found["cost"][part]) for part in PARTS) == found["gross"] - found["net"]


def test_a_correction_booked_once_for_both_outcomes_reconciles():
    fills = [buy(0, 10, 4000), buy(0, 10, 5000, outcome=1)]
    down = [row | {"outcome": 1} for row in bought(0, 5_000_000)]
    settlements = [settled(0, 4_000_000, 0), settled(0, 5_000_000, 10_000_000, outcome=1)]
    # The venue says Up after all: 30 Up shares gain a dollar each, 10 Down shares lose one.
    fills.append(buy(0, 20, 4000))
    more = [*bought(0, 8_000_000), settled(0, 8_000_000, 0)]
    correction = posting(0, Fact.CORRECT, receivable_micro=20_000_000, realised_micro=-20_000_000)
    postings = [*bought(0, 4_000_000), *down, *more, *settlements, correction]
    found = positions(one_buy(10_000, fills, postings))
    assert (found["net"] // MICRO_UNITS).tolist() == [17_800_000, -5_100_000]


def test_a_market_number_that_is_used_again_means_the_window_of_its_time():
    later = START_NS + 10**15
    windows = rows(
        "windows", window(0, 10_000), window(0, 0, ts_ns=later, start_ns=later), window(7, -1)
    )
    index = metrics.window_index(windows)
    asked = rows(
        "fills",
        {"market": 0, "ts_ns": START_NS - 1},
        {"market": 0, "ts_ns": START_NS},
        {"market": 0, "ts_ns": later + 5},
        {"market": 3, "ts_ns": later},
    )
    assert index.of(asked).tolist() == [-1, 0, 1, -1]


def test_the_latest_row_of_a_window_is_the_one_that_counts():
    windows = rows("windows", window(0, -1), window(1, -1), window(0, 10_000), window(1, 0))
    assert metrics.window_index(windows).rows["payout_e4"].tolist() == [10_000, 0]


def test_equity_counts_positions_at_cost_and_drawdown_ignores_withdrawals():
    tables = three_windows()
    curve = metrics.equity(tables["postings"])
    dollars = [value / 1e6 for value in curve.equity_micro.tolist()]
    assert dollars == [1000, 999.9, 1004.9, 1004.8, 1000.8, 1000.7]
    assert (curve.drawdown_micro / 1e6).tolist() == [0, 0.1, 0, 0.1, 4.1, 4.2]
    withdrawn = deposit(-500) | {"ts_ns": START_NS + 10**15, "fact": Fact.WITHDRAW}
    curve = metrics.equity(np.concatenate((tables["postings"], rows("postings", withdrawn))))
    assert curve.equity_micro[-1] == 500_700_000
    assert curve.drawdown_micro.max() == 4_200_000


def test_the_interval_of_independent_trades_agrees_with_scipy():
    sample = np.random.default_rng(3).exponential(2.0, 60) - 1.5
    ours = ratio_interval(sample, np.ones(60), np.arange(60))
    theirs = stats.bootstrap((sample,), np.mean, rng=1, n_resamples=20_000).confidence_interval
    assert ours.mean == pytest.approx(sample.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.05)


def test_trades_that_share_a_window_do_not_narrow_the_interval():
    sample = np.random.default_rng(4).normal(0, 1, 30)
    once = ratio_interval(sample, np.ones(30), np.arange(30))
    many = ratio_interval(np.tile(sample, 9), np.ones(270), np.tile(np.arange(30), 9))
    assert (many.n, many.windows) == (270, 30)
    assert (many.low, many.high) == (once.low, once.high)


@pytest.mark.parametrize("windows", [1, 2, 9, 10])
def test_fewer_than_ten_windows_have_no_interval_however_many_trades(windows):
    none = np.zeros(0)
    assert ratio_interval(none, none, np.zeros(0, np.int64)).mean is None
    sample = np.arange(5.0 * windows)
    few = ratio_interval(sample, np.ones(len(sample)), np.arange(len(sample)) % windows)
    assert few.mean == sample.mean()
    assert [end is None for end in (few.low, few.high)] == [windows < 10] * 2


def test_equal_trades_have_an_interval_of_no_width():
    same = ratio_interval(np.full(10, 0.25), np.ones(10), np.arange(10))
    assert (same.mean, same.low, same.high) == (0.25, 0.25, 0.25)


def test_calibration_scores_are_the_ones_computed_by_hand():
    probability, came_true = np.array([0.8, 0.85, 0.1, 1.0]), np.array([1.0, 0.0, 0.0, 1.0])
    found = metrics.calibration(probability, came_true, np.array([0, 1, 2, 2]))
    assert (found.n, found.windows) == (4, 3)
    assert found.brier == pytest.approx((0.04 + 0.7225 + 0.01 + 0) / 4)
    assert found.log_loss == pytest.approx(-np.log([0.8, 0.15, 0.9, 1]).mean(), abs=1e-6)
    assert [(one.low, one.n, one.mean, one.frequency) for one in found.bins if one.n] == [
        (0.1, 1, 0.1, 0.0),
        (0.8, 2, 0.825, 0.5),
        (0.9, 1, 1.0, 1.0),
    ]


def test_scans_count_once_per_window_and_second_and_only_where_a_result_is_known():
    tables = three_windows()  # 20 scans over 2 seconds in each of 3 windows, one of them pending
    tables["scans"]["probability"][1:5] = np.nan
    found = metrics.scan_calibration(tables["scans"], metrics.window_index(tables["windows"]))
    assert (found.n, found.windows) == (4, 2)
    assert found.brier == pytest.approx((0.3**2 + 0.2**2) / 2)


def test_a_trade_without_a_probability_is_left_out_of_calibration():
    tables = three_windows()
    tables["fills"]["probability_e6"][1] = -1
    index = metrics.window_index(tables["windows"])
    found = metrics.trade_calibration(positions(tables), index)
    assert (found.n, found.brier) == (1, pytest.approx(0.16))
