"""The market channel's messages as the venue sends them: all numbers are text, as written.

In: nothing. Out: one typed struct per event type (venue facts 3.2). Never here: a converted number.
Fields that the venue adds are passed over: they came without notice more than once.
"""

import msgspec


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """A price and its total, both as the venue wrote them."""

    price: str
    size: str


class OldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One token's new total at a price."""

    asset_id: str
    price: str
    size: str
    side: str


class Change(OldChange, frozen=True, kw_only=True):
    """The same since September 2025, with hash and best prices after the change."""

    hash: str
    best_bid: str
    best_ask: str


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="event_type"):
    """What every frame has."""

    market: str
    timestamp: str


class Book(Message, frozen=True, kw_only=True, tag="book"):
    """A token's whole book."""

    asset_id: str
    hash: str
    bids: list[Level]
    asks: list[Level]
    tick_size: str | None = None
    last_trade_price: str | None = None


class PriceChange(Message, frozen=True, kw_only=True, tag="price_change"):
    """Changed levels, each with its mirror on the other token."""

    price_changes: list[Change]


class LastTrade(Message, frozen=True, kw_only=True, tag="last_trade_price"):
    """A trade print: the taker's token, side and size."""

    asset_id: str
    price: str
    size: str
    side: str
    fee_rate_bps: str = ""
    transaction_hash: str = ""


class TickSize(Message, frozen=True, kw_only=True, tag="tick_size_change"):
    """The market's tick changed; sent once or twice for each token."""

    asset_id: str
    old_tick_size: str
    new_tick_size: str


class BestBidAsk(Message, frozen=True, kw_only=True, tag="best_bid_ask"):
    """A token's best prices, which the book holds already."""

    asset_id: str
    best_bid: str
    best_ask: str
    spread: str


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A fee schedule, its numbers as text here and as numbers elsewhere."""

    rate: str | float
    exponent: str | int


class NewMarket(Message, frozen=True, kw_only=True, tag="new_market"):
    """A market of any kind was created; it has a dozen more fields."""

    slug: str
    clob_token_ids: list[str]
    outcomes: list[str] = []
    order_price_min_tick_size: str = "0.01"
    fees_enabled: bool = False
    fee_schedule: Schedule | None = None


class Resolved(Message, frozen=True, kw_only=True, tag="market_resolved"):
    """The venue's result; its further fields repeat the market's."""

    winning_asset_id: str


Frame = Book | PriceChange | LastTrade | TickSize | BestBidAsk | NewMarket | Resolved


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One captured frame; the first one of a subscription is a list of books."""

    capturedAt: float
    payload: Frame | list[Frame]


def stamp_ms(frame: Frame) -> int:
    """The venue's time stamp in milliseconds."""
    return int(frame.timestamp)
