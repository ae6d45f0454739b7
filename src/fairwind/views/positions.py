"""Positions: what is held and what it is worth now, and what became of all that was held before.

In: a state, postings and orders as told. Out: typed positions for a terminal, trades folded from
the ledger's postings, and the views of both. Never here: a profit that the ledger did not book.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fairwind.core.events import Outcome
from fairwind.core.outputs import Fact, OrderState
from fairwind.core.units import PRICE_ONE_E4
from fairwind.engine.ledger import NOBODY
from fairwind.engine.run import roster
from fairwind.engine.state import GRID_E4, STRATEGIES, TOP_LEVEL, State
from fairwind.views import names
from fairwind.views.names import ROWS_SHOWN, Names, Shown, active, slug_of
from fairwind.views.shapes import Rows, Scalar
from fairwind.views.told import Look, View
from fairwind.views.told import Rows as Tables

TRADES_MAX = 2_000
"""Older closed ones are in the journal."""
OUTCOMES = tuple(Outcome)


class Position(Shown, frozen=True, kw_only=True):
    """Shares of one outcome that one strategy holds."""

    strategy: str
    slug: str
    outcome: int
    shares_micro: int
    cost_micro: int
    worth_micro: int | None  # at the mid; None without a book


class Key(NamedTuple):
    """What a trade is about: all fills of one strategy on one outcome of one window."""

    strategy: int
    market: int
    outcome: int


@dataclass
class Trade:
    """A trade so far, as the ledger booked it; micro-dollars and micro-shares."""

    slug: str | None
    opened_ns: int
    closed_ns: int = 0
    bought_micro: int = 0
    sold_micro: int = 0
    settled_micro: int = 0  # shares that the result paid, or did not
    paid_micro: int = 0  # for all shares bought, without fees
    proceeds_micro: int = 0  # of all shares sold, without fees
    payout_micro: int = 0  # of the shares that were held to the end
    payout_e4: int | None = None  # of one share of the outcome
    fees_micro: int = 0
    realised_micro: int = 0  # before fees
    expired: bool = False  # an order ended with the window

    @property
    def net_micro(self) -> int:
        """Profit as the ledger booked it so far."""
        return self.realised_micro - self.fees_micro

    @property
    def is_closed(self) -> bool:
        """Whether nothing is held any more."""
        return self.bought_micro == self.sold_micro + self.settled_micro

    @property
    def result(self) -> str:
        """How it ended; `win` is what the risk guard takes for one: not below zero."""
        if not self.bought_micro:
            return "expired"
        if self.payout_e4 == PRICE_ONE_E4 // 2:
            return "void"
        return "win" if self.net_micro >= 0 else "loss"


class Trades:
    """All trades by what they are about, the one that changed last at the end.

    One whose order expired unfilled is among them, with no shares.
    """

    def __init__(self, names: Names) -> None:
        """`names` is given all rows before this."""
        self.of: dict[Key, Trade] = {}
        self.closed: Counter[int] = Counter()
        """How many are closed, by strategy; more than are remembered."""
        self.earned = np.zeros((STRATEGIES, 4), np.int64)
        """Of those that held shares: how many, won, lost, and their profit, by strategy."""
        self._names = names

    def take(self, rows: Tables, state: State) -> None:
        """As Fold.take."""
        orders = rows["orders"]
        for row in orders[orders["state"] == OrderState.EXPIRED]:
            self._change(row, row["outcome"], _expire)
        for row in rows["postings"]:
            if row["fact"] == Fact.CORRECT:
                for outcome in OUTCOMES:
                    self._change(row, outcome, _correct)
            elif row["strategy"] != NOBODY and row["fact"] in _BOOKED:
                self._change(row, row["outcome"], _BOOKED[int(row["fact"])])
        for key in self._oldest_closed(len(self.of) - TRADES_MAX):
            del self.of[key]

    def _change(self, row: np.void, outcome: int, book: Any) -> None:
        key = Key(int(row["strategy"]), int(row["market"]), int(outcome))
        slug = self._names.slug(key.market, int(row["ts_ns"]))
        trade = self.of.get(key)
        if trade is None or trade.slug != slug:  # a market number that is used again
            if book is _correct:
                return
            trade = Trade(slug, int(row["ts_ns"]))
        else:
            self._count(key.strategy, trade, -1)
            del self.of[key]
        self.of[key] = trade
        book(trade, row, key.outcome)
        self._count(key.strategy, trade, 1)
        trade.closed_ns = int(row["ts_ns"]) if trade.is_closed else 0

    def _count(self, strategy: int, trade: Trade, times: int) -> None:
        self.closed[strategy] += times * trade.is_closed
        if trade.is_closed and trade.bought_micro:
            net = trade.net_micro
            self.earned[strategy] += times * np.array((1, net >= 0, net < 0, net))

    def _oldest_closed(self, count: int) -> list[Key]:
        closed = (key for key, trade in self.of.items() if trade.is_closed)
        return [key for key, _ in zip(closed, range(count), strict=False)]


def _fill(trade: Trade, row: np.void, _outcome: int) -> None:
    shares = int(row["shares_micro"])
    trade.realised_micro -= int(row["realised_micro"])
    if shares > 0:
        trade.bought_micro += shares
        trade.paid_micro += int(row["position_micro"])
    else:
        trade.sold_micro -= shares
        trade.proceeds_micro += int(row["cash_micro"])


def _fee(trade: Trade, row: np.void, _outcome: int) -> None:
    trade.fees_micro += int(row["fees_micro"])


def _settle(trade: Trade, row: np.void, _outcome: int) -> None:
    trade.settled_micro -= int(row["shares_micro"])
    trade.payout_micro += int(row["receivable_micro"])
    trade.payout_e4 = int(row["payout_e4"])
    trade.realised_micro -= int(row["realised_micro"])


def _correct(trade: Trade, row: np.void, outcome: int) -> None:
    """The posting is one for both outcomes; each has the part that its shares make of it."""
    up_e4 = int(row["payout_e4"])
    trade.payout_e4 = up_e4 if outcome == Outcome.UP else PRICE_ONE_E4 - up_e4
    payout_micro = trade.settled_micro * trade.payout_e4 // PRICE_ONE_E4
    trade.realised_micro += payout_micro - trade.payout_micro
    trade.payout_micro = payout_micro


def _expire(trade: Trade, _row: np.void, _outcome: int) -> None:
    trade.expired = True


_BOOKED = {
    int(Fact.FILL): _fill,
    int(Fact.FEE): _fee,
    int(Fact.SETTLE): _settle,
    int(Fact.CORRECT): _correct,
}


def booked(postings: Sequence[np.void], outcome: int) -> Trade:
    """The trade that these postings, all of one window and outcome, make."""
    trade = Trade(None, int(postings[0]["ts_ns"]))
    for row in postings:
        if row["fact"] in _BOOKED:
            _BOOKED[int(row["fact"])](trade, row, outcome)
    return trade


def positions(state: State) -> tuple[Position, ...]:
    """What is held in windows without a result, by window, then strategy."""
    found = []
    for slot, strategy, outcome in _held(state):
        market, held = state.record.markets[slot], state.record.positions[strategy, slot]
        shares_micro = int(held[f"{_SIDES[outcome]}_micro"])
        found.append(
            Position(
                strategy=roster()[strategy].id,
                slug=slug_of(market),
                outcome=outcome,
                shares_micro=shares_micro,
                cost_micro=int(held[f"{_SIDES[outcome]}_cost_micro"]),
                worth_micro=worth_micro(market, outcome, shares_micro),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.slug, one.strategy)))


def worth_micro(market: Any, outcome: int, shares_micro: int) -> int | None:
    """At the mid, as the ledger marks it; an empty side stands at 0 or at 1."""
    half_e4 = mark_half_e4(market, outcome)
    return None if half_e4 is None else shares_micro * half_e4 // 20_000


def mark_half_e4(market: Any, outcome: int) -> int | None:
    """Twice the mid of the outcome; None without a book."""
    bid, ask = int(market["bid"]), int(market["ask"])
    if bid >= ask or (bid == 0 and ask == TOP_LEVEL):
        return None
    up_half_e4 = (bid + ask) * GRID_E4
    return 20_000 - up_half_e4 if outcome else up_half_e4


_SIDES = ("up", "down")


def _held(state: State) -> Iterator[tuple[int, int, int]]:
    """(slot, strategy, outcome) of everything that is held."""
    for slot in active(state):
        held = state.record.positions[: len(roster()), slot]
        for outcome, side in enumerate(_SIDES):
            for strategy in np.flatnonzero(held[f"{side}_micro"]).tolist():
                yield slot, strategy, outcome


OPEN_COLUMNS = (
    *("position", "strategy", "slug", "outcome", "end_ns", "state", "shares_micro", "cost_micro"),
    *("price_e4", "mark_e4", "worth_micro", "unrealised_micro", "fees_micro", "net_micro"),
)
CLOSED_COLUMNS = (
    *("position", "strategy", "slug", "outcome", "opened_ns", "closed_ns", "shares_micro"),
    *("paid_micro", "proceeds_micro", "payout_e4", "payout_micro", "fees_micro", "net_micro"),
    "result",
)


def _open(look: Look, argument: str) -> Rows:
    number = names.number_of(argument)
    found = [one for one in _held(look.state) if number in (None, one[1])]
    rows = sorted((_open_row(look, *one) for one in found), key=lambda row: str(row[0]))
    return Rows(key="position", columns=OPEN_COLUMNS, rows=rows, total=len(rows))


def _open_row(look: Look, slot: int, strategy: int, outcome: int) -> list[Scalar]:
    """Net: what was booked so far, with the mark."""
    market = look.state.record.markets[slot]
    held = look.state.record.positions[strategy, slot]
    shares, cost = (int(held[f"{_SIDES[outcome]}{end}_micro"]) for end in ("", "_cost"))
    worth, half_e4 = worth_micro(market, outcome, shares), mark_half_e4(market, outcome)
    unrealised = None if worth is None else worth - cost
    trade = look.told.of(Trades).of.get(Key(strategy, int(market["number"]), outcome))
    booked = None if trade is None else trade.net_micro
    name, end_ns = roster()[strategy].id, int(market["end_ns"])
    return [
        *(f"{name}/{slug_of(market)}/{OUTCOMES[outcome].name}", name, slug_of(market)),
        *(OUTCOMES[outcome].name, end_ns, "open" if look.now_ns < end_ns else "awaits result"),
        *(shares, cost, cost * PRICE_ONE_E4 / shares, None if half_e4 is None else half_e4 / 2),
        *(worth, unrealised, None if trade is None else trade.fees_micro),
        None if unrealised is None or booked is None else booked + unrealised,
    ]


def _closed(look: Look, argument: str) -> Rows:
    trades, number = look.told.of(Trades), names.number_of(argument)
    found = [
        (key, trade)
        for key, trade in trades.of.items()
        if trade.is_closed and number in (None, key.strategy)
    ]
    total = trades.closed.total() if number is None else trades.closed[number]
    rows = [_closed_row(*one) for one in found[-ROWS_SHOWN:]]
    return Rows(key="position", columns=CLOSED_COLUMNS, rows=rows, total=total)


def _closed_row(key: Key, trade: Trade) -> list[Scalar]:
    name, outcome = names.strategy(key.strategy), OUTCOMES[key.outcome].name
    return [
        *(f"{name}/{trade.slug}/{outcome}", name, trade.slug, outcome),
        *(trade.opened_ns, trade.closed_ns, trade.bought_micro, trade.paid_micro),
        *(trade.proceeds_micro, trade.payout_e4, trade.payout_micro, trade.fees_micro),
        *(trade.net_micro, trade.result),
    ]


VIEWS = (
    View("positions", "what is held, at its mark", _open, names.of_strategies, alone=True),
    View("closed", "trades that are over", _closed, names.of_strategies, alone=True),
)
