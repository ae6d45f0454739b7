"""The venue's checksum of a token's book, recomputed as a health check of the rebuilt one.

In: the book's levels as the venue wrote them. Out: whether the sent hash fits. Never here: a
verdict from one mismatch: the last trade price that goes into the hash is often not sent.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy import int64
from numpy.typing import NDArray

from fairwind.core.compiled import compiled
from fairwind.core.units import SHARE_MICRO, price_e4
from fairwind.feeds.frames import GRID_E4

REMEMBERED_TRADES = 8
LEVEL_BYTES_MAX = 48
PRICE, SIZE, LEVEL_END, BIDS, ASKS, LEVELS_END = (
    np.frombuffer(one, np.uint8)
    for one in (b'{"price":"0.', b'","size":"', b'"},', b'"bids":[', b'],"asks":[', b"]")
)
ZERO, POINT = ord("0"), ord(".")
POWERS = 10 ** np.arange(18)
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
    return fitting(_begun(book, timestamp), sent_hash, candidates)


def fitting(begun: "hashlib._Hash", sent_hash: str, candidates: Iterable[str]) -> str | None:
    """The first candidate with which a hash that has begun becomes the sent one."""
    for candidate in candidates:
        if _finished(begun, candidate) == sent_hash:
            return candidate
    return None


class TradePrices:
    """A market's candidates for the last trade price: what fitted last, then recent prints.

    The venue's value is a three-decimal text for both tokens, a recent print, its complement, or
    one tick beside them (venue facts 3.4).
    """

    def __init__(self, recent: NDArray[np.int64] | None = None) -> None:
        """`recent`: room for `REMEMBERED_TRADES` prices as price_e4, if somebody shares it."""
        self._fitted = ""
        self._recent = np.zeros(REMEMBERED_TRADES, np.int64) if recent is None else recent

    def fitted(self, price: str) -> None:
        """`price` explained a hash, or was sent with a book."""
        self._fitted = price

    def printed(self, price: str) -> None:
        """A trade was printed at `price`."""
        remember(self._recent, _e4(price))

    def candidates(self) -> Iterator[str]:
        """All candidates, the most probable first; each is worked out when it is asked for."""
        yield self._fitted
        prices = [int(price) for price in self._recent if price]
        both = [one for price in prices for one in (price, 10_000 - price)]
        near = [one + step for one in both for step in (-100, 100)]
        texts = [f"{price / 10_000:.3f}" for price in (*both, *near) if 0 < price < 10_000]
        yield from (one for one in dict.fromkeys(texts) if one != self._fitted)


@compiled
def remember(recent: Any, price_e4: Any) -> None:
    """Put a price first; it stands there once, and the oldest one is forgotten."""
    last = 0
    while last < len(recent) - 1 and recent[last] != price_e4:
        last += 1
    for place in range(last, 0, -1):
        recent[place] = recent[place - 1]
    recent[0] = price_e4


def begun(
    names: tuple[str, str, str], levels: bytes, rules: tuple[str, str, bool]
) -> "hashlib._Hash":
    """The hash over everything up to the last trade price, which comes last.

    `names` are the market, the token and the time, `levels` those of both sides as `levels_text`
    has them, `rules` the least order, the tick and whether it is a negative-risk market.
    """
    market, asset, time = names
    least, tick, negative = rules
    before = f'{{"market":"{market}","asset_id":"{asset}","timestamp":"{time}","hash":"",'
    after = f',"min_order_size":"{least}","tick_size":"{tick}","neg_risk":{str(negative).lower()}'
    return hashlib.sha1(before.encode() + levels + after.encode(), usedforsecurity=False)


def _begun(book: TokenBook, timestamp: str) -> "hashlib._Hash":
    levels = {
        "bids": _levels(book.bids, descending=False),
        "asks": _levels(book.asks, descending=True),
    }
    return begun(
        (book.market, book.asset_id, timestamp),
        json.dumps(levels, separators=(",", ":"))[1:-1].encode(),
        (book.min_order_size, book.tick_size, book.neg_risk),
    )


def _finished(begun: "hashlib._Hash", last_trade_price: str) -> str:
    digest = begun.copy()
    digest.update(b',"last_trade_price":' + msgspec.json.encode(last_trade_price) + b"}")
    return digest.hexdigest()


def _levels(side: dict[str, str], *, descending: bool) -> list[dict[str, str]]:
    """The side's levels, the best one last."""
    ordered = sorted(side.items(), key=lambda level: _e4(level[0]), reverse=descending)
    return [{"price": price, "size": size} for price, size in ordered]


def levels_text(sizes: NDArray[np.int64], decimals: NDArray[np.uint8]) -> bytes:
    """Both sides as they stand in the hashed text, the best level of each last.

    Shapes (2, n): micro shares by level, the level's price being its index x GRID_E4, and with how
    many decimals each size was written.
    """
    text = np.empty(LEVEL_BYTES_MAX * (2 + np.count_nonzero(sizes)), np.uint8)
    return text[: _written(text, sizes, decimals)].tobytes()


@compiled
def _written(text: Any, sizes: Any, decimals: Any) -> Any:
    """Writes the levels; returns the length."""
    end = sizes.shape[1]
    at = _copied(text, int64(0), BIDS)
    first = at
    for level in range(1, end):
        if sizes[0, level] != 0:
            at = _level(text, at, level, sizes[0, level], decimals[0, level])
    at = _copied(text, at - (at > first), ASKS)
    first = at
    for level in range(end - 1, 0, -1):
        if sizes[1, level] != 0:
            at = _level(text, at, level, sizes[1, level], decimals[1, level])
    return _copied(text, at - (at > first), LEVELS_END)


@compiled
def _level(text: Any, at: Any, level: Any, micro: Any, decimals: Any) -> Any:
    """One level and a comma behind it."""
    at = _copied(text, at, PRICE)
    at = _digits(text, at, int64(level * GRID_E4), int64(4))
    while text[at - 1] == ZERO:
        at -= 1
    at = _copied(text, at, SIZE)
    whole, part = micro // SHARE_MICRO, micro % SHARE_MICRO
    digits = int64(1)
    while whole >= POWERS[digits]:
        digits += 1
    at = _digits(text, at, whole, digits)
    if decimals > 0:
        text[at] = POINT
        at = _digits(text, at + 1, part, int64(6)) - (6 - int64(decimals))
    return _copied(text, at, LEVEL_END)


@compiled(forceinline=True)
def _copied(text: Any, at: Any, what: Any) -> Any:
    for number in range(len(what)):
        text[at + number] = what[number]
    return at + len(what)


@compiled(forceinline=True)
def _digits(text: Any, at: Any, value: Any, digits: Any) -> Any:
    """So many digits of the value, with zeros before it."""
    for place in range(digits - 1, -1, -1):
        text[at + place] = ZERO + value % 10
        value //= 10
    return at + digits
