"""Controls: what an operator may change, what is refused, and what stays as it was."""

import re

import numpy as np
import pytest
from engine_events import (
    DOLLAR,
    OPEN_CAPS,
    Session,
    at,
    book,
    puppet_spec,
    reference,
    spot,
    timer,
    trade,
)

from fairwind.core import controls as core_controls
from fairwind.core.controls import (
    AnyControl,
    Configure,
    Deposit,
    Enable,
    Halt,
    Reset,
    Resume,
    SetMultiplier,
    SetParameter,
    Withdraw,
)
from fairwind.core.errors import BadConfig, Corrupt
from fairwind.core.events import Side
from fairwind.core.holds import NO_HOLD, Hold
from fairwind.core.outputs import OrderState, OrderType
from fairwind.engine.controls import check
from fairwind.engine.run import run
from fairwind.engine.state import CASH, snapshot

POST_ONLY = OrderType.POST_ONLY
CANCELLED, REFUSED = int(OrderState.CANCELLED), int(OrderState.REFUSED)
RESTING, FILLED = int(OrderState.RESTING), int(OrderState.FILLED)
COUNTERS = ("events", "now_ns", "digest", "submitted", "second_ns")

WRONG: list[tuple[AnyControl, str]] = [
    (Enable(strategy="PUPET", enabled=False), r"no strategy 'PUPET'; there are: PUPPET"),
    (SetMultiplier(strategy="X", value=1.0), r"no strategy 'X'; there are: PUPPET"),
    (SetMultiplier(strategy="PUPPET", value=2.5), "expected 0 to 2, found 2.5"),
    (SetMultiplier(strategy="PUPPET", value=float("nan")), "expected 0 to 2, found nan"),
    (SetParameter(strategy="X", name="order_max", value=1.0), "no strategy 'X'"),
    (
        SetParameter(strategy="PUPPET", name="order_mx", value=1.0),
        r"no parameter 'order_mx'.*order_max",
    ),
    (
        SetParameter(strategy="PUPPET", name="price_low", value=-1.0),
        "expected 0 to 10000 e4, found -1",
    ),
    (SetParameter(strategy="PUPPET", name="price_low", value=float("nan")), "found nan"),
    (Deposit(amount_micro=0), "amount_micro"),
    (Withdraw(amount_micro=-5), "amount_micro"),
    (Configure(latency_ms=-1.0), "latency_ms: expected 0 to"),
    (Configure(latency_ms=float("inf")), "latency_ms: expected 0 to"),
    (Configure(cap_family=7.0), "cap_family: expected 0 to 1, found 7"),
    (Configure(drawdown_stop=float("nan")), "drawdown_stop"),
]


@pytest.mark.parametrize(("control", "message"), WRONG)
def test_a_control_that_names_what_is_not_there_is_told_what_is(
    control: AnyControl, message: str
) -> None:
    with pytest.raises(BadConfig, match=message):
        check(control, (puppet_spec(),))


JOURNALED = [control for control, _ in WRONG if not re.search("=(nan|inf)", repr(control))]
"""JSON knows neither nan nor inf, so that no journal can hold the others."""


@pytest.mark.parametrize("control", JOURNALED)
def test_the_engine_passes_over_a_control_that_cannot_be_followed_and_counts_it(
    control: AnyControl,
) -> None:
    session = Session()
    before = remembered(session)
    session.control(at(1), control)
    assert session.record.refused_controls == 1
    assert remembered(session, "refused_controls") == before


def test_more_money_than_can_be_counted_is_passed_over() -> None:
    session = Session()
    session.open()
    session.record.peak_micro = int(session.record.equity_micro) * 10_000
    before = remembered(session)
    session.control(at(1), Deposit(amount_micro=10**15))
    assert session.record.refused_controls == 1
    assert remembered(session, "refused_controls") == before
    session.record.peak_micro = session.record.equity_micro
    for number in range(1_100):
        session.control(at(2 + number), Deposit(amount_micro=10**15))
    assert 1 < session.record.refused_controls < 1_100
    assert 10**18 - 10**15 <= session.record.equity_micro <= 10**18


def remembered(session: Session, *besides: str) -> bytes:
    """The whole state but its progress counters."""
    array = np.frombuffer(snapshot(session.state), np.uint8, offset=16).copy()
    record = array.view(session.state.array.dtype)[0]
    for name in (*COUNTERS, "refused_controls", *besides):
        record[name] = 0
    return bytes(record.tobytes())


def test_a_payload_that_is_not_the_one_the_event_names_is_corrupt() -> None:
    session = Session()
    event, _ = core_controls.encode(at(1), Halt(reason="x"))
    _, other = core_controls.encode(at(1), Halt(reason="y"))
    with pytest.raises(Corrupt, match="expected id"):
        run(session.state, event, session.out, lambda _: other, session.specs)


def test_a_control_older_than_the_last_event_stops_the_engine() -> None:
    session = Session()
    session.feed(timer(at(5)))
    with pytest.raises(AssertionError, match="older than the one before"):
        session.control(at(4), Halt(reason="late"))


def trading() -> Session:
    """A session that holds 10 Up shares and has a bid resting."""
    session = Session()
    session.open()
    session.buy(at(2), 10, 0.51)
    session.buy(at(3), 10, 0.48, type=POST_ONLY)
    session.feed(spot(at(3), 100_000))
    assert [end[0] for end in session.ends()] == [FILLED, RESTING]
    return session


def test_a_halt_cancels_what_rests_and_stops_new_entries_at_once() -> None:
    session = trading()
    session.control(at(4), Halt(reason="test"))
    assert session.ends()[1] == (CANCELLED, NO_HOLD)
    session.buy(at(5), 10, 0.51)
    assert session.ends()[2] == (REFUSED, Hold.HALTED)


def test_a_halt_lets_exits_and_settlements_through() -> None:
    session = trading()
    session.control(at(4), Halt(reason="test"))
    session.sell(at(5), 0.49)
    session.feed(spot(at(5), 100_000))
    assert session.fills()[1][2] == -10.0
    other = trading()
    other.control(at(4), Halt(reason="test"))
    cash = int(other.record.accounts[CASH])
    other.feed(reference(at(300), 100_001))
    assert other.record.accounts[CASH] == cash + 10 * DOLLAR


def test_a_resume_allows_entries_again() -> None:
    session = trading()
    session.control(at(4), Halt(reason="test"))
    session.control(at(5), Resume())
    session.buy(at(6), 10, 0.51)
    session.feed(spot(at(6), 100_000))
    assert session.ends()[-1] == (FILLED, NO_HOLD)


def test_a_strategy_that_is_switched_off_holds_and_one_that_is_switched_on_trades() -> None:
    session = Session()
    session.open()
    session.control(at(2), Enable(strategy="PUPPET", enabled=False))
    session.buy(at(2), 10, 0.51)
    session.control(at(3), Enable(strategy="PUPPET", enabled=True))
    session.buy(at(3), 10, 0.51)
    assert session.ends()[0] == (REFUSED, Hold.DISABLED)
    assert session.ends()[1][0] != REFUSED


def test_a_parameter_acts_from_the_next_event_on() -> None:
    session = Session()
    session.open()
    session.control(at(2), SetParameter(strategy="PUPPET", name="price_high", value=4_000))
    session.buy(at(2), 10, 0.51)
    assert session.ends() == [(REFUSED, Hold.PRICE_BAND)]


@pytest.mark.parametrize("force", [False, True])
def test_a_reset_keeps_what_the_operator_set_unless_defaults_are_forced(force: bool) -> None:
    session = trading()
    session.control(at(4), Enable(strategy="PUPPET", enabled=False))
    session.control(at(4), SetMultiplier(strategy="PUPPET", value=0.5))
    session.control(at(4), SetParameter(strategy="PUPPET", name="order_max", value=20.0))
    session.control(at(5), Reset(force_defaults=force))
    row = session.record.strategies[0]
    position = session.specs[0].parameter("order_max")
    found = (row.enabled, row.multiplier, session.record.parameters[0, position])
    assert found == ((1, 1.0, 1e6) if force else (0, 0.5, 20.0))


def test_a_reset_cancels_open_orders_forgets_cooldowns_and_keeps_positions() -> None:
    session = trading()
    session.set(at(4), entry_cooldown=100, trades_per_window=1)
    session.buy(at(4), 10, 0.51)
    assert session.ends()[-1] == (REFUSED, Hold.ENTRY_COOLDOWN)
    session.control(at(5), Reset())
    assert session.ends()[1] == (CANCELLED, NO_HOLD)
    assert session.record.positions[0, 0].up_micro == 10 * DOLLAR
    session.buy(at(6), 10, 0.51)
    session.feed(spot(at(6), 100_000))
    assert session.ends()[-1] == (FILLED, NO_HOLD)


def test_two_forced_resets_in_a_row_leave_the_same_state() -> None:
    session = trading()
    session.control(at(4), Reset(force_defaults=True))
    once = remembered(session)
    session.control(at(4), Reset(force_defaults=True))
    assert remembered(session) == once


def test_cash_that_is_reserved_cannot_be_withdrawn() -> None:
    session = Session(deposit=100.0)
    session.open()
    session.buy(at(2), 10, 0.49, type=POST_ONLY)
    free = int(session.record.accounts[CASH])
    assert free == 95_100_000
    before = list(session.record.accounts)
    session.control(at(3), Withdraw(amount_micro=free + 1))
    assert list(session.record.accounts) == before
    assert session.record.refused_controls == 1
    session.control(at(3), Withdraw(amount_micro=free))
    assert session.record.accounts[CASH] == 0


def test_a_fall_of_equity_below_the_trailing_stop_stops_entries_until_resumed() -> None:
    session = Session(deposit=100.0, **(OPEN_CAPS | {"drawdown_stop": 0.06}))
    session.open({4_900: 100}, {5_100: 100})
    session.buy(at(2), 50, 0.51)
    session.feed(spot(at(2), 100_000), book(at(3), {3_000: 100}, {3_100: 100}), timer(at(4)))
    assert session.record.drawdown == 1
    session.buy(at(5), 10, 0.31)
    assert session.ends()[-1] == (REFUSED, Hold.DRAWDOWN)
    session.control(at(6), Resume())
    session.buy(at(6), 10, 0.31)
    assert session.ends()[-1][0] != REFUSED


def test_a_withdrawal_is_no_drawdown_and_a_deposit_is_no_gain() -> None:
    session = Session(deposit=100.0, drawdown_stop=0.06)
    session.open()
    session.control(at(2), Withdraw(amount_micro=50 * DOLLAR))
    session.feed(timer(at(3)), timer(at(4)))
    assert session.record.drawdown == 0
    session.control(at(5), Deposit(amount_micro=200 * DOLLAR))
    assert session.record.peak_micro == session.record.equity_micro == 250 * DOLLAR


def test_the_configured_latency_holds_from_then_on() -> None:
    session = Session(latency_ms=0.0)
    session.open()
    session.control(at(2), Configure(latency_ms=500.0, taker_delay=False, **OPEN_CAPS))
    session.buy(at(2), 10, 0.51)
    session.feed(trade(at(2.4), Side.BID, 5_100, 1), timer(at(3)))
    assert session.fills() == [(at(2.5), 5_100, 10.0)]
