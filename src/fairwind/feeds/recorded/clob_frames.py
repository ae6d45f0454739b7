"""Raw frames of the venue's market channel, as captured, with two health checks.

In: JSON lines `{capturedAt, payload}`. Out: a Recording of the Up books; the rebuilt books of both
tokens are compared with the best prices and the checksums in the frames. Never here: a change fed
twice (Down's entry mirrors Up's), a level change without a snapshot before it.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fairwind.core.errors import BadInput
from fairwind.core.events import Flag, Kind, Side
from fairwind.core.units import MILLISECOND_NS, PRICE_ONE_E4, price_e4, size_micro
from fairwind.feeds.checksum import TokenBook, TradePrices, fitting_trade_price
from fairwind.feeds.recorded.clob_wire import (
    BestBidAsk,
    Book,
    Frame,
    LastTrade,
    Line,
    NewMarket,
    PriceChange,
    Resolved,
    TickSize,
    stamp_ms,
)
from fairwind.feeds.recorded.ladder import GRID_E4
from fairwind.feeds.recorded.read import lines
from fairwind.feeds.recorded.recording import (
    LISTING_ASSUMED,
    TICK_E4,
    Check,
    Problems,
    Recording,
    Rows,
    Window,
    closing,
)

RECEIPT_ASSUMED = (
    "the capture's order is not that of arrival: frames are ordered by the venue's time stamp,"
    " which also stands for the time of receipt"
)


CAPTURED = {
    "0x125149c5918fc5f8c6d34682f700a898a1a19ea4f4e2ae68ff4c5794ba657074": (
        "btc-updown-5m-1776808200",
        "45936375922793925919605092352922707796689801895417366600539442410775071099958",
    ),
    "0xdab1ff110d9d2439c5bd75c4f503ae7300457a35b124ce0c7260ec86dcc688c8": (
        "btc-updown-5m-1776808500",
        "13917627517502768201235213826866970628416806758650647861097354638225151676696",
    ),
}
"""Condition id -> (slug, Up's token) of the public capture of 2026-04-21, which names neither.

The tokens follow from the condition ids: a position id is computed from condition and outcome.
"""


def recognises(head: str) -> bool:
    """Whether a file that begins with `head` is of this kind."""
    return '"capturedAt":' in head and '"payload":' in head and '"event_type":' in head


def load(path: Path, *, strict: bool = True) -> Recording:
    """The capture in `path`; BadInput for a line that is no JSON when strict, or without windows.

    A frame of an unknown shape, or of a market whose window is not known, is counted.
    """
    problems = Problems(strict=strict)
    frames = sorted(_read(path, problems), key=_order)
    named = dict(CAPTURED)
    for frame in frames:
        if isinstance(frame, NewMarket) and frame.clob_token_ids:
            named[frame.market] = (frame.slug, frame.clob_token_ids[0])
    rebuilt: dict[str, _Market] = {}
    rows, counts = Rows(), Counter[str]()
    for frame in frames:
        if isinstance(frame, NewMarket | BestBidAsk):
            continue
        if frame.market not in named:
            problems.note("UNKNOWN_MARKET", f"{path.name}: {frame.market}")
            continue
        if frame.market not in rebuilt:
            slug, up = named[frame.market]
            rows.list_market(len(rebuilt), slug, stamp_ms(frame) * MILLISECOND_NS)
            rebuilt[frame.market] = _Market(
                len(rebuilt), slug, up, rows=rows, problems=problems, counts=counts
            )
        try:
            rebuilt[frame.market].take(frame)
        except (ValueError, ArithmeticError):
            problems.note("BAD_NUMBER", f"{path.name}: {frame}")
    if not rebuilt:
        raise BadInput(
            f"{path}: expected frames of a known window, found none; a capture needs its"
            " new_market frames"
        )
    return Recording(
        events=closing(rows.events()),
        windows=tuple(one.label() for one in rebuilt.values()),
        problems=problems.listed(),
        assumptions=(LISTING_ASSUMED, RECEIPT_ASSUMED),
        checks=tuple(
            Check(name, counts[name], counts[name] - counts[f"not {name}"], counts[f"not {name}"])
            for name in ("best prices", "book checksum", "change checksum")
        ),
    )


class _Market:
    """Rebuilds both tokens' books of one market and writes Up's events."""

    def __init__(
        self,
        number: int,
        slug: str,
        up: str,
        *,
        rows: Rows,
        problems: Problems,
        counts: Counter[str],
    ) -> None:
        self._number = number
        self._slug = slug
        self._up = up
        self._rows = rows
        self._problems = problems
        self._counts = counts
        self._books: dict[str, TokenBook] = {}
        self._trade_prices = TradePrices()
        self._tick_e4 = TICK_E4
        self._payout_e4: int | None = None

    def label(self) -> Window:
        """What the frames say about the window."""
        return Window(slug=self._slug, payout_e4=self._payout_e4)

    def take(self, frame: Frame) -> None:
        """Apply one frame whole, or, with ValueError or ArithmeticError, nothing of it."""
        at_ns = stamp_ms(frame) * MILLISECOND_NS
        match frame:
            case Book():
                self._snapshot(frame, at_ns)
            case PriceChange():
                self._change(frame, at_ns)
            case LastTrade():
                self._trade(frame, at_ns)
            case TickSize():
                self._tick(price_e4(frame.new_tick_size), at_ns, 0)
            case Resolved():
                self._payout_e4 = PRICE_ONE_E4 if frame.winning_asset_id == self._up else 0
                self._add(Kind.RESOLVED, at_ns, self._payout_e4)

    def _add(
        self,
        kind: Kind,
        at_ns: int,
        price: int = 0,
        size: int = 0,
        *,
        side: int = Side.NONE,
        flags: int = 0,
    ) -> None:
        self._rows.add(
            kind, at_ns, self._number, price, size, ts_source_ns=at_ns, side=side, flags=flags
        )

    def _snapshot(self, frame: Book, at_ns: int) -> None:
        levels = [(int(Side.BID), price_e4(one.price), size_micro(one.size)) for one in frame.bids]
        levels += [(int(Side.ASK), price_e4(one.price), size_micro(one.size)) for one in frame.asks]
        if frame.last_trade_price:
            self._trade_prices.fitted(frame.last_trade_price)
        if frame.tick_size is not None:
            self._tick(price_e4(frame.tick_size), at_ns, Flag.MORE)
        book = TokenBook(
            frame.market,
            frame.asset_id,
            {one.price: one.size for one in frame.bids},
            {one.price: one.size for one in frame.asks},
            tick_size=f"{self._tick_e4 / PRICE_ONE_E4:g}",
        )
        self._books[frame.asset_id] = book
        self._compare_hash("book checksum", book, frame.timestamp, frame.hash)
        if frame.asset_id == self._up:
            self._levels(levels, at_ns, whole=True)

    def _change(self, frame: PriceChange, at_ns: int) -> None:
        known = [
            (one, int(Side.BID if one.side == "BUY" else Side.ASK), size_micro(one.size))
            for one in frame.price_changes
            if one.asset_id in self._books
        ]
        levels = [
            (side, price_e4(one.price), size)
            for one, side, size in known
            if one.asset_id == self._up
        ]
        if len(known) < len(frame.price_changes):
            self._problems.note("BEFORE_SNAPSHOT", f"{self._slug} at {at_ns}: {frame}")
        for one, side, size in known:
            book = self._books[one.asset_id]
            shown = book.bids if side == Side.BID else book.asks
            shown[one.price] = one.size
            if size == 0:
                del shown[one.price]
        for one, _, _ in known:
            book = self._books[one.asset_id]
            self._count("best prices", book.best() == (_best(one.best_bid), _best(one.best_ask, 1)))
            self._compare_hash("change checksum", book, frame.timestamp, one.hash)
        self._levels(levels, at_ns, whole=False)

    def _levels(self, found: list[tuple[int, int, int]], at_ns: int, *, whole: bool) -> None:
        """The levels as one atomic group, behind a CLEAR when they are the `whole` book."""
        good = []
        for side, price, size in found:
            if 0 < price < PRICE_ONE_E4 and price % GRID_E4 == 0 and size >= 0:
                good.append((side, price, size))
            else:
                self._problems.note("BAD_LEVEL", f"{self._slug} at {at_ns}: {price} x {size}")
        if whole:
            self._add(Kind.CLEAR, at_ns, flags=Flag.MORE if good else 0)
        for index, (side, price, size) in enumerate(good, 1):
            more = Flag.MORE if index < len(good) else 0
            self._add(Kind.LEVEL, at_ns, price, size, side=side, flags=more)

    def _trade(self, frame: LastTrade, at_ns: int) -> None:
        self._trade_prices.printed(frame.price)
        price, bought = price_e4(frame.price), frame.side == "BUY"
        if frame.asset_id != self._up:
            price, bought = PRICE_ONE_E4 - price, not bought
        size = size_micro(frame.size)
        if not 0 < price < PRICE_ONE_E4 or price % GRID_E4 or size <= 0:
            self._problems.note("BAD_TRADE", f"{self._slug} at {at_ns}: {frame.price} x {size}")
            return
        self._add(Kind.TRADE, at_ns, price, size, side=Side.BID if bought else Side.ASK)

    def _tick(self, tick_e4: int, at_ns: int, flags: int) -> None:
        """A new tick ends the books: they are unusable until the next snapshot of each token."""
        if tick_e4 == self._tick_e4:
            return
        self._tick_e4 = tick_e4
        self._books.clear()
        self._add(Kind.TICK, at_ns, tick_e4, flags=flags)
        if not flags:
            self._add(Kind.GAP, at_ns)

    def _compare_hash(self, name: str, book: TokenBook, timestamp: str, sent: str) -> None:
        fitting = fitting_trade_price(book, timestamp, sent, self._trade_prices.candidates())
        self._count(name, fitting is not None)
        if fitting is not None:
            self._trade_prices.fitted(fitting)

    def _count(self, name: str, agreed: bool) -> None:
        self._counts[name] += 1
        self._counts[f"not {name}"] += not agreed


def _order(frame: Frame) -> tuple[int, bool]:
    """By time stamp; a snapshot before the changes of its own millisecond."""
    return stamp_ms(frame), not isinstance(frame, Book)


def _read(path: Path, problems: Problems) -> Iterator[Frame]:
    """The frames of all lines; one of an unknown shape is counted, a line without JSON rejected."""
    decoder = msgspec.json.Decoder(Line)
    for number, text in lines(path):
        where = f"{path} line {number}"
        try:
            payload = decoder.decode(text).payload
            found = payload if isinstance(payload, list) else [payload]
            for frame in found:
                stamp_ms(frame)
            yield from found
        except (msgspec.ValidationError, ValueError) as error:
            if isinstance(error, msgspec.DecodeError) and not isinstance(
                error, msgspec.ValidationError
            ):
                problems.reject(where, text, f"a captured frame ({error})")
            else:
                problems.note("UNKNOWN_FRAME", f"{where}: {error}")


def _best(text: str, empty: int = 0) -> int:
    """A best price that the venue sent; an empty text stands for an empty side."""
    return price_e4(text or str(empty))
