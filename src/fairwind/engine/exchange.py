"""The simulated exchange: what the venue would do with our orders, given what its book did.

In: orders due, level changes, trades. Out: fills, kills, cancels. Realism: latency, taker
delay, depth walk, own consumption, queue position. Never here: a fill on a book that is stale,
invalid or crossed; a fill better than the displayed price.
"""

from numpy import int64

from fairwind.core.compiled import compiled
from fairwind.core.digest import fold_output
from fairwind.core.holds import Hold
from fairwind.core.outputs import Fact, OrderState, OrderType
from fairwind.core.rules import fee_micro
from fairwind.engine import ledger, orders
from fairwind.engine.state import FILLS, GRID_E4, LEVELS, TOP_LEVEL, claim

SENT, DELAYED = int64(OrderState.SENT), int64(OrderState.DELAYED)
RESTING, PARTIAL = int64(OrderState.RESTING), int64(OrderState.PARTIAL)
FILLED, CANCELLED = int64(OrderState.FILLED), int64(OrderState.CANCELLED)
KILLED, EXPIRED = int64(OrderState.KILLED), int64(OrderState.EXPIRED)
FAK, FOK, GTC, POST_ONLY = (int64(kind) for kind in OrderType)
BOOK_STALE, BOOK_INVALID = int64(Hold.BOOK_STALE), int64(Hold.BOOK_INVALID)
DEPTH, EXPIRY_CUTOFF = int64(Hold.DEPTH), int64(Hold.EXPIRY_CUTOFF)
FILL_FACT, FEE_FACT = int64(Fact.FILL), int64(Fact.FEE)
UP, DOWN, BID, ASK, BUY = int64(0), int64(1), int64(0), int64(1), int64(0)
NEVER_NS = orders.NEVER_NS
NO_HOLD = orders.NO_HOLD
MAKER = int64(0)
LOT_MICRO = orders.LOT_MICRO


@compiled
def deliver(state, out, until_ns):  # type: ignore[no-untyped-def]
    """Let everything that is due by `until_ns` reach the venue: by due time, then submission."""
    while state.next_due_ns <= until_ns and state.next_due_ns != NEVER_NS:
        first = -1
        due = NEVER_NS
        for number in range(state.orders_end):
            order = state.orders[number]
            when = min(order.due_ns, order.cancel_ns) if order.order != 0 else NEVER_NS
            earlier = when == due and first >= 0 and order.sequence < state.orders[first].sequence
            if when < due or earlier:
                due = when
                first = number
        state.next_due_ns = due
        if due > until_ns or first < 0:
            return
        state.now_ns = max(state.now_ns, due)
        reach(state, out, first)


@compiled
def reach(state, out, number):  # type: ignore[no-untyped-def]
    """One message of ours is at the venue: the order itself, or else its cancellation."""
    order = state.orders[number]
    if order.due_ns <= state.now_ns:
        order.due_ns = NEVER_NS
        arrive(state, out, number)
    elif order.state == DELAYED and not orders.cancellable(state, state.markets[order.slot]):
        order.cancel_ns = order.due_ns
    else:
        orders.finish(state, out, number, CANCELLED, NO_HOLD)


@compiled
def arrive(state, out, number):  # type: ignore[no-untyped-def]
    """An order reaches the matching engine, or leaves the taker delay."""
    order = state.orders[number]
    market = state.markets[order.slot]
    code = unusable(market, order, state.now_ns)
    if code != NO_HOLD:
        ended = code == EXPIRY_CUTOFF
        orders.finish(state, out, number, EXPIRED if ended else KILLED, code)
        return
    crosses = order.level >= market.ask if order.book_side == BID else order.level <= market.bid
    if order.state == SENT:
        order.arrival_mid_half_e4 = (market.bid + market.ask) * GRID_E4
        delay = orders.taker_delay_ns(state, market) if crosses and order.type != POST_ONLY else 0
        if delay > 0:
            order.due_ns = state.now_ns + delay
            orders.advance(state, out, number, DELAYED, NO_HOLD)
            return
    if crosses and order.type == POST_ONLY:
        orders.finish(state, out, number, KILLED, NO_HOLD)
    elif crosses:
        take(state, out, number)
    elif order.type == FAK or order.type == FOK:
        orders.finish(state, out, number, KILLED, DEPTH)
    else:
        rest(state, out, number)


@compiled
def unusable(market, order, now_ns):  # type: ignore[no-untyped-def]
    """Why the order cannot meet this book, or NO_HOLD."""
    if now_ns >= market.end_ns or market.number != order.market:
        return EXPIRY_CUTOFF
    if market.valid != 1 or market.gap != 0 or market.bid >= market.ask:
        return BOOK_INVALID
    if now_ns - market.book_ts_ns > order.book_budget_ns:
        return BOOK_STALE
    return NO_HOLD


@compiled
def opposite(order, market):  # type: ignore[no-untyped-def]
    """(index of level 0 of the side it trades against, that side's best level, way to walk)."""
    start = order.slot * 2 * LEVELS
    if order.book_side == BID:
        return start + LEVELS, market.ask, 1
    return start, market.bid, -1


@compiled
def available(state, number):  # type: ignore[no-untyped-def]
    """Shares micro that the order can take now within its limit."""
    order = state.orders[number]
    market = state.markets[order.slot]
    at, level, direction = opposite(order, market)
    total = 0
    while 0 < level < TOP_LEVEL and (order.level - level) * direction >= 0:
        shown = max(state.books[at + level] - state.consumed[at + level], 0)
        total += shown // LOT_MICRO * LOT_MICRO
        level += direction * market.step
    return total


@compiled
def take(state, out, number):  # type: ignore[no-untyped-def]
    """Walk the displayed depth up to the limit; kill or rest what is left."""
    order = state.orders[number]
    market = state.markets[order.slot]
    if order.type == FOK and available(state, number) < order.size_micro:
        orders.finish(state, out, number, KILLED, DEPTH)
        return
    at, level, direction = opposite(order, market)
    best = level
    while 0 < level < TOP_LEVEL and (order.level - level) * direction >= 0:
        left = order.size_micro - order.filled_micro
        size = min(state.books[at + level] - state.consumed[at + level], left)
        size = size // LOT_MICRO * LOT_MICRO
        if size > 0:
            if state.own_consumption != 0:
                state.consumed[at + level] += size
                market.consumed = market.near = 1
            fill(state, out, number, level, best, size)
        if order.filled_micro == order.size_micro:
            break
        level += direction * market.step
    if order.filled_micro == order.size_micro:
        orders.finish(state, out, number, FILLED, NO_HOLD)
    elif order.type == GTC:
        rest(state, out, number)
    else:
        orders.finish(state, out, number, KILLED, DEPTH)


@compiled
def rest(state, out, number):  # type: ignore[no-untyped-def]
    """Join the queue of the limit's level, behind everything that is displayed there."""
    order = state.orders[number]
    market = state.markets[order.slot]
    at = (order.slot * 2 + order.book_side) * LEVELS
    queue = state.queue != 0
    order.ahead_micro = state.books[at + order.level] if queue else 0
    market.resting += 1
    orders.advance(state, out, number, RESTING, NO_HOLD)


@compiled
def fill(state, out, number, level, best_level, size_micro):  # type: ignore[no-untyped-def]
    """Book one execution: FILL row, postings, position. `best_level` MAKER marks one."""
    order = state.orders[number]
    market = state.markets[order.slot]
    now = state.now_ns
    maker = best_level == MAKER
    price = outcome_e4(order.outcome, level)
    fee = 0 if maker else fee_micro(size_micro, price, market.fee_rate_e6, market.fee_form)
    row = out.fills[claim(state, out, FILLS)]
    row.ts_ns = now
    row.order = order.order
    row.size_micro = size_micro
    row.fee_micro = fee
    row.price_e4 = price
    row.decision_mid_half_e4 = outcome_half_e4(order.outcome, order.decision_mid_half_e4)
    row.arrival_mid_half_e4 = outcome_half_e4(order.outcome, order.arrival_mid_half_e4)
    mid = (market.bid + market.ask) * GRID_E4
    row.match_mid_half_e4 = outcome_half_e4(order.outcome, mid)
    row.best_e4 = price if maker else outcome_e4(order.outcome, best_level)
    known = order.probability_e6 >= 0
    up = order.outcome == UP
    row.probability_e6 = (
        order.probability_e6 if up or not known else 1_000_000 - order.probability_e6
    )
    row.net_edge_e4 = order.net_edge_e4
    row.market = order.market
    row.strategy = order.strategy
    row.outcome = order.outcome
    row.action = order.action
    row.maker = 1 if maker else 0
    order.filled_micro += size_micro
    fold_output(state, order.order, price, size_micro)
    if order.action == BUY:
        bought(state, out, number, size_micro * price // 10_000, fee, size_micro)
    else:
        sold(state, out, number, size_micro * price // 10_000, fee, size_micro)


@compiled
def outcome_e4(outcome, level):  # type: ignore[no-untyped-def]
    """Price of the outcome in e4 at a level of the Up book."""
    return level * GRID_E4 if outcome == UP else (TOP_LEVEL - level) * GRID_E4


@compiled
def outcome_half_e4(outcome, mid_half_e4):  # type: ignore[no-untyped-def]
    """Twice the mid in terms of the outcome."""
    return mid_half_e4 if outcome == UP else 20_000 - mid_half_e4


@compiled
def posting(state, out, number, fact):  # type: ignore[no-untyped-def]
    """Index of a posting row about the order."""
    order = state.orders[number]
    at = ledger.begin(state, out, fact)
    row = out.postings[at]
    row.order = order.order
    row.strategy = order.strategy
    row.market = order.market
    row.outcome = order.outcome
    return at


@compiled
def bought(state, out, number, cost_micro, fee, size_micro):  # type: ignore[no-untyped-def]
    """Shares in at cost, paid out of the order's reserve."""
    order = state.orders[number]
    position = state.positions[order.strategy, order.slot]
    position.market = order.market
    position.traded = 1
    if order.outcome == UP:
        position.up_micro += size_micro
        position.up_cost_micro += cost_micro
    else:
        position.down_micro += size_micro
        position.down_cost_micro += cost_micro
    order.reserved_micro -= cost_micro + fee
    row = out.postings[posting(state, out, number, FILL_FACT)]
    row.reserved_micro = -cost_micro
    row.position_micro = cost_micro
    row.shares_micro = size_micro
    ledger.book(state, row)
    ledger.use(state, order.strategy, order.slot, order.outcome, -fee)
    charge(state, out, number, fee, True)


@compiled
def share_of(cost_micro, size_micro, held_micro):  # type: ignore[no-untyped-def]
    """Floor of cost x size / held, without a product that overflows."""
    lots = held_micro // LOT_MICRO
    sold_lots = size_micro // LOT_MICRO
    return cost_micro // lots * sold_lots + cost_micro % lots * sold_lots // lots


@compiled
def sold(state, out, number, proceeds, fee, size_micro):  # type: ignore[no-untyped-def]
    """Shares out at their average cost, proceeds in, the difference realised."""
    order = state.orders[number]
    position = state.positions[order.strategy, order.slot]
    if order.outcome == UP:
        cost = share_of(position.up_cost_micro, size_micro, position.up_micro)
        position.up_micro -= size_micro
        position.up_cost_micro -= cost
    else:
        cost = share_of(position.down_cost_micro, size_micro, position.down_micro)
        position.down_micro -= size_micro
        position.down_cost_micro -= cost
    position.selling_micro -= size_micro
    position.realised_micro += proceeds - cost
    row = out.postings[posting(state, out, number, FILL_FACT)]
    row.cash_micro = proceeds
    row.position_micro = -cost
    row.realised_micro = cost - proceeds
    row.shares_micro = -size_micro
    ledger.book(state, row)
    ledger.use(state, order.strategy, order.slot, order.outcome, -cost)
    charge(state, out, number, fee, False)


@compiled
def charge(state, out, number, fee, reserved):  # type: ignore[no-untyped-def]
    """The taker fee, out of the reserve of a buy or the proceeds of a sale."""
    if fee == 0:
        return
    order = state.orders[number]
    state.positions[order.strategy, order.slot].fees_micro += fee
    row = out.postings[posting(state, out, number, FEE_FACT)]
    if reserved:
        row.reserved_micro = -fee
    else:
        row.cash_micro = -fee
    row.fees_micro = fee
    ledger.book(state, row)


@compiled
def on_book(state, out, slot):  # type: ignore[no-untyped-def]
    """The book changed: queues are at most what is displayed, and a book that crosses us fills.

    Cancels are taken from behind us first, so that the queue ahead shrinks only where the level
    shows less than it (risk-averse, as in hftbacktest).
    """
    for number in range(state.orders_end):
        order = state.orders[number]
        if order.order == 0 or order.slot != slot or order.state < RESTING:
            continue
        displayed = state.books[(slot * 2 + order.book_side) * LEVELS + order.level]
        order.ahead_micro = min(order.ahead_micro, displayed)
        market = state.markets[slot]
        sane = market.valid == 1 and market.bid < market.ask
        if sane and available(state, number) >= LOT_MICRO:
            make(state, out, number, consume(state, number))


@compiled
def consume(state, number):  # type: ignore[no-untyped-def]
    """Take what crosses the resting order out of the displayed depth. Returns shares micro."""
    order = state.orders[number]
    market = state.markets[order.slot]
    at, level, direction = opposite(order, market)
    wanted = order.size_micro - order.filled_micro
    taken = 0
    while 0 < level < TOP_LEVEL and (order.level - level) * direction >= 0 and taken < wanted:
        size = min(state.books[at + level] - state.consumed[at + level], wanted - taken)
        if size > 0:
            state.consumed[at + level] += size
            taken += size
        level += direction * market.step
    market.consumed = market.near = 1
    return taken


@compiled
def on_trade(state, out, slot, side, level, size_micro):  # type: ignore[no-untyped-def]
    """A trade printed: what exceeds the queue ahead of us fills us. `side` is the taker's.

    Each share of the print fills one of our orders at most.
    """
    left = size_micro
    for number in range(state.orders_end):
        order = state.orders[number]
        if order.order == 0 or order.slot != slot or order.state < RESTING:
            continue
        through = level <= order.level if order.book_side == BID else level >= order.level
        if order.book_side == side or not through:
            continue
        ahead = order.ahead_micro if level == order.level else 0
        order.ahead_micro = max(ahead - size_micro, 0)
        if left > ahead:
            left -= make(state, out, number, left - ahead)


@compiled
def make(state, out, number, size_micro):  # type: ignore[no-untyped-def]
    """Fill a resting order with up to `size_micro` at its own price. Returns what was filled."""
    order = state.orders[number]
    size = min(size_micro, order.size_micro - order.filled_micro) // LOT_MICRO * LOT_MICRO
    if size <= 0 or state.now_ns >= state.markets[order.slot].end_ns:
        return 0
    fill(state, out, number, order.level, MAKER, size)
    if order.filled_micro == order.size_micro:
        orders.finish(state, out, number, FILLED, NO_HOLD)
    else:
        orders.advance(state, out, number, PARTIAL, NO_HOLD)
    return size


@compiled
def expire(state, out, slot, code):  # type: ignore[no-untyped-def]
    """End every order of a market whose window is over (or that is being reset)."""
    for number in range(state.orders_end):
        order = state.orders[number]
        if order.order != 0 and order.slot == slot:
            orders.finish(state, out, number, EXPIRED, code)
