"""One dense Up book per market: a level's size at the index of its price, and the two bests.

In: level changes in Up terms. Out: best bid and ask, depth walks for either outcome.
Never here: a Down book (Down's ask at q is Up's bid at 1 - q), a tree, a hash map.
"""

from numpy import int64

from fairwind.core.compiled import compiled
from fairwind.engine.state import GRID_E4, LEVELS, TOP_LEVEL

REACH_TICKS = 2
BID, ASK, UP = int64(0), int64(1), int64(0)


@compiled(forceinline=True)
def refresh_top(state, market, slot):  # type: ignore[no-untyped-def]
    """Prices and sizes of the best levels, in the market's row, for strategies to read."""
    books = state.books
    start = slot * 2 * LEVELS
    market.bid_e4 = market.bid * GRID_E4
    market.ask_e4 = market.ask * GRID_E4
    market.bid_size_micro = books[start + market.bid]
    market.ask_size_micro = books[start + LEVELS + market.ask]
    market.spread_e4 = market.ask_e4 - market.bid_e4
    market.mid_half_e4 = market.ask_e4 + market.bid_e4


@compiled
def clear(state, slot):  # type: ignore[no-untyped-def]
    """Empty both sides of the slot's book. It is not valid until the snapshot's group ends.

    What we consumed stays consumed: a snapshot shows the same orders as before.
    """
    market = state.markets[slot]
    start = slot * 2 * LEVELS
    for at in range(start, start + 2 * LEVELS):
        state.books[at] = 0
    market.bid = 0
    market.ask = TOP_LEVEL
    market.step = max(market.tick_e4 // GRID_E4, 1)
    market.valid = 0
    market.near = 1
    market.reach = reach(market.tick_e4)
    refresh_top(state, market, slot)


@compiled(forceinline=True)
def set_level(state, market, start, side, level, size_micro):  # type: ignore[no-untyped-def]
    """Set one level's total and move the best; True when the best level's price or size changed.

    `start` is the index of the side's level 0 in `state.books`; `level` is price_e4 / GRID_E4.
    """
    books = state.books
    # A price finer than the announced tick: search every level from now on. Only a level that
    # appears is tested, because the division costs as much as all the rest.
    if books[start + level] == 0 and level % market.step != 0:
        market.step = 1
    books[start + level] = size_micro
    if side == BID:
        if level < market.bid:
            return False
        if size_micro > 0:
            market.bid = level
        elif level == market.bid:
            level -= market.step
            while level > 0 and books[start + level] == 0:
                level -= market.step
            market.bid = max(level, 0)
        return True
    if level > market.ask:
        return False
    if size_micro > 0:
        market.ask = level
    elif level == market.ask:
        level += market.step
        while level < TOP_LEVEL and books[start + level] == 0:
            level += market.step
        market.ask = min(level, TOP_LEVEL)
    return True


@compiled
def reach(tick_e4):  # type: ignore[no-untyped-def]
    """How many levels beyond the best a quoted price can reach."""
    return REACH_TICKS * (tick_e4 // GRID_E4)


@compiled
def walk(state, slot, outcome, wanted_micro, ticks):  # type: ignore[no-untyped-def]
    """(average price in dollars, shares micro) of buying up to `wanted_micro` of `outcome`.

    Walks the displayed depth less our own consumption, at most `ticks` ticks beyond the best.
    (0.0, 0) when that side is empty.
    """
    market, books, consumed = state.markets[slot], state.books, state.consumed
    start = slot * 2 * LEVELS
    ticks_of_grid = ticks * (market.tick_e4 // GRID_E4)
    bought = 0
    paid = 0.0
    level = market.ask if outcome == UP else market.bid
    last = min(level + ticks_of_grid, TOP_LEVEL - 1)
    direction = 1
    at = start + LEVELS
    if outcome != UP:
        last = max(level - ticks_of_grid, 1)
        direction = -1
        at = start
    while 0 < level < TOP_LEVEL and (last - level) * direction >= 0 and bought < wanted_micro:
        size = min(books[at + level] - consumed[at + level], wanted_micro - bought)
        if size > 0:
            price = level * GRID_E4 if outcome == UP else (TOP_LEVEL - level) * GRID_E4
            bought += size
            paid += size * 1e-6 * (price * 1e-4)
        level += direction * market.step
    if bought == 0:
        return 0.0, 0
    return paid / (bought * 1e-6), bought
