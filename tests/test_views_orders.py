"""Windows, orders, refusals and fills as the pages show them: each figure is the journal's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_events import at, gap, timer
from views_runs import PUPPET, Puppet, Watched, generated

from fairwind.core.errors import BadInput
from fairwind.core.holds import CATEGORY, NO_HOLD, Hold
from fairwind.core.outputs import TABLES, OrderState
from fairwind.core.units import reference_value
from fairwind.views import topics
from fairwind.views.told import Look

ENABLED = ("", "/BTC_5M", "/ETH_5M")
OPEN_S = 800.0
"""In the second window, when positions are held."""


@pytest.fixture(scope="module", params=[OPEN_S, 1e6])
def seen(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Watched:
    return generated(tmp_path_factory.mktemp("run") / "run", request.param)


def of_strategy(argument: str) -> str:
    """A condition of SQL."""
    return f"strategy_name = '{argument[1:]}'" if argument else "true"


def totals(watched: Watched, topic: str) -> int:
    found = topics.snapshot(watched.look, topic)
    return int(getattr(found, "total", -1))


@pytest.mark.parametrize("argument", ENABLED)
def test_orders_have_the_life_that_the_journal_tells(seen: Watched, argument: str) -> None:
    lives = seen.ask(
        "SELECT order_id, min(ts_ns) AS ts_ns, max(ts_ns) AS changed_ns, "
        "max(size_micro) AS size_micro, max(filled_micro) AS filled_micro, "
        "string_agg(state_name, '>' ORDER BY ts_ns, state) AS changes "
        "FROM orders "
        f"WHERE {of_strategy(argument)} GROUP BY order_id HAVING min(state) = 0 ORDER BY 2"
    )
    found = seen.view(f"orders{argument}")
    assert len(lives) == totals(seen, f"orders{argument}") > 0
    for order, life in zip(found, lives, strict=True):
        assert order["order"] == life.pop("order_id")
        assert order["state"] == life["changes"].rpartition(">")[2]
        assert {name: order[name] for name in life} == life


@pytest.mark.parametrize("argument", ENABLED)
def test_refusals_are_the_newest_of_the_journal_with_all_their_codes(
    seen: Watched, argument: str
) -> None:
    where = f"WHERE state_name = 'REFUSED' AND {of_strategy(argument)}"
    journaled = seen.ask(f"SELECT * FROM decisions {where} ORDER BY ts_ns")
    found = seen.view(f"refusals{argument}")
    assert totals(seen, f"refusals{argument}") == len(journaled) > len(found) == 200
    assert [one["ts_ns"] for one in found] == [one["ts_ns"] for one in journaled[-200:]]
    by_number = {one["order_id"]: one for one in journaled}
    for refusal in found:
        row = by_number[refusal["order"]]
        assert sum(1 << Hold[code] for code in refusal["codes"].split()) == row["mask"]
        assert refusal["code"] == row["code_name"] == refusal["codes"].split()[0]
        assert refusal["category"] == CATEGORY[Hold[refusal["code"]]].value
        assert refusal["ts_ns"] == row["ts_ns"]
        for name in ("book", "spot", "reference"):
            assert refusal[f"{name}_age_ns"] == row["ts_ns"] - row[f"{name}_ts_ns"]


@pytest.mark.parametrize("argument", ENABLED)
def test_fills_are_those_of_the_journal_with_the_time_since_the_decision(
    seen: Watched, argument: str
) -> None:
    journaled = seen.ask(
        "SELECT f.ts_ns, f.order_id AS order, f.strategy_name AS strategy, slug, "
        "f.action_name AS action, f.outcome_name AS outcome, f.size_micro, f.price_e4, "
        "f.fee_micro, f.maker = 1 AS maker, f.ts_ns - d.ts_ns AS latency_ns "
        "FROM fills f JOIN decisions d ON f.order_id = d.order_id AND d.state_name = 'DECIDED' "
        "JOIN windows w ON w.market = f.market AND w.state_name = 'LISTED' "
        f"WHERE {of_strategy(argument).replace('strat', 'f.strat')} "
        "ORDER BY f.ts_ns, f.order_id, f.size_micro".replace(" AS order,", ' AS "order",')
    )
    found = seen.view(f"fills{argument}")
    in_order = sorted(found, key=lambda one: (one["ts_ns"], one["order"], one["size_micro"]))
    assert [{name: one[name] for name in one if name != "fill"} for one in in_order] == journaled
    assert len({one["fill"] for one in found}) == len(found) == totals(seen, f"fills{argument}") > 0


def test_windows_have_the_state_that_was_reported_last_and_all_digits(seen: Watched) -> None:
    journaled = seen.ask(
        "SELECT slug, arg_max(state_name, n) AS state, arg_max(payout_e4, n) AS payout_e4, "
        "arg_max(strike_e8, n) AS e8, arg_max(strike_remainder_e18, n) AS e18, "
        "arg_max(by_name, n) AS settled_by, bool_or(anomaly = 1) AS anomaly "
        "FROM (SELECT *, row_number() OVER (ORDER BY ts_ns, state) AS n FROM windows) "
        "GROUP BY slug"
    )
    found = {one["slug"]: one for one in seen.view("windows")}
    assert len(found) == len(journaled) == totals(seen, "windows")
    for one in journaled:
        window = found[one["slug"]]
        pending = one["payout_e4"] < 0
        assert window["state"] == one["state"]
        assert window["payout_e4"] == (None if pending else one["payout_e4"])
        assert window["settled_by"] == (None if pending else one["settled_by"])
        assert window["anomaly"] == one["anomaly"]
        known = one["e8"] >= 0
        assert window["strike"] == (
            f"{reference_value(one['e8'], one['e18']):f}" if known else None
        )
        assert (window["book_age_ns"] is None) >= (not pending)


def test_an_open_window_shows_its_book_and_how_old_it_is(tmp_path: Path) -> None:
    puppet = Puppet(tmp_path / "run")
    puppet.open()
    puppet.set(at(1), PUPPET, book_budget=2.0)
    puppet.feed(timer(at(2)))
    (window,) = puppet.watched.view("windows")
    assert (window["bid_e4"], window["ask_e4"]) == (4_900, 5_100)
    assert (window["book_valid"], window["book_fresh"]) == (True, True)
    assert window["book_age_ns"] == at(2) - at(1)
    puppet.feed(timer(at(4)))
    (window,) = puppet.watched.view("windows")
    assert (window["book_valid"], window["book_fresh"]) == (True, False)
    puppet.feed(gap(at(5)))
    (window,) = puppet.watched.view("windows")
    assert (window["book_valid"], window["book_fresh"]) == (False, False)
    puppet.watched.session.close(with_tables=False)


def test_an_order_refused_at_the_submit_check_is_among_orders_and_refusals(seen: Watched) -> None:
    told = topics.told()
    said = {name: np.zeros(0, dtype) for name, dtype in TABLES.items()}
    said["orders"] = np.zeros(2, TABLES["orders"])
    said["orders"]["order"] = 77
    said["orders"]["state"] = [OrderState.DECIDED, OrderState.REFUSED]
    said["orders"]["code"] = [NO_HOLD, Hold.CASH]
    told.take(said, seen.session.state)
    look = Look(seen.session.state, told, 0)
    (order,) = topics.snapshot(look, "orders").rows
    (refusal,) = topics.snapshot(look, "refusals").rows
    assert order[0] == refusal[0] == 77
    assert order[-1] == "DECIDED>REFUSED"
    assert refusal[6:9] == ["CASH", "capital", "CASH"]


@pytest.mark.parametrize("topic", ["orders/BTC_6M", "windows/x", "order", "provenance/0"])
def test_a_topic_that_does_not_exist_is_refused(seen: Watched, topic: str) -> None:
    with pytest.raises(BadInput, match="no "):
        topics.snapshot(seen.look, topic)
