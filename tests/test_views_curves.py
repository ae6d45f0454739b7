"""Curves: a fixed room for any length of run, and nothing that stands out is thinned away."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viewed_run import Viewer, inputs

from fairwind.core.units import SECOND_NS
from fairwind.engine import ledger
from fairwind.views.curves import (
    POINTS_MAX,
    SAMPLES_MAX,
    Samples,
    fewer,
    places,
    unrealised_micro,
)
from fairwind.views.shapes import Series

START_S = 1_791_158_400
COUNTS = st.integers(1, 3_000)


def walk(seed: int, count: int, columns: int = 2) -> tuple[Any, Any]:
    """Seconds with gaps, and random walks."""
    chance = np.random.default_rng(seed)
    seconds = START_S + np.cumsum(chance.integers(1, 4, count))
    return seconds * SECOND_NS, np.cumsum(chance.normal(size=(count, columns)), axis=0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), COUNTS, st.integers(40, 900), st.integers(1, 4))
def test_thinning_keeps_the_extremes_of_every_line_and_the_last_point(
    seed: int, count: int, most: int, columns: int
) -> None:
    at_ns, figures = walk(seed, count, columns)
    figures[:: max(count // 7, 1), 0] = np.nan
    kept = places(at_ns, figures, most)
    assert len(kept) <= most or most < 1 + 2 * columns
    assert len(kept) == count or kept.tolist() == sorted(set(kept.tolist()))
    assert kept[-1] == count - 1
    for column in figures.T:
        if not np.isnan(column).all():
            assert np.nanmin(column[kept]) == np.nanmin(column)
            assert np.nanmax(column[kept]) == np.nanmax(column)


def test_a_curve_that_grows_keeps_its_points_but_for_the_newest_stretch() -> None:
    at_ns, figures = walk(5, 2_000)
    kept = [set(places(at_ns[:n], figures[:n], 600).tolist()) for n in range(1_500, 1_510)]
    for before, after in pairwise(kept):
        assert len(before ^ after) <= 3


@pytest.mark.parametrize("count", [SAMPLES_MAX - 1, SAMPLES_MAX, 30_000])
def test_a_long_run_is_kept_within_its_room_with_its_extremes_and_its_last_second(
    count: int,
) -> None:
    at_ns, figures = walk(count, count)
    figures[count // 3] = 1e6, -1e6
    samples = Samples(2)
    for at, row in zip(at_ns.tolist(), figures.tolist(), strict=True):
        samples.put(at, 1e9, -1e9)  # a moment of that second, which is not its last
        samples.put(at + 1, *row)
    times, kept = samples.shown(10**9)
    assert len(times) <= SAMPLES_MAX and (len(times) == count or count > SAMPLES_MAX)
    assert (times[-1], kept[-1]) == (at_ns[-1] + 1, figures[-1].tolist())
    found = np.array(kept)
    assert found.min(axis=0).tolist() == figures.min(axis=0).tolist()
    assert found.max(axis=0).tolist() == figures.max(axis=0).tolist()
    assert times == sorted(times)
    shown, _ = samples.shown()
    assert len(shown) <= POINTS_MAX and set(shown) <= set(times)


def test_what_is_kept_does_not_depend_on_how_often_a_second_was_looked_at() -> None:
    at_ns, figures = walk(8, 9_000)
    once, often = Samples(2), Samples(2)
    for at, row in zip(at_ns.tolist(), figures.tolist(), strict=True):
        once.put(at + 9, *row)
        for moment in range(3):
            often.put(at + moment, 1e9 * (-1) ** moment, moment)
        often.put(at + 9, *row)
    assert once.shown() == often.shown()
    assert once.shown(10**9) == often.shown(10**9)


def test_any_series_can_be_asked_for_with_fewer_points() -> None:
    points: list[Any] = [[at * SECOND_NS, at % 97, None if at % 5 else at] for at in range(3_000)]
    whole = Series(lines=("a", "b"), points=points)
    part = fewer(whole, 100)
    assert len(part.points) <= 100 and part.points[-1] == points[-1]
    assert max(point[1] for point in part.points) == 96  # type: ignore[type-var]
    assert fewer(whole, 3_000) is whole


def test_what_is_unrealised_is_what_the_ledgers_own_mark_adds_to_cost() -> None:
    run = inputs(windows=2)
    viewer, held = Viewer(run), 0
    for cut in range(1_000, run.total, 500):
        state = viewer.until(cut).state
        marked = int(ledger.equity_micro(state.record))
        at_cost = int(state.record.accounts[:4].sum())
        assert int(unrealised_micro(state).sum()) == marked - at_cost
        held += marked != at_cost
    assert held > 5
