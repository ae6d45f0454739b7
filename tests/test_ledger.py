"""The double-entry ledger under random streams of orders, results and controls.

In: random acts of three puppets in two markets. Out: after every single event, each invariant
recomputed from the state's tables in Python, by other code than the engine's.
"""

from collections import Counter
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from conftest import LONG
from engine_events import (
    SHARE,
    Session,
    at,
    book,
    level,
    listed,
    puppet_spec,
    reference,
    resolved,
    spot,
    timer,
    trade,
)
from hypothesis import given, settings

from fairwind.core.controls import Halt, Reset, Resume, Withdraw
from fairwind.core.events import Side
from fairwind.core.outputs import Fact, Family, OrderState, OrderType
from fairwind.engine.contract import Wish
from fairwind.engine.ledger import BY_ASSET, BY_DIRECTION, BY_FAMILY
from fairwind.engine.state import CASH, POSITIONS, REALISED, RECEIVABLE, RESERVED

FEES, DEPOSITS = 4, 6
NAMES = ("A", "B", "C")
ACCOUNTS = (
    "cash_micro",
    "reserved_micro",
    "position_micro",
    "receivable_micro",
    "fees_micro",
    "realised_micro",
    "deposits_micro",
)


def puppets() -> Session:
    """Three puppets of two families in two BTC windows (5 and 15 minutes)."""
    families = (Family.FAIR_VALUE, Family.FAIR_VALUE, list(Family)[1])
    specs = [puppet_spec(name, family) for name, family in zip(NAMES, families, strict=True)]
    session = Session(*specs, latency_ms=75.0, taker_delay=True, deposit=200.0)
    session.feed(listed(at(-20), 0, 0), listed(at(-10), 1, 1))
    session.feed(spot(at(-1), 100_000), reference(at(0), 100_000))
    session.feed(*(book(at(1), {4_900: 100}, {5_100: 100}, market) for market in (0, 1)))
    return session


def used_by_hand(record: Any) -> dict[int, int]:
    """Capital in use by bucket: reserves of open orders plus positions at cost."""
    used: Counter[int] = Counter()

    def add(strategy: int, slot: int, outcome: int, amount: int) -> None:
        market = record.markets[slot]
        used[strategy] += amount
        used[BY_FAMILY + int(record.strategies[strategy].family)] += amount
        used[BY_ASSET + int(market.asset)] += amount
        used[BY_DIRECTION + int(market.series) * 2 + outcome] += amount

    for order in record.orders[record.orders["order"] != 0]:
        add(int(order.strategy), int(order.slot), int(order.outcome), int(order.reserved_micro))
    for strategy in range(len(NAMES)):
        for slot in (0, 1):
            position = record.positions[strategy, slot]
            add(strategy, slot, 0, int(position.up_cost_micro))
            add(strategy, slot, 1, int(position.down_cost_micro))
    return {bucket: amount for bucket, amount in used.items() if amount}


def check(session: Session) -> None:
    """Every invariant of the ledger, from the tables."""
    record = session.record
    accounts = [int(amount) for amount in record.accounts]
    open_orders = record.orders[record.orders["order"] != 0]
    held = record.positions[: len(NAMES), :2]
    assert sum(accounts) == 0
    assert accounts[CASH] >= 0
    assert accounts[RESERVED] == int(open_orders["reserved_micro"].sum())
    assert (open_orders["reserved_micro"] >= 0).all()
    assert accounts[POSITIONS] == int((held["up_cost_micro"] + held["down_cost_micro"]).sum())
    for field in ("up_micro", "down_micro", "up_cost_micro", "down_cost_micro", "selling_micro"):
        assert (held[field] >= 0).all(), field
    assert (held["selling_micro"] <= held["up_micro"] + held["down_micro"]).all()
    buckets = {at: int(amount) for at, amount in enumerate(record.used) if amount}
    assert buckets == used_by_hand(record)
    worth = sum(accounts[: RECEIVABLE + 1])
    assert worth == -accounts[DEPOSITS] - accounts[FEES] - accounts[REALISED]


def check_equity(session: Session) -> None:
    """Equity, which is marked once a second, is deposits plus realised plus unrealised."""
    record = session.record
    accounts = [int(amount) for amount in record.accounts]
    unrealised = marked_by_hand(record) - accounts[POSITIONS]
    realised = -accounts[REALISED] - accounts[FEES]
    expected = -accounts[DEPOSITS] + realised + unrealised
    assert record.equity_micro == pytest.approx(expected, abs=12)


def marked_by_hand(record: Any) -> float:
    """Value of all positions at the mid, at cost where there is no two-sided book."""
    total = 0.0
    for slot in (0, 1):
        market = record.markets[slot]
        bid, ask = int(market.bid) * 5, int(market.ask) * 5
        for position in record.positions[: len(NAMES), slot]:
            if 0 < bid < ask < 10_000:
                total += int(position.up_micro) * (bid + ask) / 20_000
                total += int(position.down_micro) * (20_000 - bid - ask) / 20_000
            else:
                total += int(position.up_cost_micro + position.down_cost_micro)
    return total


strategies = st.sampled_from(NAMES)
markets = st.sampled_from([0, 1])
sides = st.sampled_from([Side.BID, Side.ASK])
outcomes = st.sampled_from([0, 1])
buys = st.tuples(
    st.just("buy"),
    strategies,
    markets,
    outcomes,
    st.sampled_from(list(OrderType)),
    st.integers(46, 56),
    st.sampled_from([2.5, 5, 10, 33.33, 150]),
)
sells = st.tuples(
    st.just("sell"),
    strategies,
    markets,
    outcomes,
    st.sampled_from([OrderType.FAK, OrderType.GTC]),
    st.integers(40, 54),
)
bids = st.tuples(
    st.just("level"), markets, st.just(Side.BID), st.integers(45, 50), st.integers(0, 60)
)
asks = st.tuples(
    st.just("level"), markets, st.just(Side.ASK), st.integers(50, 55), st.integers(0, 60)
)
trades = st.tuples(st.just("trade"), markets, sides, st.integers(45, 55), st.integers(1, 200))
waits = st.tuples(st.just("wait"), st.sampled_from([0.01, 0.5, 1.0, 30.0]))
cancels = st.tuples(st.just("cancel"), strategies, markets)
rare = st.one_of(
    st.tuples(st.just("result"), markets, st.sampled_from([10_000, 0, 5_000, 20_000])),
    st.tuples(st.just("control"), st.sampled_from(["halt", "resume", "reset", "withdraw"])),
)
common = [buys, buys, buys, sells, sells, bids, asks, trades, trades, waits, cancels]


@st.composite
def days(draw: st.DrawFn) -> list[Any]:
    """Up to 80 acts, of which one in twenty ends or changes what may be traded."""
    kinds = draw(st.lists(st.integers(0, 20), min_size=20, max_size=80))
    return [draw(rare if kind == 20 else common[kind % len(common)]) for kind in kinds]


def act(session: Session, now: int, kind: str, rest: tuple[Any, ...]) -> None:
    """One random act at `now`."""
    if kind == "buy":
        name, market, side, order_type, cents, shares = rest
        wanted = {"side": side, "type": order_type, "market": market}
        session.buy(now, shares, cents / 100, strategy=name, **wanted)
    elif kind == "sell":
        name, market, side, order_type, cents = rest
        wanted = {"side": side, "type": order_type, "market": market}
        session.sell(now, cents / 100, strategy=name, **wanted)
    elif kind == "cancel":
        session.ask(now, Wish.CANCEL, rest[0], market=rest[1])
    elif kind == "level":
        market, side, cents, shares = rest
        session.feed(level(now, side, cents * 100, shares, market))
    elif kind == "trade":
        market, side, cents, shares = rest
        session.feed(trade(now, side, cents * 100, shares, market))
    elif kind == "result":
        session.feed(resolved(now, rest[1], rest[0]))
    elif rest[0] == "withdraw":
        free = int(session.record.accounts[CASH])
        if free > 1:
            session.control(now, Withdraw(amount_micro=free // 2))
    else:
        controls = {"halt": Halt(reason="test"), "resume": Resume(), "reset": Reset()}
        session.control(now, controls[rest[0]])


def finish(session: Session, now: int) -> int:
    """Let both windows end and settle on their stream, then let the venue contradict and repeat."""
    for end in (at(300), at(900)):
        now = max(now, end) + 10**9
        session.feed(reference(now, 100_001, observed_ns=end))
        check(session)
    for payout in (10_000, 10_000, 0, 5_000):
        now += 10**9
        session.feed(resolved(now, payout, 0), resolved(now, payout, 1))
        check(session)
    return now


@settings(max_examples=800 if LONG else 100, deadline=None)
@given(script=days())
def test_every_invariant_holds_after_every_event_of_a_random_day(script: list[Any]) -> None:
    session = puppets()
    now = at(2)
    for kind, *rest in script:
        now += 100_000_000
        if kind == "wait":
            now += round(rest[0] * 1e9)
            session.feed(timer(now))
        else:
            act(session, now, kind, tuple(rest))
        check(session)
        if kind == "wait" and rest[0] >= 1.0:
            check_equity(session)
    finish(session, now)
    assert_quiet(session)
    assert_each_order_reserves_and_releases_once(session)
    assert_each_position_settles_once(session)
    assert_postings_are_the_accounts(session)


def assert_quiet(session: Session) -> None:
    """After the last result nothing is open, reserved or held."""
    record = session.record
    assert record.accounts[RESERVED] == 0 and record.accounts[POSITIONS] == 0
    assert record.orders_used == 0 and not record.orders["order"].any()
    assert not record.used.any()
    assert not record.positions["open_orders"].any()
    assert not record.positions["selling_micro"].any()
    assert not record.markets["resting"].any()


def assert_each_order_reserves_and_releases_once(session: Session) -> None:
    """Per order: at most one reserve, at most one release, and its reserved postings cancel."""
    rows = session.rows("postings")
    rows = rows[rows["order"] != 0]
    for order in np.unique(rows["order"]):
        mine = rows[rows["order"] == order]
        facts = Counter(int(fact) for fact in mine["fact"])
        assert facts[Fact.RESERVE] <= 1 and facts[Fact.RELEASE] <= 1
        assert int(mine["reserved_micro"].sum()) == 0
    final = session.rows("orders")
    final = final[final["state"] >= OrderState.FILLED]
    assert len(np.unique(final["order"])) == len(final)


def assert_each_position_settles_once(session: Session) -> None:
    """Per strategy, market and outcome: one settlement of all shares that were still held."""
    rows = session.rows("postings")
    settled = Counter(
        (int(row["strategy"]), int(row["market"]), int(row["outcome"]))
        for row in rows[rows["fact"] == Fact.SETTLE]
    )
    assert all(times == 1 for times in settled.values())
    moved: Counter[tuple[int, int, int]] = Counter()
    for row in rows:
        key = (int(row["strategy"]), int(row["market"]), int(row["outcome"]))
        moved[key] += int(row["shares_micro"])
    assert not any(moved.values())


def assert_postings_are_the_accounts(session: Session) -> None:
    """Every row sums to zero, and the columns sum to the accounts."""
    rows = session.rows("postings")
    columns = np.stack([rows[name] for name in ACCOUNTS])
    assert not columns.sum(axis=0).any()
    assert list(columns.sum(axis=1)) == list(session.record.accounts)


@pytest.mark.parametrize(("payout_e4", "pays"), [(10_000, 10.0), (0, 0.0), (5_000, 5.0)])
def test_a_result_pays_what_a_share_pays(payout_e4: int, pays: float) -> None:
    session = Session()
    session.open()
    session.buy(at(2), 10, 0.51)
    session.feed(resolved(at(310), payout_e4))
    fee = int(session.rows("fills")[0]["fee_micro"])
    assert session.record.accounts[CASH] == 1_000_000_000 - 5_100_000 - fee + pays * SHARE


def test_a_contradicting_result_corrects_the_payout_once_and_a_repeated_one_not_at_all() -> None:
    session = Session()
    session.open()
    session.buy(at(2), 10, 0.51)
    session.feed(spot(at(3), 100_000), reference(at(300), 100_001))
    cash = int(session.record.accounts[CASH])
    session.feed(resolved(at(310), 10_000))
    assert (session.record.duplicates, session.record.anomalies) == (1, 0)
    session.feed(resolved(at(311), 0), resolved(at(312), 0))
    assert (session.record.duplicates, session.record.anomalies) == (2, 1)
    assert session.record.accounts[CASH] == cash - 10 * SHARE  # ten dollars are owed back
    assert session.record.accounts[RECEIVABLE] == 0
    corrections = session.rows("postings")["fact"] == Fact.CORRECT
    assert corrections.sum() == 1
    check_totals(session)


def check_totals(session: Session) -> None:
    assert int(session.record.accounts.sum()) == 0
    assert_postings_are_the_accounts(session)


def test_a_position_whose_closing_print_was_missed_is_pending_until_the_venue_says() -> None:
    session = Session()
    session.open()
    session.buy(at(2), 10, 0.51)
    session.feed(spot(at(3), 100_000), reference(at(301), 100_001))
    session.feed(timer(at(400)))
    assert session.record.accounts[POSITIONS] == 5_100_000
    assert session.record.markets[0].payout_e4 == -1
    session.feed(resolved(at(500), 0))
    assert session.record.accounts[POSITIONS] == 0
    check_totals(session)


@pytest.mark.parametrize("account", range(7))
def test_one_micro_dollar_out_of_place_halts_the_engine_at_the_next_fact(account: int) -> None:
    session = Session()
    session.open()
    session.buy(at(2), 10, 0.51)
    session.record.accounts[account] += 1
    with pytest.raises(AssertionError, match="postings do not sum to zero"):
        session.feed(spot(at(3), 100_000))
    with pytest.raises(AssertionError):
        session.feed(timer(at(4)))


@pytest.mark.parametrize(
    ("moved_to", "message"),
    [(RESERVED, "reserved cash"), (POSITIONS, "position cost"), (CASH, "below zero")],
)
def test_a_micro_dollar_moved_between_accounts_is_found_as_well(
    moved_to: int, message: str
) -> None:
    session = Session(deposit=100.0)
    session.open()
    session.buy(at(2), 10, 0.51)
    amount = -200_000_000 if moved_to == CASH else 1
    session.record.accounts[moved_to] += amount
    session.record.accounts[DEPOSITS] -= amount
    with pytest.raises(AssertionError, match=message):
        session.feed(spot(at(3), 100_000))


def test_a_bucket_that_lost_a_micro_dollar_is_found() -> None:
    session = Session()
    session.open()
    session.buy(at(2), 10, 0.49, type=OrderType.POST_ONLY)
    session.feed(spot(at(2), 100_000))
    session.record.used[0] -= 1
    with pytest.raises(AssertionError, match="used capital by bucket"):
        session.buy(at(3), 10, 0.48, type=OrderType.POST_ONLY)
