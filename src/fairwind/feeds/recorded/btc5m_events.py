"""Windows with every event on one clock: quotes, trade prints, spot, oracle points, oracle average.

In: one JSON object (plain or gzip) with `cid`, both tokens, `events` and a label. Out: a Recording.
Never here: the label as an input of a decision; where the recorder lost the settlement print, the
venue's published value comes in a minute after the window's end, marked as such.
"""

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from fairwind.core.errors import BadInput
from fairwind.core.events import ASSETS, HORIZON_NAMES, HORIZONS_S, Flag, Kind, Side, Source
from fairwind.core.ids import parse_slug
from fairwind.core.rules import RuleKind, in_force
from fairwind.core.units import (
    PRICE_ONE_E4,
    SECOND_NS,
    SHARE_MICRO,
    price_e4,
    reference_parts,
    size_micro,
    spot_e8,
)
from fairwind.feeds.recorded.ladder import GRID_E4, Ladder, Levels, contradict, mirrored
from fairwind.feeds.recorded.read import document
from fairwind.feeds.recorded.recording import (
    BOUNDARY_WITHIN_NS,
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

PUBLISHED_AFTER_NS = 60 * SECOND_NS
"""The venue publishes strike and final about a minute after the end (venue facts 6.4)."""
WITHIN_S = 86_400
"""A time further than this from the window's start is none (it may be in milliseconds)."""
AHEAD_S = 1
"""An observation may be this much later than its receipt, by another clock; not more."""
VALUE_BELOW_E8 = 10**9 * 10**8
SIZE_BELOW_MICRO = 10**12 * SHARE_MICRO
QUOTE_USABLE_NS = SECOND_NS
"""A quote older than this says nothing about who was the taker of a trade."""
PUBLISHED_ASSUMED = (
    "where the recorder lost a boundary print of the settlement stream, the value and the result"
    " that the venue published are read 60 s after the window's end"
)
SIDE_ASSUMED = (
    "trade prints have no side: the taker's is inferred from the quote of the last second, and is"
    " none where there is no quote"
)
_FIELDS = {"b": 5, "p": 5, "s": 4, "l": 4, "t": 4}
_AVERAGING_S = {"l": 0, "t": 60}

Quote = tuple[int, int]
"""(bid_e4, ask_e4) of one token, 0 for none."""


def recognises(head: str) -> bool:
    """Whether a file that begins with `head` is of this kind."""
    return head.lstrip().startswith("{") and '"window_ts"' in head


def load(path: Path, quote_depth_shares: float) -> Recording:
    """The window in `path`. Quotes get `quote_depth_shares` on each side.

    Raises BadInput for damaged JSON, a missing key, or keys that contradict each other; a row that
    cannot be read is counted.
    """
    data = document(path, "a recorded window")
    for key in ("cid", "window_ts", "token_up", "token_down", "events"):
        if key not in data:
            raise BadInput(f"{path}: expected key {key!r}, found {', '.join(data) or 'none'}")
    name, up, down = (str(data[key]) for key in ("cid", "token_up", "token_down"))
    number, start_ns = parse_slug(name)
    if data["window_ts"] != start_ns // SECOND_NS:
        raise BadInput(f"{path}: expected the start of {name}, found {data['window_ts']!r}")
    if up == down:
        raise BadInput(f"{path}: expected two tokens, found {up!r} as token_up and token_down")
    problems = Problems()
    events = _sorted_rows(data["events"], start_ns // SECOND_NS, path, problems)
    if not events:
        raise BadInput(f"{path}: expected events, found none that can be read")
    rows = Rows()
    rows.list_market(0, name, events[0][0])
    book = _Book(rows, problems, name, size_micro(quote_depth_shares))
    book.follow(events, up, down)
    window_of = number // len(HORIZONS_S), start_ns // SECOND_NS
    observed = _prices(rows, events, window_of, problems)
    window = _label(name, data.get("label") or {}, path)
    assumed = [
        LISTING_ASSUMED,
        f"quotes have no size: {quote_depth_shares:g} shares stand on each side",
        SIDE_ASSUMED,
        *_settlement(rows, observed, window, problems),
    ]
    return Recording(
        events=closing(rows.events()),
        windows=(window,),
        problems=problems.listed(),
        assumptions=tuple(assumed),
    )


def _sorted_rows(
    found: Any, start_s: int, path: Path, problems: Problems
) -> list[tuple[int, list[Any]]]:
    """(receipt in ns, row) of each row of a known kind and length, by receipt."""
    if not isinstance(found, list):
        raise BadInput(f"{path}: expected `events` to be a list, found {type(found).__name__}")
    kept: list[tuple[int, list[Any]]] = []
    for index, row in enumerate(found):
        shaped = isinstance(row, list) and len(row) > 1 and isinstance(row[1], str)
        if shaped and len(row) == _FIELDS.get(row[1]) and _is_time(row[0], start_s):
            kept.append((_at_ns(row[0]), row))
        else:
            problems.note("BAD_ROW", f"{path.name} events[{index}]: {row!r}")
    if any(after[0] < before[0] for before, after in pairwise(kept)):
        problems.note("OUT_OF_ORDER", f"{path.name}: events are not sorted by receipt; sorted here")
    return sorted(kept, key=lambda one: one[0])


class _Book:
    """Follows both tokens' quotes and writes the Up book and the trade prints."""

    def __init__(self, rows: Rows, problems: Problems, name: str, depth_micro: int) -> None:
        self._rows = rows
        self._problems = problems
        self._name = name
        self._depth_micro = depth_micro
        self._ladder = Ladder(rows, 0, problems, name)
        self._up: Quote = (0, 0)
        self._down: Quote = (0, 0)
        self._shown: Quote = (0, 0)
        self._quoted_ns = 0
        self._unshown = False

    def follow(self, events: list[tuple[int, list[Any]]], up: str, down: str) -> None:
        """All quotes and trades in order. Quotes of one instant count once, together."""
        sides = {up: True, down: False}
        instants = [ts_ns if row[1] == "b" else -1 for ts_ns, row in events]
        for index, (ts_ns, row) in enumerate(events):
            if row[1] not in "bp":
                continue
            try:
                if row[1] == "p":
                    self._trade(ts_ns, sides[row[2]], row[3], row[4])
                else:
                    self._heard(sides[row[2]], (_price(row[3]), _price(row[4])))
            except (KeyError, ValueError, ArithmeticError, TypeError):
                self._problems.note("BAD_ROW", f"{self._name}: {row!r}")
            if self._unshown and instants[index + 1 : index + 2] != [ts_ns]:
                self._quote(ts_ns)

    def _heard(self, is_up: bool, quote: Quote) -> None:
        self._unshown = True
        if is_up:
            self._up = quote
        else:
            self._down = quote

    def _quote(self, ts_ns: int) -> None:
        self._unshown = False
        other = mirrored(*self._down)
        self._shown = self._up if self._up != (0, 0) else other
        flags = int(Flag.ASSUMED_SIZE)
        if contradict(self._up, other):
            flags |= Flag.PARITY
            self._problems.note(
                "PARITY", f"{self._name} at {ts_ns}: Up {self._up}, mirrored Down {other}"
            )
        levels: Levels = {
            (side, price): self._depth_micro
            for side, price in zip((Side.BID, Side.ASK), self._shown, strict=True)
            if price
        }
        self._ladder.show(ts_ns, 0, levels, flags)
        self._quoted_ns = ts_ns

    def _trade(self, ts_ns: int, is_up: bool, price: Any, size: Any) -> None:
        up_e4 = price_e4(price) if is_up else PRICE_ONE_E4 - price_e4(price)
        shares_micro = size_micro(size)
        if shares_micro >= SIZE_BELOW_MICRO:
            raise ValueError(f"expected a size below 1e12 shares, found {size!r}")
        if not 0 < up_e4 < PRICE_ONE_E4 or up_e4 % GRID_E4 or shares_micro <= 0:
            self._problems.note("BAD_TRADE", f"{self._name} at {ts_ns}: {price!r} x {size!r}")
            return
        quoted = ts_ns - self._quoted_ns <= QUOTE_USABLE_NS
        side = _taker(up_e4, self._shown) if quoted else Side.NONE
        self._rows.add(Kind.TRADE, ts_ns, 0, up_e4, shares_micro, side=side)


@cache
def _price(value: str | float | None) -> int:
    """A quote's price_e4; 0 when there is none (null, 0 for a bid, 1 for an ask)."""
    if value is None or value == "":
        return 0
    found = price_e4(value)
    if not 0 <= found <= PRICE_ONE_E4:
        raise ValueError(f"expected a price from 0 to 1, found {value!r}")
    return found % PRICE_ONE_E4


def _taker(price: int, quote: Quote) -> Side:
    """The taker's side by the quote rule: at or beyond a best, else by the nearer half."""
    bid, ask = quote
    if ask and price >= ask:
        return Side.BID
    if bid and price <= bid:
        return Side.ASK
    if not (bid and ask) or 2 * price == bid + ask:
        return Side.NONE
    return Side.BID if 2 * price > bid + ask else Side.ASK


def _prices(
    rows: Rows, events: list[tuple[int, list[Any]]], window_of: tuple[int, int], problems: Problems
) -> set[tuple[int, int]]:
    """Spot and oracle prints; the oracle's (averaging seconds, observation ns) that were read.

    `window_of` is the window's asset number and start in seconds.
    """
    asset, start_s = window_of
    observed: set[tuple[int, int]] = set()
    for ts_ns, row in events:
        kind = row[1]
        if kind in "bp":
            continue
        try:
            value, rest = (spot_e8(row[3]), 0) if kind == "s" else reference_parts(row[3])
            timed = _is_time(row[2], start_s) and row[2] <= row[0] + AHEAD_S
            if not timed or not 0 < value < VALUE_BELOW_E8:
                raise ValueError("no observation time or no price")
        except (ValueError, ArithmeticError, TypeError):
            problems.note("BAD_ROW", f"{ASSETS[asset]} prices: {row!r}")
            continue
        source_ns = _at_ns(row[2])
        if kind == "s":
            rows.add(Kind.SPOT, ts_ns, asset, value, ts_source_ns=source_ns, source=Source.COINBASE)
        else:
            observed.add((_AVERAGING_S[kind], source_ns))
            rows.add(
                Kind.REFERENCE,
                ts_ns,
                asset,
                value,
                rest,
                ts_source_ns=source_ns,
                ref=_AVERAGING_S[kind],
                source=Source.REFERENCE,
            )
    return observed


def _is_time(value: Any, start_s: int) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value - start_s) <= WITHIN_S


def _at_ns(seconds: float) -> int:
    """Seconds since the epoch, to the microsecond that a float still tells apart, as ns."""
    return round(seconds * 1e6) * 1000


def _label(name: str, label: Any, path: Path) -> Window:
    def number(key: str) -> Decimal | None:
        if label.get(key) is None:
            return None
        value = Decimal(str(label[key]))
        if not value.is_finite():
            raise ValueError(f"expected a finite {key}")
        return value

    try:
        won = label.get("resolved_up")
        if won not in (None, 0, 1):
            raise ValueError("expected resolved_up 0 or 1")
        return Window(
            slug=name,
            strike=number("price_to_beat"),
            final=number("final_price"),
            payout_e4=None if won is None else PRICE_ONE_E4 * int(won),
        )
    except (AttributeError, TypeError, ValueError, ArithmeticError) as error:
        raise BadInput(
            f"{path}: expected a label with resolved_up 0 or 1, price_to_beat and final_price,"
            f" found {label!r}"
        ) from error


def _settlement(
    rows: Rows, observed: set[tuple[int, int]], window: Window, problems: Problems
) -> Iterator[str]:
    """What the settlement needs and the record lost; yields the assumptions made for it."""
    number, start_ns = parse_slug(window.slug)
    asset, horizon = divmod(number, len(HORIZONS_S))
    end_ns = window_end_ns(window.slug)
    rule = in_force(RuleKind.SETTLEMENT, horizon, start_ns)
    if rule.a < 0:
        problems.note(
            "SETTLEMENT_NOT_MODELLED",
            f"{window.slug}: {HORIZON_NAMES[horizon]} windows settle on a source that is not"
            " modelled",
        )
        if window.payout_e4 is not None:
            yield RESOLVED_ASSUMED
            rows.add(Kind.RESOLVED, end_ns + RESOLVED_AFTER_NS, 0, window.payout_e4)
        return
    within_ns = 0 if rule.b else BOUNDARY_WITHIN_NS
    lost = [
        (at_ns, value)
        for at_ns, value in ((start_ns, window.strike), (end_ns, window.final))
        if not any(
            0 <= at_ns - seen_ns <= within_ns
            for averaging_s, seen_ns in observed
            if averaging_s == rule.a
        )
    ]
    if not lost:
        return
    yield PUBLISHED_ASSUMED
    for at_ns, value in lost:
        problems.note(
            "SETTLEMENT_PRINT_MISSING",
            f"{window.slug}: no {rule.a} s average of the oracle at {at_ns // SECOND_NS}",
        )
        if value is not None:
            rows.add_published(end_ns + PUBLISHED_AFTER_NS, asset, value, at_ns, rule.a)
    if window.payout_e4 is not None:
        rows.add(Kind.RESOLVED, end_ns + PUBLISHED_AFTER_NS + SECOND_NS, 0, window.payout_e4)
