"""The contract of every strategy of the roster: what it may say, when it must hold, what it knows.

A strategy that joins the roster is checked here without a line of its own.
"""

from functools import cache
from typing import Any

import engine_events as make
import numpy as np
import pytest
from conftest import LONG, SHARED, needs_shared
from engine_events import Session, at
from healthy_market import Healthy, spec_of
from numpy.typing import NDArray

from fairwind.core.compiled import compiled
from fairwind.core.events import HORIZONS_S, Events, Kind, Side
from fairwind.core.holds import CATEGORY, NO_HOLD, Category, Hold
from fairwind.core.outputs import SCAN_VERSION, Action, OrderState
from fairwind.core.units import SECOND_NS
from fairwind.engine import gates
from fairwind.engine.contract import On
from fairwind.engine.state import MARKET, POSITION, SIGNAL, VECTOR
from fairwind.engine.strategies import ROSTER
from fairwind.world.generator import World, generate
from fairwind.world.knobs import Knobs

NAMES = tuple(spec.id for spec in ROSTER)
NUMBER = {name: number for number, name in enumerate(NAMES)}
EAGER = {"edge_min": 0.0, "edge_stderrs": 0.0, "coinflip_band": 0.0, "trades_per_window": 8.0}
CUTS = (0.15, 0.4, 0.55, 0.7, 0.85, 0.97, *(np.linspace(0.1, 0.99, 60) if LONG else ()))
every_strategy = pytest.mark.parametrize("name", NAMES)


@cache
def world() -> World:
    """Three short windows and a long one of every asset."""
    return generate(
        Knobs(
            seed=11,
            start="2026-10-05T12:15:00Z",
            windows=3,
            series=NAMES,
            quote_rate=0.01,
            quote_noise=0.015,
            spot_rate=4.0,
            lost_boundaries=(1,),
        )
    )


def session_of(events: Events) -> Session:
    """The roster, every strategy on and eager, with all realism."""
    session = Session(*ROSTER, latency_ms=75.0, taker_delay=True, deposit=10_000.0)
    for name in NAMES:
        session.control(at(-60), make.controls.Enable(strategy=name, enabled=True))
        session.set(at(-60), name, **EAGER)
    session.feed(events)
    return session


@cache
def whole() -> Session:
    return session_of(world().events)


def said(session: Session, table: str, name: str) -> NDArray[np.void]:
    rows = session.rows(table)
    return rows[rows["strategy"] == NUMBER[name]]


@every_strategy
def test_a_scan_says_only_what_the_contract_allows(name: str) -> None:
    scans, spec = said(whole(), "scans", name), spec_of(name)
    assert len(scans) > 200
    assert (scans["version"] == SCAN_VERSION).all()
    assert (scans["family"] == spec.family).all() and (scans["unit"] == spec.unit).all()
    assert np.isin(scans["side"], (0, 1, 2)).all()
    assert np.isin(scans["hold"], [*Hold, NO_HOLD]).all()
    assert np.isfinite(scans["score"]).all() and np.isfinite(scans["threshold"]).all()
    known = scans["probability"][~np.isnan(scans["probability"])]
    assert len(known) > 0 and ((known >= 0.0) & (known <= 1.0)).all()
    assert ((scans["price_e4"] >= 0) & (scans["price_e4"] <= 10_000)).all()
    assert (np.abs(scans["net_edge_e4"]) <= 10_000).all()
    assert ((scans["edge_stderr_e4"] >= 0) & (scans["edge_stderr_e4"] <= 10_000)).all()
    for age in ("book_age_ms", "spot_age_ms", "reference_age_ms"):
        assert (scans[age] >= -1).all()
    horizon_ms = HORIZONS_S[spec.series % len(HORIZONS_S)] * 1_000
    assert ((scans["left_ms"] > 0) & (scans["left_ms"] <= horizon_ms)).all()
    assert (scans["side"][scans["hold"] == NO_HOLD] < 2).all()


@every_strategy
def test_a_strategy_speaks_of_its_own_series_only(name: str) -> None:
    series = {window.market: window.series for window in world().truth}
    for table in ("scans", "orders", "fills"):
        markets = set(said(whole(), table, name)["market"])
        assert {series[int(market)] for market in markets} <= {spec_of(name).series}


@every_strategy
def test_there_is_a_scan_in_every_second_of_an_open_window(name: str) -> None:
    scans = said(whole(), "scans", name)
    windows = [w for w in world().truth if w.series == spec_of(name).series]
    assert len(windows) > 0
    for window in windows:
        mine = scans["ts_ns"][scans["market"] == window.market]
        seconds = np.unique((mine - window.start_ns) // SECOND_NS)
        assert seconds.tolist() == list(range((window.end_ns - window.start_ns) // SECOND_NS))


@cache
def up_to(cut: float) -> Session:
    return session_of(world().events[: int(cut * len(world().events))])


@pytest.mark.parametrize("cut", CUTS)
@every_strategy
def test_nothing_that_was_said_depends_on_what_came_later(name: str, cut: float) -> None:
    for table in ("scans", "orders", "fills", "postings"):
        early, late = (said(session, table, name) for session in (up_to(cut), whole()))
        assert late[: len(early)].tobytes() == early.tobytes()
        assert len(early) > 0 or table != "scans"


def test_the_same_events_make_the_same_statements() -> None:
    again = session_of(world().events)
    assert again.state.digest() == whole().state.digest()
    for table, rows in whole().tables.items():
        assert again.tables[table].tobytes() == rows.tobytes()


def test_the_strategies_under_test_do_trade() -> None:
    assert len(whole().fills()) >= len(NAMES)


@every_strategy
def test_a_healthy_market_is_bought(name: str) -> None:
    market = Healthy(name).ready()
    assert NO_HOLD in market.scans()["hold"]
    sent = [row for row in said(market.session, "orders", name) if row["state"] == OrderState.SENT]
    assert len(sent) >= 1
    assert {(row["action"], row["outcome"]) for row in sent} == {(Action.BUY, 0)}


def stale(feed: str, seconds: float) -> Any:
    def apply(name: str) -> Healthy:
        market = Healthy(name).ready()
        market.live(market.now_s + seconds, without={feed})
        return market

    return apply


def gap(name: str) -> Healthy:
    market = Healthy(name).ready()
    market.session.feed(make.gap(at(market.now_s)))
    market.live(market.now_s + 2, without={"book"})
    return market


def gap_of_everything(name: str) -> Healthy:
    market = Healthy(name).ready()
    lost = make.gap(at(market.now_s))
    lost["market"] = 0xFFFF
    market.session.feed(lost)
    market.live(market.now_s + 2, without={"book"})
    return market


def crossed(name: str) -> Healthy:
    market = Healthy(name).ready()
    market.session.feed(make.level(at(market.now_s), Side.BID, 6_300, 10))
    market.live(market.now_s, without={"book"})
    return market


def without_a_strike(name: str) -> Healthy:
    return Healthy(name, struck=False).ready()


FAULTS = [
    (stale("book", 2.0), Hold.BOOK_STALE, Category.BOOK),
    (stale("spot", 3.0), Hold.SPOT_STALE, Category.FEED),
    (stale("reference", 6.0), Hold.REFERENCE_STALE, Category.FEED),
    (gap, Hold.SEQUENCE_GAP, Category.FEED),
    (gap_of_everything, Hold.SEQUENCE_GAP, Category.FEED),
    (crossed, Hold.BOOK_INVALID, Category.BOOK),
    (without_a_strike, Hold.STRIKE_UNKNOWN, Category.WINDOW),
]


@every_strategy
@pytest.mark.parametrize(
    ("fault", "hold", "category"),
    FAULTS,
    ids=["book", "spot", "reference", "gap", "gap of all", "crossed", "strike"],
)
def test_a_strategy_holds_on_what_it_cannot_trust(
    name: str, fault: Any, hold: Hold, category: Category
) -> None:
    market = fault(name)
    scan = market.last()
    assert Hold(int(scan["hold"])) == hold
    assert CATEGORY[hold] == category
    after = scan["ts_ns"]
    assert not (said(market.session, "fills", name)["ts_ns"] >= after).any()


@every_strategy
def test_defaults_lie_within_their_bounds_and_names_are_unique(name: str) -> None:
    spec = spec_of(name)
    assert len({p.name for p in spec.parameters}) == len(spec.parameters) <= VECTOR
    assert spec.parameters[: len(gates.COMMON)] == tuple(
        type(p)(p.name, p.unit, spec.parameters[i].default, p.low, p.high)
        for i, p in enumerate(gates.COMMON)
    )
    for p in spec.parameters:
        assert p.low <= p.default <= p.high
        assert p.unit and p.checked(p.default, name) == p.default


@every_strategy
def test_a_strategy_is_woken_by_the_clock(name: str) -> None:
    assert spec_of(name).subscriptions & On.TIMER


def written(short: bool) -> dict[str, float]:
    """The starting points of spec/strategies.md for the window strategies, in e4 and seconds."""
    return {
        "edge_min": 60,
        "edge_stderrs": 1,
        "price_low": 1_500,
        "price_high": 8_500,
        "spread_max": 500 if short else 700,
        "entry_cutoff": 12 if short else 45,
        "coinflip_band": 300,
        "coinflip_edge": 200,
        "depth_ticks": 2,
        "max_positions": 1 if short else 2,
        "book_budget": 1.0 if short else 1.5,
        "spot_budget": 2.0,
        "reference_budget": 5.0,
        "order_min": 10,
        "order_max": 50,
        "kelly_fraction": 0.25,
        "loss_cooldown": 300,
        "streak_losses": 4,
        "streak_cooldown": 1_800,
    }


WINDOW_NAMES = tuple(
    f"{asset}_{length}" for asset in ("BTC", "ETH", "SOL") for length in ("5M", "15M")
)


@pytest.mark.parametrize("name", WINDOW_NAMES)
def test_window_strategies_start_where_their_specification_says(name: str) -> None:
    defaults = {p.name: p.default for p in spec_of(name).parameters}
    wanted = written(name.endswith("_5M"))
    assert {key: defaults[key] for key in wanted} == wanted
    assert spec_of(name).enabled == (name != "SOL_15M")


@needs_shared
def test_every_window_strategy_of_the_specification_is_in_the_roster() -> None:
    text = (SHARED / "spec" / "strategies.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text and name in NAMES for name in WINDOW_NAMES)


def rows_at_random(count: int) -> NDArray[np.void]:
    """Markets as a strategy may meet them, odd ones among them."""
    rng = np.random.Generator(np.random.PCG64(3))
    rows = np.zeros(count, MARKET)
    for field in ("fair_up", "eff_up", "eff_down", "fair_stderr"):
        rows[field] = rng.uniform(-0.1, 1.1, count)
    for field in ("fee_up", "fee_down"):
        rows[field] = rng.uniform(0.0, 0.02, count)
    for field in ("depth_up_micro", "depth_down_micro"):
        rows[field] = rng.integers(0, 5, count) * 30_000_000
    rows["fair_up"][::7] = np.nan
    rows["left_s"], rows["strike"], rows["spot"] = 100.0, 1e5, 1e5
    return rows


@every_strategy
def test_compiled_and_interpreted_a_strategy_gives_the_same_answer(name: str) -> None:
    """And it changes nothing but its memory and its signal."""
    spec = spec_of(name)
    parameter = np.zeros(VECTOR)
    parameter[: len(spec.parameters)] = [p.default for p in spec.parameters]
    answers = []
    for function in (spec.scan, compiled(spec.scan)):
        markets = rows_at_random(300).view(np.recarray)
        positions = np.zeros(1, POSITION).view(np.recarray)
        memory, signals = np.zeros(VECTOR), np.zeros(300, SIGNAL).view(np.recarray)
        signals["side"] = 2
        masks = [
            int(function(markets[i], positions[0], parameter, memory, signals[i]))
            for i in range(300)
        ]
        assert markets.tobytes() == rows_at_random(300).tobytes()
        assert positions.tobytes() == bytes(POSITION.itemsize)
        answers.append((masks, memory.tobytes(), signals.tobytes()))
    assert answers[0] == answers[1]
    assert len(set(answers[0][0])) > 1


def test_the_world_under_test_has_every_kind_of_event_that_strategies_meet() -> None:
    kinds = set(world().events["kind"])
    assert {Kind.LEVEL, Kind.CLEAR, Kind.TRADE, Kind.SPOT, Kind.REFERENCE, Kind.RESOLVED} <= kinds
