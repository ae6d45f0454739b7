"""What a strategy sees and would do, against what the engine did at the same event."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewed_run import (
    TRADED,
    Viewer,
    inputs,
    journaled,
    series,
    values,
)

from fairwind.core.units import SECOND_NS
from fairwind.engine.math import normal_cdf
from fairwind.engine.run import roster
from fairwind.engine.state import snapshot as state_bytes
from fairwind.journal.tables import query
from fairwind.research.replay import Inputs
from fairwind.views import topics
from fairwind.views.outlook import NAMES, label_of, window_of

MICRO = 1_000_000


@pytest.fixture(scope="module")
def given() -> Inputs:
    return inputs()


@pytest.fixture(scope="module")
def run(given: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journaled(tmp_path_factory.mktemp("viewed") / "run", given)


def test_prices_and_probabilities_are_those_of_the_open_window_at_each_second(
    given: Inputs,
) -> None:
    viewer = Viewer(given)
    times = given.between(0, given.total)["ts_ns"]
    ends = (np.flatnonzero(np.diff(times // SECOND_NS)) + 1).tolist()[:1300]
    expected: list[tuple[list[Any], list[Any]]] = []
    for cut in ends:
        viewer.until(cut)
        seen = values(viewer.look, "strategy/BTC_5M")
        if seen["phase"] == "open":
            at_ns = seen["now_ns"]
            quotes = (seen["bid_e4"], seen["ask_e4"]) if seen["book_valid"] else (None, None)
            bid, ask = (None if one is None else one / 10_000 for one in quotes)
            prices = [at_ns, seen["spot"], seen["reference"], seen["strike"]]
            expected.append((prices, [at_ns, seen["fair_up"], seen["implied_up"], bid, ask]))
    first_s = viewer.look.now_ns // SECOND_NS - 900
    recent = [one for one in expected if one[0][0] // SECOND_NS > first_s]
    assert 600 < len(recent) <= 900 and len({point[3] for point, _ in recent}) >= 4
    assert series(viewer.look, "prices/BTC_5M").points == [prices for prices, _ in recent]
    found = series(viewer.look, "fair/BTC_5M").points
    for ours, (_, theirs) in zip(found, recent, strict=True):
        assert ours == theirs


def sent_buys(run: Path) -> list[dict[str, Any]]:
    """Every buy that was sent, with the number of the event that it was decided on."""
    return query(
        run,
        """SELECT o.strategy_name, o.size_micro, o.net_edge_e4, o.outcome_name, o.probability_e6,
        o.reserved_micro, s.feature_row, s.price_e4, s.mask FROM orders o JOIN scans s
        ON s.ts_ns = o.ts_ns AND s.strategy = o.strategy AND s.market = o.market AND s.hold = 255
        WHERE o.state_name = 'SENT' AND o.action_name = 'BUY' ORDER BY s.feature_row""",
    ).to_pylist()


def test_the_stake_that_is_shown_is_the_one_that_the_engine_took(given: Inputs, run: Path) -> None:
    """Right behind the event that an order was decided on; the order itself has left less room,
    so it is compared where no room is what binds."""
    viewer, binding = Viewer(given), Counter[str]()
    for order in sent_buys(run):
        if order["feature_row"] + 1 <= viewer.state.events():
            continue
        seen = values(viewer.until(order["feature_row"] + 1), f"strategy/{order['strategy_name']}")
        assert seen["side"] == seen["ev_side"] == order["outcome_name"]
        assert seen["net_edge_e4"] == order["net_edge_e4"] == seen["ev_net_micro"] // 100
        assert (seen["hold"], seen["category"], seen["mask"]) == ("NONE", None, "")
        assert round(seen["fair_up"] * 1e6) == pytest.approx(order["probability_e6"], abs=1)
        binding[seen["binding"]] += 1
        if seen["binding"] in ("KELLY", "ORDER_MAX"):
            assert seen["size_micro"] == order["size_micro"]
    assert binding["KELLY"] >= 3 and binding["ORDER_MAX"] >= 3


def test_a_cap_that_leaves_less_is_named_as_the_one_that_binds(given: Inputs, run: Path) -> None:
    viewer = Viewer(given)
    order = sent_buys(run)[0]
    viewer.until(order["feature_row"] + 1)
    record, topic = viewer.state.record, f"strategy/{order['strategy_name']}"
    for name, cap in (
        ("CAP_STRATEGY", "cap_strategy"),
        ("CAP_FAMILY", "cap_family"),
        ("CAP_UNDERLYING", "cap_underlying"),
        ("CAP_CORRELATED", "cap_direction"),
        ("CAP_UTILIZATION", "cap_utilization"),
    ):
        before = float(record[cap])
        used = float(record.accounts[1]) / float(record.equity_micro)
        record[cap] = used + 0.0015  # 3 of 2 000 dollars
        seen = values(viewer.look, topic)
        assert seen["binding"] == name
        assert seen["size_micro"] > 0 and 2_900_000 < seen["stake_micro"] <= 3_000_000
        record[cap] = used
        seen = values(viewer.look, topic)
        assert (seen["size_micro"], seen["size_hold"], seen["stake_micro"]) == (0, name, 0)
        record[cap] = before


def test_the_edge_is_gross_less_what_it_costs_and_fair_value_is_its_distance(
    given: Inputs,
) -> None:
    viewer, sides = Viewer(given), Counter[str]()
    for cut in range(20_000, given.total, 1_777):
        look = viewer.until(cut)
        for name in TRADED:
            seen = values(look, f"strategy/{name}")
            assert tuple(seen) == NAMES
            if seen["fair_up"] is not None:
                assert float(normal_cdf(seen["distance_deviations"])) == seen["fair_up"]
            if seen["ev_side"] is None:
                continue
            sides[seen["ev_side"]] += 1
            costs = [seen[f"ev_{part}_micro"] for part in ("spread", "slippage", "fee")]
            assert seen["ev_net_micro"] == seen["ev_gross_micro"] - sum(costs)
            up = seen["ev_side"] == "UP"
            fair = seen["fair_up"] if up else 1 - seen["fair_up"]
            if None in (seen["bid_e4"], seen["ask_e4"]) or seen["ev_price_micro"] == 0:
                continue
            mid = seen["implied_up"] if up else 1 - seen["implied_up"]
            assert seen["ev_gross_micro"] == pytest.approx((fair - mid) * MICRO, abs=2)
            best = seen["ask_e4"] if up else 10_000 - seen["bid_e4"]
            assert seen["ev_price_micro"] == pytest.approx(best * 100 + costs[1], abs=1)
            cost = (seen["ev_price_micro"] + seen["ev_fee_micro"]) / MICRO
            lower = max(seen["ev_net_micro"] / MICRO, 0)
            assert seen["kelly_share"] == pytest.approx(lower / (1 - cost), rel=2e-3, abs=1e-4)
    assert min(sides["UP"], sides["DOWN"]) > 20


def test_ages_and_budgets_are_those_that_the_gates_judge(given: Inputs) -> None:
    """Read right behind a scan of that very moment: its ages are ours."""
    viewer, compared = Viewer(given), 0
    for cut in range(30_000, given.total, 911):
        look = viewer.until(cut)
        for number, spec in enumerate(roster()):
            seen = values(look, f"strategy/{spec.id}")
            if seen["scanned_ns"] != look.now_ns:
                continue
            slot = window_of(look.state, spec.series, look.now_ns)
            assert slot is not None and slot.phase == "open"
            row = look.told.scans[number, slot.slot]
            for name in ("book", "spot", "reference"):
                age_ns = seen[f"{name}_age_ns"]
                expected = -1 if age_ns is None else age_ns // 1_000_000
                # The event that made the scan may be what is newest now.
                assert expected in (int(row[f"{name}_age_ms"]), 0)
                budget = spec.parameters[spec.parameter(f"{name}_budget")].default
                assert seen[f"{name}_budget_ns"] == round(budget * 1e9)
            assert seen["left_ns"] // 1_000_000 == row["left_ms"]
            compared += 1
    assert compared > 10


def test_looking_changes_nothing(given: Inputs) -> None:
    viewer = Viewer(given)
    for cut in (50_000, 120_000, 200_001):
        look = viewer.until(cut)
        before = state_bytes(look.state)
        for view in topics.VIEWS:
            for argument in (view.arguments(look) if view.arguments else [""])[:6]:
                topics.snapshot(look, f"{view.topic}/{argument}".rstrip("/"))
        assert state_bytes(look.state) == before


@pytest.mark.parametrize(
    ("start_s", "seconds", "label"),
    [
        (1_787_233_200, 300, "Aug 20, 9:40AM-9:45AM ET"),
        (1_767_286_500, 900, "Jan 1, 11:55AM-12:10PM ET"),
        (1_793_509_200, 300, "Nov 1, 1:00AM-1:05AM ET"),
        (1_793_512_800, 300, "Nov 1, 1:00AM-1:05AM ET"),
        (1_791_172_500, 900, "Oct 4, 11:55PM-12:10AM ET"),
    ],
)
def test_a_window_is_named_as_the_venue_names_it_in_eastern_time(
    start_s: int, seconds: int, label: str
) -> None:
    assert label_of(start_s * SECOND_NS, (start_s + seconds) * SECOND_NS) == label


def test_the_open_window_goes_before_the_next_and_that_before_the_last(given: Inputs) -> None:
    viewer, phases = Viewer(given), []
    for cut in range(500, given.total, 2_500):
        look = viewer.until(cut)
        found = window_of(look.state, 0, look.now_ns)
        seen = values(look, "strategy/BTC_5M")
        assert (found and found.phase) == seen["phase"]
        if found is None:
            continue
        inside = seen["start_ns"] <= look.now_ns < seen["end_ns"]
        assert inside == (seen["phase"] == "open")
        assert inside or seen["fair_up"] is None
        assert seen["left_ns"] == max(seen["end_ns"] - look.now_ns, 0)
        phases.append(seen["phase"])
    assert set(phases) >= {"upcoming", "open"}
    look = viewer.until(given.total)
    assert values(look, "strategy/BTC_5M")["phase"] == "ended"
    assert values(look, "strategy/SOL_5M")["phase"] is None
