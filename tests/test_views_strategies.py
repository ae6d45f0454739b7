"""The views of the run and its strategies: every figure is that of the journal, by other means."""

import math
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewed_run import CHANGED, TRADED, Viewer, inputs, journaled, viewed

from fairwind.core.holds import CATEGORY, Hold
from fairwind.core.outputs import OrderState
from fairwind.core.units import SECOND_NS
from fairwind.engine import ledger
from fairwind.engine.math import normal_cdf
from fairwind.engine.run import roster
from fairwind.engine.state import snapshot as state_bytes
from fairwind.journal.tables import query
from fairwind.research.document import Report, build
from fairwind.research.journaled import result_of_run
from fairwind.research.replay import Inputs
from fairwind.views import topics
from fairwind.views.curves import Curves
from fairwind.views.outlook import NAMES, label_of, window_of
from fairwind.views.scans import EDGE_DIGITS
from fairwind.views.shapes import Grid, Rows, Series, Values
from fairwind.views.told import Look

MICRO = 1_000_000


@pytest.fixture(scope="module")
def given() -> Inputs:
    return inputs()


@pytest.fixture(scope="module")
def run(given: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journaled(tmp_path_factory.mktemp("viewed") / "run", given)


@pytest.fixture(scope="module")
def report(run: Path) -> Report:
    return build(result_of_run(run))


@pytest.fixture(scope="module")
def end(given: Inputs) -> Look:
    return viewed(given, [given.total])


def table(look: Look, topic: str) -> list[dict[str, Any]]:
    found = topics.snapshot(look, topic)
    assert isinstance(found, Rows) and found.total == len(found.rows)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def values(look: Look, topic: str) -> dict[str, Any]:
    found = topics.snapshot(look, topic)
    assert isinstance(found, Values)
    return found.values


def series(look: Look, topic: str) -> Series:
    found = topics.snapshot(look, topic)
    assert isinstance(found, Series)
    assert all(len(point) == 1 + len(found.lines) for point in found.points)
    return found


def grid(look: Look, topic: str) -> Grid:
    found = topics.snapshot(look, topic)
    assert isinstance(found, Grid)
    return found


def test_the_overview_is_the_ledger_and_the_counts_of_the_journal(
    end: Look, run: Path, report: Report
) -> None:
    said = values(end, "overview")
    (sums,) = query(
        run,
        """SELECT sum(cash_micro) cash, sum(reserved_micro) reserved, sum(position_micro) positions,
        sum(receivable_micro) receivable, sum(fees_micro) fees, -sum(realised_micro) realised,
        -sum(deposits_micro) deposits FROM postings""",
    ).to_pylist()
    assert {name: said[f"{name}_micro"] for name in sums} == sums
    owned = sums["cash"] + sums["reserved"] + sums["positions"] + sums["receivable"]
    assert said["equity_micro"] == owned == sums["deposits"] + said["profit_micro"]
    (counts,) = query(
        run,
        """SELECT (SELECT count(*) FROM scans) scans, (SELECT count(*) FROM fills) fills,
        (SELECT count(DISTINCT slug) FROM windows WHERE payout_e4 >= 0) windows_settled,
        (SELECT avg(CAST(hold_name != 'NONE' AS int)) FROM scans) hold_share""",
    ).to_pylist()
    assert {name: said[name] for name in counts} == pytest.approx(counts, rel=1e-15)
    totals = report.totals
    assert said["windows_settled"] == totals.windows_settled > 20
    assert (said["trades"], said["open_positions"]) == (totals.trades, totals.open_positions)
    assert (said["events"], said["digest"]) == (totals.events, report.digest)
    assert said["unrealised_micro"] == said["open_orders"] == said["windows_open"] == 0


def test_every_strategy_earned_what_the_report_says(end: Look, report: Report) -> None:
    for row in table(end, "strategies"):
        theirs = report.strategies[row["id"]]
        nets = [trade.net_pnl for trade in report.trades if trade.strategy == row["id"]]
        assert row["trades"] == theirs.trades == row["wins"] + row["losses"]
        assert row["wins"] == sum(net >= 0 for net in nets)
        assert row["net_micro"] == round(theirs.net_pnl * MICRO)
        assert (row["scans"], row["unrealised_micro"]) == (theirs.scans, 0)
        mean = [theirs.expectancy.mean, theirs.expectancy.low, theirs.expectancy.high]
        said = [row[f"expectancy{end}_micro"] for end in ("", "_low", "_high")]
        assert [one is None for one in said] == [one is None for one in mean]
        for ours, dollars in zip(said, mean, strict=True):
            assert dollars is None or abs(ours - dollars * MICRO) <= 1.5
    assert {row["id"] for row in table(end, "strategies") if row["trades"]} == set(TRADED)
    assert any(row["expectancy_low_micro"] is not None for row in table(end, "strategies"))


def test_holds_are_counted_as_the_journal_counts_them(end: Look, run: Path) -> None:
    expected = query(
        run,
        """SELECT strategy_name strategy, hold_name code, count(*) count, max(ts_ns) last_at_ns
        FROM scans WHERE hold_name != 'NONE' GROUP BY ALL ORDER BY min(strategy), min(hold)""",
    ).to_pylist()
    by_strategy = "SELECT strategy_name, count(*) n FROM scans GROUP BY ALL"
    totals = {one["strategy_name"]: one["n"] for one in query(run, by_strategy).to_pylist()}
    found = table(end, "holds")
    assert len(found) == len(expected) > 10
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["key"] == f"{theirs['strategy']}/{theirs['code']}"
        assert (ours["count"], ours["last_at_ns"]) == (theirs["count"], theirs["last_at_ns"])
        assert ours["share"] == theirs["count"] / totals[theirs["strategy"]]
        assert ours["category"] == CATEGORY[Hold[theirs["code"]]].value


@pytest.mark.parametrize("part", [0.13, 0.5, 0.77, 1.0])
def test_a_streak_is_the_scans_since_the_last_one_that_might_trade(
    given: Inputs, part: float
) -> None:
    viewer = Viewer(given)
    told: list[Any] = []
    take = viewer.told.take

    def kept(rows: Any, state: Any) -> None:
        told.extend(rows["scans"].copy())
        take(rows, state)

    viewer.told.take = kept  # type: ignore[method-assign]
    look = viewer.until(int(given.total * part))
    for number, row in enumerate(table(look, "streaks")):
        own = [scan for scan in told if scan["strategy"] == number]
        passed = [place for place, scan in enumerate(own) if scan["hold"] == 255]
        streak = own[passed[-1] + 1 :] if passed else own
        assert row["holds"] == len(streak)
        assert row["since_ns"] == (int(streak[0]["ts_ns"]) if streak else None)
        assert row["scans"] == len(own)
        assert row["hold_share"] == ((len(own) - len(passed)) / len(own) if own else None)
        assert row["last_at_ns"] == (int(own[-1]["ts_ns"]) if own else None)


def test_the_last_entry_is_the_last_buy_that_was_sent(end: Look, run: Path) -> None:
    sent = query(
        run,
        """SELECT strategy_name, count(*) n, max(ts_ns) last FROM orders
        WHERE state_name = 'SENT' AND action_name = 'BUY' GROUP BY ALL""",
    ).to_pylist()
    expected = {one["strategy_name"]: (one["n"], one["last"]) for one in sent}
    found = {row["strategy"]: row for row in table(end, "streaks")}
    assert {name for name, row in found.items() if row["entries"]} == set(expected)
    for name, entry in expected.items():
        assert (found[name]["entries"], found[name]["last_entry_ns"]) == entry


@pytest.mark.parametrize(("strategy", "step_s"), [("BTC_5M", 10), ("ETH_5M", 10), ("BTC_15M", 30)])
def test_the_heatmap_is_the_mean_edge_of_the_scans_that_chose_a_side(
    end: Look, run: Path, strategy: str, step_s: int
) -> None:
    expected = query(
        run,
        f"""SELECT least(left_ms // {step_s * 1000}, 29) x, price_e4 // 500 y, count(*) n,
        sum(net_edge_e4) total, max(ts_ns) last FROM scans WHERE strategy_name = '{strategy}'
        AND side < 2 AND price_e4 > 0 GROUP BY ALL""",
    ).to_pylist()
    edges, times = grid(end, f"heatmap/{strategy}"), grid(end, f"heatmap_at/{strategy}")
    assert edges.x == times.x == [step_s * x for x in range(30)]
    assert edges.y == times.y == [500 * y for y in range(20)]
    mean: list[list[Any]] = [[None] * 30 for _ in range(20)]
    last: list[list[Any]] = [[None] * 30 for _ in range(20)]
    for cell in expected:
        mean[cell["y"]][cell["x"]] = round(float(cell["total"]) / cell["n"], EDGE_DIGITS)
        last[cell["y"]][cell["x"]] = cell["last"]
    assert times.cells == last
    for ours, theirs in zip(chain(*edges.cells), chain(*mean), strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or ours == pytest.approx(theirs, abs=0.51 * 10**-EDGE_DIGITS)
    assert len(expected) > 50
    assert values(end, f"strategy/{strategy}")["heatmap_at_ns"] == max(e["last"] for e in expected)


def test_parameters_are_those_in_force_with_their_bounds(end: Look) -> None:
    for spec in roster():
        changed = CHANGED if spec.id in TRADED else {}
        for row, parameter in zip(
            table(end, f"parameters/{spec.id}"), spec.parameters, strict=True
        ):
            assert row == {
                "name": parameter.name,
                "unit": parameter.unit,
                "value": changed.get(parameter.name, parameter.default),
                "default": parameter.default,
                "low": parameter.low,
                "high": parameter.high,
            }


def test_the_curves_of_all_strategies_add_up_to_the_equity_of_the_engine(given: Inputs) -> None:
    """At the end of each of some hundred seconds, with positions open and without."""
    viewer = Viewer(given)
    times = given.between(0, given.total)["ts_ns"]
    ends = np.flatnonzero(np.diff(times // SECOND_NS)) + 1
    worst = dict.fromkeys(TRADED, 0)
    best = dict.fromkeys(TRADED, 0)
    marked = 0
    for number, cut in enumerate(ends.tolist()):
        viewer.until(cut)
        for place, name in ((0, "BTC_5M"), (1, "ETH_5M"), (3, "BTC_15M")):
            samples = viewer.told.of(Curves).net[place]
            net, drawdown = samples.last(0), samples.last(1)
            best[name] = max(best[name], net)
            worst[name] = max(worst[name], drawdown)
            assert drawdown == best[name] - net
        if number % 20:
            continue
        curves = {name: series(viewer.look, f"curve/{name}").points for name in TRADED}
        nets = sum(points[-1][1] for points in curves.values() if points)
        state = viewer.state.record
        assert nets + -int(state.accounts[6]) == int(ledger.equity_micro(state))
        rows = {row["id"]: row for row in table(viewer.look, "strategies")}
        for name, points in curves.items():
            row = rows[name]
            assert row["net_micro"] + row["unrealised_micro"] == (points[-1][1] if points else 0)
            assert row["worst_drawdown_micro"] == worst[name]
        marked += int(values(viewer.look, "overview")["unrealised_micro"] != 0)
    assert marked > 5 and all(worst.values())


def test_the_equity_curve_holds_the_engines_own_mark_of_every_second(given: Inputs) -> None:
    viewer = Viewer(given)
    times = given.between(0, given.total)["ts_ns"]
    marks = []
    ends = (np.flatnonzero(np.diff(times // SECOND_NS)) + 1).tolist()[:500]
    for cut in ends:
        state = viewer.until(cut).state.record
        equity, peak = int(state.equity_micro), int(state.peak_micro)
        marks.append([int(times[cut - 1]), equity, 1 - equity / peak])
    assert series(viewer.look, "equity").points == marks
    said = values(viewer.look, "overview")
    assert [said["equity_micro"], said["drawdown_share"]] == marks[-1][1:]


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


def test_a_run_that_has_not_begun_shows_nothing_and_no_error() -> None:
    look = Viewer(inputs(windows=1)).look
    assert values(look, "overview")["hold_share"] is None
    assert values(look, "strategy/BTC_5M")["slug"] is None
    assert series(look, "equity").points == series(look, "curve/BTC_5M").points == []
    assert all(cell is None for row in grid(look, "heatmap/ETH_15M").cells for cell in row)
    assert table(look, "holds") == []


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


def test_refused_orders_are_no_entries(end: Look, run: Path) -> None:
    refused = query(
        run, f"SELECT count(*) n FROM orders WHERE state = {int(OrderState.REFUSED)}"
    ).to_pylist()
    entries = sum(row["entries"] for row in table(end, "streaks"))
    assert refused[0]["n"] > 1000 > entries > 0
    assert not math.isnan(values(end, "overview")["drawdown_share"])
