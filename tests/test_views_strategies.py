"""The views of the run and its strategies: every figure is that of the journal, by other means."""

import math
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewed_run import (
    CHANGED,
    TRADED,
    Viewer,
    grid,
    inputs,
    journaled,
    series,
    table,
    values,
    viewed,
)

from fairwind.core.holds import CATEGORY, Hold
from fairwind.core.outputs import OrderState
from fairwind.core.units import SECOND_NS
from fairwind.engine import ledger
from fairwind.engine.run import roster
from fairwind.journal.tables import query
from fairwind.research.document import Report, build
from fairwind.research.journaled import result_of_run
from fairwind.research.replay import Inputs
from fairwind.views.curves import Curves
from fairwind.views.scans import EDGE_DIGITS, UNTRUE
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
        AND side < 2 AND price_e4 > 0 AND mask & {int(UNTRUE)} = 0 GROUP BY ALL""",
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


def test_a_run_that_has_not_begun_shows_nothing_and_no_error() -> None:
    look = Viewer(inputs(windows=1)).look
    assert values(look, "overview")["hold_share"] is None
    assert values(look, "strategy/BTC_5M")["slug"] is None
    assert series(look, "equity").points == series(look, "curve/BTC_5M").points == []
    assert all(cell is None for row in grid(look, "heatmap/ETH_15M").cells for cell in row)
    assert table(look, "holds") == []


def test_refused_orders_are_no_entries(end: Look, run: Path) -> None:
    refused = query(
        run, f"SELECT count(*) n FROM orders WHERE state = {int(OrderState.REFUSED)}"
    ).to_pylist()
    entries = sum(row["entries"] for row in table(end, "streaks"))
    assert refused[0]["n"] > 1000 > entries > 0
    assert not math.isnan(values(end, "overview")["drawdown_share"])
