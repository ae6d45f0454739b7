"""One window polled once a second: five book levels, oracle, two spot venues, the result.

In: JSON lines. Out: a Recording. Never here: the result, where the polled oracle covers both
boundaries; a book row without a book.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from fairwind.core.errors import BadInput
from fairwind.core.events import HORIZONS_S, Kind, Side, Source
from fairwind.core.ids import parse_slug
from fairwind.core.units import (
    MILLISECOND_NS,
    PRICE_ONE_E4,
    SECOND_NS,
    price_e4,
    reference_parts,
    size_micro,
    spot_e8,
)
from fairwind.feeds.recorded.ladder import Ladder, Levels
from fairwind.feeds.recorded.read import lines
from fairwind.feeds.recorded.recording import (
    BOUNDARY_WITHIN_NS,
    LISTING_ASSUMED,
    RESOLVED_ASSUMED,
    Problems,
    Recording,
    Rows,
    Window,
    closing,
    window_end_ns,
)

ORACLE_DELAY_NS = 1_640_000_000
"""Median from observation to receipt of an oracle point (venue facts 4.1, measured 2026-07-24)."""
OBSERVED_ASSUMED = (
    "oracle prices have a receipt time only: each is taken as observed 1.64 s earlier (the venue's"
    " median delay), on the whole second"
)
POLLED_ASSUMED = "everything was polled once a second: what came and went in between is unknown"
_PAYOUT = {"UP": PRICE_ONE_E4, "DOWN": 0}


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of any type; the recorder's own bookkeeping fields are not read."""

    ts: int
    type: str
    slug: str | None = None
    up: dict[str, list[tuple[float, float]]] | None = None
    down: dict[str, list[tuple[float, float]]] | None = None
    assetPrice: float | None = None
    binancePrice: float | None = None
    coinbasePrice: float | None = None
    direction: str | None = None
    openPrice: float | None = None
    closePrice: float | None = None


def recognises(head: str) -> bool:
    """Whether a file that begins with `head` is of this kind."""
    return '"type":' in head.partition("\n")[0] and '"ts":' in head.partition("\n")[0]


def load(path: Path, *, strict: bool = True) -> Recording:
    """The window in `path`; BadInput without a slot line, or, when strict, for a bad line."""
    problems = Problems(strict=strict)
    found = sorted(_read(path, problems), key=lambda line: line.ts)
    name = next((line.slug for line in found if line.slug), None)
    if name is None:
        raise BadInput(f"{path}: expected a `slot` line with the window's slug, found none")
    asset = parse_slug(name)[0] // len(HORIZONS_S)
    rows = Rows()
    rows.list_market(0, name, found[0].ts * MILLISECOND_NS)
    ladder = Ladder(rows, 0, problems, name)
    observed: set[int] = set()
    for line in found:
        if line.type == "orderbook_snapshot":
            _book(ladder, line)
        elif line.type == "ticker":
            _prices(rows, line, asset, observed)
    window = _label(name, found)
    assumed = [LISTING_ASSUMED, OBSERVED_ASSUMED, POLLED_ASSUMED]
    if window.payout_e4 is not None and not _covered(name, observed):
        assumed.append(RESOLVED_ASSUMED)
        at_ns = max(line.ts for line in found if line.type == "resolution") * MILLISECOND_NS
        rows.add(Kind.RESOLVED, max(at_ns, window_end_ns(name)), 0, window.payout_e4)
    return Recording(
        events=closing(rows.events()),
        windows=(window,),
        problems=problems.listed(),
        assumptions=tuple(assumed),
    )


def _read(path: Path, problems: Problems) -> Iterator[_Line]:
    decoder = msgspec.json.Decoder(_Line)
    for number, text in lines(path):
        try:
            yield decoder.decode(text)
        except msgspec.MsgspecError as error:
            problems.reject(f"{path} line {number}", text, f"a polled line ({error})")


def _book(ladder: Ladder, line: _Line) -> None:
    """Up's levels, or Down's mirrored where only Down's were polled."""
    shown = line.up or line.down
    if shown is None:
        return
    levels: Levels = {}
    for name, side in (("bids", Side.BID), ("asks", Side.ASK)):
        for price, size in shown.get(name, []):
            if line.up is None:
                levels[1 - side, PRICE_ONE_E4 - price_e4(price)] = size_micro(size)
            else:
                levels[side, price_e4(price)] = size_micro(size)
    ladder.show(line.ts * MILLISECOND_NS, 0, levels)


def _prices(rows: Rows, line: _Line, asset: int, observed: set[int]) -> None:
    """Spot and oracle prices of a ticker line; what is null was not polled."""
    ts_ns = line.ts * MILLISECOND_NS
    for price, source in (
        (line.binancePrice, Source.BINANCE),
        (line.coinbasePrice, Source.COINBASE),
    ):
        if price is not None:
            rows.add(Kind.SPOT, ts_ns, asset, spot_e8(price), source=source)
    if line.assetPrice is not None:
        observed_ns = (ts_ns - ORACLE_DELAY_NS) // SECOND_NS * SECOND_NS
        observed.add(observed_ns)
        rows.add(
            Kind.REFERENCE,
            ts_ns,
            asset,
            *reference_parts(line.assetPrice),
            ts_source_ns=observed_ns,
            source=Source.REFERENCE,
        )


def _covered(name: str, observed: set[int]) -> bool:
    """Whether the polled oracle has a point at or shortly before both ends of the window."""
    return all(
        any(0 <= boundary_ns - seen_ns <= BOUNDARY_WITHIN_NS for seen_ns in observed)
        for boundary_ns in (parse_slug(name)[1], window_end_ns(name))
    )


def _label(name: str, found: list[_Line]) -> Window:
    result: Any = next((line for line in found if line.type == "resolution"), None)
    if result is None:
        return Window(slug=name)
    return Window(
        slug=name,
        strike=_decimal(result.openPrice),
        final=_decimal(result.closePrice),
        payout_e4=_PAYOUT.get(result.direction or ""),
    )


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))
