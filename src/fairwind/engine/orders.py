"""Orders: how one comes to be, what it carries, and how it ends.

In: a signal that passed every gate, and its size. Out: an order row with a freshness
certificate, its reserve, and one output row per state. Never here: an order without a
certificate, an id that is not a function of the inputs.
"""

from numpy import int64

from fairwind.core import holds
from fairwind.core.compiled import compiled
from fairwind.core.digest import fold_output
from fairwind.core.holds import Hold
from fairwind.core.outputs import Action, OrderState, OrderType
from fairwind.core.rules import RuleKind, fee_micro, rule_row
from fairwind.engine import ledger
from fairwind.engine.state import CASH, GRID_E4, ORDER_ROWS, ORDERS, TOP_LEVEL, claim

DECIDED, SENT, REFUSED = (
    int64(OrderState.DECIDED),
    int64(OrderState.SENT),
    int64(OrderState.REFUSED),
)
RESTING, CANCELLED = int64(OrderState.RESTING), int64(OrderState.CANCELLED)
BUY, SELL = int64(Action.BUY), int64(Action.SELL)
GTC, POST_ONLY = int64(OrderType.GTC), int64(OrderType.POST_ONLY)
BOOK_STALE, SPOT_STALE = int64(Hold.BOOK_STALE), int64(Hold.SPOT_STALE)
REFERENCE_STALE, NO_CASH = int64(Hold.REFERENCE_STALE), int64(Hold.CASH)
TAKER_DELAY = int64(RuleKind.TAKER_DELAY)
NEVER_NS = 2**63 - 1
FREE = int64(-1)
NO_HOLD = int64(holds.NO_HOLD)
LOT_MICRO = 10_000
UP, DOWN, BID, ASK = int64(0), int64(1), int64(0), int64(1)


@compiled
def free_row(state):  # type: ignore[no-untyped-def]
    """Index of an order row that is not in use, or FREE when the table is full."""
    for number in range(state.orders_end):
        if state.orders[number].order == 0:
            return number
    return int64(state.orders_end) if state.orders_end < ORDERS else FREE


@compiled
def worst_cost_micro(market, size_micro, limit_e4, maker):  # type: ignore[no-untyped-def]
    """What buying `size_micro` can cost at most: the limit, plus the largest fee up to it."""
    cost = size_micro * limit_e4 // 10_000
    if maker:
        return cost
    dearest = dearest_e4(market, limit_e4)
    # One rounding per level walked can add 5 micro-dollars each; a hundred levels are allowed.
    return cost + fee_micro(size_micro, dearest, market.fee_rate_e6, market.fee_form) + 1_000


@compiled
def dearest_e4(market, limit_e4):  # type: ignore[no-untyped-def]
    """The price up to the limit at which the taker fee is largest: p(1-p) peaks at 0.5."""
    return min(limit_e4, 6_000 if market.fee_form == 2 else 5_000)  # p (p(1-p))^2 peaks at 0.6


@compiled
def describe(state, number, strategy, slot):  # type: ignore[no-untyped-def]
    """Fill a new order row from the signal, with its identity and freshness certificate."""
    order = state.orders[number]
    market = state.markets[slot]
    signal = state.signal
    position = state.positions[strategy, slot]
    position.orders += 1
    state.orders_end = max(state.orders_end, number + 1)
    state.submitted += 1
    order.sequence = state.submitted
    order.order = strategy << 40 | market.number << 16 | position.orders
    order.strategy = strategy
    order.slot = slot
    order.market = market.number
    order.outcome = signal.side
    order.action = SELL if signal.wish == 2 else BUY
    order.type = signal.type
    order.book_side = BID if (order.action == BUY) == (order.outcome == UP) else ASK
    order.filled_micro = 0
    order.reserved_micro = 0
    order.ahead_micro = 0
    order.cancel_ns = NEVER_NS
    order.decision_mid_half_e4 = market.mid_half_e4
    order.arrival_mid_half_e4 = market.mid_half_e4
    known = market.fair_up == market.fair_up
    order.probability_e6 = int(market.fair_up * 1e6 + 0.5) if known else -1
    order.net_edge_e4 = int(signal.net_edge * 1e4)
    order.book_ts_ns = market.book_ts_ns
    order.book_ts_source_ns = market.book_ts_source_ns
    order.book_sequence = market.book_sequence
    order.spot_ts_ns = market.spot_ts_ns
    order.reference_ts_ns = market.reference_ts_ns


@compiled
def admissible(state, number):  # type: ignore[no-untyped-def]
    """The submit check: the certificate against the tables, by other code than the gates.

    NO_HOLD, or the Hold that refuses it. It reads ages from receipt times, not from features.
    """
    order = state.orders[number]
    market = state.markets[order.slot]
    now = state.now_ns
    same_book = order.book_sequence == market.book_sequence and market.gap == 0
    if not same_book or not 0 <= now - order.book_ts_ns <= order.book_budget_ns:
        return BOOK_STALE
    if not 0 <= now - order.spot_ts_ns <= order.spot_budget_ns:
        return SPOT_STALE
    if not 0 <= now - order.reference_ts_ns <= order.reference_budget_ns:
        return REFERENCE_STALE
    return NO_HOLD


@compiled
def submit(state, out, number, size_micro, limit_e4):  # type: ignore[no-untyped-def]
    """Decide, reserve and send the described order, or refuse it at the last check."""
    order = state.orders[number]
    now = state.now_ns
    order.size_micro = size_micro
    order.limit_e4 = limit_e4
    up_price = limit_e4 if order.outcome == UP else 10_000 - limit_e4
    order.level = up_price // GRID_E4
    advance(state, out, number, DECIDED, NO_HOLD)
    market = state.markets[order.slot]
    # An exit is never held up by what an entry must know; the exchange still checks its book.
    refusal = admissible(state, number) if order.action == BUY else NO_HOLD
    if order.action == BUY and refusal == NO_HOLD:
        maker = order.type == POST_ONLY
        affordable = worst_cost_micro(market, size_micro, limit_e4, maker) <= state.accounts[CASH]
        refusal = NO_HOLD if affordable else NO_CASH
    if refusal != NO_HOLD:
        finish(state, out, number, REFUSED, refusal)
        return
    position = state.positions[order.strategy, order.slot]
    if order.action == BUY:
        worst = worst_cost_micro(market, size_micro, limit_e4, order.type == POST_ONLY)
        ledger.reserve(state, out, number, worst)
        position.entries += 1
        position.last_entry_ns = now
    else:
        position.selling_micro += size_micro
    position.open_orders += 1
    state.orders_used += 1
    order.due_ns = now + state.latency_ns
    state.next_due_ns = min(state.next_due_ns, order.due_ns)
    advance(state, out, number, SENT, NO_HOLD)


@compiled
def advance(state, out, number, order_state, code):  # type: ignore[no-untyped-def]
    """Move the order to a state and say so in one output row, whose index it returns."""
    order = state.orders[number]
    order.state = order_state
    at = claim(state, out, ORDER_ROWS)
    row = out.orders[at]
    row.ts_ns = state.now_ns
    row.order = order.order
    row.size_micro = order.size_micro
    row.filled_micro = order.filled_micro
    row.reserved_micro = order.reserved_micro
    row.mask = 0
    row.book_ts_ns = order.book_ts_ns
    row.book_ts_source_ns = order.book_ts_source_ns
    row.book_sequence = order.book_sequence
    row.spot_ts_ns = order.spot_ts_ns
    row.reference_ts_ns = order.reference_ts_ns
    row.book_budget_ms = order.book_budget_ns // 1_000_000
    row.spot_budget_ms = order.spot_budget_ns // 1_000_000
    row.reference_budget_ms = order.reference_budget_ns // 1_000_000
    row.limit_e4 = order.limit_e4
    row.mid_half_e4 = order.decision_mid_half_e4
    row.net_edge_e4 = order.net_edge_e4
    row.probability_e6 = order.probability_e6
    row.market = order.market
    row.strategy = order.strategy
    row.state = order_state
    row.outcome = order.outcome
    row.action = order.action
    row.type = order.type
    row.code = code
    fold_output(state, order.order, order_state * 256 + code, order.filled_micro)
    return at


@compiled
def finish(state, out, number, order_state, code):  # type: ignore[no-untyped-def]
    """End the order: release its reserve and free its row. Returns the output row's index."""
    order = state.orders[number]
    position = state.positions[order.strategy, order.slot]
    if order_state != REFUSED:
        state.orders_used -= 1
        position.open_orders -= 1
        if order.action == SELL:
            position.selling_micro -= order.size_micro - order.filled_micro
        elif order.filled_micro == 0:
            position.entries = max(position.entries - 1, 0)
        if order.state >= RESTING:
            state.markets[order.slot].resting -= 1
    ledger.reserve(state, out, number, -order.reserved_micro)
    at = advance(state, out, number, order_state, code)
    order.order = 0
    order.due_ns = NEVER_NS
    order.cancel_ns = NEVER_NS
    while state.orders_end > 0 and state.orders[state.orders_end - 1].order == 0:
        state.orders_end -= 1
    return at


@compiled
def cancel(state, strategy, slot):  # type: ignore[no-untyped-def]
    """Ask the venue to cancel the strategy's resting orders there; it hears after the latency."""
    for number in range(state.orders_end):
        order = state.orders[number]
        if order.order == 0 or order.slot != slot or order.strategy != strategy:
            continue
        if order.cancel_ns == NEVER_NS and order.type >= 2:
            order.cancel_ns = state.now_ns + state.latency_ns
            state.next_due_ns = min(state.next_due_ns, order.cancel_ns)


@compiled
def taker_delay_ns(state, market):  # type: ignore[no-untyped-def]
    """The venue's delay of marketable orders at this moment, by its dated rule."""
    if state.taker_delay == 0:
        return 0
    row = rule_row(state.rules, TAKER_DELAY, market.series % 4, state.now_ns)
    return state.rules[row].a if row >= 0 else 0


@compiled
def cancellable(state, market):  # type: ignore[no-untyped-def]
    """Whether the rule of the moment lets an order be cancelled inside the taker delay."""
    row = rule_row(state.rules, TAKER_DELAY, market.series % 4, state.now_ns)
    return row < 0 or state.rules[row].b != 0


@compiled
def best_e4(market, outcome, action):  # type: ignore[no-untyped-def]
    """Best price to buy (the ask) or to sell (the bid) the outcome, in e4."""
    level = market.ask if (outcome == UP) == (action == BUY) else market.bid
    return level * GRID_E4 if outcome == UP else (TOP_LEVEL - level) * GRID_E4


@compiled
def limit_e4(market, outcome, action, wanted_e4, ticks):  # type: ignore[no-untyped-def]
    """The order's limit in e4, on the tick, at most `ticks` worse than the best price.

    0 when no legal price is as good as the wanted one.
    """
    tick = market.tick_e4
    best = best_e4(market, outcome, action)
    if action == BUY:
        limit = min(wanted_e4 // tick * tick, best + ticks * tick, 10_000 - tick)
    else:
        limit = max(-(-wanted_e4 // tick) * tick, best - ticks * tick, tick)
    return limit if tick <= limit <= 10_000 - tick else 0
