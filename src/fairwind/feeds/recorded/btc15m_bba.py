"""Best bid and ask with sizes of both tokens, a row on every change (Parquet or CSV).

In: the quote table. Out: a Recording; a window is resolved only where its quotes are pinned to one
side at its end. Never here: a quote as a settlement price.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from fairwind.core.errors import BadInput
from fairwind.core.events import Flag, Kind, Side
from fairwind.core.ids import parse_slug
from fairwind.core.units import MILLISECOND_NS, PRICE_ONE_E4, SECOND_NS, price_e4, size_micro
from fairwind.feeds.recorded.ladder import Ladder, Levels, contradict, mirrored
from fairwind.feeds.recorded.read import csv_rows, table
from fairwind.feeds.recorded.recording import (
    LISTING_ASSUMED,
    RESOLVED_AFTER_NS,
    Problems,
    Recording,
    Rows,
    Window,
    closing,
    window_end_ns,
)

COLUMNS = (
    "recorded_at_ts",
    "market_slug",
    "up_book_ts",
    "down_book_ts",
    "up_bid",
    "up_bid_size",
    "up_ask",
    "up_ask_size",
    "down_bid",
    "down_bid_size",
    "down_ask",
    "down_ask_size",
)
PINNED_E4 = 100
PINNED_WITHIN_NS = 30 * SECOND_NS
BEST_ASSUMED = "only the best level of each side is recorded; nothing stands behind it"
PINNED_ASSUMED = (
    "no result is recorded: a window whose last quote, at most 30 s before its end, offers one"
    " outcome at 0.01 or less resolves to the other 20 s after the end; other windows stay pending"
)


class _Row(NamedTuple):
    ts_ns: int
    slug: str
    up_ns: int
    down_ns: int
    up: tuple[int, int, int, int]  # bid_e4, bid micro, ask_e4, ask micro; a price of 0 is none
    down: tuple[int, int, int, int]


def load(path: Path, *, strict: bool = True) -> Recording:
    """All windows of a quote table; BadInput names a missing column or, when strict, a bad row."""
    problems = Problems(strict=strict)
    if path.suffix == ".parquet":
        return recording(_read(_parquet_rows(path), problems), problems, path)
    return recording(_read(csv_rows(path, COLUMNS, problems), problems), problems, path)


def recording(found: Iterable[_Row], problems: Problems, path: Path) -> Recording:
    """The Recording of quote rows; `path` is for messages."""
    by_slug: dict[str, list[_Row]] = {}
    for one in sorted(found, key=lambda row: row.ts_ns):
        by_slug.setdefault(one.slug, []).append(one)
    if not by_slug:
        raise BadInput(f"{path}: expected quotes, found an empty table")
    rows = Rows()
    windows: list[Window] = []
    for market, name in enumerate(sorted(by_slug, key=lambda name: parse_slug(name)[1])):
        quotes = by_slug[name]
        rows.list_market(market, name, quotes[0].ts_ns)
        ladder = Ladder(rows, market, problems, name)
        for quote in quotes:
            _show(ladder, quote, problems)
        payout_e4 = _pinned(quotes[-1])
        if payout_e4 is not None:
            rows.add(Kind.RESOLVED, window_end_ns(name) + RESOLVED_AFTER_NS, market, payout_e4)
        windows.append(Window(slug=name, payout_e4=payout_e4))
    return Recording(
        events=closing(rows.events()),
        windows=tuple(windows),
        problems=problems.listed(),
        assumptions=(LISTING_ASSUMED, BEST_ASSUMED, PINNED_ASSUMED),
    )


def _show(ladder: Ladder, quote: _Row, problems: Problems) -> None:
    """Up's quote, or Down's mirror where Up has none; a contradiction is flagged and noted."""
    bid, bid_size, ask, ask_size = quote.up
    other_bid, other_ask = mirrored(quote.down[0], quote.down[2])
    flags = 0
    if contradict((bid, ask), (other_bid, other_ask)):
        flags = int(Flag.PARITY)
        problems.note(
            "PARITY",
            f"{quote.slug} at {quote.ts_ns}: Up {bid}/{ask}, mirrored Down {other_bid}/{other_ask}",
        )
    source_ns = quote.up_ns
    if not bid and not ask:
        source_ns, bid, bid_size = quote.down_ns, other_bid, quote.down[3]
        ask, ask_size = other_ask, quote.down[1]
    levels: Levels = {}
    if bid:
        levels[Side.BID, bid] = bid_size
    if ask:
        levels[Side.ASK, ask] = ask_size
    ladder.show(quote.ts_ns, source_ns, levels, flags)


def _pinned(last: _Row) -> int | None:
    """The payout of Up that the last quote leaves no doubt about, or None."""
    if last.ts_ns < window_end_ns(last.slug) - PINNED_WITHIN_NS:
        return None
    bid, _, ask, _ = last.up
    if ask and not bid and ask <= PINNED_E4:
        return 0
    if bid and not ask and bid >= PRICE_ONE_E4 - PINNED_E4:
        return PRICE_ONE_E4
    return None


def _parquet_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    found = table(path, COLUMNS)
    try:
        texts = [found[name].cast(pa.string()).fill_null("").to_pylist() for name in COLUMNS]
    except pa.ArrowException as error:
        raise BadInput(f"{path}: expected columns of numbers and texts ({error})") from error
    for row, fields in enumerate(zip(*texts, strict=True), 1):
        yield f"{path} row {row}", list(fields)


def _read(rows: Iterable[tuple[str, list[str]]], problems: Problems) -> Iterator[_Row]:
    for where, fields in rows:
        try:
            parse_slug(fields[1])
            yield _Row(
                ts_ns=round(float(fields[0]) * 1e6) * 1000,
                slug=fields[1],
                up_ns=int(fields[2]) * MILLISECOND_NS,
                down_ns=int(fields[3]) * MILLISECOND_NS,
                up=_quote(fields[4:8]),
                down=_quote(fields[8:12]),
            )
        except (BadInput, ValueError, ArithmeticError):
            problems.reject(where, ",".join(fields), "a slug, times, and quotes from 0 to 1")


def _quote(fields: list[str]) -> tuple[int, int, int, int]:
    """Texts of bid, bid size, ask, ask size; an empty text, nan, bid 0 and ask 1 stand for none."""
    bid, bid_size, ask, ask_size = ("0" if one in ("", "nan") else one for one in fields)
    prices = price_e4(bid), price_e4(ask)
    if not all(0 <= price <= PRICE_ONE_E4 for price in prices):
        raise ValueError(f"expected prices from 0 to 1, found {bid} and {ask}")
    return (
        prices[0] % PRICE_ONE_E4,
        size_micro(bid_size),
        prices[1] % PRICE_ONE_E4,
        size_micro(ask_size),
    )
