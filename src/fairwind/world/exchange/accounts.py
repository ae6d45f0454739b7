"""Who owns what in the built-in market: dollars and shares, and trades on their way to the chain.

In: fills. Out: balances; what a trade takes is taken at once, what it brings arrives when it is
mined, and a failed one gives back what it took. Never here: money from nowhere.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from fairwind.core.events import Outcome
from fairwind.core.rules import fee_micro
from fairwind.core.units import PRICE_ONE_E4, SHARE_MICRO
from fairwind.world.exchange.book import Fill
from fairwind.world.exchange.orders import Order, Terms, cost_micro

HOUSE = "house"
"""The makers and takers of the generated world. It may owe: its cash can go below zero."""
FEES = "fees"


class Asset(NamedTuple):
    """Shares of an outcome of a market; CASH is the collateral."""

    market: str
    outcome: Outcome


CASH = Asset("", Outcome.UP)


class Posting(NamedTuple):
    """A change of one account, micro dollars or micro shares."""

    account: str
    asset: Asset
    change: int


class TradeStatus(StrEnum):
    """Where a trade is on its way to the chain."""

    MATCHED = "MATCHED"
    MINED = "MINED"
    CONFIRMED = "CONFIRMED"
    FAILED = "FAILED"


@dataclass(slots=True)
class Trade:
    """One taker order against some makers at one moment."""

    id: str
    taker: Order
    fills: tuple[Fill, ...]
    fee_micro: int
    matched_ns: int
    number: int
    status: TradeStatus = TradeStatus.MATCHED
    updated_ns: int = 0

    @property
    def size_micro(self) -> int:
        """Shares traded."""
        return sum(fill.size_micro for fill in self.fills)

    @property
    def cost_micro(self) -> int:
        """What the taker's shares cost or brought, without the fee."""
        return sum(cost_micro(f.size_micro, self.taker.own_e4(f.up_e4)) for f in self.fills)

    def postings(self) -> list[Posting]:
        """What everybody gives and gets, one line per account and asset.

        Two buyers mint a pair of shares, two sellers merge one. A seller's fee comes out of what
        the sale brings.
        """
        net = {(self.taker.account, CASH): -self.fee_micro, (FEES, CASH): self.fee_micro}
        for fill in self.fills:
            for order in (self.taker, fill.maker):
                sign = 1 if order.buying else -1
                cost = cost_micro(fill.size_micro, order.own_e4(fill.up_e4))
                shares = (order.account, Asset(order.market, order.outcome))
                net[order.account, CASH] = net.get((order.account, CASH), 0) - sign * cost
                net[shares] = net.get(shares, 0) + sign * fill.size_micro
        return [Posting(account, asset, change) for (account, asset), change in net.items()]


def fee(fills: list[Fill], terms: Terms) -> int:
    """The taker's fee in micro dollars: each fill at its price, rounded to 5 decimals."""
    rate, form = terms.fee_rate_e6, terms.fee_form
    return sum(int(fee_micro(fill.size_micro, fill.up_e4, rate, form)) for fill in fills)


class Accounts:
    """Balances by account and asset."""

    def __init__(self) -> None:
        self.balances: dict[tuple[str, Asset], int] = {}

    def balance(self, account: str, asset: Asset) -> int:
        """What the account can spend: micro dollars or micro shares."""
        return self.balances.get((account, asset), 0)

    def post(self, line: Posting) -> None:
        """Apply one change."""
        key = (line.account, line.asset)
        self.balances[key] = self.balances.get(key, 0) + line.change

    def take(self, trade: Trade) -> None:
        """At the match: what the trade costs leaves the accounts."""
        self._apply([line for line in trade.postings() if line.change < 0])

    def deliver(self, trade: Trade) -> None:
        """When it is mined: what the trade brings arrives."""
        self._apply([line for line in trade.postings() if line.change > 0])

    def give_back(self, trade: Trade) -> None:
        """When it failed: what the trade had taken comes back."""
        lines = [line for line in trade.postings() if line.change < 0]
        self._apply([line._replace(change=-line.change) for line in lines])

    def redeem(self, market: str, up_payout_e4: int) -> None:
        """Every share of the market becomes what it pays."""
        for outcome in Outcome:
            pays = up_payout_e4 if outcome == Outcome.UP else PRICE_ONE_E4 - up_payout_e4
            asset = Asset(market, outcome)
            for account, owned in list(self.balances):
                if owned == asset:
                    size = self.balances.pop((account, owned))
                    self.post(Posting(account, CASH, size * pays // PRICE_ONE_E4))

    def split(self, account: str, market: str, sets: int) -> None:
        """Turn dollars into pairs of one Up and one Down share; a negative number merges them."""
        self.post(Posting(account, CASH, -sets * SHARE_MICRO))
        for outcome in Outcome:
            self.post(Posting(account, Asset(market, outcome), sets * SHARE_MICRO))

    def _apply(self, lines: list[Posting]) -> None:
        for line in lines:
            self.post(line)
