"""Messages of the CLOB's market channel, and the book that both tokens of a market show.

In: a listing and its levels in Up terms. Out: JSON with the venue's own numbers, mirrored for the
Down token, each delta with the checksum of the book after it. Never here: who traded.
"""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec

from fairwind.core.events import Outcome, Side
from fairwind.core.units import MILLISECOND_NS, PRICE_ONE_E4, SHARE_MICRO
from fairwind.world.exchange.accounts import Trade
from fairwind.world.exchange.facts import LevelFact
from fairwind.world.exchange.orders import decimal
from fairwind.world.server.listing import OUTCOMES, Listing, derived

encode = msgspec.json.Encoder().encode
SIDES = ("BUY", "SELL")
REMEMBERED_LEVELS = 1 << 16


class Level(msgspec.Struct, frozen=True):
    """A level as it is sent."""

    price: str
    size: str


@dataclass
class Shown:
    """A market as its readers see it: the levels that were sent, and what goes into checksums."""

    listing: Listing
    tick_e4: int
    least_micro: int = 5 * SHARE_MICRO
    last_price: str = ""  # three decimals, of the token that the last taker traded
    changed_ns: int = 0
    levels: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))

    def apply(self, fact: LevelFact) -> None:
        """A level has a new total."""
        if fact.size_micro:
            self.levels[fact.side][fact.up_e4] = fact.size_micro
        else:
            self.levels[fact.side].pop(fact.up_e4, None)

    def sides(self, outcome: Outcome) -> tuple[list[Level], list[Level]]:
        """(bids, asks) of a token, the best level of each last."""
        if outcome == Outcome.UP:
            bids, asks = self.levels
            return _levels(sorted(bids.items())), _levels(sorted(asks.items(), reverse=True))
        asks, bids = ({PRICE_ONE_E4 - p: s for p, s in one.items()} for one in self.levels)
        return _levels(sorted(bids.items())), _levels(sorted(asks.items(), reverse=True))

    def best_e4(self, outcome: Outcome) -> tuple[int | None, int | None]:
        """(best bid, best ask) of a token, e4; None where there is none."""
        bids, asks = self.levels
        bid = max(bids) if bids else None
        ask = min(asks) if asks else None
        if outcome == Outcome.UP:
            return bid, ask
        return _mirrored(ask), _mirrored(bid)

    def best(self, outcome: Outcome) -> tuple[str, str]:
        """(best bid, best ask) of a token as text; empty where there is none."""
        bid, ask = self.best_e4(outcome)
        return _price(bid), _price(ask)

    def book(self, outcome: Outcome) -> dict[str, Any]:
        """The token's book as REST answers it, its checksum included."""
        bids, asks = self.sides(outcome)
        book = {
            "market": self.listing.condition_id,
            "asset_id": self.listing.tokens[outcome],
            "timestamp": milliseconds(self.changed_ns),
            "hash": "",
            "bids": bids,
            "asks": asks,
            "min_order_size": decimal(self.least_micro, 6),
            "tick_size": decimal(self.tick_e4, 4),
            "neg_risk": False,
            "last_trade_price": self.last_price,
        }
        book["hash"] = hashlib.sha1(encode(book), usedforsecurity=False).hexdigest()
        return book


def first_book(shown: Shown, outcome: Outcome) -> dict[str, Any]:
    """One of the books in the array that answers a subscription."""
    book = {**shown.book(outcome), "event_type": "book"}
    del book["min_order_size"], book["neg_risk"]
    return book


def book_again(shown: Shown, outcome: Outcome) -> bytes:
    """The book after a trade: without tick size and last trade price."""
    book = first_book(shown, outcome)
    del book["tick_size"], book["last_trade_price"]
    return encode(book)


def price_change(shown: Shown, fact: LevelFact) -> bytes:
    """A level's new total, for both tokens; `shown` already has it."""
    changes = []
    for outcome in Outcome:
        own = fact.side if outcome == Outcome.UP else Side(1 - fact.side)
        price = fact.up_e4 if outcome == Outcome.UP else PRICE_ONE_E4 - fact.up_e4
        best_bid, best_ask = shown.best(outcome)
        change = {
            "asset_id": shown.listing.tokens[outcome],
            "price": decimal(price, 4),
            "size": decimal(fact.size_micro, 6),
            "side": SIDES[own],
            "hash": shown.book(outcome)["hash"],
            "best_bid": best_bid or "0",
            "best_ask": best_ask or "0",
        }
        changes.append(change)
    return encode(
        {
            "market": shown.listing.condition_id,
            "price_changes": changes,
            "timestamp": milliseconds(shown.changed_ns),
            "event_type": "price_change",
        }
    )


def last_trade_price(shown: Shown, trade: Trade) -> bytes:
    """The print of a trade: the taker's token, side and size, the last price that it touched."""
    taker = trade.taker
    return encode(
        {
            "market": shown.listing.condition_id,
            "asset_id": shown.listing.tokens[taker.outcome],
            "price": decimal(taker.own_e4(trade.fills[-1].up_e4), 4),
            "size": decimal(trade.size_micro, 6),
            "fee_rate_bps": "0",
            "side": "BUY" if taker.buying else "SELL",
            "timestamp": milliseconds(shown.changed_ns),
            "event_type": "last_trade_price",
            "transaction_hash": transaction(trade),
        }
    )


def tick_size_change(shown: Shown, outcome: Outcome, old_e4: int, new_e4: int) -> bytes:
    """The tick changed; sent twice per token, as the venue does."""
    return encode(
        {
            "event_type": "tick_size_change",
            "asset_id": shown.listing.tokens[outcome],
            "market": shown.listing.condition_id,
            "old_tick_size": decimal(old_e4, 4),
            "new_tick_size": decimal(new_e4, 4),
            "timestamp": milliseconds(shown.changed_ns),
        }
    )


def best_bid_ask(shown: Shown, outcome: Outcome) -> bytes:
    """The token's best prices (custom feature)."""
    bid, ask = shown.best_e4(outcome)
    return encode(
        {
            "market": shown.listing.condition_id,
            "asset_id": shown.listing.tokens[outcome],
            "best_bid": _price(bid),
            "best_ask": _price(ask),
            "spread": "" if bid is None or ask is None else decimal(ask - bid, 4),
            "timestamp": milliseconds(shown.changed_ns),
            "event_type": "best_bid_ask",
        }
    )


def new_market(shown: Shown, rate_e6: int) -> bytes:
    """A market was listed (custom feature; sent to everybody)."""
    listing = shown.listing
    event = {"id": listing.event_id, "ticker": listing.slug, "slug": listing.slug}
    return encode(
        {
            "id": listing.id,
            "question": listing.title,
            "market": listing.condition_id,
            "slug": listing.slug,
            "description": "",
            "assets_ids": listing.tokens,
            "outcomes": OUTCOMES,
            "event_message": {**event, "title": listing.title, "description": ""},
            "timestamp": milliseconds(shown.changed_ns),
            "event_type": "new_market",
            "tags": [],
            "condition_id": listing.condition_id,
            "active": False,
            "clob_token_ids": listing.tokens,
            "sports_market_type": "",
            "line": "",
            "game_start_time": "",
            "order_price_min_tick_size": decimal(shown.tick_e4, 4),
            "group_item_title": "",
            "taker_base_fee": "1000",
            "fees_enabled": True,
            "fee_schedule": {
                "exponent": "1",
                "rate": decimal(rate_e6, 6),
                "taker_only": True,
                "rebate_rate": "0.2",
            },
        }
    )


def market_resolved(shown: Shown, up_payout_e4: int) -> bytes:
    """The market's result (custom feature); no winner when it is void."""
    listing = shown.listing
    winner = {PRICE_ONE_E4: 0, 0: 1}.get(up_payout_e4)
    return encode(
        {
            "event_type": "market_resolved",
            "id": listing.id,
            "market": listing.condition_id,
            "assets_ids": listing.tokens,
            "winning_asset_id": "" if winner is None else listing.tokens[winner],
            "winning_outcome": "" if winner is None else OUTCOMES[winner],
            "timestamp": milliseconds(shown.changed_ns),
            "tags": [],
        }
    )


def transaction(trade: Trade) -> str:
    """The hash of the trade's transaction, which no chain has ever seen."""
    return "0x" + derived(trade.id, "transaction").hex()


def milliseconds(ts_ns: int) -> str:
    """A time as the market channel writes it."""
    return str(ts_ns // MILLISECOND_NS)


def _levels(levels: list[tuple[int, int]]) -> list[Level]:
    return [_level(price, size) for price, size in levels]


@lru_cache(REMEMBERED_LEVELS)
def _level(price_e4: int, size_micro: int) -> Level:
    """Most levels stay between two checksums of a book, so their texts are remembered."""
    return Level(decimal(price_e4, 4), decimal(size_micro, 6))


def _mirrored(price_e4: int | None) -> int | None:
    return None if price_e4 is None else PRICE_ONE_E4 - price_e4


def _price(price_e4: int | None) -> str:
    return "" if price_e4 is None else decimal(price_e4, 4)
