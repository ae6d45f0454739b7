"""One digest and the same bytes, however events are cut, wherever and how often they run.

The session under test trades: it takes, rests, cancels, sells back and settles.
"""

import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import LONG, ROOT
from engine_events import Session, at, puppet_spec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairwind.core.errors import Corrupt
from fairwind.core.events import EVENT, Events, Kind
from fairwind.core.outputs import Fact, Family, OrderState, Unit
from fairwind.engine.contract import On, StrategySpec
from fairwind.engine.run import run
from fairwind.engine.state import restore, snapshot
from fairwind.engine.strategies import ROSTER
from fairwind.world.generator import generate
from fairwind.world.knobs import Knobs

FEW = settings(
    max_examples=300 if LONG else 25,
    deadline=None,
    derandomize=not LONG,
    suppress_health_check=[HealthCheck.too_slow],
)
START = "2026-10-05T12:15:00Z"
EAGER = {"edge_min": 0.0, "edge_stderrs": 0.0, "coinflip_band": 0.0, "trades_per_window": 8.0}


def turns(market, position, parameter, memory, signal):  # type: ignore[no-untyped-def]
    """By the ten seconds: rest a bid, cancel what rests, take, sell what is held (not late)."""
    turn = int(market.left_s / 10.0) % 4
    signal.side = int(market.left_s / 40.0) % 2
    signal.net_edge, signal.price = 0.3, 0.5
    signal.limit = market.bid_e4 * 1e-4 if signal.side == 0 else 1.0 - market.ask_e4 * 1e-4
    if turn == 0:
        signal.wish, signal.type, signal.shares = 1, 2, 400.0
    elif turn == 1:
        signal.wish = 3
    elif turn == 2:
        signal.wish, signal.limit, signal.shares = 1, 0.99, 30.0
    elif market.left_s > 60.0:
        signal.wish, signal.limit = 2, 0.01
    return np.uint64(0)


def traders() -> tuple[StrategySpec, ...]:
    """The roster, and one that does everything an order can go through."""
    restless = StrategySpec(
        id="TURNS",
        family=Family.MARKET_MAKING,
        unit=Unit.TICKS,
        series=-1,
        subscriptions=On.TIMER | On.TRADE | On.FAIR,
        parameters=puppet_spec().parameters,
        scan=turns,
    )
    return (*ROSTER, restless)


@cache
def world() -> Events:
    """Two short windows of two assets, a few thousand events."""
    knobs = Knobs(
        seed=5,
        start=START,
        windows=1,
        series=("BTC_5M", "ETH_5M"),
        quote_rate=0.005,
        quote_noise=0.02,
        spot_rate=1.5,
        history_s=120,
        lost_boundaries=(1,),  # settled by the venue, late
    )
    return generate(knobs).events


def begun() -> Session:
    """An engine that trades on little, with all realism on."""
    session = Session(*traders(), deposit=100_000.0, latency_ms=75.0, taker_delay=True)
    for spec in ROSTER:
        session.set(at(-60), spec.id, **EAGER)
    session.set(at(-60), "TURNS", entry_cooldown=3.0)
    return session


def said(session: Session) -> str:
    """The digest and a hash of every byte of every output row."""
    rows = hashlib.sha256(b"".join(table.tobytes() for table in session.tables.values()))
    return f"{session.state.digest():016x} {rows.hexdigest()}"


@cache
def undisturbed() -> Session:
    session = begun()
    session.feed(world())
    return session


def test_the_session_under_test_goes_through_everything() -> None:
    tables = undisturbed().tables
    assert 2_000 < len(world()) < 20_000
    states = set(tables["orders"]["state"])
    wanted = {OrderState.DELAYED, OrderState.RESTING, OrderState.PARTIAL, OrderState.FILLED}
    assert wanted | {OrderState.CANCELLED, OrderState.KILLED} <= states
    assert {Fact.FILL, Fact.FEE, Fact.SETTLE, Fact.REDEEM} <= set(tables["postings"]["fact"])
    assert set(tables["fills"]["maker"]) == {0, 1}
    assert set(tables["fills"]["action"]) == {0, 1}
    assert len(set(tables["fills"]["strategy"])) >= 2


@pytest.mark.parametrize("batch", [1, 16, 256, 65_536])
def test_how_events_are_cut_into_batches_changes_nothing(batch: int) -> None:
    session = begun()
    for first in range(0, len(world()), batch):
        session.feed(world()[first : first + batch])
    assert said(session) == said(undisturbed())


def test_a_second_run_says_the_same() -> None:
    session = begun()
    session.feed(world())
    assert said(session) == said(undisturbed())


@cache
def hole_in_the_middle() -> Events:
    """The session without its middle: interpreted code is a thousand times slower."""
    events = world()
    start_ns = int(events["ts_source_ns"][events["kind"] == Kind.LISTED][0])
    seconds = (events["ts_ns"] - start_ns) // 10**9
    return events[(seconds < 60) | (seconds > 270)]


IN_ANOTHER_PROCESS = """
import sys
import numpy as np
import test_determinism as here
session = here.begun()
session.feed(np.load(sys.argv[1]))
print(here.said(session))
"""


@pytest.mark.parametrize("interpreted", [False, True], ids=["compiled", "interpreted"])
def test_another_process_says_the_same(tmp_path: Path, interpreted: bool) -> None:
    np.save(tmp_path / "events.npy", hole_in_the_middle())
    here = begun()
    here.feed(hole_in_the_middle())
    assert len(here.tables["fills"]) >= 10
    assert {Fact.FILL, Fact.SETTLE} <= set(here.tables["postings"]["fact"])
    assert {OrderState.RESTING, OrderState.CANCELLED} <= set(here.tables["orders"]["state"])
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    environment = os.environ | {"PYTHONPATH": paths}
    environment["NUMBA_DISABLE_JIT"] = "1" if interpreted else "0"
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path / "events.npy")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == said(here)


@FEW
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=3).map(sorted))
def test_a_restored_snapshot_goes_on_as_if_nothing_had_happened(points: list[float]) -> None:
    events, session = world(), begun()
    done = 0
    for point in points:
        cut = int(point * len(events))
        session.feed(events[done:cut])
        data = snapshot(session.state, session.specs)
        session.state = restore(data, session.specs)
        assert snapshot(session.state, session.specs) == data
        done = cut
    session.feed(events[done:])
    assert said(session) == said(undisturbed())


def test_a_cut_or_foreign_snapshot_is_refused() -> None:
    data = snapshot(undisturbed().state, traders())
    for bad in (data[:-1], b"", bytes(16) + data[16:]):
        with pytest.raises(Corrupt, match="snapshot: expected"):
            restore(bad, traders())


BITS = EVENT.itemsize * 8
MIDDLE = 0.6
"""The part of the session that stays as it is while bits of the rest are flipped."""


@cache
def half_way() -> tuple[bytes, Events, int]:
    """A snapshot, the events that follow it, and the digest they lead to."""
    cut = int(MIDDLE * len(world()))
    session = begun()
    session.feed(world()[:cut])
    return snapshot(session.state, traders()), world()[cut:], undisturbed().state.digest()


@FEW
@given(st.floats(0.0, 0.999), st.integers(0, BITS - 1))
def test_one_flipped_bit_of_any_input_changes_the_digest_or_stops_the_run(
    place: float, bit: int
) -> None:
    data, events, digest = half_way()
    flipped = np.frombuffer(events.tobytes(), np.uint8).copy()
    flipped[int(place * len(events)) * EVENT.itemsize + bit // 8] ^= 1 << bit % 8
    session = begun()
    session.state = restore(data, session.specs)
    events, done = flipped.view(EVENT), 0
    try:
        while done < len(events):
            done += run(session.state, events[done:], session.out, {}.__getitem__, session.specs)
            session.out.clear()
    except (AssertionError, KeyError):
        return  # out of order, or a control that has no payload
    assert session.state.digest() != digest


@pytest.mark.parametrize("field", EVENT.names or ())
def test_the_lowest_bit_of_every_field_counts_even_in_an_idle_event(field: str) -> None:
    """An event that the engine has no use for is still an input."""
    idle = np.zeros(1, EVENT)
    idle["ts_ns"], idle["kind"] = at(1_000), Kind.TIMER
    other = idle.copy()
    other[field] = other[field] ^ (1 if field != "kind" else 64)
    digests = []
    for event in (idle, other):
        session = Session()
        session.feed(event)
        digests.append(session.state.digest())
    assert digests[0] != digests[1]
