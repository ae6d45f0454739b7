"""What the matching engine says: facts for the streams, answers to those who place orders.

In: nothing. Out: named tuples. Never here: how any of it is written on the wire.
"""

from typing import NamedTuple

from fairwind.core.events import Side
from fairwind.world.exchange.accounts import Trade, TradeStatus
from fairwind.world.exchange.orders import Order


class OrderFact(NamedTuple):
    """An order was placed, matched in part or whole, or taken out."""

    order: Order
    what: str  # PLACEMENT, UPDATE or CANCELLATION
    status: str
    matched_micro: int


class TradeFact(NamedTuple):
    """A trade reached a status."""

    trade: Trade
    status: TradeStatus


class LevelFact(NamedTuple):
    """A level has a new total, in Up terms; `traded` when a trade changed it."""

    market: str
    side: Side
    up_e4: int
    size_micro: int
    traded: bool


class TickFact(NamedTuple):
    """The tick changed."""

    market: str
    old_e4: int
    new_e4: int


class ResultFact(NamedTuple):
    """The market resolved."""

    market: str
    up_payout_e4: int


Fact = OrderFact | TradeFact | LevelFact | TickFact | ResultFact


class Answer(NamedTuple):
    """What the venue answers to an order. `error` is its refusal; amounts are micro."""

    order_id: str
    status: str = ""  # live, matched or delayed
    error: str = ""
    making_micro: int = 0
    taking_micro: int = 0
    trades: tuple[str, ...] = ()
