"""The engine: events in, outputs out, one order of work per event, the same in every mode.

In: the state, events in receipt order, room for outputs. Out: how many events were consumed.
Never here: a clock, I/O, randomness; an output that depends on a later event.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy import int64

from fairwind.core import controls as core_controls
from fairwind.core import digest
from fairwind.core.compiled import INTERPRETED, compiled
from fairwind.core.events import ALL_MARKETS, ASSETS, Events, Flag, Kind
from fairwind.engine import books, controls, exchange, features, ledger, risk, scan, windows
from fairwind.engine.contract import On, StrategySpec
from fairwind.engine.state import GRID_E4, LEVELS, MARKETS, ROOM, TOP_LEVEL, Out, State

__all__ = ["Out", "roster", "run"]

LISTED, FEES, LEVEL, CLEAR = (
    int64(Kind.LISTED),
    int64(Kind.FEES),
    int64(Kind.LEVEL),
    int64(Kind.CLEAR),
)
TRADE, TICK, RESOLVED, SPOT = (
    int64(Kind.TRADE),
    int64(Kind.TICK),
    int64(Kind.RESOLVED),
    int64(Kind.SPOT),
)
REFERENCE, GAP, CONTROL = int64(Kind.REFERENCE), int64(Kind.GAP), int64(Kind.CONTROL)
MORE, PARITY = int64(Flag.MORE), int64(Flag.PARITY)
ON_SPOT, ON_REFERENCE, ON_TOP = int64(On.SPOT), int64(On.REFERENCE), int64(On.TOP)
ON_TRADE, ON_TIMER, ON_BOOK, FAIR = int64(On.TRADE), int64(On.TIMER), int64(On.BOOK), int64(On.FAIR)
EVERYWHERE = int64(ALL_MARKETS)
SECOND_NS = 1_000_000_000
VALID = int64(1)


def run(
    state: State,
    events: Events,
    out: Out,
    payload_of: Callable[[int], bytes],
    specs: Sequence[StrategySpec] | None = None,
) -> int:
    """Consume `events` (shape (n,), EVENT) and return how many; fewer only when `out` is full.

    `payload_of` gives a control's payload by its id. AssertionError when a ledger invariant
    broke or an event is older than the one before it: that is a bug, trading must stop.
    """
    if INTERPRETED:
        events = events.view(np.recarray)
        with np.errstate(over="ignore"):
            return _run(state, events, out, payload_of, specs)
    return _run(state, events, out, payload_of, specs)


def _run(
    state: State,
    events: Events,
    out: Out,
    payload_of: Callable[[int], bytes],
    specs: Sequence[StrategySpec] | None,
) -> int:
    done = int(consume(state.array, events, 0, out.array))
    while done < len(events) and not state.broken[0] and out.filled() <= ROOM:
        payload = payload_of(int(events[done]["price"]))
        control = core_controls.decode(payload, int(events[done]["price"]))
        begin_control(state.array, events, done, out.array)
        if not state.broken[0]:
            controls.apply(state, out, control, specs if specs is not None else roster())
            done += 1
        done += int(consume(state.array, events, done, out.array))
    if state.broken[0]:
        raise AssertionError(failure(state))
    return done


def roster() -> Sequence[StrategySpec]:
    """The default stack."""
    from fairwind.engine.strategies import ROSTER

    return ROSTER


def failure(state: State) -> str:
    """What broke, for the person who has to look at it."""
    code = int(state.broken[0])
    what = ledger.BROKEN.get(code, "an event is older than the one before it")
    return (
        f"engine halted at event {state.events()} (ts_ns {int(state.record.now_ns)}): {what}; "
        "replay the journal up to this event to see why"
    )


@compiled
def begin_control(states, events, at, outs):  # type: ignore[no-untyped-def]
    """The part of a control event that is like any other event: due orders, time, digest."""
    state, out = states[0], outs[0]
    event = events[at]
    if event.ts_ns < state.now_ns:
        state.broken = -1
        return
    if state.next_due_ns <= event.ts_ns:
        exchange.deliver(state, out, event.ts_ns)
    state.now_ns = event.ts_ns
    state.events += 1
    digest.fold(state, digest.of_event(event))


@compiled
def consume(states, events, first, outs):  # type: ignore[no-untyped-def]
    """Process events from `first` up to a control or until `outs` is full. Returns how many."""
    state, out = states[0], outs[0]
    for at in range(first, len(events)):
        event = events[at]
        if event.kind == CONTROL or state.broken != 0 or out.rows > ROOM:
            return at - first
        now = event.ts_ns
        if now < state.now_ns:
            state.broken = -1
            return at - first
        if state.next_due_ns <= now:
            exchange.deliver(state, out, now)
        state.now_ns = now
        if now >= state.second_ns:
            tick(state, out, now)
        take(state, out, event)
        state.events += 1
        digest.fold(state, digest.of_event(event))
        if state.dirty != 0:
            state.dirty = 0
            state.broken = ledger.broken(state)
    return len(events) - first


@compiled(forceinline=True)
def take(state, out, event):  # type: ignore[no-untyped-def]
    """Apply one event and evaluate whoever subscribed to what it changed."""
    kind = event.kind
    if kind == LEVEL:
        level(state, out, event)
    elif kind == TRADE:
        trade(state, out, event)
    elif kind in (SPOT, REFERENCE) and not (event.market < len(ASSETS) and event.price > 0):
        state.orphans += 1
    elif kind == SPOT:
        asset = state.assets[event.market]
        price = event.price * 1e-8
        if features.spot(asset, state.ring[event.market], price, event.ts_ns, event.source):
            evaluate_asset(state, out, event.market, ON_SPOT)
    elif kind == REFERENCE:
        reference(state, out, event)
    elif kind == LISTED:
        windows.list_market(state, out, event)
    elif kind == RESOLVED:
        windows.on_resolved(state, out, event)
    elif kind == GAP:
        gap(state, event)
    else:
        rare(state, out, event)


@compiled(forceinline=True)
def level(state, out, event):  # type: ignore[no-untyped-def]
    """One level's new total; an evaluation when its atomic group is complete."""
    slot = np.int64(event.market) % MARKETS
    market = state.markets[slot]
    index = event.price // GRID_E4
    on_grid = 0 < index < TOP_LEVEL and index * GRID_E4 == event.price
    if market.number != event.market or not on_grid or event["size"] < 0 or event.side > 1:
        state.bad_levels += 1
        return
    side = np.int64(event.side)
    start = (slot * 2 + side) * LEVELS
    if market.consumed != 0:
        # What we took stays taken as long as the level shows no more than that.
        state.consumed[start + index] = min(state.consumed[start + index], event["size"])
    changes = state.books[start + index] != event["size"]
    if changes and market.bid - market.reach <= index <= market.ask + market.reach:
        market.near = 1  # it can move a quoted price
    top = books.set_level(state, market, start, side, index, event["size"])
    market.book_ts_ns = event.ts_ns
    market.book_ts_source_ns = event.ts_source_ns
    market.book_sequence += 1
    if top and changes:
        books.refresh_top(state, market, slot)
    market.changed |= ON_TOP | ON_BOOK if top and changes else ON_BOOK
    if event["flags"] & MORE == 0:
        if market.valid != VALID and market.gap == 0:
            market.valid = VALID
        market.parity = event["flags"] & PARITY
        changed = market.changed
        market.changed = 0
        if market.resting != 0:
            exchange.on_book(state, out, slot)
        evaluate(state, out, slot, changed)


@compiled
def trade(state, out, event):  # type: ignore[no-untyped-def]
    """A print: remembered, and offered to our resting orders."""
    slot = windows.find(state, event.market)
    if slot < 0 or not 0 < event.price < 10_000 or event["size"] <= 0:
        state.orphans += 1
        return
    market = state.markets[slot]
    market.trade_price_e4 = event.price
    market.trade_size_micro = event["size"]
    market.trade_side = event.side
    if market.resting != 0 and market.valid == VALID:
        exchange.on_trade(state, out, slot, event.side, event.price // GRID_E4, event["size"])
    evaluate(state, out, slot, ON_TRADE)


@compiled
def reference(state, out, event):  # type: ignore[no-untyped-def]
    """An oracle print: boundaries, the offset from spot, then whoever trades on it."""
    stream_known = event.ref == 0 or event.ref == 30 or event.ref == 60
    from_the_future = event.ts_source_ns > event.ts_ns + SECOND_NS
    if not stream_known or from_the_future:
        state.orphans += 1
        return
    if not windows.on_print(state, out, event):
        return
    asset = state.assets[event.market]
    ring = state.ring[event.market]
    features.seconds(asset, ring, event.ts_ns)
    # The offset is learned from the stream that settles the asset's windows now.
    if settles(state, event.market, event.ref):
        features.basis(asset, ring, event.price * 1e-8, event.ts_source_ns, np.int64(event.ref))
    evaluate_asset(state, out, event.market, ON_REFERENCE)


@compiled
def settles(state, asset, averaging_s):  # type: ignore[no-untyped-def]
    """Whether an open window of the asset settles on that stream."""
    for place in range(state.active_used):
        market = state.markets[state.active[place]]
        if market.asset == asset and market.averaging_s == averaging_s:
            return True
    return False


@compiled
def gap(state, event):  # type: ignore[no-untyped-def]
    """The source lost data: its books cannot be used until they are sent anew."""
    for place in range(state.active_used):
        market = state.markets[state.active[place]]
        if event.market == EVERYWHERE or market.number == event.market:
            market.gap = 1
            market.valid = 0


@compiled
def rare(state, out, event):  # type: ignore[no-untyped-def]
    """Book replacement, tick change, fee schedule; a timer has no more to do than be later."""
    slot = windows.find(state, event.market)
    if event.kind != CLEAR and event.kind != TICK and event.kind != FEES:
        return
    if slot < 0:
        state.orphans += 1
        return
    market = state.markets[slot]
    if event.kind == CLEAR:
        books.clear(state, slot)
        market.gap = 0
        market.book_ts_ns = event.ts_ns
        market.book_sequence += 1
        if event["flags"] & MORE == 0:
            evaluate(state, out, slot, ON_BOOK | ON_TOP)
    elif event.kind == TICK and windows.legal_tick(event.price):
        market.tick_e4 = event.price
        market.near = 1
        market.reach = books.reach(event.price)
        finer = market.step % (event.price // GRID_E4) == 0
        market.step = event.price // GRID_E4 if finer else 1  # old levels stand until replaced
    elif event.kind == FEES:
        windows.set_fees(state, slot, event)


@compiled
def tick(state, out, now_ns):  # type: ignore[no-untyped-def]
    """A new whole second: grids, averages, equity; windows that ended; timer subscribers."""
    state.second_ns = (now_ns // SECOND_NS + 1) * SECOND_NS
    for number in range(len(ASSETS)):
        if state.assets[number].spot > 0.0:
            features.seconds(state.assets[number], state.ring[number], now_ns)
    place = 0
    while place < state.active_used:
        place += 1 if windows.over(state, out, state.active[place]) else 0
    risk.mark(state)
    for place in range(state.active_used):
        slot = state.active[place]
        market = state.markets[slot]
        market.now_ns = now_ns
        market.valued_ns = 0
        features.known_average(market, state.assets[market.asset])
        evaluate(state, out, slot, ON_TIMER)
        market.valued_event = 0  # the event itself is still to come and may change everything


@compiled
def evaluate_asset(state, out, asset, changed):  # type: ignore[no-untyped-def]
    """Tell every open window of the asset, and evaluate it."""
    for place in range(state.active_used):
        slot = state.active[place]
        if state.markets[slot].asset == asset:
            features.observe(state, state.markets[slot])
            evaluate(state, out, slot, changed)


@compiled(forceinline=True)
def evaluate(state, out, slot, changed):  # type: ignore[no-untyped-def]
    """Let every strategy that subscribed to the change look at the market."""
    market = state.markets[slot]
    if market.active == 0 or not market.start_ns <= state.now_ns < market.end_ns:
        return
    market.now_ns = state.now_ns
    market.left_s = (market.end_ns - state.now_ns) * 1e-9
    for number in range(state.strategies_used):
        strategy = state.strategies[number]
        wants = strategy.subscriptions
        if wants & changed == 0 or (strategy.series != market.series and strategy.series >= 0):
            continue
        if wants & FAIR != 0:
            features.valuation(state, slot)
        scan.consider(state, out, number, slot)
