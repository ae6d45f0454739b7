"""The venue's user channel: what became of our orders, and our own part of each trade.

In: raw frames and our API key's id. Out: OrderUpdate and Fill values. Never here: the taker's view
of a trade booked as ours (as a maker, our part is in `maker_orders`, maybe on the other token).
"""

from enum import StrEnum

import msgspec

from fairwind.core.events import Side
from fairwind.feeds.frames import (
    BadFrame,
    Reason,
    decoded,
    shares,
    stamp_ns,
    trade_price,
)

_SIDES = {"BUY": Side.BID, "SELL": Side.ASK}


class OrderChange(StrEnum):
    """What happened to an order."""

    PLACEMENT = "PLACEMENT"
    UPDATE = "UPDATE"
    CANCELLATION = "CANCELLATION"


class OrderUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """An order of ours changed. Sizes are cumulative; `side` is that of the token."""

    order_id: str
    condition_id: str
    asset_id: str
    side: Side
    price_e4: int
    original_micro: int
    matched_micro: int
    change: OrderChange
    status: str  # LIVE, MATCHED, CANCELED, INVALID, ...
    detail: str  # the venue's sentence behind the status, or empty
    at_ns: int


class TradeStatus(StrEnum):
    """How far a trade's settlement is; CONFIRMED and FAILED are final."""

    MATCHED = "MATCHED"
    MINED = "MINED"
    CONFIRMED = "CONFIRMED"
    RETRYING = "RETRYING"
    FAILED = "FAILED"


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """Our part of a trade, known by (trade_id, order_id, bucket)."""

    trade_id: str
    order_id: str
    condition_id: str
    asset_id: str
    side: Side
    price_e4: int
    size_micro: int
    maker: bool
    status: TradeStatus
    bucket: int  # a trade may be settled in several transactions
    transaction_hash: str
    at_ns: int


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    type: str


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    market: str
    asset_id: str
    side: str
    price: str
    original_size: str
    size_matched: str
    type: OrderChange
    status: str
    timestamp: str | int


class _MakerOrder(msgspec.Struct, frozen=True, kw_only=True):
    order_id: str
    owner: str
    asset_id: str
    matched_amount: str
    price: str
    side: str | None = None


class _Trade(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    market: str
    asset_id: str
    side: str
    price: str
    size: str
    status: str
    owner: str
    taker_order_id: str
    maker_orders: list[_MakerOrder]
    timestamp: str | int | None = None
    last_update: str | int | None = None
    bucket_index: int = 0
    transaction_hash: str = ""


_kinds = msgspec.json.Decoder(_Kind | list[_Kind])
_orders = msgspec.json.Decoder(_Order)
_trades = msgspec.json.Decoder(_Trade)
_items = msgspec.json.Decoder(list[msgspec.Raw])


def subscribe_first(api_key: str, secret: str, passphrase: str) -> bytes:
    """The first frame of a connection, for all markets. It holds credentials: never log it."""
    keys = {"apiKey": api_key, "secret": secret, "passphrase": passphrase}
    return msgspec.json.encode({"type": "user", "auth": keys})


def decode(payload: bytes, owner: str) -> list[OrderUpdate | Fill]:
    """What one frame says of the orders of `owner` (our API key's id). Raises BadFrame.

    There is no order between an order's and its trades' messages, and none is repeated after a
    connection was lost: both have to be read anew from the venue then.
    """
    if payload in (b"PONG", b""):
        return []
    items = [payload]
    if isinstance(decoded(_kinds, payload), list):
        items = [bytes(one) for one in decoded(_items, payload)]
    return [update for item in items for update in _updates(item, owner)]


def _updates(payload: bytes, owner: str) -> list[OrderUpdate | Fill]:
    kind = decoded(_kinds, payload)
    if isinstance(kind, _Kind) and kind.type == "TRADE":
        return [*_fills(decoded(_trades, payload), owner)]
    return [_order(decoded(_orders, payload))]


def _order(found: _Order) -> OrderUpdate:
    status, detail = _status(found.status)
    return OrderUpdate(
        order_id=found.id,
        condition_id=found.market,
        asset_id=found.asset_id,
        side=_side(found.side),
        price_e4=trade_price(found.price),
        original_micro=shares(found.original_size),
        matched_micro=shares(found.size_matched or "0"),
        change=found.type,
        status=status,
        detail=detail,
        at_ns=stamp_ns(found.timestamp),
    )


def _fills(found: _Trade, owner: str) -> list[Fill]:
    """Ours as the taker, then each of our maker orders' parts. Empty when none is ours."""
    at_ns = _latest_ns(found)
    taker_side = _side(found.side)
    ours = [
        (found.taker_order_id, found.asset_id, taker_side, found.price, found.size, False)
        for _ in range(found.owner == owner)
    ]
    for one in found.maker_orders:
        same_token = one.asset_id == found.asset_id
        opposite = Side.ASK if taker_side == Side.BID else Side.BID
        # Two buyers of both tokens meet (a set is minted), or two sellers: then sides are equal.
        implied = opposite if same_token else taker_side
        side = implied if one.side is None else _side(one.side)
        if one.owner == owner:
            ours.append((one.order_id, one.asset_id, side, one.price, one.matched_amount, True))
    return [
        Fill(
            trade_id=found.id,
            order_id=order_id,
            condition_id=found.market,
            asset_id=asset_id,
            side=side,
            price_e4=trade_price(price),
            size_micro=shares(size),
            maker=maker,
            status=_trade_status(found.status),
            bucket=found.bucket_index,
            transaction_hash=found.transaction_hash,
            at_ns=at_ns,
        )
        for order_id, asset_id, side, price, size, maker in ours
    ]


def _latest_ns(found: _Trade) -> int:
    """The time of the message: some messages have it under one name only."""
    stamp = found.timestamp if found.timestamp is not None else found.last_update
    if stamp is None:
        raise BadFrame(Reason.TIME, "a timestamp or last_update", found)
    return stamp_ns(stamp)


def _trade_status(text: str) -> TradeStatus:
    """BadFrame for a word that is none of them."""
    try:
        return TradeStatus(text.removeprefix("TRADE_STATUS_"))
    except ValueError as error:
        raise BadFrame(Reason.SHAPE, "the status of a trade", text) from error


def _status(text: str) -> tuple[str, str]:
    """`CANCELED_order couldn't be ...` as ("CANCELED", "order couldn't be ...")."""
    name, _, tail = text.partition("_")
    return (text, "") if tail == tail.upper() else (name, tail)


def _side(text: str) -> Side:
    side = _SIDES.get(text.upper())
    if side is None:
        raise BadFrame(Reason.SIDE, "BUY or SELL", text)
    return side
