"""Curves: money and prices of each second of the run, within a fixed room, thinned for the eye.

In: the engine's state at the end of each second of market time, and its postings. Out: series.
Never here: a figure that depends on how events came in batches.
"""

import math
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairwind.core.units import PRICE_ONE_E4, SECOND_NS
from fairwind.engine.state import GRID_E4, POSITIONS, STRATEGIES, TOP_LEVEL, State
from fairwind.views.ledger import drawdown
from fairwind.views.names import number_of, of_strategies
from fairwind.views.shapes import Scalar, Series
from fairwind.views.told import Look, Rows, View

SAMPLES_MAX = 4_096
"""Seconds that are kept of one curve; beyond that each stretch's extremes and its last second."""
POINTS_MAX = 600
"""Points of a curve that are shown."""
RECENT_S = 900
"""Prices are kept for so long: the window of today's longest series and more of the others."""
MONEY = ("net_micro", "drawdown_micro")
PRICES = ("spot", "reference", "strike")
FAIR = ("fair_up", "implied_up", "bid", "ask")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Samples:
    """The figures of each second; the last second may still change, those before it never do."""

    def __init__(self, width: int) -> None:
        self._at_ns = np.zeros(SAMPLES_MAX, np.int64)
        self._figures = np.zeros((SAMPLES_MAX, width))
        self._used = 0
        self._thin: tuple[int, list[int], list[list[float]]] = (-1, [], [])

    def put(self, at_ns: int, *figures: float) -> None:
        """The figures now; they replace those of the same second."""
        used = self._used
        if used and self._at_ns[used - 1] // SECOND_NS == at_ns // SECOND_NS:
            used -= 1
        elif used == SAMPLES_MAX:
            kept = places(self._at_ns, self._figures, SAMPLES_MAX // 2)
            used = len(kept)
            self._thin = (-1, [], [])
            self._at_ns[:used], self._figures[:used] = self._at_ns[kept], self._figures[kept]
        self._at_ns[used] = at_ns
        self._figures[used] = figures
        self._used = used + 1

    def last(self, column: int) -> float:
        """The newest figure; 0 when there is none."""
        return float(self._figures[self._used - 1, column]) if self._used else 0.0

    def is_new(self, at_ns: int) -> bool:
        """Whether that time lies in a later second than all samples."""
        return not self._used or bool(self._at_ns[self._used - 1] // SECOND_NS < at_ns // SECOND_NS)

    def shown(self, most: int = POINTS_MAX) -> tuple[list[int], list[list[float]]]:
        """Times, and the figures of each, at most about so many; extremes are among them.

        Seconds that are over are thinned once.
        """
        over = max(self._used - 1, 0)
        if self._thin[0] != over or most != POINTS_MAX:
            kept = places(self._at_ns[:over], self._figures[:over], most - 1)
            thin = over, self._at_ns[kept].tolist(), self._figures[kept].tolist()
            if most != POINTS_MAX:
                return self._with_last(*thin[1:])
            self._thin = thin
        return self._with_last(*self._thin[1:])

    def _with_last(
        self, times: list[int], figures: list[list[float]]
    ) -> tuple[list[int], list[list[float]]]:
        last = slice(max(self._used - 1, 0), self._used)
        return [*times, *self._at_ns[last].tolist()], [*figures, *self._figures[last].tolist()]


def places(at_ns: Ints, figures: Floats, most: int) -> Ints:
    """Which points to keep when at most `most` may stay: of each stretch of time the lowest and
    the highest of every column, and the last one. Stretches are powers of two seconds long and
    begin at multiples of themselves, so that a growing curve keeps its points.

    Shapes (n,) and (n, columns); nan is no figure.
    """
    count = len(at_ns)
    if count <= most:
        return np.arange(count)
    step, per_stretch = 2, 2 * figures.shape[1] + 1
    stretch = at_ns // (step * SECOND_NS)
    while (1 + np.count_nonzero(np.diff(stretch))) * per_stretch > most and step < 1 << 40:
        step *= 2
        stretch = at_ns // (step * SECOND_NS)
    ends = np.append(np.flatnonzero(np.diff(stretch)), count - 1)
    starts = np.append(0, ends[:-1] + 1)
    kept = np.zeros(count, np.bool_)
    kept[ends] = True
    for column in figures.T:
        unknown = np.isnan(column)
        kept[np.lexsort((np.where(unknown, np.inf, column), stretch))[starts]] = True
        kept[np.lexsort((np.where(unknown, -np.inf, column), stretch))[ends]] = True
    return np.flatnonzero(kept)


def fewer(series: Series, most: int) -> Series:
    """A series with at most about so many points, its extremes among them."""
    if len(series.points) <= most:
        return series
    figures = np.array(
        [[np.nan if one is None else one for one in point[1:]] for point in series.points], float
    )
    at_ns = np.array([point[0] for point in series.points], np.int64)
    kept = places(at_ns, figures, most)
    return Series(lines=series.lines, points=[series.points[place] for place in kept])


class Curves:
    """What each second looked like: equity as the engine marked it at the second's beginning or at
    a result, each strategy's profit at the second's end, prices of its window then."""

    def __init__(self) -> None:
        self.equity = Samples(2)
        self.net = [Samples(2) for _ in range(STRATEGIES)]
        """Profit with open positions at the mid, and its distance below the best second so far."""
        self.prices: list[deque[list[Scalar]]] = [deque(maxlen=RECENT_S) for _ in range(STRATEGIES)]
        self.fair: list[deque[list[Scalar]]] = [deque(maxlen=RECENT_S) for _ in range(STRATEGIES)]
        self._booked_micro = np.zeros(STRATEGIES, np.int64)
        self._began = np.zeros(STRATEGIES, np.bool_)
        self._best_micro = [0.0] * STRATEGIES
        self._worst_micro = [0.0] * STRATEGIES

    def take(self, rows: Rows, state: State) -> None:
        """As Fold.take."""
        self._book(rows["postings"])
        now_ns = int(state.record.now_ns)
        lost = drawdown(state)
        equity = float(state.record.equity_micro)
        self.equity.put(now_ns, equity, math.nan if lost is None else lost)
        if self._began.any():
            net = unrealised_micro(state).sum(axis=1)
            net += self._booked_micro[: len(net)]
            for strategy in np.flatnonzero(self._began).tolist():
                self._profit(strategy, now_ns, float(net[strategy]))
        self._sample(state, now_ns)

    def worst_micro(self, strategy: int) -> int:
        """The largest distance below the best second so far."""
        return int(max(self._worst_micro[strategy], self.net[strategy].last(1)))

    def _book(self, postings: NDArray[Any]) -> None:
        own = postings[postings["strategy"] < STRATEGIES]
        if not len(own):
            return
        self._began[own["strategy"]] = True
        booked = -(own["realised_micro"] + own["fees_micro"])
        np.add.at(self._booked_micro, own["strategy"], booked)

    def _profit(self, strategy: int, now_ns: int, net: float) -> None:
        """A sample of a strategy's curve; only seconds that are over count as best or worst."""
        samples = self.net[strategy]
        if samples.is_new(now_ns):
            self._best_micro[strategy] = max(self._best_micro[strategy], samples.last(0))
            self._worst_micro[strategy] = max(self._worst_micro[strategy], samples.last(1))
        samples.put(now_ns, net, max(self._best_micro[strategy], net) - net)

    def _sample(self, state: State, now_ns: int) -> None:
        slots, markets = _active(state), state.array["markets"][0]
        is_open = markets["start_ns"][slots] <= now_ns
        is_open &= now_ns < markets["end_ns"][slots]
        sampled = {
            int(markets["series"][slot]): _prices(state, markets[slot], now_ns)
            for slot in slots[is_open]
        }
        used = int(state.array["strategies_used"][0])
        for strategy, series in enumerate(state.array["strategies"][0]["series"][:used].tolist()):
            if series in sampled:
                prices, fair = sampled[series]
                _put(self.prices[strategy], prices)
                _put(self.fair[strategy], fair)


def unrealised_micro(state: State) -> Ints:
    """Worth less cost of what is held, shape (strategies, windows without a result).

    At the mid, as the ledger marks it, where an empty side stands at 0 or at 1; without a book at
    cost, which is no profit.
    """
    slots, markets = _active(state), state.array["markets"][0]
    used = int(state.array["strategies_used"][0])
    if not state.array["accounts"][0][POSITIONS]:
        return np.zeros((used, len(slots)), np.int64)
    bid, ask = markets["bid"][slots], markets["ask"][slots]
    marked = (bid < ask) & ((bid > 0) | (ask < TOP_LEVEL))
    up_half_e4 = (bid + ask) * GRID_E4
    rows = state.array["positions"][0][:used]
    up, down, up_cost, down_cost = (
        rows[f"{name}_micro"][:, slots] for name in ("up", "down", "up_cost", "down_cost")
    )
    worth = up * up_half_e4 // (2 * PRICE_ONE_E4)
    worth += down * (2 * PRICE_ONE_E4 - up_half_e4) // (2 * PRICE_ONE_E4)
    cost = up_cost + down_cost
    found: Ints = np.where(marked & (cost != 0), worth - cost, 0)
    return found


def _active(state: State) -> Ints:
    slots: Ints = state.array["active"][0][: state.array["active_used"][0]]
    return slots


def _prices(state: State, market: Any, now_ns: int) -> tuple[list[Scalar], list[Scalar]]:
    """A point of PRICES and one of FAIR of an open window."""
    asset = state.array["assets"][0][market["asset"]]
    stream = state.array["references"][0][market["asset"] * 3 + market["averaging_s"] // 30]
    bid, ask = int(market["bid"]), int(market["ask"])
    valid = market["valid"] == 1 and bid < ask
    fair = float(market["fair_up"])
    return [
        now_ns,
        float(asset["spot"]) if asset["spot_ts_ns"] else None,
        float(stream["value"]) if stream["ts_ns"] else None,
        float(market["strike"]) if market["strike_e8"] >= 0 else None,
    ], [
        now_ns,
        None if math.isnan(fair) else fair,
        implied_up(market),
        bid * GRID_E4 / PRICE_ONE_E4 if valid and bid > 0 else None,
        ask * GRID_E4 / PRICE_ONE_E4 if valid and ask < TOP_LEVEL else None,
    ]


def implied_up(market: Any) -> float | None:
    """The book's probability of Up: its mid, where an empty side stands at 0 or at 1. None without
    a book that can be decided on."""
    bid, ask = int(market["bid"]), int(market["ask"])
    if market["valid"] != 1 or bid >= ask or (bid == 0 and ask == TOP_LEVEL):
        return None
    return (bid + ask) * GRID_E4 / (2 * PRICE_ONE_E4)


def _put(samples: deque[list[Scalar]], point: list[Scalar]) -> None:
    """Points are replaced, never changed: snapshots that were made hold them too."""
    if samples and _second(samples[-1]) == _second(point):
        samples.pop()
    samples.append(point)


def _second(point: list[Scalar]) -> int:
    at_ns = point[0]
    assert isinstance(at_ns, int)
    return at_ns // SECOND_NS


def _equity(look: Look, _argument: str) -> Series:
    times, figures = look.told.of(Curves).equity.shown()
    points: list[list[Scalar]] = [
        [at_ns, int(equity), None if math.isnan(drawdown) else drawdown]
        for at_ns, (equity, drawdown) in zip(times, figures, strict=True)
    ]
    return Series(lines=("equity_micro", "drawdown_share"), points=points)


def _curve(look: Look, argument: str) -> Series:
    times, figures = look.told.of(Curves).net[_number(argument)].shown()
    points: list[list[Scalar]] = [
        [at_ns, int(net), int(drawdown)]
        for at_ns, (net, drawdown) in zip(times, figures, strict=True)
    ]
    return Series(lines=MONEY, points=points)


def _prices_of(look: Look, argument: str) -> Series:
    return _recent(PRICES, look.told.of(Curves).prices[_number(argument)], look.now_ns)


def _fair_of(look: Look, argument: str) -> Series:
    return _recent(FAIR, look.told.of(Curves).fair[_number(argument)], look.now_ns)


def _recent(lines: tuple[str, ...], samples: deque[list[Scalar]], now_ns: int) -> Series:
    first = now_ns // SECOND_NS - RECENT_S
    points = list(samples)
    if points and _second(points[0]) <= first:
        points = [point for point in points if _second(point) > first]
    return Series(lines=lines, points=points)


def _number(argument: str) -> int:
    number = number_of(argument)
    assert number is not None
    return number


VIEWS = (
    View("equity", "equity and drawdown of the whole run", _equity),
    View("curve", "a strategy's profit with open positions at the mid", _curve, of_strategies),
    View("prices", "spot, reference and strike of a strategy's windows", _prices_of, of_strategies),
    View("fair", "fair, implied and quoted probability of Up", _fair_of, of_strategies),
)
