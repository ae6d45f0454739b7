"""No order without a certificate, no fill on a book over its budget, whatever the feeds do.

Random schedules of delays, losses, silences and clock steps, checked from the events and the
output rows alone; and the proof that the check would notice.
"""

import os
import subprocess
import sys
from typing import Any, NamedTuple

import engine_events as make
import numpy as np
import pytest
from conftest import LONG, ROOT
from engine_events import SHARE, START_NS, Session, at, join, puppet_spec
from numpy.typing import NDArray

from fairwind.core.events import Events, Flag, Kind, Side, Source, empty, in_order
from fairwind.core.holds import Hold
from fairwind.core.outputs import Family, OrderState, OrderType, Unit
from fairwind.core.units import MILLISECOND_NS, SECOND_NS
from fairwind.engine.contract import On, StrategySpec

STRETCH_S = 20
PER_WINDOW = 300 // STRETCH_S
SCHEDULES = 100_000 if LONG else 2_100
SESSION_WINDOWS = 20
BUDGETS = {"book_budget": 1.0, "spot_budget": 2.0, "reference_budget": 5.0}
TIGHT = {"book_budget": 0.35, "spot_budget": 0.4, "reference_budget": 1.5}
PERIOD_NS = {"book": 200 * MILLISECOND_NS, "spot": 250 * MILLISECOND_NS, "reference": SECOND_NS}
WARM_S = 2


def greedy(market, position, parameter, memory, signal):  # type: ignore[no-untyped-def]
    """Buy three shares of either side, whenever anything changes."""
    memory[0] += 1.0
    signal.wish = 1
    signal.side = int(memory[0]) % 2
    signal.type = int(memory[0] / 2.0) % 2
    signal.net_edge, signal.price = 0.4, 0.5
    signal.limit, signal.shares = 0.99, 3.0
    return np.uint64(0)


GREEDY = StrategySpec(
    id="GREEDY",
    family=Family.FAIR_VALUE,
    unit=Unit.EDGE_E4,
    series=-1,
    subscriptions=On.SPOT | On.REFERENCE | On.TOP | On.TRADE | On.TIMER | On.FAIR,
    parameters=puppet_spec().parameters,
    scan=greedy,
)


def column(kind: Kind, times: NDArray[np.int64], source_times: NDArray[np.int64]) -> Events:
    events = empty(len(times))
    events["kind"], events["ts_ns"], events["ts_source_ns"] = kind, times, source_times
    events["source"] = Source.RECORDED
    return events


def received(
    rng: np.random.Generator, feed: str, first_ns: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(receipt, source) times of one feed in one stretch, after one kind of trouble."""
    period = PERIOD_NS[feed]
    source = first_ns + np.arange(STRETCH_S * SECOND_NS // period, dtype=np.int64) * period
    delay = rng.exponential(20 * MILLISECOND_NS, len(source)).astype(np.int64)
    kept = np.ones(len(source), bool)
    start, length = rng.integers(0, STRETCH_S), rng.exponential(3.0)
    inside = (source - first_ns >= start * SECOND_NS) & (
        source - first_ns < (start + length) * SECOND_NS
    )
    trouble = rng.integers(0, 5)
    if trouble == 1:  # losses
        kept = rng.random(len(source)) >= rng.uniform(0.1, 0.95)
    elif trouble == 2:  # a silence
        kept = ~inside
    elif trouble == 3:  # held back, then all at once
        release = first_ns + round((start + length) * 1e9)
        delay = np.where(inside, np.maximum(release - source, delay), delay)
    arrival = np.maximum.accumulate(source + delay)
    if trouble == 4:  # the source's clock steps; receipt times are ours
        source = np.where(inside, source + rng.integers(-30, 30) * SECOND_NS, source)
    last = first_ns + (STRETCH_S + 9) * SECOND_NS
    return np.minimum(arrival, last)[kept], source[kept]


def stretch(rng: np.random.Generator, market: int, first_ns: int) -> list[Events]:
    """One schedule: three feeds, each with its own trouble; sometimes the book loses data."""
    bids = column(Kind.LEVEL, *received(rng, "book", first_ns))
    bids["market"], bids["side"], bids["flags"] = market, Side.BID, Flag.MORE
    bids["size"] = rng.integers(50, 500, len(bids)) * SHARE
    asks = bids.copy()
    asks["side"], asks["flags"] = Side.ASK, 0
    bids["price"], asks["price"] = 4_900, 5_100
    spots = column(Kind.SPOT, *received(rng, "spot", first_ns))
    spots["price"] = 100_000 * 10**8 + rng.integers(-500, 500, len(spots)) * 10**6
    prints = column(Kind.REFERENCE, *received(rng, "reference", first_ns))
    prints["ref"], prints["price"] = 60, 100_000 * 10**8
    parts = [np.stack([bids, asks], axis=1).reshape(-1), spots, prints]
    if rng.random() < 0.2:
        lost = first_ns + int(rng.integers(0, STRETCH_S * SECOND_NS))
        parts.append(make.gap(lost, market))
        parts.append(make.book(lost + 3 * SECOND_NS, {4_900: 300}, {5_100: 300}, market))
    return parts


def window(seed: int, market: int) -> Events:
    """One window of `PER_WINDOW` schedules, after a strike that nothing troubles."""
    rng = np.random.Generator(np.random.PCG64([seed, market]))
    start_ns = START_NS + market * 300 * SECOND_NS
    parts = [make.reference(start_ns, 100_000)]
    for number in range(PER_WINDOW):
        first_ns = start_ns + (WARM_S + number * STRETCH_S) * SECOND_NS
        parts += stretch(rng, market, first_ns)
    end_ns = start_ns + 300 * SECOND_NS
    events = np.concatenate(parts)
    events = events[(events["ts_ns"] < end_ns) & (events["ts_ns"] >= start_ns)]
    return in_order(np.concatenate([make.listed(start_ns - 1, market, start_ns=start_ns), events]))


def session_of(events: Events, budgets: dict[str, float]) -> Session:
    """The greedy strategy over the events, with all realism."""
    session = Session(GREEDY, deposit=1e6, latency_ms=75.0, taker_delay=True)
    session.set(at(-60), "GREEDY", **budgets, entry_cooldown=0.2, depth_ticks=2)
    session.feed(events)
    return session


class Found(NamedTuple):
    """What an independent look at events and rows finds."""

    sent: int
    fills: int
    stale_orders: int
    untrue_certificates: int
    stale_fills: int
    fills_in_a_gap: int


def either(times: NDArray[np.int64], named: NDArray[np.int64], until: NDArray[np.int64]) -> Any:
    """Whether the named times are the newest before or at `until`.

    Before, too: what is decided because a second began knows nothing of the event that began it.
    """
    return (named == newest(times, until, "left")) | (named == newest(times, until, "right"))


def newest(times: NDArray[np.int64], until: NDArray[np.int64], side: str) -> NDArray[np.int64]:
    """The last of `times` at (`right`) or before (`left`) each of `until`; far past if none."""
    padded = np.concatenate(([np.int64(-(2**62))], times))
    return padded[np.searchsorted(times, until, side=side)]  # type: ignore[call-overload]


def audit(session: Session, events: Events, budgets: dict[str, float]) -> Found:
    """Check every order and fill from what was received, by the receipt times alone."""
    sent = session.rows("orders")
    sent = sent[sent["state"] == OrderState.SENT]
    fills = session.rows("fills")
    limit = {name: round(seconds * 1e9) for name, seconds in budgets.items()}
    stale = np.zeros(len(sent), bool)
    untrue = np.zeros(len(sent), bool)
    late = np.zeros(len(fills), bool)
    blind = np.zeros(len(fills), bool)
    spots = events["ts_ns"][events["kind"] == Kind.SPOT]
    prints = events["ts_ns"][events["kind"] == Kind.REFERENCE]
    for market in np.unique(sent["market"]):
        ours = events[events["market"] == market]
        books = ours["ts_ns"][np.isin(ours["kind"], (Kind.LEVEL, Kind.CLEAR))]
        mine, hits = sent["market"] == market, fills["market"] == market
        decided, filled = sent["ts_ns"][mine], fills["ts_ns"][hits]
        seen = sent["book_ts_ns"][mine]
        untrue[mine] |= ~either(books, seen, decided)
        stale[mine] |= decided - seen > limit["book_budget"]
        # An order that is due at the time of an event meets the book as it was before it.
        late[hits] = filled - newest(books, filled, "left") > limit["book_budget"]
        gaps = newest(ours["ts_ns"][ours["kind"] == Kind.GAP], filled, "left")
        blind[hits] = gaps > newest(ours["ts_ns"][ours["kind"] == Kind.CLEAR], filled, "left")
    untrue |= ~either(spots, sent["spot_ts_ns"], sent["ts_ns"])
    stale |= sent["ts_ns"] - sent["spot_ts_ns"] > limit["spot_budget"]
    # A print older than its predecessor is no news, so the certificate may be older than receipt.
    untrue |= sent["reference_ts_ns"] > newest(prints, sent["ts_ns"], "right")
    stale |= sent["ts_ns"] - sent["reference_ts_ns"] > limit["reference_budget"]
    for name, nanoseconds in limit.items():
        untrue |= sent[f"{name}_ms"] != nanoseconds // MILLISECOND_NS
    untrue |= (sent["book_sequence"] <= 0) | (sent["book_ts_ns"] <= 0)
    return Found(len(sent), len(fills), stale.sum(), untrue.sum(), late.sum(), blind.sum())


@pytest.mark.parametrize("budgets", [BUDGETS, TIGHT], ids=["default", "tight"])
def test_no_schedule_makes_an_order_or_a_fill_on_something_stale(
    budgets: dict[str, float],
) -> None:
    windows = -(-SCHEDULES // PER_WINDOW) // 2
    orders = fills = killed = 0
    for seed in range(-(-windows // SESSION_WINDOWS)):
        events = np.concatenate([window(seed, market) for market in range(SESSION_WINDOWS)])
        session = session_of(events, budgets)
        found = audit(session, events, budgets)
        assert (found.stale_orders, found.untrue_certificates) == (0, 0)
        assert (found.stale_fills, found.fills_in_a_gap) == (0, 0)
        orders, fills = orders + found.sent, fills + found.fills
        codes = session.rows("orders")["code"][session.rows("orders")["state"] == OrderState.KILLED]
        killed += int((codes == Hold.BOOK_STALE).sum())
    assert orders > 10 * windows and fills > 5 * windows
    assert killed > 0  # some became stale on their way, and were not filled


def test_every_order_row_carries_its_certificate() -> None:
    events = window(7, 0)
    rows = session_of(events, BUDGETS).rows("orders")
    assert len(rows) > 100
    for name in ("book_budget_ms", "spot_budget_ms", "reference_budget_ms"):
        assert (rows[name] > 0).all()
    decided = rows[rows["state"] == OrderState.DECIDED]
    for name in ("book_ts_ns", "spot_ts_ns", "reference_ts_ns", "book_sequence"):
        assert (decided[name] > 0).all()
        sent = rows[rows["state"] == OrderState.FILLED]
        by_order = dict(zip(decided["order"], decided[name], strict=True))
        assert all(by_order[row["order"]] == row[name] for row in sent)


def test_an_event_that_is_older_than_the_last_one_stops_the_engine() -> None:
    session = Session(GREEDY)
    session.feed(make.timer(at(5)))
    with pytest.raises(AssertionError, match="older than the one before"):
        session.feed(make.timer(at(5) - 1))


def silences() -> Events:
    """A short window in which the book falls silent for a while, twice."""
    parts = [make.listed(at(-1)), make.reference(at(0), 100_000)]
    for tenth in range(20, 180):
        second = tenth / 10
        parts.append(make.spot(at(second) + 1, 100_000))
        if tenth % 10 == 0:
            parts.append(make.reference(at(second) + 2, 100_000))
        if tenth % 80 < 40:
            parts.append(make.book(at(second), {4_900: 500}, {5_100: 500}))
    return join(*parts)


def type_of_orders() -> set[int]:
    rows = session_of(silences(), BUDGETS).rows("orders")
    return set(rows["type"])


def test_the_silences_are_survived_with_both_kinds_of_taker_orders() -> None:
    session = session_of(silences(), BUDGETS)
    found = audit(session, silences(), BUDGETS)
    assert found.sent > 10 and found.fills > 5
    assert found[2:] == (0, 0, 0, 0)
    assert type_of_orders() == {OrderType.FAK, OrderType.FOK}


MUTANTS = """
import numpy as np
import test_freshness as here
from fairwind.engine import exchange, gates, orders

def look():
    session = here.session_of(here.silences(), here.BUDGETS)
    return *here.audit(session, here.silences(), here.BUDGETS)[2:], session

gate, submit_check = gates.integrity, orders.admissible
gates.integrity = lambda market, parameter: np.uint64(0)
stale, untrue, late, blind, session = look()
rows = session.rows("orders")
refused = rows["code"][rows["state"] == 9]
print("gates off:", stale, untrue, late, int((refused == here.Hold.BOOK_STALE).sum() > 0))
orders.admissible = lambda state, number: orders.NO_HOLD
stale, untrue, late, blind, session = look()
print("gates and submit check off:", int(stale > 0), int(untrue > 0), late)
gates.integrity, orders.admissible = gate, submit_check
exchange.unusable = lambda market, order, now_ns: exchange.NO_HOLD
stale, untrue, late, blind, session = look()
print("exchange check off:", stale, untrue, int(late > 0))
"""


def test_each_check_is_needed_and_the_audit_notices_when_it_is_gone() -> None:
    """Interpreted, so that a check can be replaced: gates, the submit check, the exchange's."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", MUTANTS],
        env=os.environ | {"PYTHONPATH": paths, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "gates off: 0 0 0 1",
        "gates and submit check off: 1 1 0",
        "exchange check off: 0 0 1",
    ]
