"""A day of oracle points, with three clocks and exact values, and the day's windows.

In: a price CSV with the `*markets*.jsonl` files beside it (each plain or gzip). Out: a Recording.
Never here: a result fed to the engine; the points decide.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fairwind.core.errors import BadInput
from fairwind.core.events import ASSETS, HORIZONS_S, Kind, Source
from fairwind.core.ids import parse_slug
from fairwind.core.units import (
    MILLISECOND_NS,
    REMAINDER_ONE_E18,
    SECOND_NS,
    price_e4,
    reference_value,
    scaled,
    size_micro,
)
from fairwind.feeds.recorded.read import csv_rows, lines
from fairwind.feeds.recorded.recording import (
    LISTED_EARLY_NS,
    Problems,
    Recording,
    Rows,
    Window,
    closing,
    is_receipt,
)

COLUMNS = ("feed_ts_ms", "value", "full_accuracy_value", "server_ts_ms", "recv_ms")
MARKETS = "*markets*.jsonl*"
VALUES_APART = 1e-9
"""The lossy float may differ from the exact value by this share."""
TICK_ASSUMED = "each window opens with a tick of 0.01: the objects hold the tick at the end"
NO_QUOTES_ASSUMED = "the record has no quotes: its windows are settled, and nothing can be traded"
PUBLISHED_AFTER_NS = 30 * SECOND_NS
"""The venue published a strike 5 to 30 s after the start (venue facts 6.4)."""
PUBLISHED_ASSUMED = (
    "where the record has no point at a window's start, the strike that the venue published is read"
    " 30 s later; it is the window before's final"
)
_NAME = re.compile(r"([A-Z]+)USD-")


class _Fees(msgspec.Struct, frozen=True, kw_only=True):
    rate: float
    exponent: int


class _Market(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a Gamma object that are read; it has some eighty others."""

    feeSchedule: _Fees | None = None
    orderMinSize: float = 5.0


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """A window as the recorder stored it; its other fields repeat the slug."""

    slug: str
    outcome_prices: list[str] | None = None
    strike_value: str | None = None
    raw: _Market


def recognises(head: str) -> bool:
    """Whether a file that begins with `head` holds Gamma objects of this kind."""
    return head.startswith("{") and '"outcome_prices":' in head and '"raw":' in head


def load_markets(path: Path, *, strict: bool = True) -> Recording:
    """The day that the market file `path` belongs to."""
    prices = sorted(path.parent.glob("*prices*.csv*"))
    if len(prices) != 1:
        raise BadInput(f"{path}: expected one *prices*.csv beside it, found {len(prices)}")
    return load(prices[0], strict=strict)


def load(path: Path, *, strict: bool = True) -> Recording:
    """The points in `path` and the windows beside it; BadInput for a bad row when strict."""
    match = _NAME.match(path.name)
    if match is None or match[1] not in ASSETS:
        raise BadInput(f"{path}: expected a name like BTCUSD-prices-DATE.csv, found {path.name}")
    asset = ASSETS.index(match[1])
    problems = Problems(strict=strict)
    rows = Rows()
    observed: set[int] = set()
    for recv_ns, observed_ns, value_e18 in _points(path, problems):
        observed.add(observed_ns)
        rows.add(
            Kind.REFERENCE,
            recv_ns,
            asset,
            *divmod(value_e18, REMAINDER_ONE_E18),
            ts_source_ns=observed_ns,
            source=Source.REFERENCE,
        )
    if not len(rows):
        raise BadInput(f"{path}: expected oracle points, found an empty table")
    windows: list[Window] = []
    for line in _markets(path.parent, asset, problems):
        window = _list(rows, len(windows), line)
        windows.append(window)
        start_ns = parse_slug(window.slug)[1]
        if window.strike is not None and start_ns not in observed:
            problems.note("POINT_MISSING", f"{window.slug}: no point at its start")
            rows.add_published(start_ns + PUBLISHED_AFTER_NS, asset, window.strike, start_ns, 0)
    return Recording(
        events=closing(rows.events()),
        windows=tuple(windows),
        problems=problems.listed(),
        assumptions=(TICK_ASSUMED, NO_QUOTES_ASSUMED, PUBLISHED_ASSUMED),
    )


def _points(path: Path, problems: Problems) -> Iterator[tuple[int, int, int]]:
    """(receipt ns, observation ns, value in 1e-18 dollar) of each row."""
    for where, fields in csv_rows(path, COLUMNS, problems):
        try:
            observed_ms, value_e18, recv_ms = int(fields[0]), int(fields[2]), int(fields[4])
            rounded = float(fields[1])
            if not is_receipt(recv_ms * MILLISECOND_NS):
                raise ValueError("no time of receipt")
            if value_e18 <= 0 or abs(value_e18 / 1e18 - rounded) > VALUES_APART * rounded:
                raise ValueError("the exact value does not match the rounded one")
        except ValueError:
            problems.reject(where, ",".join(fields), "two times in ms and a value twice")
            continue
        yield recv_ms * MILLISECOND_NS, observed_ms * MILLISECOND_NS, value_e18


def _markets(folder: Path, asset: int, problems: Problems) -> list[_Line]:
    """The windows of the asset in all market files of the folder, by start, each once."""
    found: dict[str, _Line] = {}
    for path in sorted(folder.glob(MARKETS)):
        for where, line in _lines(path, problems):
            if line.slug in found:
                problems.note("REPEATED_WINDOW", f"{where}: {line.slug}")
            elif parse_slug(line.slug)[0] // len(HORIZONS_S) == asset:
                found[line.slug] = line
    return sorted(found.values(), key=lambda line: parse_slug(line.slug)[::-1])


def _lines(path: Path, problems: Problems) -> Iterator[tuple[str, _Line]]:
    """(place, window) of each line of a market file."""
    decoder = msgspec.json.Decoder(_Line)
    for number, text in lines(path):
        where = f"{path} line {number}"
        try:
            yield where, decoder.decode(text)
        except msgspec.MsgspecError as error:
            problems.reject(where, text, f"a stored window ({error})")


def _list(rows: Rows, market: int, line: _Line) -> Window:
    """LISTED and FEES of a window; its label."""
    at_ns = parse_slug(line.slug)[1] - LISTED_EARLY_NS
    rows.list_market(market, line.slug, at_ns, size_micro(line.raw.orderMinSize))
    if line.raw.feeSchedule is not None:
        rate_e6 = scaled(line.raw.feeSchedule.rate, 6)
        rows.add(Kind.FEES, at_ns, market, rate_e6, line.raw.feeSchedule.exponent)
    exact = None if line.strike_value is None else int(line.strike_value)
    paid = line.outcome_prices
    return Window(
        slug=line.slug,
        strike=None if exact is None else reference_value(*divmod(exact, REMAINDER_ONE_E18)),
        payout_e4=price_e4(paid[0]) if paid and paid[0] in ("0", "0.5", "1") else None,
    )
