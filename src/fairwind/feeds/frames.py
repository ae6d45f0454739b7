"""What every feed shares: strict numbers, times and the rows that a frame becomes.

In: text as a venue wrote it. Out: integers, EVENT rows, or BadFrame with a counted reason. Never
here: a number that is guessed, rounded away from its grid, or read from NaN, signs or exponents.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
import numpy as np

from fairwind.core.errors import Fault
from fairwind.core.events import EVENT, Events, Kind, Side, Source
from fairwind.core.units import MILLISECOND_NS, PRICE_ONE_E4, SECOND_NS, scaled

GRID_E4 = 5
"""Contract prices lie on the book's grid of 0.0005 (ADR 1)."""
TICK_MAX_E4 = 1_000
NUMBER_TEXT_MAX = 48
WHOLE_DIGITS_MAX = 9
"""No price in dollars and no number of shares has more digits before its point."""
EARLIEST_NS, LATEST_NS = 1_262_304_000 * SECOND_NS, 4_102_444_800 * SECOND_NS
"""2010 and 2100: a time outside is no time."""

Row = tuple[int, int, int, int, int, int, int, int, int, int]
"""One event's fields in the order of EVENT."""
T = TypeVar("T")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)


class Reason(StrEnum):
    """Why a frame was refused."""

    NOT_JSON = "NOT_JSON"
    SHAPE = "SHAPE"  # a field is missing or has another type, or the kind is unknown
    NUMBER = "NUMBER"  # no plain decimal number
    PRICE = "PRICE"  # a contract price outside (0, 1) or off the grid; a spot price of zero
    SIZE = "SIZE"  # a size that cannot stand in a book
    SIDE = "SIDE"
    TIME = "TIME"
    CROSSED = "CROSSED"  # the best bid is not below the best ask
    DUPLICATE_LEVEL = "DUPLICATE_LEVEL"
    DUPLICATE_KEY = "DUPLICATE_KEY"
    MIRROR = "MIRROR"  # Up's and Down's entries of one change contradict each other
    ASSET = "ASSET"  # a token that is not the market's
    RANGE = "RANGE"  # two forms of one value differ, or it lies beyond all reason
    REFUSED = "REFUSED"  # the venue answered with an error


class BadFrame(Fault):
    """A frame that cannot be used, with its reason."""

    def __init__(self, reason: Reason, expected: str, found: object) -> None:
        super().__init__(f"expected {expected}, found {str(found)[:120]!r}; the frame is dropped")
        self.reason = reason


def decoded(decoder: "msgspec.json.Decoder[T]", payload: bytes) -> T:
    """The payload as the decoder's type; BadFrame NOT_JSON or SHAPE."""
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise BadFrame(Reason.SHAPE, f"a known shape ({error})", payload) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(Reason.NOT_JSON, "JSON", payload) from error


def decimal(text: str, digits: int) -> int:
    """A plain, unsigned decimal number times 10^digits, ties to even; BadFrame NUMBER."""
    whole, _, part = text.partition(".")
    plain = text.isascii() and (whole + part).isdigit()
    if not plain or len(whole) > WHOLE_DIGITS_MAX or len(text) > NUMBER_TEXT_MAX:
        raise BadFrame(Reason.NUMBER, "a plain decimal number", text)
    if len(part) <= digits:
        return int(whole + part.ljust(digits, "0"))
    return scaled(text, digits)


@lru_cache(4096)
def contract_price(text: str) -> int:
    """A price in dollars inside (0, 1) on the book's grid, as price_e4; BadFrame."""
    price = decimal(text, 4)
    finer = text.partition(".")[2][4:].strip("0")
    if finer or not 0 < price < PRICE_ONE_E4 or price % GRID_E4:
        raise BadFrame(Reason.PRICE, "a price inside (0, 1) on the grid", text)
    return price


def tick_size(text: str) -> int:
    """A tick in dollars as price_e4: on the grid, at most ten cents, dividing a dollar; BadFrame.

    The engine refuses a window with any other.
    """
    tick_e4 = contract_price(text)
    if tick_e4 > TICK_MAX_E4 or PRICE_ONE_E4 % tick_e4:
        raise BadFrame(Reason.PRICE, "a tick that divides a dollar", text)
    return tick_e4


@lru_cache(4096)
def trade_price(text: str) -> int:
    """A price in dollars inside (0, 1), nearest price_e4: a print may be an average."""
    price = decimal(text, 4)
    if not 0 < price < PRICE_ONE_E4:
        raise BadFrame(Reason.PRICE, "a price inside (0, 1)", text)
    return price


@lru_cache(4096)
def best_price(text: str, empty_e4: int) -> int:
    """A best price; `empty_e4` for the texts with which the venue says that the side is empty."""
    return empty_e4 if text in ("", "0", "1") else contract_price(text)


@lru_cache(16_384)
def shares(text: str) -> int:
    """A number of shares as micro shares; BadFrame. A size comes at least twice, once mirrored."""
    return decimal(text, 6)


def spot_price(text: str) -> int:
    """A price in dollars above zero as 1e-8 dollar; BadFrame."""
    price = decimal(text, 8)
    if price == 0:
        raise BadFrame(Reason.PRICE, "a price above zero", text)
    return price


def stamp_ns(value: str | int) -> int:
    """A time since the epoch in s, ms, us or ns, told apart by its magnitude, in ns; BadFrame."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= 19):
            raise BadFrame(Reason.TIME, "a time in seconds or a finer unit", value)
        value = int(value)
    if EARLIEST_NS <= value * MILLISECOND_NS < LATEST_NS:
        return value * MILLISECOND_NS
    for unit_ns in (SECOND_NS, 1_000, 1):
        if EARLIEST_NS <= value * unit_ns < LATEST_NS:
            return value * unit_ns
    raise BadFrame(Reason.TIME, "a time between 2010 and 2100", value)


def rfc3339_ns(text: str) -> int:
    """A time like 2026-09-07T23:37:22.278662782Z in ns since the epoch; BadFrame."""
    match = _RFC3339.fullmatch(text)
    try:
        second = datetime.fromisoformat(match[1] + "+00:00") if match else None
    except ValueError:
        second = None
    if match is None or second is None:
        raise BadFrame(Reason.TIME, "a time as in RFC 3339, in UTC", text)
    return stamp_ns(int(second.timestamp())) + int((match[2] or "").ljust(9, "0"))


def row(
    kind: Kind,
    ts_ns: int,
    source: Source,
    *,
    market: int = 0,
    price: int = 0,
    size: int = 0,
    ts_source_ns: int = 0,
    ref: int = 0,
    side: int = Side.NONE,
    flags: int = 0,
) -> Row:
    """One event. Fields and units as in EVENT and Kind."""
    return (ts_ns, ts_source_ns, price, size, market, ref, kind, source, side, flags)


def as_events(rows: Sequence[Row]) -> Events:
    """The rows as events, in their order. Shape (n,)."""
    filled: np.ndarray[Any, Any] = np.array(rows, EVENT) if rows else np.zeros(0, EVENT)
    return filled
