"""The engine's state as facts: each figure is that of the session that made it."""

import engine_events as make
import pytest
from engine_events import START_NS, Session, at, opened, puppet_spec

from fairwind.core import controls
from fairwind.core.events import Kind
from fairwind.core.units import SECOND_NS
from fairwind.run import facts
from fairwind.run.health import Asset, Engine, Market

NAME = f"btc-updown-5m-{START_NS // SECOND_NS}"


def tight() -> Session:
    session = Session(puppet_spec("ONE"), puppet_spec("TWO"))
    session.set(at(-50), "ONE", book_budget=0.5, spot_budget=3.0)
    session.set(at(-50), "TWO", book_budget=0.25, reference_budget=4.0)
    session.open()
    return session


def market(session: Session) -> Market:
    (found,) = facts.markets(session.state, {NAME: at(-30)})
    return found


def test_an_open_window_is_described_with_the_smallest_budget_of_an_enabled_strategy() -> None:
    session = tight()
    assert market(session) == Market(
        name=NAME,
        start_ns=START_NS,
        end_ns=at(300),
        followed_ns=at(-30),
        valid=True,
        book_ns=at(1),
        book_budget_ns=SECOND_NS // 4,
        seen_ns=int(session.state.record.now_ns),
        struck=True,
    )
    session.control(at(2), controls.Enable(strategy="TWO", enabled=False))
    assert market(session).book_budget_ns == SECOND_NS // 2
    session.control(at(2), controls.Enable(strategy="ONE", enabled=False))
    assert market(session).book_budget_ns == SECOND_NS // 2


def test_a_window_without_strike_or_book_says_so() -> None:
    session = Session()
    session.feed(make.listed(at(-30)))
    (found,) = facts.markets(session.state, {})
    assert (found.valid, found.book_ns, found.struck) == (False, 0, False)
    assert found.followed_ns == START_NS


@pytest.mark.parametrize("trouble", ["gap", "crossed"])
def test_a_book_that_cannot_be_decided_on_is_not_valid(trouble: str) -> None:
    session = opened()
    lost = make.event(at(2), Kind.GAP, market=0)
    crossed = make.book(at(2), {5_200: 1}, {5_100: 1})
    session.feed(lost if trouble == "gap" else crossed)
    assert not market(session).valid


def test_a_position_is_held_until_its_window_has_a_result() -> None:
    session = opened()
    assert not market(session).held
    session.buy(at(2), 10, 0.6)
    session.feed(make.timer(at(3)))
    assert market(session).held
    assert facts.engine(session.state, at(3), trades=1).open_positions == 1
    session.feed(make.timer(at(400)))
    assert market(session).held
    session.feed(make.resolved(at(401), 10_000))
    assert facts.markets(session.state, {}) == ()
    assert facts.engine(session.state, at(401), trades=1).open_positions == 0


def test_assets_of_open_windows_have_the_ages_of_their_own_streams() -> None:
    session = tight()
    session.feed(make.reference(at(2), 100_000, averaging_s=30), make.spot(at(3), 100_000))
    assert facts.assets(session.state, at(3)) == (
        Asset(
            name="BTC",
            spot_ns=at(3),
            reference_ns=at(0),
            spot_budget_ns=3 * SECOND_NS,
            reference_budget_ns=4 * SECOND_NS,
        ),
    )
    assert facts.assets(session.state, at(-1)) == ()
    assert facts.assets(session.state, at(300)) == ()


def test_the_engine_says_where_it_is_and_why_it_does_not_trade() -> None:
    session = opened(deposit=500.0)
    found = facts.engine(session.state, at(4), trades=0)
    expected = Engine(
        events=session.state.events(),
        lag_ns=3 * SECOND_NS,
        equity_micro=500_000_000,
    )
    assert found == expected
    session.control(at(5), controls.Halt(reason="a test"))
    assert facts.engine(session.state, at(5), trades=0).halted == "by a control"
    session.control(at(6), controls.Resume())
    assert facts.engine(session.state, at(6), trades=0).halted == ""
    session.record["drawdown"] = 1
    assert facts.engine(session.state, at(6), trades=0).halted == "the day's trailing stop"
    with pytest.raises(AssertionError):
        session.feed(make.timer(at(1)))
    assert facts.engine(session.state, at(6), trades=0).broken == "time went backwards"
