"""The dense Up book against a dict of prices, and its depth walks against a slow reference."""

import hypothesis.strategies as st
import pytest
from conftest import LONG
from engine_events import SHARE, Session, at, book, gap, level, spot, tick
from hypothesis import given, settings

from fairwind.core.events import Side
from fairwind.engine import books
from fairwind.engine.state import GRID_E4, LEVELS, TOP_LEVEL

UP, DOWN = 0, 1
WAKE = at(200)

prices = st.one_of(
    st.integers(1, 99).map(lambda cents: cents * 100),
    st.integers(1, 999).map(lambda tenths: tenths * 10),
    st.sampled_from([1, 7, 4_999, 5, 9_995, 0, 10_000, 10_005, -100, 2**62]),
)
sizes = st.sampled_from([0, 0, 0.01, 1, 7.5, 250, -3])
changes = st.lists(
    st.one_of(
        st.tuples(st.just("level"), st.sampled_from([Side.BID, Side.ASK]), prices, sizes),
        st.tuples(st.just("clear")),
        st.tuples(st.just("tick"), st.sampled_from([100, 10])),
    ),
    max_size=60,
)


def usable(price_e4: int, shares: float) -> bool:
    return 0 < price_e4 < 10_000 and price_e4 % GRID_E4 == 0 and shares >= 0


def best(session: Session) -> tuple[int, int]:
    row = session.record.markets[0]
    return int(row.bid) * GRID_E4, int(row.ask) * GRID_E4


def shown(session: Session, side: Side) -> dict[int, int]:
    start = side * LEVELS
    levels = session.record.books[start : start + LEVELS]
    return {place * GRID_E4: int(size) for place, size in enumerate(levels) if size}


@pytest.fixture(scope="module")
def session() -> Session:
    session = Session()
    session.open()
    return session


@settings(max_examples=300 if LONG else 50, deadline=None)
@given(changes=changes)
def test_a_stream_of_levels_gives_the_book_that_a_dict_gives(session, changes) -> None:  # type: ignore[no-untyped-def]
    reference: dict[Side, dict[int, int]] = {Side.BID: {}, Side.ASK: {}}
    session.feed(book(at(1), {100: 1}, {}), tick(at(1), 10), tick(at(1), 100))
    session.feed(level(at(1), Side.BID, 100, 0))
    bad = int(session.record.bad_levels)
    for kind, *rest in changes:
        if kind == "clear":
            session.feed(book(at(1), {}, {}))
            reference = {Side.BID: {}, Side.ASK: {}}
        elif kind == "tick":
            session.feed(tick(at(1), *rest))
        else:
            side, price, shares = rest
            session.feed(level(at(1), side, price, shares))
            bad += not usable(price, shares)
            if usable(price, shares):
                reference[side][price] = round(shares * SHARE)
        bids, asks = ({p: s for p, s in reference[side].items() if s} for side in reference)
        assert best(session) == (max(bids, default=0), min(asks, default=10_000))
    assert shown(session, Side.BID) == bids if changes else True
    assert shown(session, Side.ASK) == asks if changes else True
    assert session.record.bad_levels == bad


def test_levels_at_a_finer_price_than_the_tick_are_found_again() -> None:
    session = Session()
    session.open({4_900: 10, 4_895: 5, 4_890: 7}, {5_100: 10, 5_105: 3})
    session.feed(level(at(2), Side.BID, 4_900, 0), level(at(2), Side.ASK, 5_100, 0))
    assert best(session) == (4_895, 5_105)
    session.feed(level(at(3), Side.BID, 4_895, 0))
    assert best(session)[0] == 4_890


def test_after_a_coarser_tick_the_finer_levels_that_stand_are_still_found() -> None:
    session = Session()
    session.open({4_900: 10}, {5_100: 10})
    session.feed(tick(at(1), 10), level(at(1), Side.BID, 4_910, 5), tick(at(1), 100))
    session.feed(level(at(1), Side.BID, 4_910, 0))
    assert best(session)[0] == 4_900


def test_a_removed_best_uncovers_the_next_level() -> None:
    session = Session()
    session.open({4_900: 10, 4_500: 7}, {5_100: 10, 5_900: 5})
    session.feed(level(at(2), Side.BID, 4_900, 0), level(at(2), Side.ASK, 5_100, 0))
    assert best(session) == (4_500, 5_900)
    session.feed(level(at(3), Side.BID, 4_500, 0))
    assert best(session) == (0, 5_900)


def test_a_book_is_valid_only_when_its_atomic_group_is_complete_and_no_gap_is_open() -> None:
    session = Session()
    session.open()
    market = session.record.markets[0]
    assert market.valid == 1
    session.feed(book(at(2), {4_800: 1}, {5_200: 1})[:2])
    assert market.valid == 0
    session.feed(level(at(2), Side.ASK, 5_200, 1))
    assert market.valid == 1
    session.feed(gap(at(3)))
    session.feed(level(at(3), Side.ASK, 5_200, 2))
    assert market.valid == 0
    session.feed(book(at(4), {4_800: 1}, {5_200: 1}))
    assert market.valid == 1


def test_levels_of_an_unknown_market_or_side_change_nothing_and_are_counted() -> None:
    session = Session()
    session.open()
    before = session.record.books.copy()
    odd_side = level(at(2), Side.BID, 5_000, 1)
    odd_side["side"] = 7
    session.feed(level(at(2), Side.BID, 5_000, 1, market=256), odd_side)
    session.feed(level(at(2), Side.BID, 5_000, 1, market=65_535))
    assert (session.record.books == before).all()
    assert session.record.bad_levels == 3


def slow_walk(
    bids: dict[int, float], asks: dict[int, float], outcome: int, wanted: float, limit_e4: int
) -> tuple[float, float]:
    """(dollars paid, shares) of buying an outcome share by share's price, cheapest first."""
    offers = sorted(asks.items() if outcome == UP else ((10_000 - p, s) for p, s in bids.items()))
    bought = paid = 0.0
    for price, shares in offers:
        taken = min(shares, wanted - bought) if price <= limit_e4 else 0.0
        bought += taken
        paid += taken * price / 10_000
    return paid, bought


cents = st.integers(1, 49)
whole_shares = st.integers(1, 40)


@settings(max_examples=200 if LONG else 40, deadline=None)
@given(
    bids=st.dictionaries(cents, whole_shares, max_size=5),
    asks=st.dictionaries(st.integers(51, 90), whole_shares, max_size=5),
    own=st.one_of(st.just(0), st.integers(2, 60)),
    wanted=st.integers(1, 100),
    ticks=st.integers(0, 40),
    outcome=st.sampled_from([UP, DOWN]),
)
def test_a_depth_walk_pays_what_the_displayed_levels_less_our_own_fills_cost(  # type: ignore[no-untyped-def]
    bids, asks, own, wanted, ticks, outcome
) -> None:
    session = shared_session()
    bid_levels = {cent * 100: float(shares) for cent, shares in bids.items()}
    ask_levels = {cent * 100: float(shares) for cent, shares in asks.items()}
    session.record.consumed[:] = 0  # a snapshot alone would not give back what we took
    session.feed(book(WAKE, bid_levels, ask_levels))
    if own and asks:
        session.buy(WAKE, own, 0.9)
        session.feed(spot(WAKE, 100_000))
    for price in sorted(ask_levels):
        taken = min(own, ask_levels[price])
        own -= taken
        ask_levels[price] -= taken
    best_offer = (
        min(ask_levels, default=0) if outcome == UP else 10_000 - max(bid_levels, default=0)
    )
    limit = best_offer + ticks * 100
    paid, bought = slow_walk(bid_levels, ask_levels, outcome, wanted, limit)
    average, shares_micro = books.walk(session.record, 0, outcome, wanted * SHARE, ticks)
    assert shares_micro == bought * SHARE
    assert average == pytest.approx(paid / bought if bought else 0.0)


_SHARED: list[Session] = []


def shared_session() -> Session:
    """One deep-pocketed session for all examples; its book is replaced by each."""
    if not _SHARED:
        _SHARED.append(Session(deposit=1e7))
        _SHARED[0].open()
    return _SHARED[0]


def test_prices_of_one_outcome_mirror_those_of_the_other() -> None:
    session = Session()
    session.open({4_900: 10, 4_800: 30}, {5_300: 20})
    assert books.walk(session.record, 0, DOWN, 20 * SHARE, 5) == (
        pytest.approx((10 * 0.51 + 10 * 0.52) / 20),
        20 * SHARE,
    )
    assert books.walk(session.record, 0, UP, 30 * SHARE, 5) == (pytest.approx(0.53), 20 * SHARE)


def test_an_empty_side_and_a_crossed_book_show_in_the_bests() -> None:
    session = Session()
    session.open({4_900: 10}, {})
    market = session.record.markets[0]
    assert market.ask == TOP_LEVEL and market.bid > 0
    assert books.walk(session.record, 0, UP, SHARE, 5) == (0.0, 0)
    session.feed(level(at(2), Side.ASK, 4_800, 1))
    assert market.bid > market.ask
    session.feed(level(at(3), Side.BID, 4_900, 0), level(at(3), Side.BID, 4_700, 1))
    assert 0 < market.bid < market.ask
