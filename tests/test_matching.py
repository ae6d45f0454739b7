"""The built-in market matches by price and time, never crosses at rest and loses no money."""

from dataclasses import replace
from typing import Any

import pytest

from fairwind.core.events import Outcome, Side
from fairwind.core.rules import FeeForm
from fairwind.core.units import SECOND_NS, SHARE_MICRO
from fairwind.world.exchange import matching, orders
from fairwind.world.exchange.accounts import CASH, FEES, HOUSE, Asset, Posting, TradeStatus
from fairwind.world.exchange.facts import Answer, OrderFact, TradeFact
from fairwind.world.exchange.matching import Exchange
from fairwind.world.exchange.orders import Order, OrderType, Terms

MARKET = "0xm"
RICH = 10**12
NOW = 1_790_000_000 * SECOND_NS
UP, DOWN = Outcome.UP, Outcome.DOWN
USERS = ("ann", "bob", "cid")


def exchange(**terms: Any) -> Exchange:
    """One market; every user has a million dollars and a thousand shares of either outcome."""
    found = Exchange()
    found.list_market(MARKET, Terms(**terms))
    for user in USERS:
        found.accounts.post(Posting(user, CASH, RICH + 1000 * SHARE_MICRO))
        found.accounts.split(user, MARKET, 1000)
    return found


def order(number: int, account: str = "ann", /, **fields: Any) -> Order:
    """A buy of 10 Up at 0.50 unless said otherwise; `shares` for the size, id by number."""
    shares = fields.pop("shares", 10)
    plain = Order(f"0x{number}", account, MARKET, UP, True, 5000, round(shares * SHARE_MICRO))
    return replace(plain, **fields)


def place(found: Exchange, number: int, account: str = "ann", /, **fields: Any) -> Answer:
    return found.submit(order(number, account, **fields), NOW)


def statuses(found: Exchange) -> list[tuple[str, str, str]]:
    return [(f.order.id, f.what, f.status) for f in found.facts() if isinstance(f, OrderFact)]


def test_two_buyers_mint_a_pair_and_the_taker_gets_the_better_price() -> None:
    found = exchange(fee_rate_e6=0)
    place(found, 1, "ann", outcome=DOWN, price_e4=4500)
    answer = place(found, 2, "bob", price_e4=6000, shares=5)
    assert (answer.status, answer.making_micro, answer.taking_micro) == (
        "matched",
        2_750_000,
        5_000_000,
    )
    found.settle(answer.trades[0], TradeStatus.MINED, NOW)
    balance = found.accounts.balance
    assert balance("ann", CASH) == RICH - 2_250_000
    assert balance("bob", CASH) == RICH - 2_750_000
    assert balance("ann", Asset(MARKET, DOWN)) == balance("bob", Asset(MARKET, UP)) == 1005 * 10**6


def test_two_sellers_merge_a_pair() -> None:
    found = exchange(fee_rate_e6=0)
    place(found, 1, "ann", buying=False, price_e4=3000)
    answer = place(found, 2, "bob", outcome=DOWN, buying=False, price_e4=6000)
    assert (answer.making_micro, answer.taking_micro) == (10_000_000, 7_000_000)
    found.settle(answer.trades[0], TradeStatus.MINED, NOW)
    assert found.accounts.balance("ann", CASH) == RICH + 3_000_000
    assert found.accounts.balance("ann", Asset(MARKET, UP)) == 990 * 10**6


def test_the_earlier_order_of_a_price_is_filled_first_and_a_better_price_before_both() -> None:
    found = exchange()
    place(found, 1, "ann", buying=False, price_e4=5500)
    place(found, 2, "bob", outcome=DOWN, price_e4=4500)  # the same Up ask, later
    place(found, 3, "bob", buying=False, price_e4=5400)
    answer = place(found, 4, "cid", price_e4=5500, shares=25)
    fills = found.trades[answer.trades[0]].fills
    assert [(fill.maker.id, fill.size_micro // 10**6) for fill in fills] == [
        ("0x3", 10),
        ("0x1", 10),
        ("0x2", 5),
    ]
    assert statuses(found)[-4:] == [
        ("0x3", "UPDATE", "MATCHED"),
        ("0x1", "UPDATE", "MATCHED"),
        ("0x2", "UPDATE", "LIVE"),
        ("0x4", "PLACEMENT", "MATCHED"),
    ]


def test_the_rest_of_a_marketable_order_rests() -> None:
    found = exchange()
    place(found, 1, "ann", buying=False, price_e4=5000)
    answer = place(found, 2, "bob", shares=12.5)
    assert answer.status == "matched" and answer.taking_micro == 10_000_000
    assert found.open["0x2"].left_micro == 2_500_000
    assert found.markets[MARKET].book.totals(Side.BID) == {5000: 2_500_000}


REFUSALS = [
    ({"price_e4": 5050}, "order 0x9 is invalid. Price (0.505) breaks minimum tick size rule: 0.01"),
    ({"price_e4": 0}, "order 0x9 is invalid. Price (0) breaks minimum tick size rule: 0.01"),
    ({"price_e4": 10_000}, "order 0x9 is invalid. Price (1) breaks minimum tick size rule: 0.01"),
    ({"shares": 4}, "order 0x9 is invalid. Size (4) lower than the minimum: 5"),
    ({"shares": 10.005}, orders.BAD_AMOUNTS),
    ({"post_only": True, "price_e4": 6000}, "invalid post-only order: order crosses book"),
    ({"price_e4": 1900, "type": OrderType.FAK}, orders.FAK_KILLED),
    ({"price_e4": 1900, "type": OrderType.FOK}, orders.FOK_KILLED),
    ({"price_e4": 6000, "type": OrderType.FOK, "shares": 30}, orders.FOK_KILLED),
    ({"expires_ns": NOW + 999 * SECOND_NS}, "invalid expiration"),
    ({"type": OrderType.GTD}, "invalid expiration"),
    ({"type": OrderType.GTD, "expires_ns": NOW + 179 * SECOND_NS}, "invalid expiration"),
    (
        {"price_e4": 2000, "shares": 0.5, "type": OrderType.FAK, "budget_micro": 990_000},
        "invalid amount for a marketable BUY order ($0.99), min size: $1",
    ),
    ({"id": "0x1"}, "order 0x1 is invalid. Duplicated."),
    ({"market": "0xother"}, "the market is not yet ready to process new orders"),
]


@pytest.mark.parametrize(("fields", "text"), REFUSALS)
def test_a_refusal_has_the_venues_words_and_leaves_no_trace(
    fields: dict[str, Any], text: str
) -> None:
    found = exchange()
    place(found, 1, "bob", buying=False, price_e4=5100)
    place(found, 2, "bob", price_e4=2000)
    before = (found.accounts.balances.copy(), [*found.open])
    found.facts()
    answer = place(found, 9, **fields)
    assert (answer.error, answer.status, answer.trades) == (text, "", ())
    assert (found.accounts.balances, [*found.open]) == before
    assert [f for f in found.facts() if not isinstance(f, OrderFact)] == []


def test_five_cheap_shares_may_rest_but_not_take() -> None:
    found = exchange()
    place(found, 1, "bob", buying=False, price_e4=1000)
    assert place(found, 2, shares=5, price_e4=900).status == "live"
    assert "($0.5), min size: $1" in place(found, 3, shares=5, price_e4=1000).error


def test_an_order_beyond_the_balance_is_refused_with_its_siblings_of_the_market_counted() -> None:
    found = exchange()
    whole = RICH // 5000 * 10_000
    assert place(found, 1, size_micro=whole - 10_000_000).status == "live"
    assert "sum of active orders: 999995000000" in place(found, 2, shares=10.02).error
    assert place(found, 3, shares=10).status == "live"
    assert place(found, 4, buying=False, price_e4=9000, shares=1000.01).error.startswith(
        "not enough balance / allowance"
    )


def test_the_fee_is_the_takers_and_on_top_of_a_buy() -> None:
    found = exchange()
    place(found, 1, "ann", buying=False, price_e4=6400, shares=25)
    answer = place(found, 2, "bob", price_e4=6400, shares=25)
    trade = found.trades[answer.trades[0]]
    assert trade.fee_micro == 403_200
    found.settle(trade.id, TradeStatus.MINED, NOW)
    assert found.accounts.balance("bob", CASH) == RICH - 16_403_200
    assert found.accounts.balance("ann", CASH) == RICH + 16_000_000
    assert found.accounts.balance(FEES, CASH) == 403_200


def test_a_buy_needs_its_fee_as_well() -> None:
    found = exchange()
    place(found, 1, "ann", buying=False)
    found.accounts.post(Posting("bob", CASH, 5_174_999 - RICH))
    assert "balance: 5174999, sum of active orders: 0, order amount: 5175000" in (
        place(found, 2, "bob").error
    )
    found.accounts.post(Posting("bob", CASH, 1))
    assert place(found, 2, "bob").status == "matched"
    assert found.accounts.balance("bob", CASH) == 0


def test_a_sellers_fee_comes_out_of_the_proceeds() -> None:
    found = exchange()
    place(found, 1, "ann", price_e4=6400, shares=25)
    answer = place(found, 2, "bob", buying=False, price_e4=6400, shares=25)
    assert found.accounts.balance("bob", CASH) == RICH
    found.settle(answer.trades[0], TradeStatus.MINED, NOW)
    assert found.accounts.balance("bob", CASH) == RICH + 16_000_000 - 403_200


def test_a_buy_sized_in_dollars_gets_more_shares_at_a_better_price() -> None:
    found = exchange()
    place(found, 1, "ann", buying=False, price_e4=4000)
    place(found, 2, "ann", buying=False, price_e4=5000)
    answer = place(found, 3, "bob", shares=0, budget_micro=6_000_000, type=OrderType.FOK)
    assert (answer.making_micro, answer.taking_micro) == (6_000_000, 14_000_000)


def test_shares_arrive_when_the_trade_is_mined_and_a_failed_one_gives_all_back() -> None:
    for status, cash, shares in (("MINED", -5_000_000, 10), ("FAILED", 0, 0)):
        found = exchange(fee_rate_e6=0)
        place(found, 1, "ann", outcome=DOWN)
        answer = place(found, 2, "bob")
        up = Asset(MARKET, UP)
        assert found.accounts.balance("bob", CASH) == RICH - 5_000_000
        assert found.accounts.balance("bob", up) == 1000 * SHARE_MICRO
        found.settle(answer.trades[0], TradeStatus(status), NOW)
        assert found.accounts.balance("bob", CASH) == RICH + cash
        assert found.accounts.balance("bob", up) == (1000 + shares) * SHARE_MICRO


def test_a_taker_waits_for_the_delay_and_meets_the_book_of_its_end() -> None:
    found = exchange(taker_delay_ns=150)
    place(found, 1, "ann", buying=False, price_e4=5000)
    place(found, 2, "ann", buying=False, price_e4=4900)
    assert place(found, 3, "bob").status == "delayed"
    assert "Duplicated" in place(found, 3, "bob").error
    assert found.cancel("bob", ["0x3"]) == ([], {"0x3": matching.DELAYED})
    assert found.cancel("ann", ["0x2"]) == (["0x2"], {})
    assert found.advance(NOW + 149) == []
    (answer,) = found.advance(NOW + 150)
    assert (answer.status, answer.making_micro) == ("matched", 5_000_000)
    assert place(found, 4, "bob", price_e4=4000, post_only=True).status == "live"


def test_a_delayed_order_is_examined_again_when_it_is_released() -> None:
    found = exchange(taker_delay_ns=150)
    place(found, 1, "ann", buying=False)
    place(found, 2, "bob")
    place(found, 3, "cid", type=OrderType.FAK)
    found.accounts.post(Posting("bob", CASH, -RICH))
    first, second = found.advance(NOW + 150)
    assert first.error.startswith("not enough balance") and second.status == "matched"
    place(found, 4, "ann", buying=False)
    place(found, 5, "cid", type=OrderType.FOK)
    found.cancel("ann", ["0x4"])
    found.facts()
    (killed,) = found.advance(NOW + 300)
    assert killed.error == orders.FOK_KILLED
    assert statuses(found) == [("0x5", "CANCELLATION", f"CANCELED_{orders.FOK_KILLED}")]


def test_a_dated_order_leaves_a_minute_before_its_date() -> None:
    found = exchange()
    date = NOW + 300 * SECOND_NS
    assert place(found, 1, type=OrderType.GTD, expires_ns=date).status == "live"
    found.advance(date - 60 * SECOND_NS - 1)
    assert [*found.open] == ["0x1"]
    found.facts()
    found.advance(date - 60 * SECOND_NS)
    assert statuses(found) == [("0x1", "CANCELLATION", "CANCELED_EXPIRED_ORDER")]


def test_only_the_owner_cancels_and_only_once() -> None:
    found = exchange()
    place(found, 1, "ann")
    assert found.cancel("bob", ["0x1"]) == ([], {"0x1": matching.GONE})
    assert found.cancel("ann", ["0x1", "0x1"]) == (["0x1"], {"0x1": matching.GONE})


def test_a_maker_that_cannot_pay_is_taken_out_and_the_next_one_trades() -> None:
    found = exchange()
    place(found, 1, "ann", price_e4=5100)
    place(found, 2, "cid", price_e4=5000)
    found.accounts.post(Posting("ann", CASH, -RICH))
    answer = place(found, 3, "bob", buying=False, price_e4=5000)
    assert answer.taking_micro == 5_000_000 and [*found.open] == []
    assert ("0x1", "CANCELLATION", "CANCELED_NOT_ENOUGH_BALANCE") in statuses(found)


def test_a_resolved_market_cancels_pays_and_refuses() -> None:
    found = exchange()
    place(found, 1, "ann")
    pending = place(found, 2, "bob", buying=False)
    place(found, 3, "ann")
    found.resolve(MARKET, 10_000)
    assert [*found.open] == []
    assert place(found, 4).error == orders.NO_BOOK
    assert found.accounts.balance("cid", CASH) == RICH + 1000 * SHARE_MICRO
    found.settle(pending.trades[0], TradeStatus.MINED, NOW)
    assert found.accounts.balance("ann", CASH) == RICH + 1005 * SHARE_MICRO


def test_the_houses_new_total_is_set_exactly_and_its_newest_orders_leave_first() -> None:
    found = exchange()
    found.house_level(MARKET, Side.BID, 5000, 100 * SHARE_MICRO, NOW)
    place(found, 1, "ann")
    found.house_level(MARKET, Side.BID, 5000, 160 * SHARE_MICRO, NOW)
    found.house_level(MARKET, Side.BID, 5000, 90 * SHARE_MICRO, NOW)
    queue = found.markets[MARKET].book.queues[Side.BID][5000]
    assert [(o.account, o.left_micro // SHARE_MICRO) for o in queue] == [(HOUSE, 90), ("ann", 10)]
    found.house_level(MARKET, Side.BID, 5000, 0, NOW)
    assert found.markets[MARKET].book.totals(Side.BID) == {5000: 10 * SHARE_MICRO}


def test_the_houses_taker_fills_users_in_their_turn_and_its_makers_refill() -> None:
    found = exchange()
    found.house_level(MARKET, Side.ASK, 5100, 20 * SHARE_MICRO, NOW)
    place(found, 1, "ann", buying=False, price_e4=5100)
    found.house_trade(MARKET, Side.BID, 5100, 25 * SHARE_MICRO, NOW)
    assert found.open["0x1"].matched_micro == 5 * SHARE_MICRO
    assert found.markets[MARKET].book.totals(Side.ASK) == {5100: 25 * SHARE_MICRO}
    trades = [fact.trade for fact in found.facts() if isinstance(fact, TradeFact)]
    assert [trade.size_micro for trade in trades] == [25 * SHARE_MICRO]


def test_a_house_level_that_crosses_a_user_fills_it_as_a_maker() -> None:
    found = exchange()
    place(found, 1, "ann")
    found.house_level(MARKET, Side.ASK, 4900, 30 * SHARE_MICRO, NOW)
    assert [*found.open] == []
    assert found.markets[MARKET].book.totals(Side.ASK) == {4900: 20 * SHARE_MICRO}


def test_a_schedule_without_a_fee_charges_nothing() -> None:
    found = exchange(fee_form=FeeForm.NONE)
    place(found, 1, "ann", buying=False)
    answer = place(found, 2, "bob")
    assert found.trades[answer.trades[0]].fee_micro == 0
