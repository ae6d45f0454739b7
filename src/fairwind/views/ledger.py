"""The ledger: its balances, its postings, and whether every table agrees with it.

In: a state, postings as told. Out: the money of a terminal, the trial balance, the newest postings
and a reconciliation. Never here: the engine's own word that its invariants hold.
"""

from functools import partial

import numpy as np

from fairwind.core.events import Outcome
from fairwind.core.outputs import Fact
from fairwind.engine.ledger import BY_ASSET, BY_DIRECTION, BY_FAMILY, NOBODY
from fairwind.engine.state import CASH, State
from fairwind.views import names
from fairwind.views.names import ROWS_SHOWN, Made, Shown, active, slug_at
from fairwind.views.shapes import Rows, Scalar
from fairwind.views.told import Look, View
from fairwind.views.told import Rows as Tables

ACCOUNTS = ("cash", "reserved", "positions", "receivable", "fees", "realised", "deposits")
"""In the order of the state's balances."""
FIELDS = tuple(f"{name}_micro".replace("positions", "position") for name in ACCOUNTS)
"""Of a posting, in the same order."""


class Money(Shown, frozen=True, kw_only=True):
    """The accounts, as an owner counts them; `drawdown` is the part lost since the day's peak."""

    cash_micro: int
    reserved_micro: int
    positions_micro: int  # at cost
    receivable_micro: int
    fees_micro: int
    realised_micro: int
    deposits_micro: int
    equity_micro: int
    drawdown: float | None
    drawdown_stop: float


class Turnover:
    """All postings, added up: what went into each account and what went out of it."""

    def __init__(self) -> None:
        self.debit_micro = [0] * len(ACCOUNTS)
        self.credit_micro = [0] * len(ACCOUNTS)
        self.shares_micro = 0
        """Bought, less what was sold and settled."""
        self.shown: Made[int, tuple[int, np.void]] = Made()

    def take(self, rows: Tables, state: State) -> None:
        """As Fold.take."""
        postings = rows["postings"]
        for at, field in enumerate(FIELDS):
            moved = postings[field]
            self.debit_micro[at] += int(moved[moved > 0].sum())
            self.credit_micro[at] -= int(moved[moved < 0].sum())
        self.shares_micro += int(postings["shares_micro"].sum())


def money(state: State) -> Money:
    """The accounts; income and deposits are negative in the ledger and positive here."""
    accounts = state.record.accounts.tolist()
    cash, reserved, positions, receivable, fees, realised, deposits = accounts
    return Money(
        cash_micro=cash,
        reserved_micro=reserved,
        positions_micro=positions,
        receivable_micro=receivable,
        fees_micro=fees,
        realised_micro=-realised,
        deposits_micro=-deposits,
        equity_micro=int(state.record["equity_micro"]),
        drawdown=drawdown(state),
        drawdown_stop=float(state.record["drawdown_stop"]),
    )


def drawdown(state: State) -> float | None:
    """The part of the day's peak that is lost; None before there is a peak."""
    equity, peak = int(state.record["equity_micro"]), int(state.record["peak_micro"])
    return 1.0 - equity / peak if peak > 0 else None


POSTING_COLUMNS = (
    *("posting", "ts_ns", "fact", "order", "strategy", "slug", "outcome", *FIELDS),
    *("shares_micro", "payout_e4", "sum_micro"),
)


def _ledger(look: Look, _argument: str) -> Rows:
    """The trial balance: debits and credits since the run began; the last row adds all up."""
    turnover, balances = look.told.of(Turnover), look.state.record.accounts.tolist()
    accounts = zip(ACCOUNTS, balances, turnover.debit_micro, turnover.credit_micro, strict=True)
    rows: list[list[Scalar]] = [list(account) for account in accounts]
    totals = (balances, turnover.debit_micro, turnover.credit_micro)
    rows.append(["total", *map(sum, totals)])
    columns = ("account", "balance_micro", "debit_micro", "credit_micro")
    return Rows(key="account", columns=columns, rows=rows, total=len(rows))


def _postings(look: Look, argument: str) -> Rows:
    number, told = names.number_of(argument), look.told
    first = told.counts["postings"] - len(told.postings)
    keyed = [
        (first + place, (first + place, row))
        for place, row in enumerate(told.postings)
        if number in (None, row["strategy"])
    ]
    total = told.counts["postings"] if number is None else len(keyed)
    shown = told.of(Turnover).shown
    rows = shown.rows(f"postings/{argument}", keyed[-ROWS_SHOWN:], partial(_posting, look))
    return Rows(key="posting", columns=POSTING_COLUMNS, rows=rows, total=total)


def _posting(look: Look, numbered: tuple[int, np.void]) -> list[Scalar]:
    number, row = numbered
    amounts = [int(row[field]) for field in FIELDS]
    nobody = row["strategy"] == NOBODY
    fact = Fact(int(row["fact"]))
    paid = fact in (Fact.SETTLE, Fact.CORRECT)
    return [
        *(number, int(row["ts_ns"]), fact.name, int(row["order"]) or None),
        names.strategy(int(row["strategy"])),
        *((None, None) if nobody else (slug_at(look.told, row), Outcome(int(row["outcome"])).name)),
        *(*amounts, int(row["shares_micro"]), int(row["payout_e4"]) if paid else None),
        sum(amounts),
    ]


def _reconciliation(look: Look, _argument: str) -> Rows:
    """Each invariant with both of its sides, from tables that are kept apart from each other."""
    rows: list[list[Scalar]] = [
        [name, _unit(name), expected, found, found - expected, found == expected]
        for name, expected, found in _invariants(look)
    ]
    cash = int(look.state.record.accounts[CASH])
    lowest = "cash is not below zero"
    rows.append([lowest, _unit(lowest), 0, cash, min(cash, 0), cash >= 0])
    columns = ("invariant", "unit", "expected_micro", "found_micro", "difference_micro", "ok")
    return Rows(key="invariant", columns=columns, rows=rows, total=len(rows))


def _unit(invariant: str) -> str:
    """What its two sides are millionths of."""
    return "shares" if invariant.startswith("shares ") else "dollars"


def _invariants(look: Look) -> list[tuple[str, int, int]]:
    """(what must hold, what it should be, what it is)."""
    record, turnover = look.state.record, look.told.of(Turnover)
    balances, used = record.accounts.tolist(), record.used
    cash, reserved, cost, receivable, fees, realised, deposits = balances
    slots = active(look.state)
    held = record.positions[:, slots]
    costs = int((held["up_cost_micro"] + held["down_cost_micro"]).sum())
    shares = int((held["up_micro"] + held["down_micro"]).sum())
    open_orders = record.orders[record.orders["order"] != 0]
    reserves = int(open_orders["reserved_micro"].sum())
    folded = [d - c for d, c in zip(turnover.debit_micro, turnover.credit_micro, strict=True)]
    return [
        ("the accounts sum to zero", 0, sum(balances)),
        *(
            (f"the postings of {name} add up to its balance", total, balance)
            for name, total, balance in zip(ACCOUNTS, folded, balances, strict=True)
        ),
        ("reserved is the reserves of open orders", reserves, reserved),
        ("positions are the cost of what is held", costs, cost),
        ("shares bought, less sold and settled, are held", turnover.shares_micro, shares),
        *(
            (f"use by {name} is reserves and positions", reserves + costs, int(used[part].sum()))
            for name, part in (
                ("strategy", slice(0, BY_FAMILY)),
                ("family", slice(BY_FAMILY, BY_ASSET)),
                ("underlying", slice(BY_ASSET, BY_DIRECTION)),
                ("direction", slice(BY_DIRECTION, None)),
            )
        ),
        (
            "deposits, profit and fees are what is owned, at cost",
            -deposits - realised - fees,
            cash + reserved + cost + receivable,
        ),
    ]


VIEWS = (
    View("ledger", "the trial balance", _ledger),
    View("postings", "the newest postings", _postings, names.of_strategies, alone=True),
    View("reconciliation", "whether every table agrees with the ledger", _reconciliation),
)
