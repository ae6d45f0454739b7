"""How much a strategy may stake: Kelly on the lower bound, and every cap on top of it."""

from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from conftest import LONG
from engine_events import DOLLAR, SHARE, Session, at, book, puppet_spec, spot
from hypothesis import given, settings

from fairwind.core.controls import SetMultiplier
from fairwind.core.holds import NO_HOLD, Hold
from fairwind.core.outputs import Family, OrderState, OrderType
from fairwind.engine.ledger import BY_ASSET, BY_DIRECTION, BY_FAMILY
from fairwind.engine.sizing import kelly
from fairwind.engine.state import CASH, POSITIONS, RESERVED

SENT, REFUSED = int(OrderState.SENT), int(OrderState.REFUSED)
OTHER_FAMILY = list(Family)[1]
DEEP = {5_000: 1e6}


def deep(*specs: Any, **more: Any) -> Session:
    """A session in a market deep enough that only rules limit the size."""
    session = Session(*specs, **more)
    session.open({4_900: 1e6}, DEEP)
    return session


def staked(session: Session) -> float:
    """Dollars reserved by the last order that was sent; 0 when it was refused."""
    last = session.rows("orders")[-1]
    return float(last["reserved_micro"]) / DOLLAR if last["state"] == SENT else 0.0


def ask(session: Session, edge: float, **wanted: Any) -> float:
    """Dollars that the engine stakes on an Up share at 0.50 with that edge."""
    session.buy(at(2), 0, 0.50, edge=edge, **wanted)
    return staked(session)


@settings(max_examples=200, deadline=None)
@given(
    edge=st.floats(-0.5, 0.9),
    stderr=st.floats(0, 0.5),
    cost=st.floats(0.01, 1.2),
    fraction=st.floats(0, 1),
)
def test_kelly_is_the_fraction_that_maximises_expected_log_wealth_at_the_lower_bound(
    edge: float, stderr: float, cost: float, fraction: float
) -> None:
    chance = edge - stderr + cost
    expected = (chance - cost) / (1 - cost) if cost < 1 else 0.0
    assert kelly(edge, stderr, cost, fraction) == pytest.approx(max(0.0, fraction * expected))


@pytest.mark.parametrize("unknown", [(float("nan"), 0.0), (0.1, float("nan"))])
def test_kelly_stakes_nothing_on_what_is_not_a_number(unknown: tuple[float, float]) -> None:
    assert kelly(*unknown, 0.5, 1.0) == 0.0


@pytest.mark.parametrize("edge", [0.02, 0.1, 0.3])
def test_the_stake_is_the_fraction_of_equity_that_kelly_says(edge: float) -> None:
    session = deep()
    session.set(at(1), kelly_fraction=0.25)
    cost = 0.50 + 0.07 * 0.25
    assert ask(session, edge) == pytest.approx(0.25 * edge / (1 - cost) * 1_000, abs=0.02)


def test_the_standard_error_is_taken_off_the_edge() -> None:
    assert ask(deep(), 0.1, stderr=0.04) == pytest.approx(ask(deep(), 0.06), abs=0.02)
    assert ask(deep(), 0.1, stderr=0.1) == 0.0


def test_a_larger_edge_never_stakes_less() -> None:
    stakes = [ask(deep(), edge / 100) for edge in range(1, 50, 6)]
    assert all(low <= high for low, high in pairwise(stakes))
    assert stakes[0] < stakes[-1]


@pytest.mark.parametrize("value", [0.0, 0.5, 2.0])
def test_the_multiplier_scales_the_stake(value: float) -> None:
    session = deep()
    session.control(at(1), SetMultiplier(strategy="PUPPET", value=value))
    assert ask(session, 0.1) == pytest.approx(value * ask(deep(), 0.1), abs=0.03)


def test_an_order_stays_within_its_own_bounds() -> None:
    session = deep()
    session.set(at(1), order_min=10.0, order_max=50.0)
    assert ask(session, 0.4) == pytest.approx(50.0, abs=0.02)
    assert ask(session, 0.004) == 0.0
    assert session.ends()[-1] == (REFUSED, Hold.MIN_SIZE)


def test_shares_asked_for_are_an_upper_bound_in_whole_lots() -> None:
    session = deep()
    session.buy(at(2), 12.3456, 0.50)
    assert session.rows("orders")[-1]["size_micro"] == 12_340_000


@pytest.mark.parametrize(
    ("cap", "code"),
    [
        ("cap_strategy", Hold.CAP_STRATEGY),
        ("cap_family", Hold.CAP_FAMILY),
        ("cap_underlying", Hold.CAP_UNDERLYING),
        ("cap_direction", Hold.CAP_CORRELATED),
        ("cap_utilization", Hold.CAP_UTILIZATION),
    ],
)
def test_a_cap_first_shrinks_the_order_and_then_holds_with_its_own_code(
    cap: str, code: Hold
) -> None:
    session = deep(**{cap: 0.2})
    session.set(at(1), order_min=10.0)
    assert 199 < ask(session, 0.9) <= 200
    session.buy(at(3), 0, 0.50)
    assert session.ends()[-1] == (REFUSED, code)
    mask = int(session.rows("scans")[-1]["mask"])
    assert mask == 1 << code | 1 << Hold.MIN_SIZE


def test_without_cash_the_hold_says_so() -> None:
    session = deep(deposit=5.0)
    session.set(at(1), order_min=10.0)
    session.buy(at(2), 0, 0.50)
    mask = int(session.rows("scans")[-1]["mask"])
    assert mask & 1 << Hold.CASH


@pytest.mark.parametrize(
    ("cap", "other_is_free"),
    [("cap_strategy", True), ("cap_family", True), ("cap_direction", False)],
)
def test_a_cap_counts_only_its_own_bucket(cap: str, other_is_free: bool) -> None:
    session = deep(puppet_spec("A"), puppet_spec("B", OTHER_FAMILY), **{cap: 0.2})
    session.set(at(1), "A", order_min=10.0)
    session.set(at(1), "B", order_min=10.0)
    session.buy(at(2), 0, 0.50, strategy="A")
    session.buy(at(3), 0, 0.50, strategy="B")
    sent = session.rows("orders")[session.rows("orders")["state"] == SENT]
    assert list(sent["strategy"]) == ([0, 1] if other_is_free else [0])


def test_the_direction_cap_leaves_room_for_the_other_outcome() -> None:
    session = deep(cap_direction=0.2)
    session.buy(at(2), 0, 0.50)
    session.buy(at(3), 0, 0.51, side=1)
    assert session.ends()[-1][1] == NO_HOLD


caps = st.floats(0.01, 1.0)


@settings(max_examples=200 if LONG else 40, deadline=None)
@given(
    limits=st.tuples(caps, caps, caps, caps, caps),
    deposit=st.floats(1.0, 1e6),
    prices=st.lists(st.integers(1, 98), min_size=1, max_size=6),
    kinds=st.lists(st.sampled_from(list(OrderType)), min_size=6, max_size=6),
    side=st.sampled_from([0, 1]),
)
def test_certainty_never_stakes_more_than_any_cap_or_the_cash(
    limits: tuple[float, ...],
    deposit: float,
    prices: list[int],
    kinds: list[OrderType],
    side: int,
) -> None:
    names = ("cap_strategy", "cap_family", "cap_underlying", "cap_direction", "cap_utilization")
    session = Session(deposit=deposit, **dict(zip(names, limits, strict=True)))
    session.open({4_900: 1e6}, DEEP)
    for number, cents in enumerate(prices):
        now = at(2 + number)
        asks = {cents * 100: 1e7, cents * 100 + 100: 1e7}
        shown = asks if side == 0 else {10_000 - price: size for price, size in asks.items()}
        session.feed(book(now, shown if side else {}, shown if side == 0 else {}))
        edge = 1.0 - cents / 100
        session.buy(now, 0, cents / 100 + 0.01, side=side, type=kinds[number], edge=edge)
        assert_within_caps(session, dict(zip(names, limits, strict=True)))
        session.feed(spot(now, 100_000))
        assert_within_caps(session, dict(zip(names, limits, strict=True)))


def assert_within_caps(session: Session, limits: dict[str, float]) -> None:
    """No bucket holds more than its cap of the equity that it was sized with, nor is cash owed."""
    record = session.record
    equity = float(record.equity_micro)
    used = record.used
    last = session.rows("orders")
    if not len(last) or last[-1]["state"] != SENT:
        return
    assert record.accounts[CASH] >= 0
    assert used[0] <= limits["cap_strategy"] * equity
    assert used[BY_FAMILY] <= limits["cap_family"] * equity
    assert used[BY_ASSET] <= limits["cap_underlying"] * equity
    assert used[BY_DIRECTION : BY_DIRECTION + 2].max() <= limits["cap_direction"] * equity
    busy = record.accounts[RESERVED] + record.accounts[POSITIONS]
    assert busy <= limits["cap_utilization"] * equity
    assert last[-1]["size_micro"] % (SHARE // 100) == 0
