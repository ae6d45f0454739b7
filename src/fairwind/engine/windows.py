"""Windows: listed, struck, final, settled - read from the settlement stream by the dated rule.

In: listings, fee schedules, oracle prints, the venue's results. Out: strikes, results, WINDOW
rows, settlements. Never here: a strike from another stream, a result that is guessed.
"""

import numpy as np
from numpy import int64

from fairwind.core.compiled import compiled
from fairwind.core.digest import fold_output
from fairwind.core.events import ALL_MARKETS, HORIZONS_S, Source
from fairwind.core.outputs import WindowState
from fairwind.core.rules import RuleKind, rule_row
from fairwind.engine import books, exchange, features, ledger, risk
from fairwind.engine.state import ACTIVE, GRID_E4, LEVELS, MARKETS, WINDOWS, claim

LISTED, STRUCK = int64(WindowState.LISTED), int64(WindowState.STRUCK)
STRIKE_MISSED, FINAL = int64(WindowState.STRIKE_MISSED), int64(WindowState.FINAL)
FINAL_MISSED = int64(WindowState.FINAL_MISSED)
SETTLEMENT, FEE, MIN_SIZE = (
    int64(kind) for kind in (RuleKind.SETTLEMENT, RuleKind.FEE, RuleKind.MIN_SIZE)
)
BY_STREAM, BY_VENUE, BY_NOBODY, BY_PUBLISHED = (
    int64(Source.REFERENCE),
    int64(Source.POLYMARKET),
    int64(Source.CLOCK),
    int64(Source.RECORDED),  # a published value stood in for a print that the recorder lost
)
HORIZON_NS = (
    HORIZONS_S[0] * 10**9,
    HORIZONS_S[1] * 10**9,
    HORIZONS_S[2] * 10**9,
    HORIZONS_S[3] * 10**9,
)
UNKNOWN = int64(-1)
UP, DOWN = int64(0), int64(1)
SERIES = 32
FORGET_NS = 3_600_000_000_000
"""A window that nobody holds is not followed longer than this after its end."""
POINT_AGE_NS = 60_000_000_000
"""In the point era, the oldest print that may stand for a boundary."""


@compiled
def find(state, number):  # type: ignore[no-untyped-def]
    """Slot of the market, or -1 when it is not (or no longer) known."""
    slot = int64(number) % MARKETS
    return slot if state.markets[slot].number == number else -1


@compiled
def list_market(state, out, event):  # type: ignore[no-untyped-def]
    """Take a new window into its slot; refused when the slot or the active list is in use."""
    slot = int64(event.market) % MARKETS
    market = state.markets[slot]
    if market.number == event.market and market.start_ns == event.ts_source_ns:
        state.duplicates += 1
        return
    if market.active != 0:
        state.refused_listings += 1
        return
    horizon = event.ref % 4
    start = event.ts_source_ns
    rule = rule_row(state.rules, SETTLEMENT, horizon, start)
    known = event.ref < SERIES and event.market != ALL_MARKETS and event["size"] >= 0
    untradable = rule < 0 or state.rules[rule].a < 0 or not legal_tick(event.price) or not known
    if untradable or state.active_used >= ACTIVE:
        state.refused_listings += 1
        return
    blank(state, slot)
    market.number = event.market
    market.series = event.ref
    market.asset = event.ref // 4
    market.start_ns = start
    market.end_ns = start + HORIZON_NS[horizon]
    market.tick_e4 = event.price
    market.step = event.price // GRID_E4
    market.averaging_s = state.rules[rule].a
    market.exact_boundary = state.rules[rule].b
    sizes = rule_row(state.rules, MIN_SIZE, horizon, start)
    market.min_size_micro = event["size"]
    market.min_buy_micro = state.rules[sizes].b if sizes >= 0 else 0
    fee = rule_row(state.rules, FEE, horizon, start)
    market.fee_rate_e6 = state.rules[fee].a if fee >= 0 else 0
    market.fee_form = state.rules[fee].b if fee >= 0 else 0
    market.active = market.priced = 1
    market.reach = books.reach(market.tick_e4)
    features.observe(state, market)
    state.active[state.active_used] = slot
    state.active_used += 1
    report(state, out, slot)


@compiled
def legal_tick(tick_e4):  # type: ignore[no-untyped-def]
    """Whether prices on this tick lie on the book's grid."""
    return 0 < tick_e4 <= 1_000 and tick_e4 % GRID_E4 == 0 and 10_000 % tick_e4 == 0


@compiled
def blank(state, slot):  # type: ignore[no-untyped-def]
    """Forget the slot's former market: its book, its result and everybody's position in it."""
    market = state.markets[slot]
    books.clear(state, slot)
    market.consumed = 0
    for at in range(slot * 2 * LEVELS, (slot + 1) * 2 * LEVELS):
        state.consumed[at] = 0
    market.gap = market.parity = market.resting = market.changed = market.anomaly = 0
    market.published = market.confirmed = 0
    market.book_ts_ns = market.book_ts_source_ns = market.book_sequence = 0
    market.trade_price_e4 = market.trade_size_micro = market.trade_side = 0
    market.window_state = LISTED
    market.strike_e8 = market.final_e8 = market.payout_e4 = UNKNOWN
    market.strike_remainder = market.final_remainder = 0
    market.settled_by = BY_NOBODY
    market.settling_second = market.settling_count = 0
    market.valued_event = market.valued_ns = 0
    market.settling_sum = 0.0
    market.strike = market.expected = market.variance = market.variance_per_s = 0.0
    market.volatility_ratio = market.divergence = market.fair_delta = 0.0
    market.eff_up = market.eff_down = market.fee_up = market.fee_down = 0.0
    market.fair_up = np.nan
    market.fair_stderr = 1.0
    for strategy in range(state.strategies_used):
        position = state.positions[strategy, slot]
        position.market = market.number
        position.up_micro = position.down_micro = 0
        position.up_cost_micro = position.down_cost_micro = position.fees_micro = 0
        position.selling_micro = position.entries = position.open_orders = 0
        position.last_entry_ns = position.orders = position.realised_micro = position.traded = 0
        position.settled_up_micro = position.settled_down_micro = 0
        position.scan_own = position.scan_hold = position.scan_side = position.scan_second = -1


@compiled
def set_fees(state, slot, event):  # type: ignore[no-untyped-def]
    """The market's own fee schedule replaces the dated rule.

    Only an exponent of 1 (or no fee) is implemented; any other leaves the market unpriced, so
    that it is not traded on a guess. A change under open orders, which reserved for the old fee,
    is refused as an anomaly.
    """
    market = state.markets[slot]
    for number in range(state.orders_end):
        if state.orders[number].order != 0 and state.orders[number].slot == slot:
            state.anomalies += 1
            return
    if not 0 <= event.price <= 900_000:
        market.priced = 0
        return
    market.near = 1
    market.fee_rate_e6 = event.price
    market.fee_form = 1 if event.price > 0 else 0
    market.priced = 1 if event.price == 0 or event["size"] == 1 else 0


@compiled
def on_print(state, out, event):  # type: ignore[no-untyped-def]
    """A print of one oracle stream: boundaries first, then it becomes the latest print.

    Returns False for a print that is not newer than the last one. It is counted, and where it
    was made exactly at a boundary whose print was missed, it still decides: it was only late.
    """
    latest = state.references[event.market * 3 + event.ref // 30]
    observed = event.ts_source_ns
    late = observed <= latest.observed_ns
    place = 0
    while place < state.active_used:
        slot = state.active[place]
        market = state.markets[slot]
        if market.asset == event.market and market.averaging_s == event.ref:
            boundary(state, out, slot, event, latest, late)
        place += 1 if market.active != 0 else 0
    if late:
        state.duplicates += 1
        return False
    latest.value_e8 = event.price
    latest.remainder = event["size"]
    latest.observed_ns = observed
    latest.ts_ns = event.ts_ns
    latest.value = event.price * 1e-8
    return True


@compiled
def boundary(state, out, slot, event, latest, late):  # type: ignore[no-untyped-def]
    """Read the strike or the final when this print reaches the window's start or end."""
    market = state.markets[slot]
    observed = event.ts_source_ns
    reached = not late and observed >= market.start_ns and market.window_state == LISTED
    if market.strike_e8 == UNKNOWN and (reached or observed == market.start_ns):
        which = deciding(market, market.start_ns, event, latest)
        market.window_state = STRUCK if which != UNKNOWN else STRIKE_MISSED
        if which != UNKNOWN:
            market.published |= which == 1 and event.source == BY_PUBLISHED
            market.strike_e8 = event.price if which == 1 else latest.value_e8
            market.strike_remainder = event["size"] if which == 1 else latest.remainder
            market.strike = market.strike_e8 * 1e-8
            market.valued_ns = 0
        report(state, out, slot)
    ended = not late and observed >= market.end_ns and market.window_state != FINAL_MISSED
    if market.final_e8 == UNKNOWN and (ended or observed == market.end_ns):
        which = deciding(market, market.end_ns, event, latest)
        if which != UNKNOWN:
            market.published |= which == 1 and event.source == BY_PUBLISHED
            market.final_e8 = event.price if which == 1 else latest.value_e8
            market.final_remainder = event["size"] if which == 1 else latest.remainder
            report(state, out, slot)
        elif market.window_state == STRUCK:
            market.window_state = FINAL_MISSED
            report(state, out, slot)
    if UNKNOWN not in (market.strike_e8, market.final_e8):
        by = BY_PUBLISHED if market.published != 0 else BY_STREAM
        settle(state, out, slot, result_e4(market), by)


@compiled
def deciding(market, boundary_ns, event, latest):  # type: ignore[no-untyped-def]
    """Which print decides the boundary: 1 this one, 0 the one before, UNKNOWN neither."""
    if event.ts_source_ns == boundary_ns:
        return 1
    if latest.observed_ns == boundary_ns:
        return 0
    if market.exact_boundary != 0 or latest.observed_ns == 0:
        return UNKNOWN
    recent = 0 <= boundary_ns - latest.observed_ns <= POINT_AGE_NS
    return 0 if recent else UNKNOWN


@compiled
def result_e4(market):  # type: ignore[no-untyped-def]
    """Payout of one Up share: 10000 when final >= strike (a tie is Up), else 0."""
    if market.final_e8 != market.strike_e8:
        return 10_000 if market.final_e8 > market.strike_e8 else 0
    return 10_000 if market.final_remainder >= market.strike_remainder else 0


@compiled
def on_resolved(state, out, event):  # type: ignore[no-untyped-def]
    """The venue's own result: settles what is pending, corrects what we read otherwise."""
    slot = find(state, event.market)
    if slot < 0 or not 0 <= event.price <= 10_000:
        state.orphans += 1
        return
    market = state.markets[slot]
    market.confirmed = 1
    if market.payout_e4 == UNKNOWN:
        settle(state, out, slot, event.price, BY_VENUE)
    elif market.payout_e4 == event.price:
        state.duplicates += 1
    else:
        state.anomalies += 1
        market.anomaly = 1
        for strategy in range(state.strategies_used):
            change = ledger.correct(state, out, strategy, slot, market.payout_e4, event.price)
            if change < 0:
                risk.outcome(state, strategy, change)
        market.payout_e4 = event.price
        market.settled_by = BY_VENUE
        report(state, out, slot)


@compiled
def settle(state, out, slot, payout_e4, by):  # type: ignore[no-untyped-def]
    """Pay every position of the market and close it."""
    market = state.markets[slot]
    exchange.expire(state, out, slot, exchange.NO_HOLD)
    market.payout_e4 = payout_e4
    market.settled_by = by
    market.window_state = FINAL
    for strategy in range(state.strategies_used):
        position = state.positions[strategy, slot]
        profit = ledger.settle(state, out, strategy, slot, UP, payout_e4)
        profit += ledger.settle(state, out, strategy, slot, DOWN, 10_000 - payout_e4)
        if position.traded != 0:
            total = profit + position.realised_micro - position.fees_micro
            risk.outcome(state, strategy, total)
    report(state, out, slot)
    drop(state, slot)
    risk.mark(state)  # a loss must stop the next entry of this very second


@compiled
def over(state, out, slot):  # type: ignore[no-untyped-def]
    """A window's end has passed: no order outlives it, and an unheld one is soon forgotten.

    Returns whether the slot is still in the active list.
    """
    market = state.markets[slot]
    if state.now_ns < market.end_ns:
        return True
    exchange.expire(state, out, slot, exchange.EXPIRY_CUTOFF)
    if state.now_ns >= market.end_ns + FORGET_NS:
        drop_if_empty(state, slot)
    return market.active != 0


@compiled
def drop_if_empty(state, slot):  # type: ignore[no-untyped-def]
    """Stop following a window without a result when nobody holds anything in it."""
    for strategy in range(state.strategies_used):
        position = state.positions[strategy, slot]
        if position.up_micro + position.down_micro + position.open_orders > 0:
            return
    drop(state, slot)


@compiled
def drop(state, slot):  # type: ignore[no-untyped-def]
    """Take the slot out of the active list; its row stays readable until it is used again."""
    state.markets[slot].active = 0
    for place in range(state.active_used):
        if state.active[place] == slot:
            state.active_used -= 1
            state.active[place] = state.active[state.active_used]
            return


@compiled
def report(state, out, slot):  # type: ignore[no-untyped-def]
    """Say in one output row what is now known of the window."""
    market = state.markets[slot]
    row = out.windows[claim(state, out, WINDOWS)]
    row.ts_ns = state.now_ns
    row.start_ns = market.start_ns
    row.strike_e8 = market.strike_e8
    row.strike_remainder_e18 = market.strike_remainder
    row.final_e8 = market.final_e8
    row.final_remainder_e18 = market.final_remainder
    row.payout_e4 = market.payout_e4
    row.market = market.number
    row.series = market.series
    row.state = market.window_state
    row.by = market.settled_by
    row.anomaly = market.anomaly
    row.averaging_s = market.averaging_s
    number = market.number * 16 + market.window_state
    fold_output(state, number, market.strike_e8, market.strike_remainder)
    fold_output(state, market.payout_e4, market.final_e8, market.final_remainder)
