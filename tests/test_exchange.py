"""The simulated exchange: when, at what price and how much of an order the venue would fill."""

from datetime import UTC, datetime

import pytest
from engine_events import (
    SHARE,
    Session,
    at,
    book,
    event,
    gap,
    later,
    level,
    listed,
    opened,
    puppet_spec,
    reference,
    spot,
    timer,
)

from fairwind.core.events import Flag, Kind, Side
from fairwind.core.holds import NO_HOLD, Hold
from fairwind.core.outputs import OrderState, OrderType
from fairwind.core.rules import fee_micro
from fairwind.core.units import MILLISECOND_NS, SECOND_NS
from fairwind.engine.contract import Wish

DOWN = 1
BID = Side.BID
ASK = Side.ASK
FILLED = int(OrderState.FILLED)
KILLED = int(OrderState.KILLED)
RESTING = int(OrderState.RESTING)
EXPIRED = int(OrderState.EXPIRED)
REFUSED = int(OrderState.REFUSED)
FAK = int(OrderType.FAK)
FOK = int(OrderType.FOK)
GTC = int(OrderType.GTC)
POST_ONLY = int(OrderType.POST_ONLY)


def test_an_order_meets_the_book_of_the_moment_it_arrives_never_an_earlier_one() -> None:
    session = opened(latency_ms=75.0)
    session.buy(at(2), 10, 0.55)
    session.feed(level(at(2.074), ASK, 5_100, 0), level(at(2.074), ASK, 5_300, 100))
    session.feed(level(at(2.076), ASK, 5_300, 0), level(at(2.076), ASK, 5_200, 100))
    assert session.fills() == [(at(2.075), 5_300, 10.0)]


def test_nothing_is_filled_before_the_latency_has_passed() -> None:
    session = opened(latency_ms=75.0)
    session.buy(at(2), 10, 0.55)
    later(session, 2.0749)
    assert session.fills() == []
    later(session, 2.075)
    assert session.fills() == [(at(2.075), 5_100, 10.0)]


@pytest.mark.parametrize(
    ("day", "series", "configured", "delay_ms"),
    [
        ("2026-10-05", 0, True, 150),
        ("2026-08-20", 0, True, 50),
        ("2026-07-10", 0, True, 250),
        ("2026-02-20", 0, True, 0),
        ("2025-12-01", 1, True, 500),
        ("2025-12-01", 0, True, 0),
        ("2026-10-05", 0, False, 0),
    ],
)
def test_a_marketable_order_waits_for_the_taker_delay_of_its_day(
    day: str, series: int, configured: bool, delay_ms: int
) -> None:
    start = int(datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC).timestamp()) * SECOND_NS
    now = start + 2 * SECOND_NS
    session = Session(taker_delay=configured, begin_ns=start - 60 * SECOND_NS)
    averaging = 60 if day >= "2026-08-14" else 0
    session.feed(listed(start - 30 * SECOND_NS, series=series, start_ns=start))
    session.feed(spot(start - SECOND_NS, 100_000))
    session.feed(reference(start, 100_000, averaging_s=averaging))
    session.feed(book(now, {4_900: 100}, {5_100: 100}))
    session.buy(now, 10, 0.55)
    session.feed(timer(now + SECOND_NS))
    assert session.fills() == [(now + delay_ms * MILLISECOND_NS, 5_100, 10.0)]
    states = [int(row["state"]) for row in session.rows("orders")]
    assert (int(OrderState.DELAYED) in states) == (delay_ms > 0)


def test_a_taker_pays_each_level_its_own_price_and_fee() -> None:
    session = Session()
    session.open({4_900: 100}, {5_100: 10, 5_200: 20, 5_400: 100})
    session.buy(at(2), 50, 0.54)
    later(session, 2)
    assert [fill[1:] for fill in session.fills()] == [(5_100, 10), (5_200, 20), (5_400, 20)]
    for row in session.rows("fills"):
        size, price = int(row["size_micro"]), int(row["price_e4"])
        assert row["fee_micro"] == fee_micro(size, price, 70_000, 1)
        assert row["best_e4"] == 5_100
    assert session.record.positions[0, 0].up_cost_micro == 26_300_000
    assert session.ends() == [(FILLED, NO_HOLD)]


def test_buying_down_takes_the_up_bids_at_one_minus_their_price() -> None:
    session = Session()
    session.open({4_900: 10, 4_800: 20}, {5_100: 100})
    session.buy(at(2), 15, 0.52, side=DOWN)
    later(session, 2)
    assert [fill[1:] for fill in session.fills()] == [(5_100, 10), (5_200, 5)]
    assert session.record.positions[0, 0].down_micro == 15 * SHARE


def test_shares_that_we_took_are_gone_until_their_level_shows_more() -> None:
    session = Session()
    session.open({4_900: 100}, {5_100: 10, 5_200: 10})
    session.buy(at(2), 10, 0.52)
    session.buy(at(3), 10, 0.52)
    session.buy(at(4), 10, 0.52)
    later(session, 4)
    assert [fill[1:] for fill in session.fills()] == [(5_100, 10), (5_200, 10)]
    assert session.ends()[2] == (REFUSED, Hold.DEPTH)
    session.feed(level(at(5), ASK, 5_100, 14))
    session.buy(at(5), 10, 0.52)
    session.feed(level(at(6), ASK, 5_100, 0), level(at(6), ASK, 5_100, 3))
    session.buy(at(6), 10, 0.52)
    later(session, 6)
    assert [fill[1:] for fill in session.fills()[2:]] == [(5_100, 4), (5_100, 3)]


def test_without_own_consumption_the_same_shares_are_taken_twice() -> None:
    session = Session(own_consumption=False)
    session.open({4_900: 100}, {5_100: 10})
    session.buy(at(2), 10, 0.52)
    session.buy(at(3), 10, 0.52)
    later(session, 3)
    assert [fill[1:] for fill in session.fills()] == [(5_100, 10), (5_100, 10)]


def test_a_fill_and_kill_order_takes_what_is_there_and_the_rest_is_killed() -> None:
    session = Session()
    session.open({4_900: 100}, {5_100: 10, 5_300: 50})
    session.buy(at(2), 30, 0.52)
    later(session, 2)
    assert [fill[1:] for fill in session.fills()] == [(5_100, 10)]
    assert session.ends() == [(KILLED, Hold.DEPTH)]
    assert session.record.accounts[1] == 0


def test_a_fill_or_kill_order_is_filled_whole_or_not_at_all() -> None:
    session = Session()
    session.open({4_900: 100}, {5_100: 10, 5_200: 50})
    session.buy(at(2), 30, 0.51, type=FOK)
    session.buy(at(3), 30, 0.52, type=FOK)
    later(session, 3)
    assert [fill[1:] for fill in session.fills()] == [(5_100, 10), (5_200, 20)]
    assert session.ends() == [(KILLED, Hold.DEPTH), (FILLED, NO_HOLD)]


def test_an_order_that_arrives_after_the_end_expires() -> None:
    session = opened(latency_ms=75.0)
    session.feed(level(at(299.94), BID, 4_800, 1))
    session.buy(at(299.95), 10, 0.55)
    later(session, 300.5)
    assert session.fills() == []
    assert session.ends() == [(EXPIRED, Hold.EXPIRY_CUTOFF)]


@pytest.mark.parametrize(
    ("shares", "limit", "kind", "enough"),
    [
        (4.99, 0.49, POST_ONLY, False),
        (5.0, 0.49, POST_ONLY, True),
        (1.96, 0.51, FAK, False),
        (1.97, 0.51, FAK, True),
    ],
)
def test_orders_below_the_venues_minimum_are_held(
    shares: float, limit: float, kind: int, enough: bool
) -> None:
    session = opened()
    session.buy(at(2), shares, limit, type=kind)
    later(session, 2)
    state, code = session.ends()[0]
    assert (state != REFUSED) == enough
    assert enough or code == Hold.MIN_SIZE


def test_an_order_that_arrives_at_a_book_older_than_its_budget_is_killed() -> None:
    session = opened(latency_ms=75.0)
    session.set(at(1), book_budget=1.0)
    session.buy(at(1.95), 10, 0.55)
    later(session, 3)
    assert session.ends() == [(KILLED, Hold.BOOK_STALE)]


@pytest.mark.parametrize(
    "broken",
    [gap(at(2.01)), gap(at(2.01), 65_535), book(at(2.01), {5_200: 1}, {5_100: 1})],
    ids=["gap", "gap everywhere", "crossed"],
)
def test_an_order_that_arrives_at_an_unusable_book_is_killed(broken: object) -> None:
    session = opened(latency_ms=75.0)
    session.buy(at(2), 10, 0.55)
    session.feed(broken)  # type: ignore[arg-type]
    later(session, 3)
    assert session.fills() == []
    assert session.ends() == [(KILLED, Hold.BOOK_INVALID)]


def test_a_snapshot_half_received_fills_nobody() -> None:
    session = opened(latency_ms=75.0)
    session.buy(at(2), 10, 0.55)
    snapshot = book(at(2.05), {4_900: 1}, {5_000: 1})
    snapshot["ts_ns"][-1] = at(2.08)
    session.feed(snapshot)
    assert session.fills() == []
    assert session.ends() == [(KILLED, Hold.BOOK_INVALID)]


def test_selling_closes_the_position_and_realises_the_difference() -> None:
    session = Session()
    session.open({4_900: 100}, {5_100: 100})
    session.buy(at(2), 10, 0.51)
    session.feed(book(at(3), {5_500: 4, 5_400: 100}, {5_600: 100}))
    session.sell(at(3), 0.54)
    later(session, 3)
    assert [fill[1:] for fill in session.fills()] == [(5_100, 10), (5_500, -4), (5_400, -6)]
    position = session.record.positions[0, 0]
    assert (position.up_micro, position.up_cost_micro, position.selling_micro) == (0, 0, 0)
    assert session.record.accounts[5] == -(4 * 550_000 + 6 * 540_000 - 5_100_000)


def test_more_than_is_held_is_never_sold() -> None:
    session = opened(latency_ms=75.0)
    session.buy(at(2), 10, 0.51)
    later(session, 3)
    session.sell(at(3), 0.49)
    session.sell(at(3), 0.49)
    later(session, 4)
    assert [fill[2] for fill in session.fills()] == [10.0, -10.0]


def test_selling_part_of_a_large_position_takes_its_share_of_the_cost_exactly() -> None:
    session = Session(deposit=5e6)
    session.open({4_900: 100_000}, {5_100: 1e6})
    session.buy(at(2), 500_000, 0.51)
    session.sell(at(3), 0.49)
    later(session, 3)
    position = session.record.positions[0, 0]
    assert session.fills()[1][2] == -100_000
    assert (position.up_micro, position.up_cost_micro) == (400_000 * SHARE, 204_000_000_000)


@pytest.mark.parametrize("action", ["buy", "sell"])
def test_a_limit_outside_the_tick_range_is_never_made_worse(action: str) -> None:
    session = Session()
    session.open({100: 500}, {200: 500})
    session.buy(at(2), 200, 0.02)
    if action == "buy":
        session.buy(at(3), 200, 0.004, type=GTC)
    else:
        session.sell(at(3), 0.995, type=GTC)
    later(session, 3)
    limits = [int(row["limit_e4"]) for row in session.rows("orders") if row["state"] == RESTING]
    assert limits == []


@pytest.mark.parametrize("wish", [Wish.BUY, Wish.SELL])
def test_a_wish_without_a_side_is_no_order(wish: Wish) -> None:
    session = opened()
    session.buy(at(2), 10, 0.60, side=DOWN)
    later(session, 2)
    session.ask(at(3), wish, side=2)
    later(session, 3)
    assert [row for row in session.ends() if row[0] not in (FILLED, REFUSED)] == []
    assert len(session.fills()) == 1
    assert session.record.invalid_scans > 0


def test_orders_that_are_due_together_arrive_in_the_order_they_were_sent() -> None:
    session = Session(puppet_spec("A"), puppet_spec("B"), latency_ms=75.0)
    session.open({4_900: 100}, {5_100: 12})
    session.buy(at(2), 10, 0.49, type=POST_ONLY, strategy="A")
    session.buy(at(2.05), 10, 0.48, type=POST_ONLY, strategy="B")
    session.ask(at(3), Wish.CANCEL, "A")
    later(session, 3.1)
    session.prepare(at(4), Wish.BUY, "A", shares=10.0, limit=0.51, side=0, type=FAK)
    session.prepare(at(4), Wish.BUY, "B", shares=10.0, limit=0.51, side=0, type=FAK)
    session.feed(spot(at(4), 100_000), timer(at(5)))
    rows = session.rows("fills")
    assert [(int(row["strategy"]), int(row["size_micro"])) for row in rows] == [
        (0, 10 * SHARE),
        (1, 2 * SHARE),
    ]


def test_the_fee_schedule_of_the_market_replaces_the_dated_rule() -> None:
    session = opened()
    session.feed(event(at(1.5), Kind.FEES, price=20_000, size=1))
    session.buy(at(2), 10, 0.51)
    later(session, 2)
    assert session.rows("fills")[0]["fee_micro"] == fee_micro(10 * SHARE, 5_100, 20_000, 1)


@pytest.mark.parametrize(("rate", "form"), [(-70_000, 1), (10**15, 1), (70_000, 77)])
def test_a_market_whose_fee_cannot_be_computed_is_not_traded(rate: int, form: int) -> None:
    session = opened()
    session.feed(event(at(1.5), Kind.FEES, price=rate, size=form))
    session.buy(at(2), 10, 0.51)
    later(session, 2)
    assert session.ends() == [(REFUSED, Hold.ANOMALY_CAP)]


def test_a_fill_carries_the_mids_of_decision_and_match_in_terms_of_its_outcome() -> None:
    session = opened(latency_ms=75.0)
    session.buy(at(2), 10, 0.55, side=DOWN)
    session.feed(book(at(2.05), {4_800: 100}, {5_000: 100}))
    later(session, 3)
    row = session.rows("fills")[0]
    assert row["decision_mid_half_e4"] == 10_000
    assert (row["price_e4"], row["match_mid_half_e4"]) == (5_200, 20_000 - 9_800)


def test_an_assumed_size_is_a_level_like_any_other() -> None:
    session = opened()
    session.feed(level(at(2), ASK, 5_000, 3, flags=Flag.ASSUMED_SIZE))
    session.buy(at(2), 3, 0.50)
    later(session, 2)
    assert session.fills() == [(at(2), 5_000, 3.0)]
