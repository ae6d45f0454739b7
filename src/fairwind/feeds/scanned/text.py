"""Text at a place in a buffer of many frames, read eight bytes at a time by compiled code.

In: the buffer's bytes and a place. Out: a value, and the place behind it. Never here: a guess:
where something else stands than what was asked for, the place is LOST, and nothing is found there.
"""

from typing import Any

import numpy as np
from numpy import int64, uint8, uint64
from numpy.typing import NDArray

from fairwind.core.compiled import compiled
from fairwind.core.units import MILLISECOND_NS

MARGIN_BYTES = 256
"""Zeros before and behind all frames: no text stands there, and no read leaves the buffer."""
TEXT_BYTES_MAX = MARGIN_BYTES - 8
LOST = int64(0)
LEAST_MS, MOST_MS = int64(1_262_304_000_000), int64(4_102_444_800_000)
"""2010 and 2100, as in `frames.stamp_ns`."""
POWERS = np.array([1, 10, 100, 1_000, 10_000, 100_000, 1_000_000], np.int64)
EIGHT, NINE, ZERO_DIGIT = uint64(8), uint64(9), uint64(ord("0"))
POINT, QUOTE = uint8(ord(".")), uint8(ord('"'))
ZERO_POINT = uint64(int.from_bytes(b"0.", "little"))
CLOSING = uint64(int.from_bytes(b'"}', "little"))
TWO_BYTES = uint64(0xFFFF)
EACH = 0x0101_0101_0101_0101
"""This times a byte is that byte eight times."""
HIGH_BITS, ONES = uint64(EACH * 0x80), uint64(EACH)
BLANKS, QUOTES = uint64(EACH * ord(" ")), uint64(EACH * ord('"'))
BACKSLASHES = uint64(EACH * ord("\\"))
DIGITS_HIGH, HIGH_HALVES, SIXES = uint64(EACH * 0x30), uint64(EACH * 0xF0), uint64(EACH * 6)
THREE_BYTES, THREE_ZEROS = uint64(24), uint64(0x30_30_30)
TENS, HUNDREDS = uint64(1 + (10 << 8)), uint64(1 + (100 << 16))
TEN_THOUSANDS = uint64(1 + (10_000 << 32))
PAIRS, FOURS = uint64(0x00FF_00FF_00FF_00FF), uint64(0x0000_FFFF_0000_FFFF)


def text(value: str, words: int = 0) -> NDArray[np.uint64]:
    """A text as `literal` wants it: its length, its words, and its last eight bytes.

    Shape (2 + len // 8,), or (words,) with zeros behind. Raises ValueError for a text of less than
    eight bytes.
    """
    data = value.encode()
    whole = range(0, len(data) - 7, 8)
    parts = [int.from_bytes(data[at : at + 8], "little") for at in (*whole, len(data) - 8)]
    if len(data) < EIGHT:
        raise ValueError(f"expected at least eight bytes, found {value!r}")
    found = np.zeros(words or len(parts) + 1, np.uint64)
    found[: len(parts) + 1] = [len(data), *parts]
    return found


@compiled(forceinline=True)
def word(data: Any, at: Any) -> Any:
    """The eight bytes from that place on, the first one lowest: one load instruction."""
    at = uint64(at)
    low = uint64(data[at]) | uint64(data[at + uint64(1)]) << uint64(8)
    low |= uint64(data[at + uint64(2)]) << uint64(16) | uint64(data[at + uint64(3)]) << uint64(24)
    high = uint64(data[at + uint64(4)]) | uint64(data[at + uint64(5)]) << uint64(8)
    high |= uint64(data[at + uint64(6)]) << uint64(16) | uint64(data[at + uint64(7)]) << uint64(24)
    return low | high << uint64(32)


@compiled(forceinline=True)
def literal(data: Any, at: Any, expected: Any) -> Any:
    """The place behind the text `expected`."""
    length = int64(expected[0])
    last = length // 8
    wrong = word(data, at + length - 8) ^ expected[uint64(last + 1)]
    for number in range(last):
        wrong |= word(data, at + 8 * number) ^ expected[uint64(number + 1)]
    return at + length if wrong == 0 else LOST


@compiled(forceinline=True)
def _digit(data: Any, at: Any) -> Any:
    """The digit at that place; above NINE where none stands."""
    return uint64(data[uint64(at)]) - ZERO_DIGIT


@compiled(forceinline=True)
def price(data: Any, at: Any) -> Any:
    """(price_e4, the place behind it) of a price above zero like 0.5 with up to four decimals."""
    if word(data, at) & TWO_BYTES != ZERO_POINT:
        return int64(0), LOST
    at += 2
    value, digits = int64(0), int64(0)
    digit = _digit(data, at)
    while digit <= NINE and digits < 4:
        value = value * 10 + int64(digit)
        digits += 1
        digit = _digit(data, at + digits)
    return value * POWERS[4 - digits], at + digits if value > 0 else LOST


@compiled(forceinline=True)
def best_price(data: Any, at: Any, empty_e4: Any) -> Any:
    """The same for a best price; `empty_e4` where the text says that the side is empty."""
    if data[uint64(at)] == QUOTE:
        return empty_e4, at
    if data[uint64(at + 1)] == QUOTE and _digit(data, at) <= 1:
        return empty_e4, at + 1
    return price(data, at)


@compiled(forceinline=True)
def size(data: Any, at: Any) -> Any:
    """(micro shares, its number of decimals, the place behind it) of a size as venues write it."""
    first = at
    value = int64(0)
    digit = _digit(data, at)
    while digit <= NINE and at - first < 9:
        value = value * 10 + int64(digit)
        at += 1
        digit = _digit(data, at)
    whole = at - first
    if whole == 0 or (whole > 1 and _digit(data, first) == 0):
        return int64(0), int64(0), LOST
    if data[uint64(at)] != POINT:
        return value * POWERS[6], int64(0), at
    first = at + 1
    at = first
    digit = _digit(data, at)
    while digit <= NINE and at - first < 6:
        value = value * 10 + int64(digit)
        at += 1
        digit = _digit(data, at)
    return value * POWERS[6 - (at - first)], at - first, at if at > first else LOST


@compiled(forceinline=True)
def same(data: Any, at: Any, length: Any, other: Any) -> Any:
    """The place behind `length` bytes that are the same as those at the place `other`."""
    wrong = uint64(0)
    for place in range(0, length, 8):
        unused = max(place + 8 - length, 0)
        differing = word(data, at + place) ^ word(data, other + place)
        wrong |= differing << uint64(8 * unused)
    return at + length if wrong == 0 and at != LOST else LOST


@compiled(forceinline=True)
def plain(data: Any, at: Any, length: Any) -> Any:
    """The place behind `length` (eight or more) bytes of any text without quote or escape."""
    strange = uint64(0)
    for place in range(at, at + length - 7, 8):
        strange |= _strange(word(data, place))
    strange |= _strange(word(data, at + length - 8))
    return at + length if strange == 0 and at != LOST else LOST


@compiled(forceinline=True)
def _strange(word: Any) -> Any:
    """Not zero when a byte is a quote, a backslash, a control or no ASCII (or may be one)."""
    quote, backslash = word ^ QUOTES, word ^ BACKSLASHES
    return (word | (word - BLANKS) | (quote - ONES) | (backslash - ONES)) & HIGH_BITS


@compiled(forceinline=True)
def stamp_ns(data: Any, at: Any) -> Any:
    """(ns since the epoch, the place behind it) of a time in milliseconds with 13 digits."""
    high, low = word(data, at), word(data, at + 8) << THREE_BYTES | THREE_ZEROS
    found = _eight(high) * 100_000 + _eight(low)
    good = _are_digits(high) and _are_digits(low) and LEAST_MS <= found < MOST_MS
    return found * MILLISECOND_NS, at + 13 if good else LOST


@compiled(forceinline=True)
def _are_digits(word: Any) -> Any:
    high = word & HIGH_HALVES
    return high == DIGITS_HIGH and (word + SIXES) & HIGH_HALVES == DIGITS_HIGH


@compiled(forceinline=True)
def _eight(word: Any) -> Any:
    """The number that eight digits are: pairs, fours, then all of them, side by side."""
    word = ((word - DIGITS_HIGH) * TENS) >> EIGHT
    word = ((word & PAIRS) * HUNDREDS) >> uint64(16)
    return int64(((word & FOURS) * TEN_THOUSANDS) >> uint64(32))
