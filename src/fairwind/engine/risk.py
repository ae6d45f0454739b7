"""Risk state: losing streaks, cooldowns, the day's trailing stop, the halt.

In: results of closed positions, equity once a second. Out: cooldowns and flags that gates read.
Never here: a decision about one order.
"""

from fairwind.core.compiled import compiled
from fairwind.engine import gates, ledger

DAY_NS = 86_400_000_000_000
SECOND_NS = 1_000_000_000


@compiled
def outcome(state, strategy, profit_micro):  # type: ignore[no-untyped-def]
    """A position closed: count the streak and set the cooldown after a loss."""
    row = state.strategies[strategy]
    if profit_micro >= 0:
        row.losses = 0
        return
    row.losses += 1
    parameter = state.parameters[strategy]
    pause = parameter[gates.LOSS_COOLDOWN]
    if row.losses >= parameter[gates.STREAK_LOSSES]:
        pause = parameter[gates.STREAK_COOLDOWN]
    row.cooldown_until_ns = state.now_ns + int(pause * 1e9)


@compiled
def mark(state):  # type: ignore[no-untyped-def]
    """Mark the book to market and move the day's peak and the trailing stop."""
    state.equity_micro = ledger.equity_micro(state)
    day = state.now_ns // DAY_NS
    if day != state.day:
        state.day = day
        state.peak_micro = state.equity_micro
        state.drawdown = 0
    state.peak_micro = max(state.peak_micro, state.equity_micro)
    if state.equity_micro < state.peak_micro * (1.0 - state.drawdown_stop):
        state.drawdown = 1
