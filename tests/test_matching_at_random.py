"""Random sessions of the built-in market: a slow twin agrees, money is kept, nothing crosses."""

from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from test_matching import DOWN, MARKET, NOW, RICH, UP, USERS, exchange, order, place

from fairwind.core.events import Outcome, Side
from fairwind.core.units import SHARE_MICRO
from fairwind.world.exchange.accounts import CASH, HOUSE, Asset, Posting, TradeStatus
from fairwind.world.exchange.matching import Exchange
from fairwind.world.exchange.orders import OrderType


class Slow:
    """The same rules said once more: a plain list of orders, searched from scratch each time."""

    def __init__(self) -> None:
        self.rest: list[dict[str, Any]] = []
        self.fills: list[tuple[str, str, Fraction, Fraction]] = []

    def place(self, id: str, bid: bool, price: Fraction, shares: Fraction, kind: str) -> None:
        facing = [o for o in self.rest if o["bid"] != bid]
        reached = [o for o in facing if (o["price"] <= price if bid else o["price"] >= price)]
        reached.sort(key=lambda o: o["price"] if bid else -o["price"])
        if kind == "post" and reached:
            return
        if kind == "FOK" and sum((o["left"] for o in reached), Fraction(0)) < shares:
            return
        for maker in reached:
            size = min(shares, maker["left"])
            if size:
                self.fills.append((id, maker["id"], size, maker["price"]))
            shares -= size
            maker["left"] -= size
        self.rest = [o for o in self.rest if o["left"]]
        if shares and kind in ("GTC", "post"):
            self.rest.append({"id": id, "bid": bid, "price": price, "left": shares})

    def cancel(self, id: str) -> None:
        self.rest = [o for o in self.rest if o["id"] != id]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(USERS),
        st.sampled_from([UP, DOWN]),
        st.booleans(),
        st.integers(40, 60),
        st.integers(500, 3000),
        st.sampled_from(["GTC", "GTC", "GTC", "post", "FOK", "FAK", "cancel"]),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_the_engine_agrees_with_a_slow_twin(steps: list[Any]) -> None:
    found, slow = exchange(), Slow()
    for number, (user, outcome, buying, cents, lots, kind) in enumerate(steps):
        if kind == "cancel":
            target = f"0x{lots % max(number, 1)}"
            owner = found.open[target].account if target in found.open else user
            found.cancel(owner, [target])
            slow.cancel(target)
            continue
        one = order(number, user, outcome=outcome, buying=buying, price_e4=cents * 100)
        one.size_micro = lots * 10_000
        one.post_only = kind == "post"
        one.type = OrderType.GTC if kind == "post" else OrderType(kind)
        found.submit(one, NOW)
        up = Fraction(cents, 100) if outcome == UP else 1 - Fraction(cents, 100)
        slow.place(one.id, buying == (outcome == UP), up, Fraction(lots, 100), kind)
    fills = [
        (trade.taker.id, f.maker.id, Fraction(f.size_micro, 10**6), Fraction(f.up_e4, 10_000))
        for trade in found.trades.values()
        for f in trade.fills
    ]
    assert fills == slow.fills
    assert {o.id: Fraction(o.left_micro, 10**6) for o in found.open.values()} == {
        o["id"]: o["left"] for o in slow.rest
    }


def money(found: Exchange) -> tuple[int, int]:
    """(all dollars, a pair of shares as one; Up less Down shares), with what is in flight."""
    lines = dict(found.accounts.balances)
    in_flight = [t for t in found.trades.values() if t.status is TradeStatus.MATCHED]
    for line in [one for trade in in_flight for one in trade.postings() if one.change > 0]:
        key = (line.account, line.asset)
        lines[key] = lines.get(key, 0) + line.change
    total = {a: sum(v for (_, b), v in lines.items() if b == a) for _, a in lines}
    up, down = total.get(Asset(MARKET, UP), 0), total.get(Asset(MARKET, DOWN), 0)
    return total[CASH] + up, up - down


HOUSE_STEPS = st.tuples(
    st.sampled_from(["level", "trade"]),
    st.sampled_from([Side.BID, Side.ASK]),
    st.integers(40, 60),
    st.integers(0, 3000),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(STEPS, HOUSE_STEPS), max_size=15), st.sampled_from([0, 5]), st.data())
def test_money_is_kept_nobody_owes_and_nothing_crosses(
    steps: list[Any], delay: int, data: st.DataObject
) -> None:
    found = exchange(taker_delay_ns=delay)
    for user in USERS[:2]:  # poor enough that balances bind
        found.accounts.post(Posting(user, CASH, -RICH + 15 * SHARE_MICRO))
    before, number, now = money(found), 0, NOW
    for step in steps:
        now += 3
        if isinstance(step, tuple):
            what, side, cents, lots = step
            act = found.house_level if what == "level" else found.house_trade
            act(MARKET, side, cents * 100, lots * 10_000, now)
        for user, outcome, buying, cents, lots, kind in step if isinstance(step, list) else ():
            number += 1
            one = order(number, user, outcome=outcome, buying=buying, price_e4=cents * 100)
            one.size_micro = lots * 10_000
            if kind in ("FOK", "FAK"):
                one.type = OrderType(kind)
                one.budget_micro = lots * 10_000 if buying else 0
            found.submit(one, now)
            found.advance(now)
        for trade in [t for t in found.trades.values() if t.status is TradeStatus.MATCHED]:
            if data.draw(st.booleans()):
                status = data.draw(st.sampled_from([TradeStatus.MINED, TradeStatus.FAILED]))
                found.settle(trade.id, status, now)
        book = found.markets[MARKET].book
        bid, ask = book.best(Side.BID), book.best(Side.ASK)
        assert bid is None or ask is None or bid < ask
        assert money(found) == before
        owed = {k: v for k, v in found.accounts.balances.items() if v < 0 and k[0] != HOUSE}
        assert owed == {}
        assert all(order.left_micro > 0 for order in book.orders())


def test_facts_are_the_same_in_every_run() -> None:
    def session() -> list[str]:
        found = exchange(taker_delay_ns=7)
        for number in range(40):
            place(found, number, USERS[number % 3], outcome=Outcome(number % 2), shares=5 + number)
            found.advance(NOW + number)
        return [repr(fact) for fact in found.facts()]

    assert session() == session() != []
