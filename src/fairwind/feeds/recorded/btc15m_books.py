"""Book snapshots of both tokens, about one a second, with the windows' payouts (two Parquet files).

In: `books.parquet` with `markets.parquet` beside it. Out: a Recording. Never here: a Down snapshot
where Up's of the same instant exists; a payout before the window's end.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fairwind.core.errors import BadInput
from fairwind.core.events import Kind, Side
from fairwind.core.units import MILLISECOND_NS, PRICE_ONE_E4, SHARE_MICRO, price_e4
from fairwind.feeds.recorded.ladder import Ladder, Levels
from fairwind.feeds.recorded.read import table
from fairwind.feeds.recorded.recording import (
    LISTING_ASSUMED,
    RESOLVED_AFTER_NS,
    RESOLVED_ASSUMED,
    Problems,
    Recording,
    Rows,
    Window,
    closing,
    window_end_ns,
)

COLUMNS = ("market_id", "ts", "side", "bid_px", "bid_sz", "ask_px", "ask_sz")
MARKET_COLUMNS = ("market_id", "slug", "payout_up")
BOOKS = "books.parquet"
MARKETS = "markets.parquet"
DEPTH_ASSUMED = "only the recorded levels of each side exist; deeper ones are unknown, not filled"
LATENCY_ASSUMED = "snapshots have one clock: the time of receipt is taken as the source's"


def load(path: Path) -> Recording:
    """All windows of the books in `path`, the book file or the market file beside it.

    Raises BadInput naming a missing file, column or market.
    """
    if path.name == MARKETS:
        path = path.with_name(BOOKS)
    return recording(table(path, COLUMNS), table(path.with_name(MARKETS), MARKET_COLUMNS), path)


def recording(books: pa.Table, markets: pa.Table, path: Path) -> Recording:
    """The Recording of two tables; `path` is for messages."""
    ids = _texts(books, "market_id")
    sides = _texts(books, "side")
    other = [one for one in sides if one not in ("UP", "DOWN")]
    if other:
        raise BadInput(f"{path}: expected side UP or DOWN in each row, found {other[0]!r}")
    side_up = sides == "UP"
    ts_ms = _integers(books, "ts", path)
    bids = _levels(books, "bid_px", "bid_sz", path)
    asks = _levels(books, "ask_px", "ask_sz", path)
    problems = Problems()
    rows = Rows()
    windows: list[Window] = []
    known = {one["market_id"]: one for one in markets.to_pylist()}
    unknown = sorted(set(ids.tolist()) - known.keys())
    if unknown:
        raise BadInput(f"{path}: expected each market in {MARKETS}, found no row for {unknown[0]}")
    if not len(ids):
        raise BadInput(f"{path}: expected snapshots, found an empty table")
    order = sorted(known.values(), key=lambda one: str(one["slug"]))
    for market, one in enumerate(one for one in order if (ids == one["market_id"]).any()):
        name = str(one["slug"])
        mine = np.flatnonzero(ids == one["market_id"])
        mine = mine[np.lexsort((~side_up[mine], ts_ms[mine]))]
        rows.list_market(market, name, int(ts_ms[mine[0]]) * MILLISECOND_NS)
        ladder = Ladder(rows, market, problems, name)
        previous = -1
        for index in mine.tolist():
            if ts_ms[index] == previous:
                continue
            previous = ts_ms[index]
            at_ns = int(previous) * MILLISECOND_NS
            ladder.show(at_ns, at_ns, _up_levels(bids(index), asks(index), bool(side_up[index])))
        windows.append(_result(rows, market, name, one["payout_up"]))
    return Recording(
        events=closing(rows.events()),
        windows=tuple(windows),
        problems=problems.listed(),
        assumptions=(LISTING_ASSUMED, DEPTH_ASSUMED, LATENCY_ASSUMED, RESOLVED_ASSUMED),
    )


def _result(rows: Rows, market: int, name: str, payout_up: float | None) -> Window:
    """The window's label; its RESOLVED event when the payout is known."""
    payout_e4 = None if payout_up is None or payout_up != payout_up else price_e4(payout_up)
    if payout_e4 not in (None, 0, PRICE_ONE_E4 // 2, PRICE_ONE_E4):
        raise BadInput(f"{name}: expected a payout_up of 0, 0.5 or 1, found {payout_up}")
    if payout_e4 is not None:
        rows.add(Kind.RESOLVED, window_end_ns(name) + RESOLVED_AFTER_NS, market, payout_e4)
    return Window(slug=name, payout_e4=payout_e4)


def _up_levels(bids: list[tuple[int, int]], asks: list[tuple[int, int]], is_up: bool) -> Levels:
    """The Up book from one token's levels (price_e4, shares micro)."""
    if not is_up:
        bids, asks = (
            [(PRICE_ONE_E4 - price, size) for price, size in asks],
            [(PRICE_ONE_E4 - price, size) for price, size in bids],
        )
    levels: Levels = {(Side.BID, price): size for price, size in bids}
    levels.update({(Side.ASK, price): size for price, size in asks})
    return levels


def _texts(found: pa.Table, name: str) -> NDArray[Any]:
    return np.asarray(found[name].to_pylist(), dtype=object)


def _integers(found: pa.Table, name: str, path: Path) -> NDArray[np.int64]:
    column = found[name]
    if not pa.types.is_integer(column.type) or column.null_count:
        raise BadInput(
            f"{path}: expected column {name} of whole numbers without nulls, found {column.type}"
            f" with {column.null_count} nulls"
        )
    values: NDArray[np.int64] = column.to_numpy().astype(np.int64)
    return values


def _levels(found: pa.Table, price: str, size: str, path: Path) -> Any:
    """A function from a row's index to its levels [(price_e4, shares micro)]."""
    prices, offsets = _lists(found, price, path)
    sizes, size_offsets = _lists(found, size, path)
    if not np.array_equal(offsets, size_offsets):
        raise BadInput(f"{path}: expected as many {size} as {price} in each row, found others")
    pairs = list(
        zip(
            np.rint(prices * PRICE_ONE_E4).astype(np.int64).tolist(),
            np.rint(sizes * SHARE_MICRO).astype(np.int64).tolist(),
            strict=True,
        )
    )
    return lambda index: pairs[offsets[index] : offsets[index + 1]]


def _lists(found: pa.Table, name: str, path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A list column as (all values, offsets of the rows); a value that is no number becomes 0."""
    column = found[name].combine_chunks()
    if not pa.types.is_list(column.type) or not pa.types.is_floating(column.type.value_type):
        raise BadInput(f"{path}: expected column {name} of lists of numbers, found {column.type}")
    counts = np.array([0 if n is None else n for n in column.value_lengths().to_pylist()])
    values = np.nan_to_num(column.flatten().to_numpy(zero_copy_only=False), posinf=0.0, neginf=0.0)
    return values, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
