"""Messages about an account: its orders and trades, on the user channel and in REST answers.

In: orders and trades of the matching engine, and who they are shown to. Out: the venue's shapes.
Never here: another account's secrets; makers see their own part of a trade.
"""

from dataclasses import dataclass
from typing import Any

from fairwind.core.units import MILLISECOND_NS, SECOND_NS
from fairwind.world.exchange.accounts import HOUSE, Trade
from fairwind.world.exchange.facts import Answer, OrderFact
from fairwind.world.exchange.orders import Order, decimal
from fairwind.world.server.listing import OUTCOMES, Listing, derived
from fairwind.world.server.wire import transaction


@dataclass(frozen=True)
class Identity:
    """How an account is named on the wire."""

    api_key: str
    wallet: str


HOUSE_IDENTITY = Identity(
    "00000000-0000-4000-8000-000000000000", "0x" + derived(HOUSE, "wallet")[:20].hex()
)


def order_event(fact: OrderFact, listing: Listing, who: Identity, now_ns: int) -> dict[str, Any]:
    """An order's placement, update or cancellation for the user channel."""
    order = fact.order
    return {
        "event_type": "order",
        **_order(order, listing, who),
        "size_matched": decimal(fact.matched_micro, 6),
        "order_owner": who.api_key,
        "type": fact.what,
        "status": fact.status,
        "timestamp": str(now_ns // MILLISECOND_NS),
    }


def open_order(order: Order, listing: Listing, who: Identity) -> dict[str, Any]:
    """An open order as `/data/orders` lists it."""
    shape = _order(order, listing, who)
    return {**shape, "status": "LIVE", "created_at": order.placed_ns // SECOND_NS}


def trade_event(trade: Trade, listing: Listing, who: dict[str, Identity], reader: str) -> Any:
    """A trade for the user channel of `reader`, an account of `who` that took part in it."""
    owner = who[reader].api_key
    return {
        "event_type": "trade",
        "type": "TRADE",
        **_trade(trade, listing, who, reader),
        "status": str(trade.status),
        "trade_owner": owner,
        "timestamp": str(trade.updated_ns // MILLISECOND_NS),
    }


def data_trade(trade: Trade, listing: Listing, who: dict[str, Identity], reader: str) -> Any:
    """A trade as `/data/trades` lists it for `reader`."""
    shape = _trade(trade, listing, who, reader)
    return {**shape, "status": f"TRADE_STATUS_{trade.status}"}


def order_answer(answer: Answer) -> dict[str, Any]:
    """The answer to an order. Matches carry no transaction hashes: read them from the trades."""
    return {
        "success": not answer.error,
        "errorMsg": answer.error,
        "orderID": answer.order_id,
        "status": answer.status,
        "makingAmount": decimal(answer.making_micro, 6) if answer.making_micro else "",
        "takingAmount": decimal(answer.taking_micro, 6) if answer.taking_micro else "",
        "tradeIDs": answer.trades,
        "transactionsHashes": [],
    }


def _order(order: Order, listing: Listing, who: Identity) -> dict[str, Any]:
    return {
        "id": order.id,
        "owner": who.api_key,
        "market": listing.condition_id,
        "asset_id": listing.tokens[order.outcome],
        "side": _side(order),
        "original_size": decimal(order.size_micro, 6),
        "size_matched": decimal(order.matched_micro, 6),
        "price": decimal(order.price_e4, 4),
        "associate_trades": [],
        "outcome": OUTCOMES[order.outcome],
        "created_at": str(order.placed_ns // SECOND_NS),
        "expiration": str(order.expires_ns // SECOND_NS),
        "order_type": str(order.type),
        "maker_address": who.wallet,
    }


def _trade(trade: Trade, listing: Listing, who: dict[str, Identity], reader: str) -> dict[str, Any]:
    """What both shapes share. The top level is the taker's view, whoever reads."""
    taker = trade.taker
    is_taker = taker.account == reader
    makers = [fill for fill in trade.fills if is_taker or fill.maker.account == reader]
    average = decimal(trade.cost_micro * 10_000 // trade.size_micro, 4)
    identity = who.get(taker.account, HOUSE_IDENTITY)
    return {
        "id": trade.id,
        "taker_order_id": taker.id,
        "market": listing.condition_id,
        "asset_id": listing.tokens[taker.outcome],
        "side": _side(taker),
        "size": decimal(trade.size_micro, 6),
        "fee_rate_bps": "0",
        "price": average,
        "match_time": str(trade.matched_ns // SECOND_NS),
        "last_update": str(trade.updated_ns // SECOND_NS),
        "outcome": OUTCOMES[taker.outcome],
        "bucket_index": 0,
        "owner": identity.api_key,
        "maker_address": identity.wallet,
        "transaction_hash": "" if trade.status == "MATCHED" else transaction(trade),
        "trader_side": "TAKER" if is_taker else "MAKER",
        "maker_orders": [
            {
                "order_id": fill.maker.id,
                "owner": who.get(fill.maker.account, HOUSE_IDENTITY).api_key,
                "maker_address": who.get(fill.maker.account, HOUSE_IDENTITY).wallet,
                "matched_amount": decimal(fill.size_micro, 6),
                "price": decimal(fill.maker.own_e4(fill.up_e4), 4),
                "fee_rate_bps": "0",
                "asset_id": listing.tokens[fill.maker.outcome],
                "outcome": OUTCOMES[fill.maker.outcome],
                "side": _side(fill.maker),
            }
            for fill in makers
        ],
    }


def _side(order: Order) -> str:
    return "BUY" if order.buying else "SELL"
