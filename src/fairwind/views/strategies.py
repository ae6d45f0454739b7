"""The run as a whole, and its strategies side by side.

In: a state, and what was told. Out: the overview, a row for each strategy, its parameters.
Never here: a figure of money that the ledger does not hold.
"""

import numpy as np

from fairwind.core.ids import series_name
from fairwind.core.intervals import Interval, ratio_interval
from fairwind.core.outputs import Family, WindowState
from fairwind.core.units import DOLLAR_MICRO
from fairwind.engine.run import roster
from fairwind.engine.state import State
from fairwind.views.curves import Curves, unrealised_micro
from fairwind.views.ledger import money
from fairwind.views.names import active, hold, number_of, of_strategies
from fairwind.views.positions import Trades, positions
from fairwind.views.scans import Scans
from fairwind.views.shapes import Rows as Table
from fairwind.views.shapes import Scalar, Values
from fairwind.views.told import Look, Rows, View

COLUMNS = (
    *("id", "family", "series", "enabled", "multiplier", "scans", "hold_share", "last_hold"),
    *("trades", "wins", "losses", "net_micro", "unrealised_micro"),
    *("expectancy_micro", "expectancy_low_micro", "expectancy_high_micro"),
    *("open_positions", "drawdown_micro", "worst_drawdown_micro"),
)
PARAMETERS = ("name", "unit", "value", "default", "low", "high")


class Results:
    """What the run came to so far: windows with a result, and profit per trade."""

    def __init__(self) -> None:
        self.settled = 0
        """Windows with a result."""
        self._expectancy: dict[int, tuple[bytes, Interval]] = {}

    def take(self, rows: Rows, state: State) -> None:
        """As Fold.take. A result that the venue replaces is told again, as an anomaly."""
        windows = rows["windows"]
        final = (windows["state"] == WindowState.FINAL) & (windows["anomaly"] == 0)
        self.settled += int(np.count_nonzero(final))

    def expectancy(self, strategy: int, trades: Trades) -> Interval:
        """Profit per closed trade in dollars, of those that are remembered.

        Two thousand resamples are taken when a trade has closed or was corrected, not before.
        """
        version = trades.earned[strategy].tobytes()
        before, found = self._expectancy.get(strategy, (b"", None))
        if found is None or before != version:
            found = _expectancy(strategy, trades)
            self._expectancy[strategy] = version, found
        return found


def _expectancy(strategy: int, trades: Trades) -> Interval:
    closed = [
        (key.market, trade.slug or "", key.outcome, trade.net_micro)
        for key, trade in trades.of.items()
        if key.strategy == strategy and trade.is_closed and trade.bought_micro
    ]
    closed.sort()
    windows = {window: place for place, window in enumerate(sorted({one[:2] for one in closed}))}
    profit = np.array([one[-1] for one in closed], float) / DOLLAR_MICRO
    cluster = np.array([windows[one[:2]] for one in closed], np.int64)
    return ratio_interval(profit, np.ones(len(closed)), cluster)


def _overview(look: Look, _argument: str) -> Values:
    """Equity is the engine's own, which it marks once a second and at each result; what is
    unrealised is marked now."""
    state, record, told = look.state, look.state.record, look.told
    scans, accounts = told.of(Scans), money(look.state)
    total = told.counts["scans"]
    held = sum(scans.held(number) for number in range(len(roster())))
    slots, markets = active(state), state.array["markets"][0]
    opened = markets["start_ns"][slots] <= look.now_ns
    opened &= look.now_ns < markets["end_ns"][slots]
    return Values(
        values={
            "equity_micro": accounts.equity_micro,
            "profit_micro": accounts.equity_micro - accounts.deposits_micro,
            "deposits_micro": accounts.deposits_micro,
            "cash_micro": accounts.cash_micro,
            "reserved_micro": accounts.reserved_micro,
            "positions_micro": accounts.positions_micro,
            "unrealised_micro": int(unrealised_micro(state).sum()),
            "receivable_micro": accounts.receivable_micro,
            "realised_micro": accounts.realised_micro,
            "fees_micro": accounts.fees_micro,
            "drawdown_share": accounts.drawdown,
            "drawdown_stop_share": accounts.drawdown_stop,
            "trades": int(told.of(Trades).earned[:, 0].sum()),
            "fills": told.counts["fills"],
            "open_positions": len(positions(state)),
            "open_orders": int(record.orders_used),
            "scans": total,
            "hold_share": held / total if total else None,
            "windows_open": int(np.count_nonzero(opened)),
            "windows_settled": told.of(Results).settled,
            "halted": bool(record.halted),
            "drawdown_stopped": bool(record.drawdown),
            "events": state.events(),
            "digest": f"{state.digest():016x}",
            "now_ns": look.now_ns,
        }
    )


def _strategies(look: Look, _argument: str) -> Table:
    opened: dict[str, int] = {}
    for position in positions(look.state):
        opened[position.strategy] = opened.get(position.strategy, 0) + 1
    rows = [_row(look, number, opened.get(spec.id, 0)) for number, spec in enumerate(roster())]
    return Table(key="id", columns=COLUMNS, rows=rows, total=len(rows))


def _row(look: Look, number: int, opened: int) -> list[Scalar]:
    """`net_micro` is of closed trades; with `unrealised_micro` it is the end of the curve."""
    spec, held = roster()[number], look.state.record.strategies[number]
    scans, trades = look.told.of(Scans), look.told.of(Trades)
    found = look.told.of(Results).expectancy(number, trades)
    count, won, lost, net = trades.earned[number].tolist()
    curves = look.told.of(Curves)
    curve = curves.net[number]
    return [
        *(spec.id, Family(spec.family).name),
        "all" if spec.series < 0 else series_name(spec.series),
        *(bool(held["enabled"]), float(held["multiplier"])),
        *(int(scans.counts[number].sum()), scans.share(number), hold(int(scans.last[number]))),
        *(count, won, lost, net, int(curve.last(0)) - net),
        *(_micro(found.mean), _micro(found.low), _micro(found.high)),
        *(opened, int(curve.last(1)), curves.worst_micro(number)),
    ]


def _micro(dollars: float | None) -> int | None:
    return None if dollars is None else round(dollars * DOLLAR_MICRO)


def _parameters(look: Look, argument: str) -> Table:
    number = number_of(argument) or 0
    values = look.state.record.parameters[number].tolist()
    rows: list[list[Scalar]] = [
        [one.name, one.unit, values[place], float(one.default), float(one.low), float(one.high)]
        for place, one in enumerate(roster()[number].parameters)
    ]
    return Table(key="name", columns=PARAMETERS, rows=rows, total=len(rows))


VIEWS = (
    View("overview", "money, counts and flags of the whole run", _overview),
    View("strategies", "every strategy's switch, scans and results", _strategies),
    View("parameters", "a strategy's parameters and their bounds", _parameters, of_strategies),
)
