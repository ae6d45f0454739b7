"""A price-time order book in Up terms: who is matched, at which price, in which order.

In: resting orders and a taker. Out: the plan of its fills; totals by price. Never here: a crossed
book at rest, or money.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from fairwind.core.events import Side
from fairwind.world.exchange.orders import Order


class Fill(NamedTuple):
    """A part of a trade: some of one resting order, at its price."""

    maker: Order
    size_micro: int
    up_e4: int


class Book:
    """Resting orders of one market: by side, by Up price, in order of arrival."""

    def __init__(self) -> None:
        self.queues: tuple[dict[int, list[Order]], dict[int, list[Order]]] = ({}, {})

    def best(self, side: Side) -> int | None:
        """The best Up price of a side, e4."""
        prices = self.queues[side]
        if not prices:
            return None
        return max(prices) if side is Side.BID else min(prices)

    def total_micro(self, side: Side, up_e4: int) -> int:
        """Shares that rest at a price."""
        return sum(order.left_micro for order in self.queues[side].get(up_e4, ()))

    def totals(self, side: Side) -> dict[int, int]:
        """Shares by Up price."""
        return {price: self.total_micro(side, price) for price in self.queues[side]}

    def add(self, order: Order) -> None:
        """Rest behind what is already at the price."""
        self.queues[order.side].setdefault(order.up_e4, []).append(order)

    def remove(self, order: Order) -> None:
        """Take a resting order out."""
        queue = self.queues[order.side][order.up_e4]
        queue.remove(order)
        if not queue:
            del self.queues[order.side][order.up_e4]

    def orders(self) -> Iterator[Order]:
        """Every resting order: bids then asks, by price as first seen, by arrival."""
        for side in self.queues:
            for queue in side.values():
                yield from queue

    def crosses(self, taker: Order) -> bool:
        """Whether the order would trade at once."""
        return next(self._facing(taker), None) is not None

    def plan(self, taker: Order, funded: Callable[[Order, int], bool]) -> list[Fill]:
        """What the taker would trade with now, best price first, then first come.

        A maker that cannot pay for its part (`funded`: maker, shares) has a fill of size 0: it
        is to be cancelled. The taker gets the makers' prices.
        """
        fills: list[Fill] = []
        spent = taker.spent_micro
        matched = taker.matched_micro
        for maker in self._facing(taker):
            size = min(maker.left_micro, taker.wants_micro(maker.up_e4))
            if size <= 0:
                break
            if not funded(maker, size):
                fills.append(Fill(maker, 0, maker.up_e4))
                continue
            fills.append(Fill(maker, size, maker.up_e4))
            take(taker, size, maker.up_e4)
        taker.spent_micro, taker.matched_micro = spent, matched
        return fills

    def _facing(self, taker: Order) -> Iterator[Order]:
        """Resting orders that the taker's limit reaches, in the order of matching."""
        buying_up = taker.side is Side.BID
        queues = self.queues[Side.ASK if buying_up else Side.BID]
        for price in sorted(queues, reverse=not buying_up):
            if price > taker.up_e4 if buying_up else price < taker.up_e4:
                return
            yield from queues[price]


def take(order: Order, size_micro: int, up_e4: int) -> None:
    """Count shares at an Up price as matched by the order."""
    order.matched_micro += size_micro
    if order.budget_micro:
        order.spent_micro += size_micro * order.own_e4(up_e4) // 10_000
