"""A generated run with wins, losses and refusals, for the tests of views: its inputs, journaled and
not, and what views see of it after any number of events, however these come in batches.
"""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fairwind.core.config import Capital, Config
from fairwind.core.events import Events
from fairwind.engine.run import Out
from fairwind.engine.state import State, fresh
from fairwind.research import replay, synthetic
from fairwind.research.replay import Inputs
from fairwind.run.loop import outputs
from fairwind.views.shapes import Grid, Rows, Series, Values
from fairwind.views.told import Look, Told, seconds
from fairwind.views.topics import snapshot
from fairwind.views.topics import told as memory

TRADED = ("BTC_5M", "ETH_5M", "BTC_15M")
CHANGED: dict[str, float | bool] = {
    "entry_cooldown": 20.0,
    "max_positions": 2.0,
    "trades_per_window": 2.0,
    "edge_min": -100.0,
    "coinflip_band": 0.0,
    "edge_stderrs": 0.0,
    "streak_losses": 1000.0,
    "loss_cooldown": 0.0,
    "order_min": 1.0,
    "price_low": 500.0,
    "price_high": 9_500.0,
    "kelly_fraction": 0.5,
}
"""So that it trades often, at good prices and at bad ones."""


def inputs(windows: int = 13) -> Inputs:
    """The events of the run, with the settings as opening controls."""
    wishes = (
        *("seed=11", f"windows={windows}", f"series={','.join(TRADED)}", "history_s=120"),
        *("quote_rate=0.03", "planted_edge=0.04", "spot_rate=4"),
    )
    recording = synthetic.recording_of(synthetic.knobs({}, wishes))
    config = Config(
        capital=Capital(deposit=2_000.0, drawdown_stop=1.0),
        strategies=dict.fromkeys(TRADED, CHANGED),
    )
    return replay.inputs_of(recording, config)


def journaled(run: Path, given: Inputs) -> Path:
    """The run, closed, with its tables."""
    session = replay.Journaled(run, "generated for the tests of views", given)
    for _ in session.steps(50_000):
        pass
    session.close()
    return run


class Viewer:
    """A replica that takes events as a follower does."""

    def __init__(self, given: Inputs) -> None:
        self._given = given
        self._out = Out.fresh()
        self.state: State = fresh()
        self.told: Told = memory()

    @property
    def look(self) -> Look:
        """What views are folded from."""
        return Look(self.state, self.told, int(self.state.record.now_ns))

    def take(self, events: Events) -> None:
        """One batch."""
        for part in seconds(events):
            for rows in outputs(self.state, part, self._out, self._given.payloads.__getitem__):
                self.told.take(rows, self.state)

    def until(self, events: int) -> Look:
        """All events up to that number, in one batch."""
        self.take(self._given.between(self.state.events(), events))
        return self.look


def viewed(given: Inputs, cuts: Iterable[int]) -> Look:
    """What is seen at the last of the cuts, with a batch up to each of them."""
    viewer = Viewer(given)
    for first, last in pairwise([0, *cuts]):
        viewer.take(given.between(first, last))
    return viewer.look


def at_random(given: Inputs, seed: int, count: int) -> list[int]:
    """Numbers of events, in order, the last one the end."""
    chosen = np.random.default_rng(seed).integers(1, given.total, count - 1)
    return [*sorted(set(chosen.tolist())), given.total]


def table(look: Look, topic: str) -> list[dict[str, Any]]:
    """The rows of a view, by column."""
    found = snapshot(look, topic)
    assert isinstance(found, Rows) and found.total == len(found.rows)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def values(look: Look, topic: str) -> dict[str, Any]:
    """The figures of a view."""
    found = snapshot(look, topic)
    assert isinstance(found, Values)
    return found.values


def series(look: Look, topic: str) -> Series:
    """The view, whose points are whole."""
    found = snapshot(look, topic)
    assert isinstance(found, Series)
    assert all(len(point) == 1 + len(found.lines) for point in found.points)
    return found


def grid(look: Look, topic: str) -> Grid:
    """The view."""
    found = snapshot(look, topic)
    assert isinstance(found, Grid)
    return found
