"""Provenance and history: a won, a lost, a blocked and an expired trade, walked end to end."""

from itertools import pairwise
from typing import Any

import pytest
from engine_events import at, book, listed, reference, resolved, spot, timer
from views_runs import PUPPET, Puppet, Watched, generated

from fairwind.core.errors import BadInput
from fairwind.core.holds import Hold
from fairwind.core.outputs import OrderState, OrderType
from fairwind.views import history, topics
from fairwind.views.history import Filter
from fairwind.views.ledger import FIELDS
from fairwind.views.shapes import Rows

Step = dict[str, Any]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: Any) -> Watched:
    """Four trades of a puppet, in the order of the tests' names for them."""
    puppet = Puppet(tmp_path_factory.mktemp("puppet") / "run", latency_ms=75.0, taker_delay=True)
    series = (0, 1, 3)
    puppet.feed(
        *(listed(at(-30), n, series[n]) for n in range(3)),
        *(spot(at(-1), 100_000), reference(at(0), 100_000)),
        *(book(at(1), {4_900: 1_000}, {5_100: 1_000}, n) for n in range(3)),
    )
    puppet.trade(2, 0)
    puppet.trade(3, 1, side=1)
    puppet.set(at(4), PUPPET, spread_max=100.0, price_high=4_000.0)
    puppet.trade(5, 2)
    puppet.set(at(6), PUPPET, spread_max=10_000.0, price_high=10_000.0)
    puppet.trade(7, 2, type=OrderType.GTC, limit=0.3)
    puppet.feed(timer(at(14_401)))
    for market in range(3):
        puppet.feed(resolved(at(14_402), 10_000, market))
    puppet.watched.session.close(with_tables=False)
    return puppet.watched


@pytest.fixture(scope="module")
def seen(tmp_path_factory: Any) -> Watched:
    return generated(tmp_path_factory.mktemp("run") / "run", 500)


def order(market: int, number: int) -> int:
    """Of the first strategy."""
    return market << 16 | number


def steps(found: Rows) -> list[Step]:
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def told(watched: Watched, number: int) -> Rows:
    found = topics.snapshot(watched.look, f"provenance/{number}")
    assert isinstance(found, Rows)
    return found


def figures(step: Step) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in step["inputs"].split(" "))
    return {name: value for name, _, value in pairs}


def posted(found: list[Step]) -> dict[str, int]:
    """The accounts, as the posting steps moved them."""
    moved = [figures(step) for step in found if step["part"] == "posting"]
    return {field: sum(int(one.get(field, 0)) for one in moved) for field in FIELDS}


def in_journal(watched: Watched, market: int, outcome: str, number: int) -> dict[str, Any]:
    """The postings of an order and of its position's end."""
    sums = ", ".join(f"sum({field})::BIGINT AS {field}" for field in FIELDS)
    (found,) = watched.ask(
        f"SELECT {sums} FROM postings WHERE market = ? AND outcome_name = ? "
        "AND order_id IN (0, ?) AND strategy_name IS NOT NULL",
        *(market, outcome, number),
    )
    return found


DECIDED = ["feed"] * 3 + ["features", "scan", "gates", "size"]


@pytest.mark.parametrize(
    ("market", "outcome", "result"), [(0, "UP", "win"), (1, "DOWN", "loss")], ids=("won", "lost")
)
def test_a_settled_trade_is_walked_from_its_inputs_to_its_profit(
    walked: Watched, market: int, outcome: str, result: str
) -> None:
    number = order(market, 1)
    found = steps(told(walked, number))
    parts = [step["part"] for step in found]
    assert parts[: len(DECIDED)] == DECIDED
    words = [step["text"] for step in found if step["part"] in ("order", "fill", "posting")]
    settled = ["settle", "redeem"] if result == "win" else ["settle"]
    assert words == [
        *("decided", "sent", "reserve", "delayed", "filled as taker", "filled"),
        *("fill", "fee", "release", *settled),
    ]
    assert posted(found) == in_journal(walked, market, outcome, number)
    end = figures(found[-1])
    assert found[-1]["part"] == "result" and found[-1]["code"] == result
    booked = posted(found)
    assert int(end["net_micro"]) == -booked["realised_micro"] - booked["fees_micro"]
    assert int(end["net_micro"]) == booked["cash_micro"]
    (window,) = [step for step in found if step["part"] == "window"]
    assert window["text"] == "Up won, says POLYMARKET"
    assert figures(window)["payout_e4"] == "10000"


def test_the_times_of_the_steps_are_those_of_the_market_and_never_go_back(walked: Watched) -> None:
    found = steps(told(walked, order(0, 1)))
    times = [step["at_ns"] for step in found]
    assert times == sorted(times)
    assert [step["latency_ns"] for step in found[1:]] == [
        after - before for before, after in pairwise(times)
    ]
    by_text = {step["text"]: step for step in found}
    assert by_text["delayed"]["at_ns"] == at(2.075)
    assert by_text["filled"]["at_ns"] == at(2.225)
    assert by_text["delayed"]["latency_ns"] == 75_000_000
    book_step = by_text["book received"]
    assert (book_step["at_ns"], figures(book_step)["age_ns"]) == (at(1), str(at(2) - at(1)))


def test_a_blocked_trade_shows_every_gate_that_stood_against_it_and_moved_no_money(
    walked: Watched,
) -> None:
    number = order(2, 1)
    found = steps(told(walked, number))
    (gate,) = [step for step in found if step["part"] == "gates"]
    (row,) = walked.ask("SELECT mask, code_name FROM decisions WHERE order_id = ?", number)
    codes = figures(gate)["codes"].split(",")
    assert gate["code"] == codes[0] == row["code_name"] == "PRICE_BAND"
    assert sum(1 << Hold[code] for code in codes) == int(figures(gate)["mask"]) == row["mask"]
    assert "SPREAD" in codes
    assert [step["text"] for step in found if step["part"] == "order"] == ["refused"]
    assert not [step for step in found if step["part"] in ("fill", "posting")]
    assert figures(found[-1]) == {"net_micro": "0"} and found[-1]["code"] == "PRICE_BAND"


def test_an_expired_trade_gives_back_what_it_reserved(walked: Watched) -> None:
    number = order(2, 2)
    found = steps(told(walked, number))
    states = [step["text"] for step in found if step["part"] == "order"]
    assert states == ["decided", "sent", "resting", "expired"]
    (expired,) = [step for step in found if step["text"] == "expired"]
    assert (expired["at_ns"], expired["code"]) == (at(14_401), "EXPIRY_CUTOFF")
    assert [step["text"] for step in found if step["part"] == "posting"] == ["reserve", "release"]
    assert set(posted(found).values()) == {0}
    assert (found[-1]["code"], figures(found[-1])) == ("expired", {"net_micro": "0"})


def test_memory_and_journal_tell_the_same_story_of_every_order(
    walked: Watched, seen: Watched
) -> None:
    for watched in (walked, seen):
        filled = [one["order_id"] for one in watched.ask("SELECT DISTINCT order_id FROM fills")]
        refused = [one["order"] for one in watched.view("refusals")[-3:]]
        unfilled = [one["order"] for one in watched.view("orders") if not one["filled_micro"]]
        for number in {*filled[:4], *refused, *unfilled[:2]}:
            assert told(watched, number) == history.story(watched.run, number)


def test_the_scan_of_a_decision_is_the_one_that_passed_the_same_gates(seen: Watched) -> None:
    decisions = seen.ask(
        "SELECT order_id, mask, net_edge_e4, ts_ns FROM decisions WHERE state_name = 'DECIDED'"
    )
    assert decisions
    for one in decisions:
        (scan,) = [step for step in steps(told(seen, one["order_id"])) if step["part"] == "scan"]
        edge_e4 = int(figures(scan)["net_edge_e4"])
        assert abs(edge_e4 - one["net_edge_e4"]) <= 1  # floor and truncation of one figure


def test_an_order_that_is_in_no_journal_is_refused(walked: Watched) -> None:
    with pytest.raises(BadInput, match="no order 12345"):
        history.story(walked.run, 12_345)


def test_pages_are_sorted_filtered_and_complete(seen: Watched) -> None:
    only = [Filter("state_name", "=", "REFUSED"), Filter("net_edge_e4", ">=", "100")]
    wanted = seen.ask(
        "SELECT order_id, net_edge_e4 FROM orders WHERE state = ? AND net_edge_e4 >= 100 "
        "ORDER BY net_edge_e4 DESC",
        int(OrderState.REFUSED),
    )
    pages = [
        history.page(
            *(seen.run, "orders"),
            sort="net_edge_e4",
            descending=True,
            filters=only,
            page=number,
            size=50,
        )
        for number in range(1, len(wanted) // 50 + 3)
    ]
    found = [step for one in pages for step in steps(one)]
    assert [one["net_edge_e4"] for one in found] == [one["net_edge_e4"] for one in wanted]
    assert {one["order_id"] for one in found} == {one["order_id"] for one in wanted}
    assert [one["row"] for one in found] == list(range(len(wanted)))
    assert {one.total for one in pages} == {len(wanted)} and len(wanted) > 100
    assert pages[-1].rows == []


def test_a_series_keeps_its_ends_and_its_extremes(seen: Watched) -> None:
    whole = seen.ask("SELECT ts_ns, equity FROM (SELECT ts_ns, net_edge_e4 AS equity FROM scans)")
    found = history.series(seen.run, "scans", ["net_edge_e4", "probability"], points=50)
    assert found.lines == ("net_edge_e4", "probability")
    assert 10 < len(found.points) <= 50
    values = [one["equity"] for one in whole]
    assert {min(values), max(values)} <= {point[1] for point in found.points}
    times = [point[0] for point in found.points]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (min(w["ts_ns"] for w in whole), max(w["ts_ns"] for w in whole))
    few = [Filter("order_id", "=", str(seen.view("orders")[0]["order"]))]
    life = history.series(seen.run, "orders", ["filled_micro"], filters=few)
    assert len(life.points) == len(seen.view("orders")[0]["changes"].split(">"))


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("order", {}, "name is 'orders'"),
    ("orders", {"sort": "net_edge"}, "name is 'net_edge_e4'"),
    ("orders", {"sort": 'ts_ns"; DROP'}, "no column"),
    ("orders", {"filters": [Filter("stat_name", "=", "x")]}, "name is 'state_name'"),
    ("orders", {"filters": [Filter("ts_ns", "<", "1")]}, "expected = >= <="),
    ("orders", {"filters": [Filter("ts_ns", "=", "1 OR 1=1")]}, "expected a number"),
    ("orders", {"filters": [Filter("ts_ns", "=", "1e99")]}, "within 64 bits"),
    ("orders", {"size": 501}, "1 to 500 rows"),
    ("orders", {"page": 0}, "a page from 1"),
]


@pytest.mark.parametrize(("table", "wanted", "why"), BAD)
def test_what_no_table_holds_is_refused_with_the_nearest_name(
    walked: Watched, table: str, wanted: dict[str, Any], why: str
) -> None:
    with pytest.raises(BadInput, match=why):
        history.page(walked.run, table, **wanted)


def test_text_of_a_caller_is_a_value_and_never_sql(walked: Watched) -> None:
    wicked = Filter("state_name", "=", "x' OR '1'='1")
    assert history.page(walked.run, "orders", filters=[wicked]).total == 0
