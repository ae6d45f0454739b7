"""The double-entry ledger: integer micro-dollars, one posting set per fact, checked every time.

In: reserves, fills, fees, releases, results, deposits. Out: posting rows, account balances,
used capital by bucket. Never here: a float, a balance that is not the sum of its postings.
"""

from numpy import int64

from fairwind.core.compiled import compiled
from fairwind.core.digest import fold_output
from fairwind.core.outputs import Fact
from fairwind.engine.state import (
    CASH,
    DEPOSITS,
    FEES,
    OVERFLOW,
    POSITIONS,
    POSTINGS,
    REALISED,
    RECEIVABLE,
    RESERVED,
    TOP_LEVEL,
    claim,
)

DEPOSIT, WITHDRAW = int64(Fact.DEPOSIT), int64(Fact.WITHDRAW)
RESERVE, RELEASE = int64(Fact.RESERVE), int64(Fact.RELEASE)
SETTLE, REDEEM, CORRECT = int64(Fact.SETTLE), int64(Fact.REDEEM), int64(Fact.CORRECT)
UP, DOWN = int64(0), int64(1)
NOBODY = 255
BY_FAMILY, BY_ASSET, BY_DIRECTION = 32, 40, 48

UNBALANCED, NEGATIVE_CASH, WRONG_RESERVES, WRONG_POSITIONS, WRONG_BUCKETS = 1, 2, 3, 4, 5
BROKEN = {
    UNBALANCED: "postings do not sum to zero",
    NEGATIVE_CASH: "cash is below zero",
    WRONG_RESERVES: "reserved cash differs from the reserves of open orders",
    WRONG_POSITIONS: "position cost differs from the sum over positions",
    WRONG_BUCKETS: "used capital by bucket differs from reserves plus positions",
    OVERFLOW: "one event made more outputs than the tables have room for",
}


@compiled
def begin(state, out, fact):  # type: ignore[no-untyped-def]
    """Index of a blank posting row for a new fact; fill in its accounts, then call `book`."""
    at = claim(state, out, POSTINGS)
    row = out.postings[at]
    row.ts_ns = state.now_ns
    row.fact = fact
    row.order = 0
    row.cash_micro = 0
    row.reserved_micro = 0
    row.position_micro = 0
    row.receivable_micro = 0
    row.fees_micro = 0
    row.realised_micro = 0
    row.deposits_micro = 0
    row.shares_micro = 0
    row.market = 0xFFFF
    row.strategy = NOBODY
    row.outcome = UP
    row.payout_e4 = 0
    return at


@compiled
def book(state, row):  # type: ignore[no-untyped-def]
    """Post a filled-in row to the accounts; it must sum to zero."""
    accounts = state.accounts
    accounts[CASH] += row.cash_micro
    accounts[RESERVED] += row.reserved_micro
    accounts[POSITIONS] += row.position_micro
    accounts[RECEIVABLE] += row.receivable_micro
    accounts[FEES] += row.fees_micro
    accounts[REALISED] += row.realised_micro
    accounts[DEPOSITS] += row.deposits_micro
    total = (
        row.cash_micro
        + row.reserved_micro
        + row.position_micro
        + row.receivable_micro
        + row.fees_micro
        + row.realised_micro
        + row.deposits_micro
    )
    if total != 0:
        state.broken = UNBALANCED
    state.dirty = 1
    fold_output(state, row.order * 16 + row.fact, row.cash_micro, row.position_micro)


@compiled
def use(state, strategy, slot, outcome, amount_micro):  # type: ignore[no-untyped-def]
    """Add to the capital in use of the strategy, family, asset and direction."""
    market = state.markets[slot]
    used = state.used
    used[strategy] += amount_micro
    used[BY_FAMILY + state.strategies[strategy].family] += amount_micro
    used[BY_ASSET + market.asset] += amount_micro
    used[BY_DIRECTION + market.series * 2 + outcome] += amount_micro


@compiled
def move_cash(state, out, fact, amount_micro):  # type: ignore[no-untyped-def]
    """Deposit (positive) or withdraw (negative)."""
    row = out.postings[begin(state, out, fact)]
    row.cash_micro = amount_micro
    row.deposits_micro = -amount_micro
    book(state, row)


@compiled
def reserve(state, out, number, amount_micro):  # type: ignore[no-untyped-def]
    """Set cash aside for open order `number` (positive) or give it back (negative)."""
    if amount_micro == 0:
        return
    order = state.orders[number]
    row = out.postings[begin(state, out, RESERVE if amount_micro > 0 else RELEASE)]
    row.order = order.order
    row.strategy = order.strategy
    row.market = order.market
    row.outcome = order.outcome
    row.cash_micro = -amount_micro
    row.reserved_micro = amount_micro
    order.reserved_micro += amount_micro
    use(state, order.strategy, order.slot, order.outcome, amount_micro)
    book(state, row)


@compiled
def settle(state, out, strategy, slot, outcome, payout_e4):  # type: ignore[no-untyped-def]
    """Turn one strategy's shares of one outcome into their payout, then redeem it. Returns it."""
    market = state.markets[slot]
    position = state.positions[strategy, slot]
    shares = position.up_micro if outcome == UP else position.down_micro
    cost = position.up_cost_micro if outcome == UP else position.down_cost_micro
    if shares == 0:
        return 0
    pay = shares * payout_e4 // 10_000
    row = out.postings[begin(state, out, SETTLE)]
    row.strategy = strategy
    row.market = market.number
    row.outcome = outcome
    row.shares_micro = -shares
    row.payout_e4 = payout_e4
    row.position_micro = -cost
    row.receivable_micro = pay
    row.realised_micro = cost - pay
    if outcome == UP:
        position.up_micro = position.up_cost_micro = 0
        position.settled_up_micro = shares
    else:
        position.down_micro = position.down_cost_micro = 0
        position.settled_down_micro = shares
    use(state, strategy, slot, outcome, -cost)
    book(state, row)
    if pay > 0:
        redeem(state, out, strategy, slot, outcome, pay)
    return pay - cost


@compiled
def redeem(state, out, strategy, slot, outcome, pay_micro):  # type: ignore[no-untyped-def]
    """Cash in what a settled position pays. Free."""
    row = out.postings[begin(state, out, REDEEM)]
    row.strategy = strategy
    row.market = state.markets[slot].number
    row.outcome = outcome
    row.receivable_micro = -pay_micro
    row.cash_micro = pay_micro
    book(state, row)


@compiled
def correct(state, out, strategy, slot, before_e4, after_e4):  # type: ignore[no-untyped-def]
    """The venue's result replaces our reading: book the difference in payout, and return it.

    What is owed back is taken from cash as far as it goes; the rest stays a negative receivable.
    """
    position = state.positions[strategy, slot]
    up, down = position.settled_up_micro, position.settled_down_micro
    before = up * before_e4 // 10_000 + down * (10_000 - before_e4) // 10_000
    after = up * after_e4 // 10_000 + down * (10_000 - after_e4) // 10_000
    change = after - before
    if change == 0:
        return 0
    row = out.postings[begin(state, out, CORRECT)]
    row.strategy = strategy
    row.market = state.markets[slot].number
    row.payout_e4 = after_e4
    row.cash_micro = max(change, -state.accounts[CASH])
    row.receivable_micro = change - row.cash_micro
    row.realised_micro = -change
    book(state, row)
    return change


@compiled
def broken(state):  # type: ignore[no-untyped-def]
    """The first invariant that does not hold, or 0."""
    accounts = state.accounts
    if state.broken != 0:
        return state.broken
    if accounts.sum() != 0:
        return UNBALANCED
    if accounts[CASH] < 0:
        return NEGATIVE_CASH
    reserved = 0
    for number in range(state.orders_end):
        reserved += state.orders[number].reserved_micro
    if reserved != accounts[RESERVED]:
        return WRONG_RESERVES
    cost = 0
    for place in range(state.active_used):
        for strategy in range(state.strategies_used):
            position = state.positions[strategy, state.active[place]]
            cost += position.up_cost_micro + position.down_cost_micro
    if cost != accounts[POSITIONS]:
        return WRONG_POSITIONS
    return 0 if buckets_agree(state, reserved + cost) else WRONG_BUCKETS


@compiled
def buckets_agree(state, used_micro):  # type: ignore[no-untyped-def]
    """Whether each way of cutting up the capital in use adds up to all of it."""
    used = state.used
    return (
        used[:BY_FAMILY].sum() == used_micro
        and used[BY_FAMILY:BY_ASSET].sum() == used_micro
        and used[BY_ASSET:BY_DIRECTION].sum() == used_micro
        and used[BY_DIRECTION:].sum() == used_micro
    )


@compiled
def equity_micro(state):  # type: ignore[no-untyped-def]
    """Cash, reserves and receivables, plus open positions at the mid (at cost without a book)."""
    accounts = state.accounts
    total = accounts[CASH] + accounts[RESERVED] + accounts[RECEIVABLE]
    for place in range(state.active_used):
        slot = state.active[place]
        market = state.markets[slot]
        # An empty side already stands at 0 or at 1: late in a window that is what it is worth.
        marked = market.bid < market.ask and (market.bid > 0 or market.ask < TOP_LEVEL)
        up_half_e4 = (market.bid + market.ask) * 5
        for strategy in range(state.strategies_used):
            position = state.positions[strategy, slot]
            if position.up_cost_micro + position.down_cost_micro == 0:
                continue
            if marked:
                total += position.up_micro * up_half_e4 // 20_000
                total += position.down_micro * (20_000 - up_half_e4) // 20_000
            else:
                total += position.up_cost_micro + position.down_cost_micro
    return total
