"""Positions, money, risk and execution as pages show them: to the micro-dollar the journal's."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from engine_events import START_NS, at, book, listed, reference, resolved, spot, timer
from views_runs import PUPPET, Puppet, Watched, generated

from fairwind.core.costs import MICRO_UNITS, PARTS
from fairwind.core.holds import Hold
from fairwind.core.outputs import OrderType
from fairwind.core.units import SECOND_NS
from fairwind.engine.contract import Wish
from fairwind.engine.state import CASH, RESERVED
from fairwind.research import metrics
from fairwind.research.replay import tables_of
from fairwind.views import ledger, topics
from fairwind.views.execution import MARKOUT_S, percentile
from fairwind.views.shapes import Values

OPEN_S = 800.0
SUMS = (
    "SELECT strategy_name AS strategy, market, outcome_name AS outcome, "
    "sum(shares_micro) AS shares, sum(position_micro) AS cost, sum(fees_micro) AS fees, "
    "-sum(realised_micro) - sum(fees_micro) AS net, "
    "sum(position_micro) FILTER (fact_name = 'FILL' AND shares_micro > 0) AS paid, "
    "sum(receivable_micro) FILTER (fact_name = 'SETTLE') AS payout, "
    "sum(shares_micro) FILTER (fact_name = 'FILL' AND shares_micro > 0) AS bought "
    "FROM postings WHERE fact_name IN ('FILL', 'FEE', 'SETTLE') GROUP BY ALL"
)


@pytest.fixture(scope="module", params=[OPEN_S, 1e6])
def seen(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Watched:
    return generated(tmp_path_factory.mktemp("run") / "run", request.param)


def slugs(seen: Watched) -> dict[int, str]:
    return {one["market"]: one["slug"] for one in seen.ask("SELECT market, slug FROM windows")}


def test_open_positions_and_closed_trades_are_what_the_postings_add_up_to(seen: Watched) -> None:
    named = slugs(seen)
    journaled = {
        f"{one['strategy']}/{named[one['market']]}/{one['outcome']}": one for one in seen.ask(SUMS)
    }
    opened = {one["position"]: one for one in seen.view("positions")}
    closed = {one["position"]: one for one in seen.view("closed")}
    assert opened.keys() | closed.keys() == journaled.keys()
    assert closed and not opened.keys() & closed.keys()
    for name, one in opened.items():
        wanted = journaled[name]
        assert (one["shares_micro"], one["cost_micro"]) == (wanted["shares"], wanted["cost"])
        assert one["fees_micro"] == wanted["fees"]
        assert one["worth_micro"] == int(one["shares_micro"] * one["mark_e4"] // 10_000)
        assert one["net_micro"] == wanted["net"] + one["worth_micro"] - one["cost_micro"]
    for name, one in closed.items():
        wanted = journaled[name]
        assert (wanted["shares"], wanted["cost"]) == (0, 0)
        assert one["shares_micro"] == wanted["bought"]
        assert one["paid_micro"] == wanted["paid"]
        assert one["payout_micro"] == (wanted["payout"] or 0)
        assert (one["fees_micro"], one["net_micro"]) == (wanted["fees"], wanted["net"])
        assert one["result"] == ("win" if wanted["net"] >= 0 else "loss")


def test_some_trades_of_the_run_are_open_then_and_some_won_and_lost(seen: Watched) -> None:
    results = {one["result"] for one in seen.view("closed")}
    assert results == {"win", "loss"}
    assert len(seen.view("closed/BTC_5M")) + len(seen.view("closed/ETH_5M")) == len(
        seen.view("closed")
    )


def test_the_trial_balance_is_the_sum_of_all_postings_and_sums_to_zero(seen: Watched) -> None:
    *accounts, total = seen.view("ledger")
    for account, field in zip(accounts, ledger.FIELDS, strict=True):
        (wanted,) = seen.ask(
            f"SELECT sum({field}) AS balance, "
            f"coalesce(sum({field}) FILTER ({field} > 0), 0) AS debit, "
            f"coalesce(-sum({field}) FILTER ({field} < 0), 0) AS credit FROM postings"
        )
        assert account["balance_micro"] == wanted["balance"]
        assert (account["debit_micro"], account["credit_micro"]) == (
            wanted["debit"],
            wanted["credit"],
        )
    assert total["balance_micro"] == 0
    assert total["debit_micro"] == total["credit_micro"] > 0


def test_the_newest_postings_are_those_of_the_journal(seen: Watched) -> None:
    found = seen.view("postings")
    fields = ("ts_ns", *ledger.FIELDS, "shares_micro")
    journaled = seen.ask(f"SELECT {', '.join(fields)} FROM postings")
    shown = sorted(tuple(one[field] for field in fields) for one in found)
    wanted = sorted(tuple(one.values()) for one in journaled)
    assert shown == wanted[-len(shown) :]
    assert {one["sum_micro"] for one in found} == {0}
    assert [one["posting"] for one in found] == list(range(len(wanted)))[-len(found) :]


def test_every_invariant_holds_and_one_micro_dollar_off_is_seen(seen: Watched) -> None:
    assert [one["invariant"] for one in seen.view("reconciliation") if not one["ok"]] == []
    record = seen.session.state.record
    record.accounts[RESERVED] += 1
    wrong = {one["invariant"]: one for one in seen.view("reconciliation") if not one["ok"]}
    record.accounts[RESERVED] -= 1
    assert set(wrong) == {
        "the accounts sum to zero",
        "the postings of reserved add up to its balance",
        "reserved is the reserves of open orders",
        "deposits, profit and fees are what is owned, at cost",
    }
    assert {one["difference_micro"] for one in wrong.values()} == {1}


def test_use_of_each_cap_is_what_is_reserved_and_held_in_it(seen: Watched) -> None:
    used: dict[str, int] = defaultdict(int)
    for one in seen.ask(
        "SELECT strategy_name AS strategy, outcome_name AS outcome, "
        "sum(reserved_micro + position_micro) AS used FROM postings "
        "WHERE strategy_name IS NOT NULL GROUP BY ALL"
    ):
        asset = one["strategy"].partition("_")[0]
        for bucket in (
            f"CAP_STRATEGY {one['strategy']}",
            "CAP_FAMILY FAIR_VALUE",
            f"CAP_UNDERLYING {asset}",
            f"CAP_CORRELATED {one['strategy']} {one['outcome']}",
            "CAP_UTILIZATION everything",
        ):
            used[bucket] += one["used"]
    equity = int(seen.session.state.record["equity_micro"])
    found = {one["bucket"]: one for one in seen.view("risk")}
    assert used.keys() <= found.keys()
    for bucket, one in found.items():
        assert one["used_micro"] == used[bucket]
        assert one["remaining_micro"] == one["limit_micro"] - one["used_micro"]
    assert found["CAP_STRATEGY BTC_5M"]["limit_micro"] == int(0.35 * equity)


def test_a_cap_shows_the_order_that_it_refused_last(tmp_path: Path) -> None:
    """Two caps leave 10 dollars of 1 000, and no order is to be below 20."""
    puppet = Puppet(tmp_path / "run", cap_strategy=0.01, cap_utilization=0.01)
    puppet.open()
    puppet.set(at(1), PUPPET, order_min=20.0)
    puppet.trade(2, 0)
    puppet.trade(3, 0, side=1)
    found = puppet.watched.view("risk")
    puppet.watched.session.close(with_tables=False)
    newest = puppet.watched.ask("SELECT * FROM decisions ORDER BY ts_ns DESC")[0]
    refused = {one["bucket"]: (one["refused_ns"], one["refused_order"]) for one in found}
    both = (newest["ts_ns"], newest["order_id"])
    assert both[0] == at(3) and newest["mask"] >> Hold.CAP_STRATEGY & 1
    shown = {bucket: one for bucket, one in refused.items() if one != (None, None)}
    assert shown == {f"CAP_STRATEGY {PUPPET}": both, "CAP_UTILIZATION everything": both}


def test_execution_counts_and_costs_are_those_of_the_journal_and_of_the_report(
    seen: Watched,
) -> None:
    rows = tables_of(seen.run)
    index = metrics.window_index(rows["windows"])
    positions = metrics.positions(rows["fills"], rows["postings"], index)
    for number, one in enumerate(seen.view("execution")[:2]):
        orders = rows["orders"][rows["orders"]["strategy"] == number]
        names = ("decided", "sent", "filled", "killed", "expired", "refused")
        states = (0, 1, 5, 7, 8, 9)
        assert [one[name] for name in names] == [(orders["state"] == s).sum() for s in states]
        fills = rows["fills"][rows["fills"]["strategy"] == number]
        decided = {int(row["order"]): int(row["ts_ns"]) for row in orders[orders["state"] == 0]}
        latencies = sorted(int(row["ts_ns"]) - decided[int(row["order"])] for row in fills)
        assert one["latency_p50_ns"] == percentile(latencies, 0.5) == latencies[len(fills) // 2]
        assert (
            one["fill_share"]
            == fills["size_micro"].sum() / orders["size_micro"][orders["state"] == 1].sum()
        )
        costs = metrics.fill_costs(fills)
        for part in PARTS:
            assert one[f"{part}_cost_micro"] == round(costs[part].sum() / MICRO_UNITS)
        reported = positions["cost"][positions["strategy"] == number]
        for part in PARTS:  # the report's slippage also has what the ledger rounds off
            away = reported[part].sum() / MICRO_UNITS - one[f"{part}_cost_micro"]
            assert abs(away) <= (len(fills) + 1 if part == "slippage" else 0.5)
        notional = int((fills["size_micro"] * fills["price_e4"]).sum()) / 10_000
        assert one["cost_drag_bps"] == pytest.approx(one["cost_micro"] / notional * 1e4, rel=1e-6)
        assert one["missing_fields"] == 0


def test_a_markout_is_the_mid_some_seconds_later_against_the_price(tmp_path: Path) -> None:
    """Bought at 0.51; the mid at the end of the fifth second after is 0.55, later it is 0.70."""
    puppet = Puppet(tmp_path / "run")
    puppet.open()
    puppet.trade(2, 0)
    puppet.feed(book(at(2 + MARKOUT_S + 0.9), {5_400: 50}, {5_600: 50}))
    before = puppet.watched.view("execution")[0]
    puppet.feed(book(at(2 + MARKOUT_S + 1), {6_900: 50}, {7_100: 50}))
    found = puppet.watched.view("execution")[0]
    puppet.watched.session.close(with_tables=False)
    assert before["markout_e4"] is None
    assert (found["markout_e4"], found["markout_fills_share"]) == (400.0, 1.0)
    assert found["maker_share"] == 0.0


def test_every_ending_of_a_trade_has_its_name_and_the_profit_that_the_ledger_booked(
    tmp_path: Path,
) -> None:
    puppet = Puppet(tmp_path / "run")
    series = (0, 1, 0, 3)  # Bitcoin's 5 and 15 minutes, the next 5 minutes, 4 hours
    starts = (0, 0, 300, 0)
    puppet.feed(
        *(listed(at(-30), n, series[n], start_ns=at(starts[n])) for n in range(4)),
        *(spot(at(-1), 100_000), reference(at(0), 100_000)),
        *(book(at(1), {4_900: 1_000}, {5_100: 1_000}, n) for n in range(4)),
    )
    puppet.trade(2, 0)  # wins
    puppet.trade(3, 0, side=1)
    puppet.trade(4, 0, side=1, wish=Wish.SELL, limit=0.4)  # is sold at a loss
    puppet.trade(5, 1, side=1)  # loses
    puppet.trade(7, 3, type=OrderType.GTC, limit=0.3)  # expires
    puppet.trade(8, 3, side=1)  # wins until the venue changes its mind
    puppet.feed(reference(at(300), 100_000), book(at(305), {4_900: 9}, {5_100: 90}, 2))
    puppet.trade(306, 2)  # is paid half
    puppet.feed(timer(at(14_401)))
    for market, payout_e4 in enumerate((10_000, 10_000, 5_000, 0)):
        puppet.feed(resolved(at(14_402), payout_e4, market))
    before = {one["position"]: one["result"] for one in puppet.watched.view("closed")}
    puppet.feed(resolved(at(14_403), 10_000, 3))
    found = {one["position"]: one for one in puppet.watched.view("closed")}
    puppet.watched.session.close(with_tables=False)
    results = {name.split("-", 2)[2]: one["result"] for name, one in found.items()}
    first = START_NS // SECOND_NS
    assert results == {
        f"5m-{first}/UP": "win",
        f"5m-{first}/DOWN": "loss",
        f"15m-{first}/DOWN": "loss",
        f"5m-{first + 300}/UP": "void",
        f"4h-{first}/UP": "expired",
        f"4h-{first}/DOWN": "loss",
    }
    changed = [name for name in found if found[name]["result"] != before[name]]
    assert [name.split("-", 2)[2] for name in changed] == [f"4h-{first}/DOWN"]
    (booked,) = puppet.watched.ask(
        "SELECT -sum(realised_micro) - sum(fees_micro) AS net FROM postings"
    )
    assert sum(one["net_micro"] for one in found.values()) == booked["net"]
    assert all(one["ok"] for one in puppet.watched.view("reconciliation"))


def test_the_kill_switch_shows_the_stop_and_what_is_left(seen: Watched) -> None:
    found = topics.snapshot(seen.look, "kill")
    assert isinstance(found, Values)
    record = seen.session.state.record
    shown = found.values
    assert shown["equity_micro"] == record["equity_micro"]
    assert shown["cash_micro"] == record.accounts[CASH]
    assert shown["drawdown_share"] == 1 - record["equity_micro"] / record["peak_micro"]
    assert shown["day_start_ns"] == record["now_ns"] // (86_400 * SECOND_NS) * 86_400 * SECOND_NS


def test_a_percentile_is_a_value_that_occurred() -> None:
    assert percentile([], 0.5) is None
    assert [percentile(list(range(1, 101)), share) for share in (0.5, 0.95, 1.0)] == [50, 95, 100]
    assert percentile([7], 0.01) == 7
