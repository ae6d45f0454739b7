"""Fair value against Monte Carlo, its own limits, and a world whose true fair value is known."""

import math

import engine_events as make
import numpy as np
import pytest
from conftest import LONG
from engine_events import Session
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fairwind.core.events import Kind
from fairwind.core.units import SECOND_NS
from fairwind.engine.fair import probability, settlement
from fairwind.engine.strategies import ROSTER
from fairwind.world.generator import generate
from fairwind.world.knobs import Knobs, Regime

PATHS = 200_000 if LONG else 40_000
STEPS = 20
"""Steps of the simulated path per second: the average is taken over the path, as in the formula."""
SPOT, VARIANCE = 64_000.0, 9.0
FEW = settings(max_examples=2_000 if LONG else 200, deadline=None, derandomize=not LONG)

PAST = 3.0
"""How far the known part of the average lies above spot in the simulation, in dollars."""


def simulated(left_s: int, averaging_s: int) -> NDArray[np.float64]:
    """Settlement values of `PATHS` Brownian paths, (PATHS,) dollars."""
    rng = np.random.Generator(np.random.PCG64(left_s * 1_000 + averaging_s))
    at = np.full(PATHS, SPOT)
    within = min(left_s, averaging_s)
    total = np.full(PATHS, (averaging_s - within) * (SPOT + PAST))
    before = max(left_s - averaging_s, 0)
    at += rng.normal(0.0, math.sqrt(VARIANCE * before), PATHS)
    for _ in range(within * STEPS):
        step = rng.normal(0.0, math.sqrt(VARIANCE / STEPS), PATHS)
        total += (at + step / 2.0) / STEPS
        at += step
    return total / averaging_s if averaging_s else at


CASES = [(300, 60), (61, 60), (60, 60), (59, 60), (30, 60), (5, 60), (1, 60), (45, 30), (12, 30)]


@pytest.mark.parametrize(("left_s", "averaging_s"), [*CASES, (40, 0), (1, 0)])
def test_mean_and_variance_of_the_settlement_are_those_of_simulated_paths(
    left_s: int, averaging_s: int
) -> None:
    values = simulated(left_s, averaging_s)
    mean, variance = settlement(float(left_s), float(averaging_s), SPOT, SPOT + PAST, VARIANCE)
    stderr = math.sqrt(variance / PATHS)
    assert abs(values.mean() - mean) < 4.5 * stderr
    assert values.var() == pytest.approx(variance, rel=6.0 * math.sqrt(2.0 / PATHS))


@pytest.mark.parametrize("left_s", [100, 20])
@pytest.mark.parametrize("away", [-20.0, -3.0, 0.0, 8.0])
def test_the_probability_is_the_share_of_simulated_paths_at_or_above_the_strike(
    left_s: int, away: float
) -> None:
    values = simulated(left_s, 60)
    mean, variance = settlement(float(left_s), 60.0, SPOT, SPOT + PAST, VARIANCE)
    up, _, _ = probability(mean, variance, SPOT + away, 0.0)
    share = float((values >= SPOT + away).mean())
    assert abs(up - share) < 4.5 * math.sqrt(0.25 / PATHS)


@pytest.mark.parametrize("averaging_s", [30.0, 60.0])
def test_mean_and_variance_do_not_jump_where_the_average_begins(averaging_s: float) -> None:
    before = settlement(averaging_s + 1e-9, averaging_s, SPOT, SPOT, VARIANCE)
    after = settlement(averaging_s - 1e-9, averaging_s, SPOT, SPOT, VARIANCE)
    assert before == pytest.approx(after, rel=1e-9)
    # Nothing is known yet, so what the known part is said to be must not matter.
    assert settlement(averaging_s - 1e-9, averaging_s, SPOT, 0.0, VARIANCE)[0] == pytest.approx(
        SPOT, rel=1e-9
    )


@pytest.mark.parametrize("averaging_s", [0.0, 30.0, 60.0])
def test_variance_falls_to_nothing_as_time_runs_out(averaging_s: float) -> None:
    left = np.linspace(0.0, 300.0, 601)
    variances = [settlement(s, averaging_s, SPOT, SPOT, VARIANCE)[1] for s in left]
    assert variances[0] == 0.0
    assert (np.diff(variances) > 0.0).all()


DOLLARS = st.floats(1.0, 200_000.0)


@FEW
@given(DOLLARS, st.floats(0.0, 1e6), DOLLARS, st.floats(0.0, 1e4))
def test_a_probability_lies_between_0_and_1_and_its_error_is_never_nothing(
    mean: float, variance: float, strike: float, level_variance: float
) -> None:
    up, stderr, delta = probability(mean, variance, strike, level_variance)
    assert 0.0 <= up <= 1.0
    assert 0.002 <= stderr < 1.0
    assert 0.0 <= delta < math.inf


@FEW
@given(
    st.floats(0.0, 900.0),
    st.sampled_from([0.0, 30.0, 60.0]),
    st.floats(-100.0, 100.0),
    st.floats(0.001, 50.0),
    st.floats(0.01, 400.0),
)
def test_a_higher_spot_never_makes_up_less_likely(
    left_s: float, averaging_s: float, away: float, step: float, variance: float
) -> None:
    ups = []
    for spot in (SPOT + away, SPOT + away + step):
        mean, spread = settlement(left_s, averaging_s, spot, SPOT, variance)
        ups.append(probability(mean, spread, SPOT, 0.01)[0])
    assert ups[0] <= ups[1]


@FEW
@given(st.floats(-60.0, 60.0), st.floats(0.1, 900.0))
def test_the_delta_is_the_slope_of_the_probability(away: float, variance: float) -> None:
    h = 1e-3
    low, high = (probability(SPOT + away + d, variance, SPOT, 0.0)[0] for d in (-h, h))
    slope = probability(SPOT + away, variance, SPOT, 0.0)[2]
    assert slope == pytest.approx((high - low) / (2 * h), rel=1e-4, abs=1e-9)


def test_a_settlement_that_is_certain_is_up_from_the_strike_on() -> None:
    assert probability(SPOT, 0.0, SPOT, 0.0)[0] == 1.0
    assert probability(SPOT - 1e-6, 0.0, SPOT, 0.0)[0] == 0.0


WORLDS = 40 if LONG else 4
CALM = {"regimes": (Regime(name="calm"),), "transitions": ((1.0,),)}
START = "2026-10-05T12:15:00Z"


def errors(seed: int, **knobs: float) -> NDArray[np.float64]:
    """(engine's fair value - true one, seconds left) at every scan of the world's windows."""
    world = generate(
        Knobs(seed=seed, start=START, windows=6, zero_edge=True, quote_rate=0.02, **CALM, **knobs)
    )
    session = Session(*ROSTER)
    session.feed(world.events[world.events["kind"] != Kind.TRADE])
    found = []
    for scan in session.rows("scans"):
        window = world.truth[scan["market"]]
        since = int(scan["ts_ns"]) - window.start_ns
        # Only scans right after a whole second, where the true value is known.
        if since % SECOND_NS < 150_000_000 and not math.isnan(scan["probability"]):
            true = window.fair[since // SECOND_NS + 60]
            found.append((scan["probability"] - true, scan["left_ms"] / 1e3))
    return np.array(found)


def test_the_engines_fair_value_is_the_true_one_in_a_generated_world() -> None:
    steady = {"jumps_per_hour": 0.0, "volatility_of_volatility": 0.0}
    found = np.concatenate([errors(seed, **steady) for seed in range(WORLDS)])
    wrong = found[:, 0]
    assert len(found) > 500 * WORLDS
    assert abs(wrong.mean()) < 0.01
    assert np.abs(wrong).mean() < 0.02
    late = found[:, 1] < 30
    assert np.abs(wrong[late]).mean() < 0.02


def test_fair_value_stays_close_when_volatility_wanders_and_spot_jumps() -> None:
    found = np.concatenate([errors(100 + seed) for seed in range(WORLDS)])
    assert abs(found[:, 0].mean()) < 0.015
    assert np.abs(found[:, 0]).mean() < 0.03


def test_scans_hold_no_probability_before_there_is_a_strike() -> None:
    session = Session(*ROSTER)
    session.feed(make.listed(make.at(-55)))
    for second in range(-50, 20):
        session.feed(make.spot(make.at(second), 64_000 + second % 3))
    assert len(session.rows("scans")) == 20
    assert np.isnan(session.rows("scans")["probability"]).all()
