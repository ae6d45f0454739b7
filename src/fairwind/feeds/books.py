"""One market's book, assembled from both tokens' messages and doubted whenever they disagree.

In: checked messages of the market channel, with receipt times. Out: EVENT rows in Up terms and,
as a value, the wish for a new snapshot. Never here: a change before its snapshot, a change fed
twice (Down's entry mirrors Up's), a level overwritten by an older message.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from fairwind.core.errors import BadInput
from fairwind.core.events import HORIZONS_S, Flag, Kind, Side, Source
from fairwind.core.units import MILLISECOND_NS, PRICE_ONE_E4, SECOND_NS
from fairwind.feeds.checksum import TokenBook, TradePrices, fitting_trade_price
from fairwind.feeds.frames import (
    BadFrame,
    Reason,
    Row,
    best_price,
    contract_price,
    row,
    shares,
    trade_price,
)
from fairwind.feeds.kpis import Count, Kpis
from fairwind.feeds.levels import Ladder, News, Total, differences, ladder
from fairwind.feeds.recorded.clob_wire import Book, Change, LastTrade, OldChange

PARITY_E4 = 200
ASK_AGAIN_NS = 5 * SECOND_NS
CHECKSUM_EVERY = 64
"""Every so many changes of a book its checksum is recomputed; after a failure, every change."""
CHECKSUM_FAILURES = 3
CHECKSUM_DOUBT_NS = SECOND_NS
"""So many failures in a row over so long put the book in doubt: fewer may be a changed trade
price, or several changes in one millisecond of which not all have come."""

_SIDES = {"BUY": int(Side.BID), "SELL": int(Side.ASK)}
_BID, _ASK = int(Side.BID), int(Side.ASK)
_LEVEL, _POLYMARKET, _MORE = int(Kind.LEVEL), int(Source.POLYMARKET), int(Flag.MORE)

Bests = tuple[int, int]
"""(best bid, best ask) as price_e4; 0 and 10000 stand for an empty side."""


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

    def __init__(self, market: Market, kpis: Kpis, ts_ns: int) -> None:
        self.market = market
        self.live = False
        self.heard_ns = ts_ns
        self._wanted: str | None = None
        self._asked_ns = ts_ns
        self._kpis = kpis
        self._tick_e4 = market.tick_e4
        self._sides: tuple[Ladder, Ladder] = ({}, {})
        self._stamps: dict[int, int] = {}
        self._snapshot_stamp = 0
        self._best: Bests = (0, PRICE_ONE_E4)
        self._parity = 0
        self._trades = TradePrices()
        self._trusted = False
        self._until_checksum = CHECKSUM_EVERY
        self._failed = 0
        self._failing_since = 0
        self._newest = 0
        self._dead_since: int | None = None
        self._resumed = False

    def resume(self, levels: Sequence[tuple[int, int, int]], stamp: int) -> None:
        """Live from now on with these (side, price_e4, size micro), as of the venue's `stamp`.

        Raises BadInput for levels that cannot stand in one book.
        """
        for side, price, size in levels:
            if side not in (_BID, _ASK) or not 0 < price < PRICE_ONE_E4 or size <= 0:
                raise BadInput(
                    f"{self.market.condition_id}: expected levels of a book as (side, price_e4, "
                    f"size micro), found {(side, price, size)}; watch the market instead"
                )
            self._set(side, price, (size, ""))
        if self._best[0] >= self._best[1]:
            raise BadInput(
                f"{self.market.condition_id}: expected a bid below the ask, found best prices "
                f"{self._best}; watch the market instead"
            )
        self._snapshot_stamp = self._newest = stamp
        self.live = self._resumed = True

    def snapshot(self, frame: Book, stamp: int, ts_ns: int) -> list[Row]:
        """Replace the book by Up's; compare with Down's. A live book reports what differs.

        Raises BadFrame and changes nothing for a malformed book.
        """
        bids, asks = ladder(frame.bids), ladder(frame.asks)
        best = (max(bids, default=0), min(asks, default=PRICE_ONE_E4))
        _uncrossed(best, frame.asset_id)
        if frame.asset_id != self.market.up:
            self._expect_down(frame.asset_id)
            if self.live:
                self._compare(self._best, (PRICE_ONE_E4 - best[1], PRICE_ONE_E4 - best[0]))
            return []
        rows = [] if frame.tick_size is None else self.tick(frame.tick_size, ts_ns)
        if frame.last_trade_price is not None:
            self._trades.fitted(frame.last_trade_price)
        old, fresh = self._sides, not self.live
        seen = self._resumed and stamp <= self._newest
        trust, self._resumed = fresh or self._resumed, False
        self._sides, self._best, self._snapshot_stamp = (bids, asks), best, stamp
        self._newest = stamp
        self._stamps.clear()
        if fresh:
            rows.append(self._row(Kind.CLEAR, ts_ns, stamp, flags=_MORE if bids or asks else 0))
            rows += self._group(differences(({}, {}), self._sides), ts_ns, stamp)
            self._alive(ts_ns)
        else:
            again = [] if seen else self._top()
            rows += self._group(differences(old, self._sides) or again, ts_ns, stamp)
        if trust and frame.last_trade_price is not None:
            # When even a fresh book does not fit, the recipe has changed: no check is better.
            self._trusted = self._fits(stamp, frame.hash)
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
            if stamp < self._stamps.get(key, self._snapshot_stamp):
                self._kpis.add(Count.OUT_OF_ORDER)
                continue
            self._stamps[key] = stamp
            price, side = key >> 1, key & 1
            self._set(side, price, total)
            news.append((side, price, total[0]))
        if self._best[0] >= self._best[1]:
            return self.doubt(f"it is crossed: {self._best}", ts_ns)
        if len(news) < len(found):
            return self._group(news, ts_ns, stamp)
        if best is not None and best != self._best:
            return self.doubt(f"best prices {self._best}, the venue's are {best}", ts_ns)
        self._until_checksum -= 1
        newest = stamp >= self._newest
        self._newest = max(stamp, self._newest)
        due = newest and self._until_checksum <= 0 and sent_hash
        if due and not self._checked(stamp, sent_hash, ts_ns):
            return self.doubt("its checksum keeps failing", ts_ns)
        return self._group(news, ts_ns, stamp)

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

    def tick(self, tick_size: str, ts_ns: int) -> list[Row]:
        """A new tick ends the book; the same one again (it is sent up to four times) is nothing."""
        tick_e4 = contract_price(tick_size)
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
        self.live, self._dead_since = False, ts_ns
        return [self._row(Kind.GAP, ts_ns, 0)]

    def silent(self, ts_ns: int, limit_ns: int) -> bool:
        """Whether the window is open and its live book was not heard of for that long."""
        age_ns = ts_ns - self.market.start_ns
        horizon_s = HORIZONS_S[self.market.series % len(HORIZONS_S)]
        is_open = 0 <= age_ns < horizon_s * SECOND_NS
        return self.live and is_open and ts_ns - max(self.heard_ns, self.market.start_ns) > limit_ns

    def resync(self, ts_ns: int) -> Resync | None:
        """A wish for a new snapshot: once when the book ends, again while none comes."""
        if self._wanted is None and (self.live or ts_ns - self._asked_ns < ASK_AGAIN_NS):
            return None
        why = self._wanted or "no snapshot came"
        self._wanted, self._asked_ns = None, ts_ns
        return Resync(self.market, why)

    def _read(self, entries: Sequence[OldChange]) -> tuple[dict[int, Total], Bests | None, str]:
        """Totals by price x 2 + side in Up terms; Up's best prices and hash as sent with them."""
        found: dict[int, Total] = {}
        best: Bests | None = None
        mirrored: Bests | None = None
        sent_hash = ""
        for one in entries:
            side, price = _side(one.side), contract_price(one.price)
            total = (shares(one.size), one.size)
            up = one.asset_id == self.market.up
            if not up:
                self._expect_down(one.asset_id)
                side, price = 1 - side, PRICE_ONE_E4 - price
            if found.setdefault(price * 2 + side, total)[0] != total[0]:
                raise BadFrame(Reason.MIRROR, "the same total on both tokens", one)
            if isinstance(one, Change):
                bests = _bests(one)
                if up:
                    best, sent_hash = bests, one.hash
                else:
                    mirrored = (PRICE_ONE_E4 - bests[1], PRICE_ONE_E4 - bests[0])
        if best is not None and mirrored is not None:
            self._compare(best, mirrored)
        return found, best or mirrored, sent_hash

    def _expect_down(self, asset_id: str) -> None:
        if asset_id != self.market.down:
            raise BadFrame(Reason.ASSET, f"a token of {self.market.condition_id}", asset_id)

    def _compare(self, best: Bests, mirrored: Bests) -> None:
        """Mark the book while Down's best prices, in Up terms, are more than two cents off."""
        if best == mirrored:
            self._parity = 0
            return
        apart = max(abs(best[0] - mirrored[0]), abs(best[1] - mirrored[1]))
        self._parity = int(Flag.PARITY) if apart > PARITY_E4 else 0
        self._kpis.add(Count.PARITY, int(apart > PARITY_E4))

    def _set(self, side: int, price: int, total: Total) -> None:
        """One level's new total, and the best price that follows from it."""
        bid, ask = self._best
        if total[0]:
            self._sides[side][price] = total
            self._best = (max(bid, price), ask) if side == _BID else (bid, min(ask, price))
        elif self._sides[side].pop(price, None) and price == self._best[side]:
            bids, asks = self._sides
            self._best = (max(bids, default=0), min(asks, default=PRICE_ONE_E4))

    def _group(self, levels: News, ts_ns: int, stamp: int) -> list[Row]:
        """The (side, price, size) as one atomic group; the last one carries the parity mark."""
        number = self.market.number
        rows: list[Row] = [
            (ts_ns, stamp, price, size, number, 0, _LEVEL, _POLYMARKET, side, _MORE)
            for side, price, size in levels
        ]
        if rows:
            rows[-1] = (*rows[-1][:9], self._parity)
        return rows

    def _top(self) -> News:
        """The best levels once more: they were seen again, and are as young as the message."""
        bid, ask = self._best
        bids, asks = self._sides
        shown = ((_BID, bid, bids.get(bid)), (_ASK, ask, asks.get(ask)))
        return [(side, price, total[0]) for side, price, total in shown if total is not None]

    def _alive(self, ts_ns: int) -> None:
        """The book is live again; how long it was not is counted."""
        if self._dead_since is not None:
            self._kpis.invalid_book_ns += ts_ns - self._dead_since
        self.live, self._dead_since, self._wanted, self._failed = True, None, None, 0
        self._until_checksum = CHECKSUM_EVERY

    def _checked(self, stamp: int, sent_hash: str, ts_ns: int) -> bool:
        """Whether the checksum fits, or has not failed often enough to say that it does not."""
        if not self._trusted or self._fits(stamp, sent_hash):
            self._until_checksum, self._failed = CHECKSUM_EVERY, 0
            return True
        self._failed += 1
        self._failing_since = ts_ns if self._failed == 1 else self._failing_since
        often = self._failed >= CHECKSUM_FAILURES
        return not (often and ts_ns - self._failing_since >= CHECKSUM_DOUBT_NS)

    def _fits(self, stamp: int, sent_hash: str) -> bool:
        """Whether the book as assembled has the hash that was sent with it (venue facts 3.4)."""
        bids, asks = self._sides
        book = TokenBook(
            self.market.condition_id,
            self.market.up,
            {_text(price): text for price, (_, text) in bids.items()},
            {_text(price): text for price, (_, text) in asks.items()},
            tick_size=_text(self._tick_e4),
            min_order_size=f"{self.market.min_size_micro / 1e6:g}",
        )
        timestamp = str(stamp // MILLISECOND_NS)
        price = fitting_trade_price(book, timestamp, sent_hash, self._trades.candidates())
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


def _uncrossed(best: Bests, asset_id: str) -> None:
    if best[0] >= best[1]:
        raise BadFrame(Reason.CROSSED, f"a bid below the ask of {asset_id}", best)


def _bests(entry: Change) -> Bests:
    best = (best_price(entry.best_bid, 0), best_price(entry.best_ask, PRICE_ONE_E4))
    _uncrossed(best, entry.asset_id)
    return best


def _text(price_e4: int) -> str:
    """A price as the venue writes it: without trailing zeros."""
    return f"{price_e4 / PRICE_ONE_E4:g}"
