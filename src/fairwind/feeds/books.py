"""One market's book, assembled from both tokens' messages and doubted whenever they disagree.

In: checked messages of the market channel, with receipt times. Out: EVENT rows in Up terms and,
as a value, the wish for a new snapshot. Never here: a change before its snapshot, a change fed
twice (Down's entry mirrors Up's), a level overwritten by an older message.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from fairwind.core.events import HORIZONS_S, Flag, Kind, Side, Source
from fairwind.core.units import MILLISECOND_NS, PRICE_ONE_E4, SECOND_NS
from fairwind.feeds.checksum import TradePrices, begun, fitting, levels_text
from fairwind.feeds.frames import (
    GRID_E4,
    BadFrame,
    Reason,
    Row,
    best_price,
    contract_price,
    row,
    shares,
    tick_size,
    trade_price,
)
from fairwind.feeds.kpis import Count, Kpis
from fairwind.feeds.levels import Ladders, News, Sizes, decimals_of, differences
from fairwind.feeds.recorded.clob_wire import Book, Change, LastTrade, OldChange
from fairwind.feeds.scanned.record import (
    BOOK,
    CHECKSUM_EVERY_NS,
    NO_ASK,
    NO_BID,
    PARITY_E4,
    set_level,
)

ASK_AGAIN_NS = 5 * SECOND_NS
CHECKSUM_FAILURES = 3
CHECKSUM_DOUBT_NS = SECOND_NS
"""So many failures in a row over so long put the book in doubt: fewer may be a changed trade
price, or several changes in one millisecond of which not all have come."""

_SIDES = {"BUY": int(Side.BID), "SELL": int(Side.ASK)}
_BID, _ASK = int(Side.BID), int(Side.ASK)
_LEVEL, _POLYMARKET, _MORE = int(Kind.LEVEL), int(Source.POLYMARKET), int(Flag.MORE)

Bests = tuple[int, int]
"""(best bid, best ask) as price_e4; 0 and 10000 stand for an empty side."""
Total = tuple[int, int]
"""A level's total in micro shares, and with how many decimals the venue wrote it."""


class Market(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What has to be known of a window's market before its messages can be used."""

    number: int  # the engine's market number
    series: int
    start_ns: int
    condition_id: str
    up: str  # token ids
    down: str
    tick_e4: int = 100
    min_size_micro: int = 5_000_000
    fee_rate_e6: int | None = None  # the market's own schedule, where it publishes one
    fee_exponent: int = 1


class Resync(NamedTuple):
    """A book cannot be used: both tokens have to be subscribed anew."""

    market: Market
    why: str


class MarketBook:
    """The Up book of one market.

    It is live from a snapshot of Up on, until the tick changes, the connection is lost, a message
    is malformed, it crosses, its best prices differ from those in the message that changed it, or
    its checksum keeps failing. From then on changes are ignored until the next snapshot. Every
    `stamp` is the venue's time in ns, every `ts_ns` that of receipt.
    """

    def __init__(self, market: Market, kpis: Kpis, ts_ns: int, record: Any) -> None:
        """`record`, one of BOOK, is this book's from now on; compiled code changes it as well."""
        self.market = market
        self._record = record
        for field in BOOK.names or ():
            record[field] = 0
        record["number"], record["heard_ns"] = market.number, ts_ns
        self._sizes, self._stamps = record["sizes"], record["stamps"]
        self._decimals, self._bests = record["decimals"], record["bests"]
        self._bests[:] = NO_BID, NO_ASK
        self._wanted: str | None = None
        self._asked_ns = ts_ns
        self._kpis = kpis
        self._tick_e4 = market.tick_e4
        self._trades = TradePrices(record["trades"])
        self._failed = 0
        self._failing_since = 0
        self._dead_since: int | None = None

    @property
    def live(self) -> bool:
        """Whether the book can be used."""
        return bool(self._record["live"])

    def heard(self, ts_ns: int) -> None:
        """Something came for this market."""
        self._record["heard_ns"] = ts_ns

    def resume(self, sizes: Sizes, stamp: int) -> None:
        """Live from now on with these sizes, as of the venue's `stamp`."""
        for side, price, size in differences(self._sizes, sizes):
            self._set(side, price, (size, 0))
        record = self._record
        record["snapshot_ns"] = record["newest_ns"] = stamp
        record["live"] = record["resumed"] = 1

    def snapshot(self, frame: Book, stamp: int, ts_ns: int) -> list[Row]:
        """Replace the book by Up's; compare with Down's. A live book reports what differs.

        Raises BadFrame and changes nothing for a malformed book.
        """
        shown = Ladders(frame)
        if frame.asset_id != self.market.up:
            self._expect_down(frame.asset_id)
            if self.live:
                self._compare(self._best(), _mirrored(shown.best))
            return []
        rows = [] if frame.tick_size is None else self.tick(frame.tick_size, ts_ns)
        if frame.last_trade_price is not None:
            self._trades.fitted(frame.last_trade_price)
        record, fresh = self._record, not self.live
        seen = record["resumed"] and stamp <= record["newest_ns"]
        anew, record["resumed"] = fresh or record["resumed"], 0
        if fresh:
            more = _MORE if shown.sizes.any() else 0
            rows.append(self._row(Kind.CLEAR, ts_ns, stamp, flags=more))
            self._sizes[:] = 0
        news = differences(self._sizes, shown.sizes)
        self._sizes[:], self._decimals[:], self._stamps[:] = shown.sizes, shown.decimals, 0
        self._bests[:] = shown.best[0] // GRID_E4, shown.best[1] // GRID_E4
        record["snapshot_ns"] = record["newest_ns"] = stamp
        record["checked_ns"] = min(record["checked_ns"], stamp)
        if not (news or fresh or seen):
            news = self._top()
        rows += self._group(news, ts_ns, stamp)
        if fresh:
            self._alive(ts_ns)
        if anew and frame.last_trade_price is not None:
            # When even a fresh book does not fit, the recipe has changed: no check is better.
            record["trusted"], record["checked_ns"] = self._fits(stamp, frame.hash), stamp
        return rows

    def change(self, stamp: int, entries: Sequence[OldChange], ts_ns: int) -> list[Row]:
        """Apply the new totals of one message, as one group. Nothing before a snapshot.

        Raises BadFrame and changes nothing when an entry is malformed or both tokens' entries
        contradict each other.
        """
        if not self.live:
            return []
        found, best, sent_hash = self._read(entries)
        news: News = []
        for key, total in found.items():
            side, price = key
            level = price // GRID_E4
            if stamp < max(self._stamps[side, level], self._record["snapshot_ns"]):
                self._kpis.add(Count.OUT_OF_ORDER)
                continue
            self._stamps[side, level] = stamp
            self._set(side, price, total)
            news.append((side, price, total[0]))
        if _crossed(self._best()):
            return self.doubt(f"it is crossed: {self._best()}", ts_ns)
        if len(news) < len(found):
            return self._group(news, ts_ns, stamp)
        if best is not None and best != self._best():
            return self.doubt(f"best prices {self._best()}, the venue's are {best}", ts_ns)
        record = self._record
        newest = stamp >= record["newest_ns"]
        record["newest_ns"] = max(stamp, record["newest_ns"])
        due = record["trusted"] and stamp - record["checked_ns"] >= CHECKSUM_EVERY_NS
        doubted = self.check(stamp, sent_hash, ts_ns) if newest and due and sent_hash else []
        return doubted or self._group(news, ts_ns, stamp)

    def check(self, stamp: int, sent_hash: str, ts_ns: int) -> list[Row]:
        """Whether the checksum of the message just applied fits; rows when it never does."""
        if self._fits(stamp, sent_hash):
            self._record["checked_ns"], self._failed = stamp, 0
            return []
        self._failed += 1
        self._failing_since = ts_ns if self._failed == 1 else self._failing_since
        lasting = ts_ns - self._failing_since >= CHECKSUM_DOUBT_NS
        if self._failed < CHECKSUM_FAILURES or not lasting:
            return []
        return self.doubt("its checksum keeps failing", ts_ns)

    def trade(self, frame: LastTrade, stamp: int, ts_ns: int) -> list[Row]:
        """A print, in Up terms. Raises BadFrame."""
        price, size, side = trade_price(frame.price), shares(frame.size), _side(frame.side)
        if size == 0:
            raise BadFrame(Reason.SIZE, "a traded size", frame.size)
        if frame.asset_id != self.market.up:
            self._expect_down(frame.asset_id)
            price, side = PRICE_ONE_E4 - price, 1 - side
        self._trades.printed(frame.price)
        return [self._row(Kind.TRADE, ts_ns, stamp, price=price, size=size, side=side)]

    def tick(self, text: str, ts_ns: int) -> list[Row]:
        """A new tick ends the book; the same one again (it is sent up to four times) is nothing."""
        tick_e4 = tick_size(text)
        if tick_e4 == self._tick_e4:
            return []
        self._tick_e4 = tick_e4
        self._wanted = "the tick changed"
        return [*self.end(ts_ns), self._row(Kind.TICK, ts_ns, 0, price=tick_e4)]

    def doubt(self, why: str, ts_ns: int) -> list[Row]:
        """Data was lost or contradicts itself: the book ends and a new snapshot is wanted."""
        self._wanted = why
        self._kpis.add(Count.GAPS, int(self.live))
        return self.end(ts_ns)

    def end(self, ts_ns: int) -> list[Row]:
        """The book cannot be used until the next snapshot."""
        if not self.live:
            return []
        self._record["live"], self._dead_since = 0, ts_ns
        return [self._row(Kind.GAP, ts_ns, 0)]

    def silent(self, ts_ns: int, limit_ns: int) -> bool:
        """Whether the window is open and its live book was not heard of for that long."""
        age_ns = ts_ns - self.market.start_ns
        horizon_s = HORIZONS_S[self.market.series % len(HORIZONS_S)]
        heard_ns = int(self._record["heard_ns"])
        is_open = 0 <= age_ns < horizon_s * SECOND_NS
        return self.live and is_open and ts_ns - max(heard_ns, self.market.start_ns) > limit_ns

    def resync(self, ts_ns: int) -> Resync | None:
        """A wish for a new snapshot: once when the book ends, again while none comes."""
        if self._wanted is None and (self.live or ts_ns - self._asked_ns < ASK_AGAIN_NS):
            return None
        why = self._wanted or "no snapshot came"
        self._wanted, self._asked_ns = None, ts_ns
        return Resync(self.market, why)

    def _read(
        self, entries: Sequence[OldChange]
    ) -> tuple[dict[tuple[int, int], Total], Bests | None, str]:
        """Totals by (side, price_e4) in Up terms; Up's best prices and hash as sent with them."""
        found: dict[tuple[int, int], Total] = {}
        best: Bests | None = None
        mirrored: Bests | None = None
        sent_hash = ""
        for one in entries:
            side, price = _side(one.side), contract_price(one.price)
            total = (shares(one.size), decimals_of(one.size))
            up = one.asset_id == self.market.up
            if not up:
                self._expect_down(one.asset_id)
                side, price = 1 - side, PRICE_ONE_E4 - price
            if found.setdefault((side, price), total)[0] != total[0]:
                raise BadFrame(Reason.MIRROR, "the same total on both tokens", one)
            if isinstance(one, Change):
                bests = _bests(one)
                if up:
                    best, sent_hash = bests, one.hash
                else:
                    mirrored = _mirrored(bests)
        if best is not None and mirrored is not None:
            self._compare(best, mirrored)
        return found, best or mirrored, sent_hash

    def _expect_down(self, asset_id: str) -> None:
        if asset_id != self.market.down:
            raise BadFrame(Reason.ASSET, f"a token of {self.market.condition_id}", asset_id)

    def _compare(self, best: Bests, mirrored: Bests) -> None:
        """Mark the book while Down's best prices, in Up terms, are more than two cents off."""
        if best == mirrored:
            self._record["parity"] = 0
            return
        apart = max(abs(best[0] - mirrored[0]), abs(best[1] - mirrored[1]))
        self._record["parity"] = int(Flag.PARITY) if apart > PARITY_E4 else 0
        self._kpis.add(Count.PARITY, int(apart > PARITY_E4))

    def _set(self, side: int, price: int, total: Total) -> None:
        """One level's new total, and the best price that follows from it."""
        level = price // GRID_E4
        self._bests[side] = set_level(self._sizes, side, level, total[0], self._bests[side])
        self._decimals[side, level] = total[1]

    def _best(self) -> Bests:
        return int(self._bests[0]) * GRID_E4, int(self._bests[1]) * GRID_E4

    def _group(self, levels: News, ts_ns: int, stamp: int) -> list[Row]:
        """The (side, price, size) as one atomic group; the last one carries the parity mark."""
        number = self.market.number
        rows: list[Row] = [
            (ts_ns, stamp, price, size, number, 0, _LEVEL, _POLYMARKET, side, _MORE)
            for side, price, size in levels
        ]
        if rows:
            rows[-1] = (*rows[-1][:9], int(self._record["parity"]))
        return rows

    def _top(self) -> News:
        """The best levels once more: they were seen again, and are as young as the message."""
        shown = [
            (side, int(level), int(self._sizes[side, level]))
            for side, level in enumerate(self._bests)
        ]
        return [(side, level * GRID_E4, size) for side, level, size in shown if size]

    def _alive(self, ts_ns: int) -> None:
        """The book is live again; how long it was not is counted."""
        if self._dead_since is not None:
            self._kpis.invalid_book_ns += ts_ns - self._dead_since
        self._dead_since, self._wanted, self._failed = None, None, 0
        self._record["live"] = 1

    def _fits(self, stamp: int, sent_hash: str) -> bool:
        """Whether the book as assembled has the hash that was sent with it (venue facts 3.4)."""
        least = f"{self.market.min_size_micro / 1e6:g}"
        text = begun(
            (self.market.condition_id, self.market.up, str(stamp // MILLISECOND_NS)),
            levels_text(self._sizes, self._decimals),
            (least, f"{self._tick_e4 / PRICE_ONE_E4:g}", False),
        )
        price = fitting(text, sent_hash, self._trades.candidates())
        self._kpis.add(Count.CHECKSUMS)
        if price is None:
            self._kpis.add(Count.CHECKSUM_FAILURES)
            return False
        self._trades.fitted(price)
        return True

    def _row(
        self,
        kind: Kind,
        ts_ns: int,
        stamp: int,
        *,
        price: int = 0,
        size: int = 0,
        side: int = Side.NONE,
        flags: int = 0,
    ) -> Row:
        return row(
            kind,
            ts_ns,
            Source.POLYMARKET,
            market=self.market.number,
            price=price,
            size=size,
            ts_source_ns=stamp,
            side=side,
            flags=flags,
        )


def _side(text: str) -> int:
    side = _SIDES.get(text)
    if side is None:
        raise BadFrame(Reason.SIDE, "BUY or SELL", text)
    return side


def _crossed(best: Bests) -> bool:
    return best[0] >= best[1]


def _uncrossed(best: Bests, asset_id: str) -> None:
    if _crossed(best):
        raise BadFrame(Reason.CROSSED, f"a bid below the ask of {asset_id}", best)


def _bests(entry: Change) -> Bests:
    best = (best_price(entry.best_bid, 0), best_price(entry.best_ask, PRICE_ONE_E4))
    _uncrossed(best, entry.asset_id)
    return best


def _mirrored(best: Bests) -> Bests:
    """Down's best prices in Up terms, or the other way round."""
    return PRICE_ONE_E4 - best[1], PRICE_ONE_E4 - best[0]
