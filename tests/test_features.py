"""What is learned from prices: volatility, the oracle's offset and the known part of an average.

Compared with slow NumPy references and with what must not matter: bounce, jumps and silences.
"""

import math

import engine_events as make
import numpy as np
import pytest
from engine_events import Session, at, join
from numpy.typing import NDArray

from fairwind.core.events import Events
from fairwind.engine.strategies import ROSTER

SECOND = 3e-5
"""True deviation of a one-second log return: 0.17 a year."""
FAST, SLOW = 1.0 - 0.5 ** (1 / 60), 1.0 - 0.5 ** (1 / 600)
WARM = 60


def walk(seconds: int, seed: int = 1, per_second: float = SECOND) -> NDArray[np.float64]:
    """A price for every second, rounded to cents."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return np.round(100_000 * np.exp(np.cumsum(rng.normal(0.0, per_second, seconds))), 2)


def spots(prices: NDArray[np.float64], first_s: float = -55.0, step_s: float = 1.0) -> Events:
    return join(
        *(make.spot(at(first_s + step_s * k), float(price)) for k, price in enumerate(prices))
    )


def learned(*parts: Events) -> Session:
    """A session of the roster that saw these events of an unlisted asset."""
    session = Session(*ROSTER)
    session.feed(*parts)
    return session


def variances(session: Session) -> tuple[float, float]:
    asset = session.record.assets[0]
    return float(asset.variance_fast), float(asset.variance_slow)


def slow_reference(samples: NDArray[np.float64]) -> tuple[float, float]:
    """Both variances by the plainest code: exponential means of capped squared returns."""
    returns = np.diff(samples) / samples[:-1]
    fast = slow = 0.0
    for count, value in enumerate(returns, start=1):
        squared = value * value
        if count > WARM and slow > 0.0:
            squared = min(squared, 16.0 * slow)
        fast += max(FAST, 1.0 / count) * (squared - fast)
        slow += max(SLOW, 1.0 / count) * (squared - slow)
    return fast, slow


def test_both_variances_are_those_of_a_slow_reference() -> None:
    prices = walk(900)
    # Half a second after each whole second: the next whole second samples it.
    session = learned(spots(prices, -55.5), make.timer(at(844.6)))
    assert variances(session) == pytest.approx(slow_reference(prices), rel=1e-9)


def test_the_variance_of_a_long_walk_is_the_true_one() -> None:
    fast, slow = variances(learned(spots(walk(3_000, seed=4))))
    assert math.sqrt(slow) == pytest.approx(SECOND, rel=0.1)
    assert math.sqrt(fast) == pytest.approx(SECOND, rel=0.3)


def test_before_a_minute_has_passed_the_variance_is_a_plain_mean() -> None:
    prices = walk(40)
    fast, slow = variances(learned(spots(prices, -55.5), make.timer(at(-15.6))))
    mean = float(np.mean((np.diff(prices) / prices[:-1])[:-1] ** 2))
    assert (fast, slow) == pytest.approx((mean, mean), rel=0.05)


def test_one_jump_moves_the_variance_by_no_more_than_sixteen_ordinary_seconds() -> None:
    quiet = walk(600, seed=2)
    jumped = quiet.copy()
    jumped[580:] *= 1.01  # 300 deviations
    before, after = variances(learned(spots(quiet)))[1], variances(learned(spots(jumped)))[1]
    assert before < after < before * (1.0 + 17 * SLOW * 2)


def test_prints_that_bounce_add_their_width_once_a_second_and_not_once_a_print() -> None:
    prices = walk(400, seed=3)
    rng = np.random.Generator(np.random.PCG64(3))
    often = np.repeat(prices, 20)
    bounced = np.round(often + rng.choice([-1.5, 1.5], len(often)), 2)
    calm = variances(learned(spots(often, step_s=0.05)))[1]
    noisy = variances(learned(spots(bounced, step_s=0.05)))[1]
    by_tick = float(np.mean((np.diff(bounced) / bounced[:-1]) ** 2)) * 20
    # Both ends of a second's return are off by 1.5 dollars: 2 x 2.25 / 100 000^2.
    assert noisy == pytest.approx(calm + 4.5e-10, rel=0.15)
    assert by_tick > 5 * noisy


def test_a_source_that_prints_every_other_second_is_not_taken_for_calm() -> None:
    often = variances(learned(spots(walk(1_200, seed=6))))[1]
    seldom = variances(learned(spots(walk(1_200, seed=6)[::2], step_s=2.0)))[1]
    assert seldom == pytest.approx(often, rel=0.3)


@pytest.mark.parametrize("others", [False, True], ids=["all silent", "only spot silent"])
def test_neither_a_silence_nor_the_step_at_its_end_is_a_return(others: bool) -> None:
    prices = walk(400, seed=7)
    before, after = prices[:200], prices[200:]
    timers = [make.timer(at(145 + k)) for k in range(1, 60)] if others else []

    def slow(step: float, silence_s: float) -> float:
        first, second = spots(before), spots(after * step, 145 + silence_s)
        return variances(learned(first, *timers, second))[1]

    whole = slow(1.0, 0.0) if not others else slow(1.0, 60.0)
    assert slow(1.02, 60.0) == pytest.approx(whole, rel=0.05)
    assert slow(1.0, 60.0) == pytest.approx(variances(learned(spots(prices)))[1], rel=0.05)


OFFSET = -37.5


def with_prints(offset: float, averaging_s: int = 60, seconds: int = 250) -> Session:
    """A walk, and an oracle that averages it exactly, `offset` away, from the 55th second on."""
    prices = walk(seconds, seed=8)
    known = [
        make.reference(
            at(-55 + k) + 300_000_000,
            round(float(prices[max(k - averaging_s + 1, 0) : k + 1].mean()) + offset, 6),
            observed_ns=at(-55 + k),
            averaging_s=averaging_s,
        )
        for k in range(55, seconds)
    ]
    # Half a second early, so that the whole second samples the price of its own second.
    return learned(make.listed(at(-57)), spots(prices, -55.5), *known)


def test_the_offset_between_spot_and_oracle_is_learned() -> None:
    asset = with_prints(OFFSET).record.assets[0]
    assert asset.basis == pytest.approx(OFFSET, abs=0.01)
    assert asset.basis_variance < 10.0


def test_prints_of_a_stream_that_settles_nothing_teach_nothing() -> None:
    asset = with_prints(OFFSET, averaging_s=30).record.assets[0]
    assert (asset.basis, asset.prints) == (0.0, 0)


def test_the_offset_moves_fair_value_as_far_as_it_moves_the_mean() -> None:
    for offset in (OFFSET, 0.0):
        session = with_prints(offset)
        market = session.record.markets[0]
        spot_at_end = session.record.assets[0].spot
        assert market.expected == pytest.approx(spot_at_end + offset, abs=0.05)


def test_the_known_part_of_the_average_is_the_mean_of_the_seconds_that_passed() -> None:
    prices = walk(345, seed=9)
    struck = make.reference(at(0) + 1, 100_000, observed_ns=at(0))
    # The mean of its 60 samples, so that the oracle's offset from spot is none.
    level = make.reference(at(30) + 1, str(prices[25:85].mean()), observed_ns=at(30))
    session = learned(make.listed(at(-55)), struck, level, spots(prices, -54.5))
    market = session.record.markets[0]
    # Whole seconds 241 to 289 have passed; each sampled the print half a second before it.
    passed = prices[[s + 54 for s in range(241, 290)]]
    assert market.settling_count == len(passed) == 49
    assert market.settling_sum / 49 == pytest.approx(passed.mean(), abs=1e-6)


def test_a_constant_price_gives_no_certainty() -> None:
    """A feed that repeats itself teaches no volatility: nothing may be claimed from it."""
    session = learned(
        make.listed(at(-55)),
        make.reference(at(0) + 1, 99_999, observed_ns=at(0)),
        spots(np.full(200, 100_000.0)),
    )
    said = session.rows("scans")["probability"]
    assert len(said) > 100
    assert np.isnan(said).all()
