"""The built-in market as it runs: a tape of events, users' orders and time in, frames out.

In: EVENT records of a generated or recorded world, orders, the time. Out: frames for the market
and user channels, late answers. Never here: sockets, or a look at the tape beyond the time.
"""

import heapq
from collections import deque
from typing import NamedTuple

from fairwind.core import rules
from fairwind.core.events import HORIZONS_S, Events, Flag, Kind, Outcome, Side
from fairwind.core.rules import FeeForm, RuleKind
from fairwind.core.units import SECOND_NS
from fairwind.world.exchange.accounts import CASH, HOUSE, Posting, Trade, TradeStatus
from fairwind.world.exchange.facts import (
    Answer,
    Fact,
    LevelFact,
    OrderFact,
    ResultFact,
    TickFact,
    TradeFact,
)
from fairwind.world.exchange.matching import Exchange
from fairwind.world.exchange.orders import Order, Terms
from fairwind.world.faults import Faults, LineName
from fairwind.world.faults import Kind as Fate
from fairwind.world.server import account_wire, wire
from fairwind.world.server.account_wire import Identity
from fairwind.world.server.listing import derived, listing
from fairwind.world.server.wire import Shown

MINED_AFTER_NS = 2_200_000_000
CONFIRMED_AFTER_NS = 7_000_000_000
HEARTBEAT_NS = 10 * SECOND_NS
KEPT_NS = 1800 * SECOND_NS
"""How long a market is still answered for after its result; then it and its trades are gone."""
GRANT_MICRO = 10_000 * 1_000_000


class Row(NamedTuple):
    """One EVENT record."""

    ts_ns: int
    ts_source_ns: int
    price: int
    size: int
    market: int
    ref: int
    kind: int
    source: int
    side: int
    flags: int


class MarketFrame(NamedTuple):
    """For readers of any of the tokens; for all readers when there are none."""

    tokens: tuple[str, ...]
    custom: bool
    data: bytes
    ts_ns: int


class UserFrame(NamedTuple):
    """For one account."""

    account: str
    market: str
    data: bytes
    ts_ns: int


Frame = MarketFrame | UserFrame


class Venue:
    """Everything that the servers serve."""

    def __init__(self, tape: Events, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.exchange = Exchange()
        self.shown: dict[str, Shown] = {}  # by condition id
        self.numbers: dict[int, Shown] = {}  # by the tape's market number
        self.tokens: dict[str, Shown] = {}
        self.slugs: dict[str, Shown] = {}
        self.who: dict[str, Identity] = {}
        self.now_ns = 0
        self.prints: list[Row] = []  # SPOT and REFERENCE since the last call of `advance`
        self.tape = tape
        self._played = 0
        self._heard = True
        self._late: list[tuple[int, int, int]] = []  # results to come: when, market, payout
        self._resolved: deque[tuple[int, str]] = deque()  # until when each is kept
        self._settling: list[tuple[int, int, str, TradeStatus]] = []
        self._beats: dict[str, tuple[str, int]] = {}

    def known(self, account: str, identity: Identity) -> None:
        """Open an account, with a first grant of dollars, or name it anew."""
        if account not in self.who:
            self.exchange.accounts.post(Posting(account, CASH, GRANT_MICRO))
        self.who[account] = identity

    @property
    def span_ns(self) -> tuple[int, int]:
        """Times of the tape's first and last event."""
        return int(self.tape["ts_ns"][0]), int(self.tape["ts_ns"][-1])

    def after(self, rows: int, limit_ns: int) -> int:
        """The time at which so many more rows of the tape have been played, or the limit."""
        place = self._played + rows
        return min(int(self.tape["ts_ns"][place]), limit_ns) if place < len(self.tape) else limit_ns

    def advance(self, now_ns: int, heard: bool = True) -> tuple[list[Frame], list[Answer]]:
        """Play the tape up to a time. Frames in order, and answers to orders that waited.

        With nobody to hear them there are no frames, which takes half the time.
        """
        self.prints, self._heard = [], heard
        frames: list[Frame] = []
        answers: list[Answer] = []
        end = int(self.tape["ts_ns"][self._played :].searchsorted(now_ns, "right"))
        group: list[Row] = []
        for row in map(Row._make, self.tape[self._played : self._played + end].tolist()):
            group.append(row)
            if not row.flags & Flag.MORE:
                answers += self._pass_time(row.ts_ns, frames)
                frames += self._play(group)
                group = []
        self._played += end - len(group)
        answers += self._pass_time(now_ns, frames)
        self._heard = True
        return frames, answers

    def submit(self, order: Order) -> tuple[list[Frame], Answer]:
        """Take an order in now."""
        answer = self.exchange.submit(order, self.now_ns)
        return self._frames(self.exchange.facts()), answer

    def cancel(self, account: str, ids: list[str]) -> tuple[list[Frame], list[str], dict[str, str]]:
        """(frames, cancelled ids, reason by id of the others)."""
        gone, kept = self.exchange.cancel(account, ids)
        return self._frames(self.exchange.facts()), gone, kept

    def heartbeat(self, account: str, last: str) -> tuple[bool, str]:
        """Keep the account's orders alive: (whether `last` was right, the id to send next).

        Once begun it must go on: ten seconds without one cancel all of the account's orders.
        """
        expected, _ = self._beats.get(account, ("", 0))
        if last != expected:
            return False, expected
        text = derived(f"{account} {self.now_ns} {last}", "heartbeat").hex()[:32]
        self._beats[account] = (text, self.now_ns)
        return True, text

    def trades_of(self, account: str) -> list[Trade]:
        """The account's trades, newest first."""
        trades = reversed(self.exchange.trades.values())
        return [trade for trade in trades if account in _parties(trade)]

    def _pass_time(self, now_ns: int, frames: list[Frame]) -> list[Answer]:
        """Settle, release and expire what is due."""
        self.now_ns = max(self.now_ns, now_ns)
        while self._settling and self._settling[0][0] <= now_ns:
            due_ns, _, trade_id, status = heapq.heappop(self._settling)
            self.exchange.settle(trade_id, status, due_ns)
        for account, (_, last_ns) in list(self._beats.items()):
            if now_ns - last_ns > HEARTBEAT_NS:
                del self._beats[account]
                own = [o.id for o in self.exchange.open.values() if o.account == account]
                self.exchange.cancel(account, own)
        while self._late and self._late[0][0] <= now_ns:
            _, number, payout_e4 = heapq.heappop(self._late)
            self.exchange.resolve(self.numbers[number].listing.condition_id, payout_e4)
        answers = self.exchange.advance(now_ns)
        frames += self._frames(self.exchange.facts())
        while self._resolved and self._resolved[0][0] <= now_ns:
            self._forget(self._resolved.popleft()[1])
        return answers

    def _forget(self, market: str) -> None:
        found = self.shown.pop(market).listing
        del self.numbers[found.number], self.slugs[found.slug]
        for token in found.tokens:
            del self.tokens[token]
        self.exchange.forget(market)

    def _play(self, group: list[Row]) -> list[Frame]:
        """One atomic change of the tape."""
        frames: list[Frame] = []
        whole = False
        for row in group:
            if row.kind in (Kind.SPOT, Kind.REFERENCE):
                self.prints.append(row)
            elif row.kind == Kind.LISTED:
                frames += self._list(row)
            elif row.market in self.numbers:
                self._change(row, self.numbers[row.market].listing.condition_id)
                whole = whole or row.kind in (Kind.CLEAR, Kind.RESOLVED)
        return frames + self._frames(self.exchange.facts(), whole)

    def _change(self, row: Row, market: str) -> None:
        exchange = self.exchange
        if exchange.markets[market].payout_e4 is not None:
            return
        if row.kind == Kind.LEVEL:
            exchange.house_level(market, Side(row.side), row.price, row.size, row.ts_ns)
        elif row.kind == Kind.CLEAR:
            exchange.house_clear(market)
        elif row.kind == Kind.TRADE:
            exchange.house_trade(market, Side(row.side), row.price, row.size, row.ts_ns)
        elif row.kind == Kind.TICK:
            exchange.set_tick(market, row.price)
        elif row.kind == Kind.FEES:
            place = exchange.markets[market]
            place.terms = place.terms._replace(fee_rate_e6=row.price, fee_form=FeeForm(row.size))
        elif row.kind == Kind.RESOLVED:
            late = self.faults.acting(Fate.LATE_RESULT, LineName.MARKET, row.ts_ns)
            if late is None:
                exchange.resolve(market, row.price)
            else:
                heapq.heappush(self._late, (row.ts_ns + late.by_ns, row.market, row.price))

    def _list(self, row: Row) -> list[Frame]:
        horizon, start_ns = row.ref % len(HORIZONS_S), row.ts_source_ns
        averaging = rules.in_force(RuleKind.SETTLEMENT, horizon, start_ns).a
        found = listing(row.market, row.ref, start_ns, row.ts_ns, averaging)
        fee = rules.in_force(RuleKind.FEE, horizon, start_ns)
        terms = Terms(
            tick_e4=row.price,
            least_micro=row.size,
            fee_rate_e6=fee.a,
            fee_form=FeeForm(fee.b),
            taker_delay_ns=rules.in_force(RuleKind.TAKER_DELAY, horizon, start_ns).a,
        )
        self.exchange.list_market(found.condition_id, terms)
        shown = Shown(found, row.price, row.size, changed_ns=row.ts_ns)
        self.shown[found.condition_id] = self.numbers[row.market] = shown
        self.slugs[found.slug] = shown
        self.tokens.update(dict.fromkeys(found.tokens, shown))
        if not self._heard:
            return []
        return [MarketFrame((), True, wire.new_market(shown, terms.fee_rate_e6), row.ts_ns)]

    def _frames(self, facts: list[Fact], whole: bool = False) -> list[Frame]:
        """What the facts say to readers: deltas, or whole books after trades and new ticks."""
        frames: list[Frame] = []
        now_ns = self.now_ns
        touched = [self._shown_of(fact) for fact in facts]
        if not self._heard:
            for fact, shown in zip(facts, touched, strict=True):
                self._apply(fact, shown)
            return []
        before = {s.listing.condition_id: [s.best(o) for o in Outcome] for s in touched}
        again = _shown_whole(facts, {s.listing.condition_id for s in touched} if whole else set())
        for fact, shown in zip(facts, touched, strict=True):
            self._apply(fact, shown)
            if isinstance(fact, OrderFact):
                frames += self._order_frames(fact)
            else:
                frames += self._fact_frames(fact, shown, shown.listing.condition_id in again)
        for market in sorted(again):
            shown = self.shown[market]
            for outcome in Outcome:
                token = shown.listing.tokens[outcome]
                frames.append(MarketFrame((token,), False, wire.book_again(shown, outcome), now_ns))
        return frames + self._best_frames(before)

    def _apply(self, fact: Fact, shown: Shown) -> None:
        """Bring what is shown up to a fact, and put on the calendar what follows from it."""
        shown.changed_ns = self.now_ns + self.faults.off_ns(LineName.MARKET, self.now_ns)
        if isinstance(fact, LevelFact):
            shown.apply(fact)
        elif isinstance(fact, TickFact):
            shown.tick_e4 = fact.new_e4
        elif isinstance(fact, ResultFact):
            self._resolved.append((self.now_ns + KEPT_NS, fact.market))
        elif isinstance(fact, TradeFact) and fact.status is TradeStatus.MATCHED:
            trade = fact.trade
            shown.last_price = f"{trade.taker.own_e4(trade.fills[-1].up_e4) / 10_000:.3f}"
            if trade.id in self.exchange.trades:
                self._will_settle(trade)

    def _fact_frames(self, fact: Fact, shown: Shown, whole: bool) -> list[Frame]:
        tokens = shown.listing.tokens
        if isinstance(fact, LevelFact):
            if whole:
                return []
            return [MarketFrame(tokens, False, wire.price_change(shown, fact), self.now_ns)]
        if isinstance(fact, TradeFact):
            return self._trade_frames(fact, shown)
        if isinstance(fact, TickFact):
            twice = [outcome for outcome in Outcome for _ in range(2)]
            return [
                MarketFrame(
                    (tokens[outcome],),
                    False,
                    wire.tick_size_change(shown, outcome, fact.old_e4, fact.new_e4),
                    self.now_ns,
                )
                for outcome in twice
            ]
        assert isinstance(fact, ResultFact)
        resolved = wire.market_resolved(shown, fact.up_payout_e4)
        return [MarketFrame(tokens, True, resolved, self.now_ns)]

    def _trade_frames(self, fact: TradeFact, shown: Shown) -> list[Frame]:
        """The public print of a new trade; its status for those who took part."""
        trade = fact.trade
        frames: list[Frame] = []
        if fact.status is TradeStatus.MATCHED:
            token = shown.listing.tokens[trade.taker.outcome]
            printed = wire.last_trade_price(shown, trade)
            frames.append(MarketFrame((token,), False, printed, self.now_ns))
        for account in sorted(_parties(trade) - {HOUSE}):
            event = account_wire.trade_event(trade, shown.listing, self.who, account)
            data = wire.encode(event)
            frames.append(UserFrame(account, shown.listing.condition_id, data, self.now_ns))
        return frames

    def _will_settle(self, trade: Trade) -> None:
        """Put the trade's way to the chain on the calendar."""
        stages = [(MINED_AFTER_NS, TradeStatus.MINED), (CONFIRMED_AFTER_NS, TradeStatus.CONFIRMED)]
        if self.faults.acting(Fate.FAILED, LineName.ORDERS, self.now_ns) is not None:
            stages = [(CONFIRMED_AFTER_NS, TradeStatus.FAILED)]
        for after_ns, status in stages:
            due = (trade.matched_ns + after_ns, trade.number, trade.id, status)
            heapq.heappush(self._settling, due)

    def _order_frames(self, fact: OrderFact) -> list[Frame]:
        order = fact.order
        found = self.shown[order.market].listing
        event = account_wire.order_event(fact, found, self.who[order.account], self.now_ns)
        return [UserFrame(order.account, order.market, wire.encode(event), self.now_ns)]

    def _best_frames(self, before: dict[str, list[tuple[str, str]]]) -> list[Frame]:
        """best_bid_ask of every token whose best prices are others than before."""
        return [
            MarketFrame((shown.listing.tokens[o],), True, wire.best_bid_ask(shown, o), self.now_ns)
            for market, best in before.items()
            for shown in (self.shown[market],)
            for o in Outcome
            if shown.best(o) != best[o]
        ]

    def _shown_of(self, fact: Fact) -> Shown:
        if isinstance(fact, TradeFact):
            return self.shown[fact.trade.taker.market]
        return self.shown[fact.order.market if isinstance(fact, OrderFact) else fact.market]


def _shown_whole(facts: list[Fact], more: set[str]) -> set[str]:
    """Markets whose books are sent again: after a trade or a new tick, deltas would not fit."""
    ticks = {fact.market for fact in facts if isinstance(fact, TickFact | ResultFact)}
    traded = {fact.market for fact in facts if isinstance(fact, LevelFact) and fact.traded}
    return ticks | traded | more


def _parties(trade: Trade) -> set[str]:
    return {trade.taker.account, *(fill.maker.account for fill in trade.fills)}
