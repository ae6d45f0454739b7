"""Resting orders: their place in the queue, what fills them, and how they end."""

import pytest
from engine_events import (
    SHARE,
    Session,
    at,
    book,
    event,
    later,
    level,
    opened,
    puppet_spec,
    timer,
    trade,
)

from fairwind.core.events import Kind, Side
from fairwind.core.holds import NO_HOLD, Hold
from fairwind.core.outputs import OrderState, OrderType
from fairwind.engine.contract import Wish

BID = Side.BID
ASK = Side.ASK
FILLED = int(OrderState.FILLED)
KILLED = int(OrderState.KILLED)
RESTING = int(OrderState.RESTING)
EXPIRED = int(OrderState.EXPIRED)
CANCELLED = int(OrderState.CANCELLED)
GTC = int(OrderType.GTC)
POST_ONLY = int(OrderType.POST_ONLY)


def test_a_limit_order_takes_what_crosses_and_rests_with_the_rest() -> None:
    session = Session()
    session.open({4_900: 100}, {5_100: 10, 5_300: 50})
    session.buy(at(2), 30, 0.52, type=GTC)
    later(session, 2)
    assert [fill[1:] for fill in session.fills()] == [(5_100, 10)]
    assert session.ends() == [(RESTING, NO_HOLD)]
    session.feed(trade(at(3), ASK, 5_200, 20))
    assert session.ends() == [(FILLED, NO_HOLD)]
    assert [int(row["maker"]) for row in session.rows("fills")] == [0, 1]
    assert session.rows("fills")[1]["fee_micro"] == 0


def test_a_post_only_order_that_would_cross_is_killed() -> None:
    session = opened()
    session.buy(at(2), 10, 0.51, type=POST_ONLY)
    later(session, 2)
    assert session.fills() == []
    assert session.ends() == [(KILLED, NO_HOLD)]


def resting(price: float = 0.49, **more: object) -> Session:
    """A post-only bid for 10 shares behind the 100 displayed at 0.49."""
    session = opened(**more)
    session.buy(at(2), 10, price, type=POST_ONLY)
    later(session, 2)
    assert session.ends() == [(RESTING, NO_HOLD)]
    return session


def test_a_resting_order_waits_until_trades_have_eaten_the_queue_before_it() -> None:
    session = resting()
    session.feed(trade(at(3), ASK, 4_900, 60))
    assert session.fills() == []
    session.feed(trade(at(4), ASK, 4_900, 44))
    assert session.fills() == [(at(4), 4_900, 4.0)]
    session.feed(trade(at(5), ASK, 4_900, 100))
    assert session.fills()[1] == (at(5), 4_900, 6.0)
    assert session.ends() == [(FILLED, NO_HOLD)]


def test_cancels_ahead_of_it_move_a_resting_order_up() -> None:
    session = resting()
    session.feed(level(at(3), BID, 4_900, 5), level(at(3.5), BID, 4_900, 500))
    session.feed(trade(at(4), ASK, 4_900, 8))
    assert session.fills() == [(at(4), 4_900, 3.0)]


def test_without_a_queue_the_first_trade_at_its_price_fills_it() -> None:
    session = resting(queue=False)
    session.feed(trade(at(3), ASK, 4_900, 4))
    assert session.fills() == [(at(3), 4_900, 4.0)]


def test_a_trade_through_its_price_fills_a_resting_order_at_its_own_price() -> None:
    session = resting()
    session.feed(trade(at(3), ASK, 4_800, 7))
    assert session.fills() == [(at(3), 4_900, 7.0)]


def test_a_trade_by_a_taker_on_our_own_side_does_not_fill_us() -> None:
    session = resting()
    session.feed(trade(at(3), BID, 4_800, 50), trade(at(3), BID, 5_100, 50))
    assert session.fills() == []


@pytest.mark.parametrize(("price_e4", "shares"), [(0, 5), (-100, 5), (10_000, 5), (4_800, -5)])
def test_a_print_that_cannot_be_is_no_fill(price_e4: int, shares: float) -> None:
    session = resting()
    session.feed(trade(at(3), ASK, price_e4, shares))
    assert session.fills() == []
    assert session.record.orders[0].ahead_micro == 100 * SHARE


def test_an_offer_that_comes_to_its_price_fills_a_resting_order() -> None:
    session = resting(0.50)
    session.feed(level(at(3), ASK, 5_000, 6))
    assert session.fills() == [(at(3), 5_000, 6.0)]
    assert session.ends() == [(int(OrderState.PARTIAL), NO_HOLD)]


def test_the_same_crossing_offer_does_not_fill_twice_when_it_shrinks() -> None:
    session = resting(0.50)
    session.feed(level(at(3), ASK, 5_000, 6), level(at(4), ASK, 5_000, 5))
    assert sum(shares for _, _, shares in session.fills()) == 6.0


def test_one_trade_is_not_given_to_two_strategies() -> None:
    session = Session(puppet_spec("A"), puppet_spec("B"))
    session.open({4_900: 0}, {5_100: 100})
    for name in ("A", "B"):
        session.buy(at(2), 10, 0.50, type=POST_ONLY, strategy=name)
    later(session, 2)
    session.feed(level(at(2.5), BID, 4_800, 10), trade(at(3), ASK, 5_000, 12))
    assert sum(shares for _, _, shares in session.fills()) == 12.0


def test_a_resting_order_ends_with_its_window_and_gives_its_reserve_back() -> None:
    session = resting()
    assert session.record.accounts[1] == 4_900_000
    session.feed(level(at(299.9), BID, 4_800, 1), timer(at(299.999)))
    assert session.ends() == [(RESTING, NO_HOLD)]
    later(session, 300)
    assert session.ends() == [(EXPIRED, Hold.EXPIRY_CUTOFF)]
    assert list(session.record.accounts[:2]) == [1_000_000_000, 0]


def test_a_cancel_is_heard_only_after_the_latency() -> None:
    session = opened(latency_ms=75.0)
    session.buy(at(2), 10, 0.50, type=POST_ONLY)
    later(session, 3)
    session.ask(at(4), Wish.CANCEL)
    session.feed(trade(at(4.074), ASK, 5_000, 3))
    assert session.fills() == [(at(4.074), 5_000, 3.0)]
    session.feed(trade(at(4.08), ASK, 5_000, 3))
    assert len(session.fills()) == 1
    assert session.ends() == [(CANCELLED, NO_HOLD)]
    assert session.record.accounts[1] == 0


def test_an_order_in_the_taker_delay_cannot_be_cancelled_when_the_rule_says_so() -> None:
    session = opened(latency_ms=10.0, taker_delay=True)
    session.buy(at(2), 10, 0.55, type=GTC)
    session.ask(at(2.05), Wish.CANCEL)
    later(session, 3)
    assert session.fills() == [(at(2.16), 5_100, 10.0)]


def test_a_resting_order_is_filled_by_a_print_however_quiet_the_book_was() -> None:
    session = resting()
    session.set(at(2), book_budget=1.0)
    session.feed(trade(at(9), ASK, 4_800, 7))
    assert session.fills() == [(at(9), 4_900, 7.0)]


def test_an_offer_through_us_fills_us_although_the_bids_have_vanished() -> None:
    session = resting()
    session.feed(level(at(3), BID, 4_900, 0), level(at(3), ASK, 4_800, 6))
    assert session.fills() == [(at(3), 4_900, 6.0)]


def test_a_snapshot_that_crosses_a_resting_order_fills_it() -> None:
    session = resting()
    session.feed(book(at(3), {4_700: 10}, {4_800: 6}))
    assert session.fills() == [(at(3), 4_900, 6.0)]


def test_a_snapshot_without_our_level_leaves_nobody_ahead_of_us() -> None:
    session = resting()
    session.feed(book(at(3), {4_800: 10}, {5_100: 6}), trade(at(4), ASK, 4_900, 2))
    assert session.fills() == [(at(4), 4_900, 2.0)]


def test_a_fee_that_changes_under_an_open_order_is_an_anomaly_and_changes_nothing() -> None:
    session = resting()
    session.feed(event(at(3), Kind.FEES, price=900_000, size=1))
    assert session.record.anomalies == 1
    assert session.record.markets[0].fee_rate_e6 == 70_000
