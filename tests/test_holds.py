"""Every reason not to trade has one category, and shows up exactly when its cause is there."""

from collections.abc import Callable

import engine_events as make
import numpy as np
import pytest
from engine_events import Session, at, puppet_spec
from healthy_market import Healthy

from fairwind.core import controls
from fairwind.core.events import Flag, Side
from fairwind.core.holds import CATEGORY, NO_HOLD, Category, Hold
from fairwind.core.outputs import Family, OrderState, Unit
from fairwind.engine.contract import On, StrategySpec

LATER = {Hold.TREND_FILTER, Hold.STREAK, Hold.MODEL_STALE, Hold.MODEL_BLOCK, Hold.REGIME_BLOCK}
"""Codes of strategies and models that are not built yet: nothing in the engine emits them."""
OFTEN = {"max_positions": 8.0, "trades_per_window": 8.0, "entry_cooldown": 0.0}


def test_every_hold_has_exactly_one_category_and_every_category_a_hold() -> None:
    assert set(CATEGORY) == set(Hold)
    assert set(CATEGORY.values()) == set(Category)


def test_holds_are_the_bits_of_a_mask_without_holes() -> None:
    assert [hold.value for hold in Hold] == list(range(len(Hold)))
    assert len(Hold) <= 64
    assert NO_HOLD not in set(Hold)


def silent(*feeds: str, seconds: float) -> Healthy:
    """Some feeds have said nothing for a while."""
    market = Healthy().ready()
    market.live(market.now_s + seconds, without=feeds)
    return market


def with_book(bids: dict[int, float], asks: dict[int, float], **parameters: float) -> Healthy:
    """Another book than the healthy one."""
    market = Healthy(parameters=parameters)
    market.bids, market.asks = bids, asks
    return market.ready()


def with_parameters(**parameters: float) -> Healthy:
    return Healthy(parameters=parameters).ready()


def capped(**caps: float) -> Healthy:
    return Healthy(**caps).ready()


def gap() -> Healthy:
    market = Healthy().ready()
    market.session.feed(make.gap(at(market.now_s)))
    market.live(market.now_s + 2, without={"book"})
    return market


def crossed() -> Healthy:
    market = Healthy().ready()
    market.session.feed(make.level(at(market.now_s), Side.BID, 6_300, 10))
    market.live(market.now_s + 1, without={"book"})
    return market


def contradictory() -> Healthy:
    market = Healthy().ready()
    for _ in range(4):
        market.live(market.now_s, without={"book"})
        flagged = make.book(at(market.now_s) - 1, market.bids, market.asks)
        flagged["flags"][-1] = Flag.PARITY
        market.session.feed(flagged)
    return market


def diverged() -> Healthy:
    market = Healthy().ready()
    market.reference *= 1.01
    market.live(market.now_s + 2)
    return market


def late() -> Healthy:
    market = Healthy().ready()
    market.live(291)
    return market


def controlled(control: controls.AnyControl) -> Healthy:
    market = Healthy().ready()
    market.control(control)
    market.live(market.now_s + 1)
    return market


def after_a_loss(**parameters: float) -> Healthy:
    """The venue calls the first market Down; a second one of the same series goes on."""
    market = Healthy(parameters=parameters, markets=2, drawdown_stop=0.01).ready()
    assert len(market.session.fills()) > 0
    market.session.feed(make.resolved(at(market.now_s), 0, 0))
    market.market = 1
    market.now_s += 0.25
    market.live(market.now_s + 3)
    return market


def spent() -> Healthy:
    """Nearly all cash is in a position that has gained."""
    greedy = {"kelly_fraction": 1.0, "order_max": 1e6} | OFTEN
    market = Healthy(parameters=greedy, deposit=50.0).ready()
    market.bids, market.asks = {7_800: 500}, {8_000: 500}
    market.live(market.now_s + 3)
    return market


EMITTED: dict[Hold, Callable[[], Healthy]] = {
    Hold.HALTED: lambda: controlled(controls.Halt(reason="test")),
    Hold.DISABLED: lambda: controlled(controls.Enable(strategy="BTC_5M", enabled=False)),
    Hold.FEED_DOWN: lambda: silent("book", seconds=17),
    Hold.SEQUENCE_GAP: gap,
    Hold.BOOK_INVALID: crossed,
    Hold.BOOK_STALE: lambda: silent("book", seconds=3),
    Hold.SPOT_STALE: lambda: silent("spot", seconds=4),
    Hold.REFERENCE_STALE: lambda: silent("reference", seconds=7),
    Hold.STRIKE_UNKNOWN: lambda: Healthy(struck=False).ready(),
    Hold.EXPIRY_CUTOFF: late,
    Hold.PARITY: contradictory,
    Hold.DIVERGENCE: diverged,
    Hold.PRICE_BAND: lambda: with_book({1_000: 500}, {1_100: 500}),
    Hold.SPREAD: lambda: with_book({5_000: 500}, {6_200: 500}),
    Hold.DEPTH: lambda: with_book({6_000: 500}, {6_200: 5}),
    Hold.COINFLIP_BAND: lambda: with_book({4_900: 500}, {5_100: 500}, coinflip_edge=10_000),
    Hold.EDGE_BELOW_THRESHOLD: lambda: with_book({9_900: 5e4}, {9_950: 5e4}, price_high=10_000),
    Hold.UNCERTAINTY: lambda: Healthy(warm=False).ready(),
    Hold.EDGE_TO_SPREAD: lambda: with_parameters(edge_to_spread=100),
    Hold.VOL_BREAKER: lambda: with_parameters(volatility_ratio_max=0.01),
    Hold.ENTRY_COOLDOWN: lambda: with_parameters(**(OFTEN | {"entry_cooldown": 1_000.0})),
    Hold.MAX_POSITIONS: lambda: with_parameters(**(OFTEN | {"max_positions": 1.0})),
    Hold.TRADES_PER_WINDOW: lambda: with_parameters(**(OFTEN | {"trades_per_window": 1.0})),
    Hold.CONSECUTIVE_LOSSES: lambda: after_a_loss(streak_losses=1),
    Hold.RISK_GUARD_COOLDOWN: after_a_loss,
    Hold.DRAWDOWN: lambda: after_a_loss(loss_cooldown=0, **OFTEN),
    Hold.CAP_STRATEGY: lambda: capped(cap_strategy=0.001),
    Hold.CAP_FAMILY: lambda: capped(cap_family=0.001),
    Hold.CAP_UNDERLYING: lambda: capped(cap_underlying=0.001),
    Hold.CAP_CORRELATED: lambda: capped(cap_direction=0.001),
    Hold.CAP_UTILIZATION: lambda: capped(cap_utilization=0.001),
    Hold.CASH: spent,
    Hold.MIN_SIZE: lambda: with_parameters(order_min=60),
}
"""Fixtures of every code that the window strategies and the gates emit."""


def test_a_healthy_market_is_traded() -> None:
    market = Healthy().ready()
    assert NO_HOLD in market.scans()["hold"]
    assert market.session.ends()[0] == (OrderState.FILLED, NO_HOLD)


@pytest.mark.parametrize("hold", EMITTED, ids=lambda hold: hold.name)
def test_the_cause_of_a_hold_gives_its_code(hold: Hold) -> None:
    market = EMITTED[hold]()
    scan = market.last()
    assert scan["mask"] >> np.uint64(hold) & np.uint64(1)
    assert Hold(int(scan["hold"])) == hold
    assert market.session.record.invalid_scans == 0


@pytest.mark.parametrize("hold", EMITTED, ids=lambda hold: hold.name)
def test_the_code_of_a_hold_is_the_lowest_bit_of_its_mask(hold: Hold) -> None:
    for scan in EMITTED[hold]().scans():
        mask = int(scan["mask"])
        lowest = (mask & -mask).bit_length() - 1
        assert int(scan["hold"]) == (lowest if mask else NO_HOLD)


def unsound(market, position, parameter, memory, signal):  # type: ignore[no-untyped-def]
    """Breaks the contract: a price that is not a number."""
    signal.wish, signal.side, signal.limit = 1, 0, np.nan
    return np.uint64(0)


def test_a_strategy_that_breaks_the_contract_is_held_as_an_anomaly() -> None:
    broken = StrategySpec(
        id="UNSOUND",
        family=Family.FAIR_VALUE,
        unit=Unit.EDGE_E4,
        series=-1,
        subscriptions=On.SPOT,
        parameters=puppet_spec().parameters,
        scan=unsound,
    )
    session = Session(broken)
    session.open()
    session.feed(make.spot(at(2), 100_000))
    scan = session.rows("scans")[-1]
    assert (Hold(int(scan["hold"])), scan["side"]) == (Hold.ANOMALY_CAP, 2)
    assert not (session.rows("orders")["state"] == OrderState.SENT).any()


def test_every_code_has_a_fixture_or_belongs_to_a_later_layer() -> None:
    assert set(EMITTED) | LATER | {Hold.ANOMALY_CAP} == set(Hold)
    assert not set(EMITTED) & LATER
