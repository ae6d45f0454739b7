"""Scans: why each strategy did not trade, how long already, and where it saw an edge.

In: scans and orders as they are told. Out: counts by hold code, streaks, grids of the edge by time
to the end and price. Never here: a scan that is not counted, an average of averages.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairwind.core.events import HORIZONS_S
from fairwind.core.holds import CATEGORY, NO_HOLD, Category, Hold
from fairwind.core.outputs import Action, OrderState
from fairwind.core.units import PRICE_ONE_E4
from fairwind.engine.run import roster
from fairwind.engine.state import STRATEGIES, State
from fairwind.views.names import hold, number_of, of_strategies
from fairwind.views.shapes import Grid, Scalar
from fairwind.views.shapes import Rows as Table
from fairwind.views.told import Look, Rows, View

COLUMNS, PRICE_STEP_E4 = 30, 500
"""A grid has so many columns from the end of the window to its start, and a row for 5 cents."""
GRID = (STRATEGIES, PRICE_ONE_E4 // PRICE_STEP_E4, COLUMNS)
EDGE_DIGITS = 3
UNTRUE = np.uint64(
    sum(1 << code for code in Hold if CATEGORY[code] in (Category.FEED, Category.BOOK))
)
"""Gates that say that prices cannot be believed: an edge against them is none."""
HOLDS = ("key", "strategy", "code", "category", "count", "share", "last_at_ns")
STREAKS = (
    *("strategy", "holds", "since_ns", "scans", "hold_share", "last_code", "last_at_ns"),
    *("entries", "last_entry_ns"),
)


class Scans:
    """All scans of the run, counted."""

    def __init__(self) -> None:
        self.counts = np.zeros((STRATEGIES, NO_HOLD + 1), np.int64)
        """By strategy and hold code, NO_HOLD among them."""
        self.last_ns = np.zeros((STRATEGIES, NO_HOLD + 1), np.int64)
        self.streak = np.zeros(STRATEGIES, np.int64)
        """Scans that held since the last one that might trade."""
        self.since_ns = np.zeros(STRATEGIES, np.int64)
        self.last = np.full(STRATEGIES, NO_HOLD, np.int64)
        self.entries = np.zeros(STRATEGIES, np.int64)
        self.last_entry_ns = np.zeros(STRATEGIES, np.int64)
        self.edge_e4 = np.zeros(GRID, np.int64)
        self.seen = np.zeros(GRID, np.int64)
        self.seen_ns = np.zeros(GRID, np.int64)
        self._step_ms = np.array([step_s(spec.series) * 1000 for spec in roster()])

    def take(self, rows: Rows, state: State) -> None:
        """As Fold.take."""
        orders, scans = rows["orders"], rows["scans"]
        if len(orders):
            sent = orders[(orders["state"] == OrderState.SENT) & (orders["action"] == Action.BUY)]
            np.add.at(self.entries, sent["strategy"], 1)
            self.last_entry_ns[sent["strategy"]] = sent["ts_ns"]
        if len(scans):
            strategy, code = scans["strategy"], scans["hold"]
            np.add.at(self.counts, (strategy, code), 1)
            self.last_ns[strategy, code] = scans["ts_ns"]
            for number in np.unique(strategy).tolist():
                self._streak(number, scans[strategy == number])
            self._edges(scans)

    def held(self, strategy: int) -> int:
        """How many scans held."""
        return int(self.counts[strategy].sum() - self.counts[strategy, NO_HOLD])

    def share(self, strategy: int) -> float | None:
        """The part of the scans that held; None without a scan."""
        total = int(self.counts[strategy].sum())
        return self.held(strategy) / total if total else None

    def _streak(self, strategy: int, scans: NDArray[Any]) -> None:
        self.last[strategy] = scans["hold"][-1]
        passed = np.flatnonzero(scans["hold"] == NO_HOLD)
        if len(passed):
            self.streak[strategy] = 0
            scans = scans[passed[-1] + 1 :]
        if self.streak[strategy] == 0 and len(scans):
            self.since_ns[strategy] = scans["ts_ns"][0]
        self.streak[strategy] += len(scans)

    def _edges(self, scans: NDArray[Any]) -> None:
        believed = scans["mask"] & UNTRUE == 0
        sided = scans[believed & (scans["side"] < 2) & (scans["price_e4"] > 0)]
        strategy = sided["strategy"]
        column = np.clip(sided["left_ms"] // self._step_ms[strategy], 0, COLUMNS - 1)
        row = np.clip(sided["price_e4"] // PRICE_STEP_E4, 0, GRID[1] - 1)
        np.add.at(self.edge_e4, (strategy, row, column), sided["net_edge_e4"])
        np.add.at(self.seen, (strategy, row, column), 1)
        self.seen_ns[strategy, row, column] = sided["ts_ns"]


def step_s(series: int) -> int:
    """Seconds of a column of a series' grid; for all series together those of the shortest."""
    return HORIZONS_S[max(series, 0) % len(HORIZONS_S)] // COLUMNS


def _holds(look: Look, _argument: str) -> Table:
    """Counts of what held; scans that might trade are in the share's total only."""
    scans = look.told.of(Scans)
    rows: list[list[Scalar]] = []
    for number, spec in enumerate(roster()):
        total = int(scans.counts[number].sum())
        for code in Hold:
            count = int(scans.counts[number, code])
            if count:
                last_ns = int(scans.last_ns[number, code])
                named = [f"{spec.id}/{code.name}", spec.id, code.name, CATEGORY[code].value]
                rows.append([*named, count, count / total, last_ns])
    return Table(key="key", columns=HOLDS, rows=rows, total=len(rows))


def _streaks(look: Look, _argument: str) -> Table:
    scans = look.told.of(Scans)
    rows: list[list[Scalar]] = []
    for number, spec in enumerate(roster()):
        streak = int(scans.streak[number])
        rows.append(
            [
                spec.id,
                streak,
                int(scans.since_ns[number]) if streak else None,
                int(scans.counts[number].sum()),
                scans.share(number),
                hold(int(scans.last[number])),
                int(scans.last_ns[number].max()) or None,
                int(scans.entries[number]),
                int(scans.last_entry_ns[number]) or None,
            ]
        )
    return Table(key="strategy", columns=STREAKS, rows=rows, total=len(rows))


def _heatmap(look: Look, argument: str) -> Grid:
    """Mean net edge of scans that chose a side on good inputs, by time left and its price."""
    scans, number = look.told.of(Scans), number_of(argument) or 0
    seen, edge_e4 = scans.seen[number], scans.edge_e4[number]
    mean = np.round(edge_e4 / np.maximum(seen, 1), EDGE_DIGITS)
    return _grid(number, mean, seen > 0)


def _heatmap_at(look: Look, argument: str) -> Grid:
    """When the newest scan fell into each cell of the heatmap."""
    scans, number = look.told.of(Scans), number_of(argument) or 0
    return _grid(number, scans.seen_ns[number], scans.seen[number] > 0)


def _grid(number: int, figures: NDArray[Any], known: NDArray[np.bool_]) -> Grid:
    step = step_s(roster()[number].series)
    cells = figures.astype(object)
    cells[~known] = None
    return Grid(
        x_name="left_s",
        x=[step * column for column in range(COLUMNS)],
        y_name="price_e4",
        y=[PRICE_STEP_E4 * row for row in range(GRID[1])],
        cells=cells.tolist(),
    )


VIEWS = (
    View("holds", "how often each strategy was held up by each code", _holds),
    View("streaks", "how long each strategy has been held up, and its last entry", _streaks),
    View("heatmap", "a strategy's mean net edge by time left and price", _heatmap, of_strategies),
    View("heatmap_at", "when each cell of the heatmap was seen last", _heatmap_at, of_strategies),
)
