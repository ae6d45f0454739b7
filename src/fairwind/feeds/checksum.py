"""The venue's checksum of a token's book, recomputed as a health check of the rebuilt one.

In: the book's levels as the venue wrote them. Out: whether the sent hash fits. Never here: a
verdict from one mismatch: the last trade price that goes into the hash is often not sent.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from fairwind.core.units import price_e4

REMEMBERED_TRADES = 8
_e4 = lru_cache(4096)(price_e4)


@dataclass
class TokenBook:
    """One token's book in the venue's own text: price -> size. Numbers keep their formatting."""

    market: str
    asset_id: str
    bids: dict[str, str] = field(default_factory=dict)
    asks: dict[str, str] = field(default_factory=dict)
    tick_size: str = "0.01"
    min_order_size: str = "5"
    neg_risk: bool = False

    def best(self) -> tuple[int, int]:
        """(best bid, best ask) as price_e4; 0 and 10000 stand for an empty side."""
        return (
            max((_e4(price) for price in self.bids), default=0),
            min((_e4(price) for price in self.asks), default=10_000),
        )


def book_hash(book: TokenBook, timestamp: str, last_trade_price: str) -> str:
    """SHA-1 of the book's compact JSON, as the venue computes it (venue facts 3.4)."""
    return _finished(_begun(book, timestamp), last_trade_price)


def fitting_trade_price(
    book: TokenBook, timestamp: str, sent_hash: str, candidates: Iterable[str]
) -> str | None:
    """The first candidate for the last trade price with which the book has the sent hash."""
    begun = _begun(book, timestamp)
    for candidate in candidates:
        if _finished(begun, candidate) == sent_hash:
            return candidate
    return None


class TradePrices:
    """A market's candidates for the last trade price: what fitted last, then recent prints.

    The venue's value is a three-decimal text for both tokens, a recent print, its complement, or
    one tick beside them (venue facts 3.4).
    """

    def __init__(self) -> None:
        self._fitted = ""
        self._recent: list[str] = []

    def fitted(self, price: str) -> None:
        """`price` explained a hash, or was sent with a book."""
        self._fitted = price

    def printed(self, price: str) -> None:
        """A trade was printed at `price`."""
        self._recent = [price, *(one for one in self._recent if one != price)][:REMEMBERED_TRADES]

    def candidates(self) -> list[str]:
        """All candidates, the most probable first."""
        prices = [_e4(price) for price in self._recent]
        both = [one for price in prices for one in (price, 10_000 - price)]
        near = [one + step for one in both for step in (-100, 100)]
        texts = [f"{price / 10_000:.3f}" for price in (*both, *near) if 0 < price < 10_000]
        return list(dict.fromkeys((self._fitted, *texts)))


def _begun(book: TokenBook, timestamp: str) -> "hashlib._Hash":
    """The hash over everything up to the last trade price, which comes last."""
    before = json.dumps(
        {
            "market": book.market,
            "asset_id": book.asset_id,
            "timestamp": timestamp,
            "hash": "",
            "bids": _levels(book.bids, descending=False),
            "asks": _levels(book.asks, descending=True),
            "min_order_size": book.min_order_size,
            "tick_size": book.tick_size,
            "neg_risk": book.neg_risk,
        },
        separators=(",", ":"),
    )
    return hashlib.sha1(before[:-1].encode(), usedforsecurity=False)


def _finished(begun: "hashlib._Hash", last_trade_price: str) -> str:
    digest = begun.copy()
    digest.update(f',"last_trade_price":{json.dumps(last_trade_price)}}}'.encode())
    return digest.hexdigest()


def _levels(side: dict[str, str], *, descending: bool) -> list[dict[str, str]]:
    """The side's levels, the best one last."""
    ordered = sorted(side.items(), key=lambda level: _e4(level[0]), reverse=descending)
    return [{"price": price, "size": size} for price, size in ordered]
