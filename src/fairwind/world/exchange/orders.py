"""Orders as the built-in market keeps them, and the venue's rules for taking one in.

In: a price, sizes and a type in integers. Out: an order, or the venue's own refusal text. Never
here: a book, an account, a signature.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from fairwind.core.events import Outcome, Side
from fairwind.core.rules import FeeForm
from fairwind.core.units import DOLLAR_MICRO, PRICE_ONE_E4, SECOND_NS, SHARE_MICRO

LOT_MICRO = 10_000
"""Sizes are whole hundredths of a share, so cost in micro dollars is exact at every price."""
LEAST_LIFE_NS = 180 * SECOND_NS
EXPIRES_EARLY_NS = 60 * SECOND_NS
NOT_CROSSING = "invalid post-only order: order crosses book"
NO_BOOK = "the market is not yet ready to process new orders"
BAD_EXPIRATION = "invalid expiration"
NO_FUNDS = "not enough balance / allowance"
FOK_KILLED = "order couldn't be fully filled. FOK orders are fully filled or killed."
FAK_KILLED = (
    "no orders found to match with FAK order. "
    "FAK orders are partially filled or killed if no match is found."
)
BAD_AMOUNTS = (
    "invalid amounts, the market buy orders maker amount supports a max accuracy of 2 decimals, "
    "taker amount a max of 4 decimals"
)


class OrderType(StrEnum):
    """How long an order lives."""

    GTC = "GTC"
    GTD = "GTD"
    FOK = "FOK"
    FAK = "FAK"

    @property
    def immediate(self) -> bool:
        """Whether it never rests."""
        return self in (OrderType.FOK, OrderType.FAK)


class Terms(NamedTuple):
    """What a market asks of an order."""

    tick_e4: int = 100
    least_micro: int = 5 * SHARE_MICRO  # of an order that may rest
    least_buy_micro: int = DOLLAR_MICRO  # of a buy that trades at once, in dollars
    fee_rate_e6: int = 70_000
    fee_form: FeeForm = FeeForm.SYMMETRIC
    taker_delay_ns: int = 0


@dataclass(slots=True)
class Order:
    """One order. `budget_micro` > 0: an immediate buy sized in dollars; its shares are a hope."""

    id: str
    account: str
    market: str
    outcome: Outcome
    buying: bool
    price_e4: int  # of its own outcome
    size_micro: int
    type: OrderType = OrderType.GTC
    post_only: bool = False
    expires_ns: int = 0  # as stated; the venue takes it off a minute earlier
    budget_micro: int = 0
    placed_ns: int = 0
    matched_micro: int = 0
    spent_micro: int = 0  # of the budget

    @property
    def side(self) -> Side:
        """Its side of the Up book: buying Up and selling Down are bids."""
        return Side.BID if self.buying == (self.outcome == Outcome.UP) else Side.ASK

    @property
    def up_e4(self) -> int:
        """Its price in Up terms."""
        return self.price_e4 if self.outcome == Outcome.UP else PRICE_ONE_E4 - self.price_e4

    @property
    def left_micro(self) -> int:
        """Shares that it still asks for."""
        return self.size_micro - self.matched_micro

    def own_e4(self, up_e4: int) -> int:
        """An Up price as the price of its own outcome."""
        return up_e4 if self.outcome == Outcome.UP else PRICE_ONE_E4 - up_e4

    def wants_micro(self, up_e4: int) -> int:
        """Shares that it takes at an Up price, in whole lots."""
        if not self.budget_micro:
            return self.left_micro
        left = (self.budget_micro - self.spent_micro) * PRICE_ONE_E4 // self.own_e4(up_e4)
        return left // LOT_MICRO * LOT_MICRO

    def needs_micro(self) -> int:
        """What it may still take from its account: micro dollars of a buy, shares of a sale."""
        if self.budget_micro:
            return self.budget_micro - self.spent_micro
        return cost_micro(self.left_micro, self.price_e4) if self.buying else self.left_micro


def cost_micro(size_micro: int, price_e4: int) -> int:
    """Micro dollars that whole lots of shares cost; exact."""
    return size_micro * price_e4 // PRICE_ONE_E4


def invalid(order: Order, terms: Terms, now_ns: int) -> str:
    """The venue's text against an order taken by itself; empty when there is nothing."""
    tick = terms.tick_e4
    if order.price_e4 % tick or not tick <= order.price_e4 <= PRICE_ONE_E4 - tick:
        return off_grid(order.id, decimal(order.price_e4, 4), terms)
    if (order.budget_micro or order.size_micro) % LOT_MICRO:
        return BAD_AMOUNTS
    if order.type.immediate:
        amount = order.budget_micro
        short = order.size_micro <= 0 if not amount else amount < terms.least_buy_micro
        return _too_small(amount, terms) if short else ""
    if order.size_micro < terms.least_micro:
        size, least = decimal(order.size_micro, 6), decimal(terms.least_micro, 6)
        return _broken(order.id, f"Size ({size}) lower than the minimum: {least}")
    dated = order.type is OrderType.GTD
    if dated != (order.expires_ns != 0) or (dated and order.expires_ns < now_ns + LEAST_LIFE_NS):
        return BAD_EXPIRATION
    return ""


def too_small_to_cross(order: Order, terms: Terms) -> str:
    """The venue's text against a buy that would trade at once for less than a dollar."""
    amount = order.needs_micro()
    return _too_small(amount, terms) if order.buying and amount < terms.least_buy_micro else ""


def duplicated(order: Order) -> str:
    """The venue's text against an order that it has seen."""
    return _broken(order.id, "Duplicated.")


def off_grid(order_id: str, price: str, terms: Terms) -> str:
    """The venue's text against a price that is no multiple of the tick, or beyond its bounds."""
    tick = decimal(terms.tick_e4, 4)
    return _broken(order_id, f"Price ({price}) breaks minimum tick size rule: {tick}")


def decimal(value: int, places: int) -> str:
    """An integer of 10^-places as the venue writes numbers: no trailing zeros, 0.1 and not .1."""
    whole, part = divmod(value, 10**places)
    digits = f"{part:0{places}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def _broken(order_id: str, rule: str) -> str:
    return f"order {order_id} is invalid. {rule}"


def _too_small(amount_micro: int, terms: Terms) -> str:
    return (
        f"invalid amount for a marketable BUY order (${decimal(amount_micro, 6)}), "
        f"min size: ${decimal(terms.least_buy_micro, 6)}"
    )
