"""The matching engine of the built-in market: orders, cancels and time in, facts out.

In: orders already authenticated, the house's levels and prints, the time. Out: answers in the
venue's words, and facts (order, trade, level, tick, result) for the streams. Never here: I/O, a
clock, chance.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from fairwind.core.events import Outcome, Side
from fairwind.core.units import PRICE_ONE_E4
from fairwind.world.exchange import orders
from fairwind.world.exchange.accounts import CASH, HOUSE, Accounts, Asset, Trade, TradeStatus, fee
from fairwind.world.exchange.book import Book, Fill, take
from fairwind.world.exchange.facts import (
    Answer,
    Fact,
    LevelFact,
    OrderFact,
    ResultFact,
    TickFact,
    TradeFact,
)
from fairwind.world.exchange.orders import LOT_MICRO, Order, OrderType, Terms, cost_micro

MARKET_RESOLVED = "CANCELED_MARKET_RESOLVED"
NO_BALANCE = "CANCELED_NOT_ENOUGH_BALANCE"
EXPIRED = "CANCELED_EXPIRED_ORDER"
CANCELED = "CANCELED"
GONE = "already canceled or matched"
DELAYED = "order is delayed and cannot be canceled"


@dataclass
class Market:
    """One market's book and rules."""

    terms: Terms
    book: Book = field(default_factory=Book)
    last_e4: int = 0  # Up price of the last trade; 0 before the first
    payout_e4: int | None = None  # of one Up share, once resolved


class Exchange:
    """All markets, accounts, open and delayed orders."""

    def __init__(self) -> None:
        self.markets: dict[str, Market] = {}
        self.accounts = Accounts()
        self.open: dict[str, Order] = {}  # users' resting orders, oldest first
        self.delayed: dict[str, tuple[int, Order]] = {}
        self.trades: dict[str, Trade] = {}  # those of users
        self.seen: set[str] = set()
        self._facts: list[Fact] = []
        self._numbers = 0

    def facts(self) -> list[Fact]:
        """What happened since the last call."""
        facts, self._facts = self._facts, []
        return facts

    def list_market(self, market: str, terms: Terms) -> None:
        """Open a market with an empty book."""
        assert market not in self.markets, f"{market} is listed twice"
        self.markets[market] = Market(terms)

    def submit(self, order: Order, now_ns: int) -> Answer:
        """Take an order in: refused, resting, matched, or delayed before it may take."""
        order.placed_ns = now_ns
        refusal = self._refusal(order, now_ns)
        if refusal:
            return Answer(order.id, error=refusal)
        self.seen.add(order.id)
        market = self.markets[order.market]
        if market.book.crosses(order) and market.terms.taker_delay_ns:
            self.delayed[order.id] = (now_ns + market.terms.taker_delay_ns, order)
            return Answer(order.id, "delayed")
        return self._execute(order, now_ns)

    def cancel(self, account: str, ids: Iterable[str]) -> tuple[list[str], dict[str, str]]:
        """(cancelled ids, reason by id of those that were not). Only the account's own orders."""
        gone: list[str] = []
        kept: dict[str, str] = {}
        for order_id in ids:
            order = self.open.get(order_id)
            if order is not None and order.account == account:
                self._take_out(order, CANCELED)
                gone.append(order_id)
            else:
                kept[order_id] = DELAYED if order_id in self.delayed else GONE
        return gone, kept

    def advance(self, now_ns: int) -> list[Answer]:
        """Release what waited for the taker delay, take out what expired; the late answers."""
        due = [(at, id) for id, (at, _) in self.delayed.items() if at <= now_ns]
        answers = []
        for at_ns, order_id in sorted(due, key=lambda one: one[0]):
            self.expire(at_ns)
            _, order = self.delayed.pop(order_id)
            refusal = self._unfunded(order) if self._is_open(order.market) else orders.NO_BOOK
            if refusal:
                answers.append(Answer(order.id, error=refusal))
                self._tell(order, "CANCELLATION", NO_BALANCE)
            else:
                answers.append(self._execute(order, at_ns))
        self.expire(now_ns)
        return answers

    def expire(self, now_ns: int) -> None:
        """Take out dated orders a minute before the time that they state, as the venue does."""
        for order in list(self.open.values()):
            if order.expires_ns and now_ns >= order.expires_ns - orders.EXPIRES_EARLY_NS:
                self._take_out(order, EXPIRED)

    def house_level(
        self, market: str, side: Side, up_e4: int, size_micro: int, now_ns: int
    ) -> None:
        """Set the house's total at an Up price. Less takes its newest orders first; more trades
        with users' orders that it crosses, then rests behind the queue.

        The house always buys (Up as a bid, Down as an ask), so that it never needs shares.
        """
        book = self.markets[market].book
        target = size_micro // LOT_MICRO * LOT_MICRO
        queue = book.queues[side].get(up_e4, [])
        own = [order for order in queue if order.account == HOUSE]
        excess = sum(order.left_micro for order in own) - target
        if excess < 0:
            order = self._house_order(market, side, up_e4, -excess)
            self._match(order, now_ns)
            if order.left_micro:
                book.add(order)
        for order in reversed(own):
            cut = min(order.left_micro, max(excess, 0))
            excess -= cut
            order.size_micro -= cut
            if cut and not order.left_micro:
                book.remove(order)
        self._level(market, side, up_e4)

    def house_clear(self, market: str) -> None:
        """Take out all of the house's orders."""
        book = self.markets[market].book
        for order in [one for one in book.orders() if one.account == HOUSE]:
            book.remove(order)
            self._level(market, order.side, order.up_e4)

    def house_trade(
        self, market: str, side: Side, up_e4: int, size_micro: int, now_ns: int
    ) -> None:
        """The world's own taker; makers of the house refill what it took from them."""
        facing = Side.ASK if side is Side.BID else Side.BID
        book = self.markets[market].book
        before = {
            price: sum(one.left_micro for one in queue if one.account == HOUSE)
            for price, queue in book.queues[facing].items()
        }
        size = size_micro // LOT_MICRO * LOT_MICRO
        trade = self._match(self._house_order(market, side, up_e4, size), now_ns)
        for price in dict.fromkeys(fill.up_e4 for fill in trade.fills) if trade else ():
            self.house_level(market, facing, price, before[price], now_ns)

    def set_tick(self, market: str, tick_e4: int) -> None:
        """Change the tick. Resting orders stay: the old grid is part of the new one."""
        place = self.markets[market]
        self._facts.append(TickFact(market, place.terms.tick_e4, tick_e4))
        place.terms = place.terms._replace(tick_e4=tick_e4)

    def resolve(self, market: str, up_payout_e4: int) -> None:
        """End the market: cancel what rests, redeem all shares."""
        place = self.markets[market]
        place.payout_e4 = up_payout_e4
        for order in [one for one in self.open.values() if one.market == market]:
            self._take_out(order, MARKET_RESOLVED)
        self.house_clear(market)
        self.accounts.redeem(market, up_payout_e4)
        self._facts.append(ResultFact(market, up_payout_e4))

    def forget(self, market: str) -> None:
        """Drop a resolved market and its trades, long after the last one was settled."""
        assert self.markets[market].payout_e4 is not None, f"{market} still trades"
        del self.markets[market]
        kept = {id: trade for id, trade in self.trades.items() if trade.taker.market != market}
        self.trades = kept

    def settle(self, trade_id: str, status: TradeStatus, now_ns: int) -> None:
        """Move a trade on: MINED brings shares and proceeds, FAILED gives back what was taken."""
        trade = self.trades[trade_id]
        if status is TradeStatus.MINED:
            assert trade.status is TradeStatus.MATCHED, "mined once"
            self.accounts.deliver(trade)
        elif status is TradeStatus.FAILED:
            assert trade.status is TradeStatus.MATCHED, "a mined trade does not fail"
            self.accounts.give_back(trade)
        trade.status, trade.updated_ns = status, now_ns
        payout = self.markets[trade.taker.market].payout_e4
        if payout is not None:
            self.accounts.redeem(trade.taker.market, payout)
        self._facts.append(TradeFact(trade, status))

    def _refusal(self, order: Order, now_ns: int) -> str:
        """The first reason against the order, in the venue's words; empty when there is none."""
        if not self._is_open(order.market):
            return orders.NO_BOOK
        market = self.markets[order.market]
        if order.id in self.seen:
            return orders.duplicated(order)
        refusal = orders.invalid(order, market.terms, now_ns)
        if refusal:
            return refusal
        crossing = market.book.crosses(order)
        if order.post_only and crossing:
            return orders.NOT_CROSSING
        if crossing and not order.type.immediate:
            refusal = orders.too_small_to_cross(order, market.terms)
        elif not crossing and order.type.immediate:
            refusal = _killed(order)
        return refusal or self._unfunded(order)

    def _is_open(self, market: str) -> bool:
        return market in self.markets and self.markets[market].payout_e4 is None

    def _unfunded(self, order: Order) -> str:
        """The refusal when the account cannot pay for the order beside its others of the market.

        A buy that trades at once needs its fee as well.
        """
        asset = _pays_with(order)
        waiting = [one for _, one in self.delayed.values()]
        others = sum(
            one.needs_micro()
            for one in (*self.open.values(), *waiting)
            if one.account == order.account
            and one.market == order.market
            and _pays_with(one) == asset
        )
        market = self.markets[order.market]
        fills = [fill for fill in self._plan(order) if fill.size_micro]
        fees = fee(fills, market.terms) if order.buying else 0
        needed = others + order.needs_micro() + fees
        balance = self.accounts.balance(order.account, asset)
        if needed <= balance:
            return ""
        return (
            f"{orders.NO_FUNDS}: the balance is not enough -> balance: {balance}, "
            f"sum of active orders: {others}, order amount: {order.needs_micro() + fees}"
        )

    def _plan(self, taker: Order) -> list[Fill]:
        """What the order would trade now; makers whose accounts cannot pay have fills of 0.

        A maker's orders are paid from what its earlier fills, and its own taker, leave over.
        """
        promised = {(taker.account, _pays_with(taker)): taker.needs_micro()}

        def funded(maker: Order, size_micro: int) -> bool:
            account = (maker.account, _pays_with(maker))
            need = cost_micro(size_micro, maker.price_e4) if maker.buying else size_micro
            total = promised.get(account, 0) + need
            if maker.account != HOUSE and total > self.accounts.balance(*account):
                return False
            promised[account] = total
            return True

        return self.markets[taker.market].book.plan(taker, funded)

    def _execute(self, order: Order, now_ns: int) -> Answer:
        """Match an order that passed; rest or drop what is left of it."""
        if order.type.immediate and not self._enough(order):
            killed = _killed(order)
            self._tell(order, "CANCELLATION", f"{CANCELED}_{killed}")
            return Answer(order.id, error=killed)
        trade = self._match(order, now_ns)
        rests = not order.type.immediate and order.left_micro > 0
        if rests:
            self.markets[order.market].book.add(order)
            self.open[order.id] = order
            self._level(order.market, order.side, order.up_e4, traded=trade is not None)
        self._tell(order, "PLACEMENT", "LIVE" if rests else "MATCHED")
        if trade is None:
            return Answer(order.id, "live")
        making, taking = trade.cost_micro, trade.size_micro
        if not order.buying:
            making, taking = taking, making
        return Answer(order.id, "matched", "", making, taking, (trade.id,))

    def _enough(self, order: Order) -> bool:
        """Whether an immediate order gets what it asks for: anything, or all of it for a FOK."""
        plan = [fill for fill in self._plan(order) if fill.size_micro]
        if order.type is OrderType.FAK or not plan:
            return bool(plan)
        spent, matched = order.spent_micro, order.matched_micro
        for fill in plan:
            take(order, fill.size_micro, fill.up_e4)
        wants = order.wants_micro(plan[-1].up_e4)
        order.spent_micro, order.matched_micro = spent, matched
        return wants <= 0

    def _match(self, taker: Order, now_ns: int) -> Trade | None:
        """Trade what the book offers the taker; makers that cannot pay are taken out."""
        market = self.markets[taker.market]
        plan = self._plan(taker)
        for fill in plan:
            if not fill.size_micro:
                self._take_out(fill.maker, NO_BALANCE)
        fills = [fill for fill in plan if fill.size_micro]
        if not fills:
            return None
        self._numbers += 1
        charged = 0 if taker.account == HOUSE else fee(fills, market.terms)
        trade = Trade(_uuid(self._numbers), taker, tuple(fills), charged, now_ns, self._numbers)
        trade.updated_ns = now_ns
        self.accounts.take(trade)
        if any(order.account != HOUSE for order in (taker, *(fill.maker for fill in fills))):
            self.trades[trade.id] = trade
        else:
            self.accounts.deliver(trade)
        for fill in fills:
            take(taker, fill.size_micro, fill.up_e4)
            self._fill_maker(fill)
        market.last_e4 = fills[-1].up_e4
        self._facts.append(TradeFact(trade, trade.status))
        for price in dict.fromkeys(fill.up_e4 for fill in fills):
            self._level(taker.market, fills[0].maker.side, price, traded=True)
        return trade

    def _fill_maker(self, fill: Fill) -> None:
        maker = fill.maker
        take(maker, fill.size_micro, fill.up_e4)
        if not maker.left_micro:
            self.markets[maker.market].book.remove(maker)
            self.open.pop(maker.id, None)
        self._tell(maker, "UPDATE", "LIVE" if maker.left_micro else "MATCHED")

    def _take_out(self, order: Order, status: str) -> None:
        self.markets[order.market].book.remove(order)
        del self.open[order.id]
        self._tell(order, "CANCELLATION", status)
        self._level(order.market, order.side, order.up_e4)

    def _house_order(self, market: str, side: Side, up_e4: int, size_micro: int) -> Order:
        """A buy of the house: of Up for a bid, of Down for an ask."""
        self._numbers += 1
        outcome = Outcome.UP if side is Side.BID else Outcome.DOWN
        price = up_e4 if side is Side.BID else PRICE_ONE_E4 - up_e4
        return Order(f"0x{self._numbers:064x}", HOUSE, market, outcome, True, price, size_micro)

    def _tell(self, order: Order, what: str, status: str) -> None:
        if order.account != HOUSE:
            self._facts.append(OrderFact(order, what, status, order.matched_micro))

    def _level(self, market: str, side: Side, up_e4: int, traded: bool = False) -> None:
        total = self.markets[market].book.total_micro(side, up_e4)
        self._facts.append(LevelFact(market, side, up_e4, total, traded))


def _pays_with(order: Order) -> Asset:
    return CASH if order.buying else Asset(order.market, order.outcome)


def _killed(order: Order) -> str:
    return orders.FOK_KILLED if order.type is OrderType.FOK else orders.FAK_KILLED


def _uuid(number: int) -> str:
    """A trade's id: looks like the venue's, and is the same in every run."""
    text = hashlib.sha256(f"trade {number}".encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:32]}"
