"""From what is known to one scan, and from a scan that may trade to an order.

In: a market that changed, a strategy that subscribed to the change. Out: scan rows, orders.
Never here: a strategy's idea, a reserve before every gate has passed.
"""

import numpy as np
from numpy import int64

from fairwind.core.compiled import compiled
from fairwind.core.digest import fold_output
from fairwind.core.holds import Hold
from fairwind.core.outputs import SCAN_VERSION, OrderState
from fairwind.engine import features, gates, orders, sizing
from fairwind.engine.contract import Wish, call
from fairwind.engine.state import ORDERS, SCANS, claim

NOTHING, BUY = int64(Wish.NOTHING), int64(Wish.BUY)
SELL, CANCEL = int64(Wish.SELL), int64(Wish.CANCEL)
REFUSED = int64(OrderState.REFUSED)
NO_HOLD = orders.NO_HOLD
NO_SIDE = 2
SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000
AGE_MAX_MS = 2**31 - 1
_NO_BITS = np.uint64(0)
_ANOMALY = np.uint64(1 << Hold.ANOMALY_CAP)
ORDERS_PER_WINDOW = 60_000


@compiled(forceinline=True)
def consider(state, out, strategy, slot):  # type: ignore[no-untyped-def]
    """Evaluate one strategy in one market: signal, and where it matters gates, size and order.

    The gates are evaluated when the signal wants to trade, when its own answer changed, and once
    a second; in between a strategy that does not want to trade cannot be held up by them.
    """
    market = state.markets[slot]
    position = state.positions[strategy, slot]
    signal = state.signal
    clear(signal)
    own = call(
        state.strategies[strategy].address,
        market,
        position,
        state.parameters[strategy],
        state.memory[strategy],
        signal,
    )
    second = market.now_ns // SECOND_NS
    same = position.scan_own == np.int64(own) and position.scan_side == signal.side
    if signal.wish == NOTHING and same and position.scan_second == second:
        return
    position.scan_own = np.int64(own)
    decide(state, out, strategy, slot, own)


@compiled(forceinline=True)
def clear(signal):  # type: ignore[no-untyped-def]
    """Nothing said yet."""
    signal.wish = NOTHING
    signal.side = NO_SIDE
    signal.type = 0
    signal.score = signal.threshold = 0.0
    signal.net_edge = signal.stderr = signal.required = 0.0
    signal.price = signal.limit = signal.shares = 0.0


@compiled
def decide(state, out, strategy, slot, own):  # type: ignore[no-untyped-def]
    """Apply every gate to the signal, emit the scan, and act on it."""
    market = state.markets[slot]
    position = state.positions[strategy, slot]
    signal = state.signal
    parameter = state.parameters[strategy]
    features.valuation(state, slot)
    if not sound(signal):
        state.invalid_scans += 1
        clear(signal)
        own = own | _ANOMALY
    mask = own | gates.integrity(market, parameter) | gates.price(market, parameter, signal)
    mask |= gates.permission(state, state.strategies[strategy], position, parameter)
    second = market.now_ns // SECOND_NS
    if signal.wish == BUY and mask != _NO_BITS and position.scan_second == second:
        same = position.scan_side == signal.side
        if same and gates.first(mask) == position.scan_hold:
            return  # capital gates come after all others: the first failing one is the same
    shares = 0
    if signal.side != NO_SIDE:
        round_limit(market, parameter, signal)
    if signal.side != NO_SIDE and signal.wish != SELL:
        shares, capital = sizing.size(state, strategy, slot)
        mask |= capital
    if state.orders_used >= ORDERS - 1 or position.orders >= ORDERS_PER_WINDOW:
        mask |= _ANOMALY
    hold = gates.first(mask) if mask != _NO_BITS else NO_HOLD
    changed = position.scan_hold != hold or position.scan_side != signal.side
    if changed or position.scan_second != second:
        position.scan_hold = hold
        position.scan_side = signal.side
        position.scan_second = second
        emit(state, out, strategy, slot, mask)
    if signal.wish == CANCEL:
        orders.cancel(state, strategy, slot)
    elif signal.wish == SELL:
        close(state, out, strategy, slot)
    elif signal.wish == BUY and mask == _NO_BITS:
        send(state, out, strategy, slot, shares)
    elif signal.wish == BUY and changed:
        refuse(state, out, strategy, slot, mask)


@compiled
def sound(signal):  # type: ignore[no-untyped-def]
    """Whether the strategy kept to the contract: closed enums, finite numbers."""
    closed = 0 <= signal.side <= NO_SIDE and 0 <= signal.wish <= CANCEL and 0 <= signal.type <= 3
    sided = signal.side < NO_SIDE or signal.wish == NOTHING or signal.wish == CANCEL
    sized = abs(signal.price) + abs(signal.limit) + abs(signal.shares)
    total = sized + abs(signal.net_edge) + abs(signal.stderr) + abs(signal.required)
    return closed and sided and total < 1e9 and signal.shares >= 0.0


@compiled
def round_limit(market, parameter, signal):  # type: ignore[no-untyped-def]
    """Put the signal's limit on the tick and within reach of the best price."""
    action = orders.SELL if signal.wish == SELL else orders.BUY
    ticks = int(parameter[gates.DEPTH_TICKS])
    wanted = int(signal.limit * 1e4 + 1e-6)
    signal.limit = orders.limit_e4(market, signal.side, action, wanted, ticks) * 1e-4


@compiled
def certify(state, number, strategy):  # type: ignore[no-untyped-def]
    """Write the budgets of the freshness certificate into the order."""
    order = state.orders[number]
    parameter = state.parameters[strategy]
    order.book_budget_ns = int(parameter[gates.BOOK_BUDGET] * 1e9)
    order.spot_budget_ns = int(parameter[gates.SPOT_BUDGET] * 1e9)
    order.reference_budget_ns = int(parameter[gates.REFERENCE_BUDGET] * 1e9)


@compiled
def send(state, out, strategy, slot, shares):  # type: ignore[no-untyped-def]
    """Send the order that the signal describes."""
    number = orders.free_row(state)
    orders.describe(state, number, strategy, slot)
    certify(state, number, strategy)
    orders.submit(state, out, number, shares, int(state.signal.limit * 1e4 + 0.5))


@compiled
def close(state, out, strategy, slot):  # type: ignore[no-untyped-def]
    """Send a sell order for what is held of the signal's side. No entry gate can stop it."""
    signal = state.signal
    position = state.positions[strategy, slot]
    held = position.up_micro if signal.side == 0 else position.down_micro
    free = held - position.selling_micro
    if signal.shares > 0.0:
        free = min(free, int(signal.shares * 1e6 + 0.5))
    shares = free // orders.LOT_MICRO * orders.LOT_MICRO
    rests = signal.type == orders.GTC or signal.type == orders.POST_ONLY
    if rests and shares < state.markets[slot].min_size_micro:
        return
    full = orders.free_row(state) == orders.FREE or position.orders >= ORDERS_PER_WINDOW
    if shares <= 0 or signal.limit <= 0.0 or full:
        return
    send(state, out, strategy, slot, shares)


@compiled
def refuse(state, out, strategy, slot, mask):  # type: ignore[no-untyped-def]
    """Say which order was not sent, and by which gates."""
    number = orders.free_row(state)
    if number == orders.FREE or state.positions[strategy, slot].orders >= ORDERS_PER_WINDOW:
        return
    orders.describe(state, number, strategy, slot)
    certify(state, number, strategy)
    order = state.orders[number]
    order.size_micro = 0
    order.limit_e4 = int(state.signal.limit * 1e4 + 0.5)
    at = orders.finish(state, out, number, REFUSED, gates.first(mask))
    out.orders[at].mask = mask


@compiled
def emit(state, out, strategy, slot, mask):  # type: ignore[no-untyped-def]
    """One scan row."""
    market = state.markets[slot]
    signal = state.signal
    row = out.scans[claim(state, out, SCANS)]
    row.ts_ns = market.now_ns
    row.feature_row = state.events
    row.mask = mask
    row.score = signal.score
    row.threshold = signal.threshold
    row.probability = market.fair_up
    edge_e4 = whole(signal.net_edge * 1e4)
    row.net_edge_e4 = edge_e4
    row.edge_stderr_e4 = whole(signal.stderr * 1e4)
    row.required_edge_e4 = whole(signal.required * 1e4)
    row.price_e4 = whole(signal.price * 1e4)
    row.book_age_ms = age_ms(market.now_ns, market.book_ts_ns)
    row.spot_age_ms = age_ms(market.now_ns, market.spot_ts_ns)
    row.reference_age_ms = age_ms(market.now_ns, market.reference_ts_ns)
    row.left_ms = (market.end_ns - market.now_ns) // MILLISECOND_NS
    row.market = market.number
    row.strategy = strategy
    row.version = SCAN_VERSION
    row.side = signal.side
    row.hold = gates.first(mask) if mask != _NO_BITS else NO_HOLD
    row.family = state.strategies[strategy].family
    row.unit = state.strategies[strategy].unit
    known = market.fair_up == market.fair_up
    chance_e9 = int(market.fair_up * 1e9) if known else -1
    side_and_hold = (signal.side * 256 + row.hold) * 65_536 + market.number
    fold_output(state, side_and_hold, np.int64(mask), chance_e9 * 16_384 + edge_e4)


@compiled
def whole(value):  # type: ignore[no-untyped-def]
    """Floor to an integer, so that an edge is never reported larger than it is."""
    return int(np.floor(value)) if abs(value) < 1e9 else -1_000_000_000


@compiled
def age_ms(now_ns, then_ns):  # type: ignore[no-untyped-def]
    """Age in milliseconds, -1 for something never received."""
    return min((now_ns - then_ns) // MILLISECOND_NS, AGE_MAX_MS) if then_ns > 0 else -1
