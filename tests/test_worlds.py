"""The engine in worlds whose truth is known: no profit from nothing, the planted edge found.

Also here, because they need a whole session: no look-ahead, and one digest for all batch sizes.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import LONG
from numpy.typing import NDArray
from scipy import stats

from fairwind.core import controls
from fairwind.core.events import Events, Kind
from fairwind.core.units import DOLLAR_MICRO, SECOND_NS
from fairwind.engine.run import Out, run
from fairwind.engine.state import fresh
from fairwind.engine.strategies import ROSTER
from fairwind.world.generator import Window, generate
from fairwind.world.knobs import Knobs, Regime

SESSIONS = 200 if LONG else 40
LEVEL = 0.01
PLANTED = 0.08
"""Large enough that the short form finds it with near certainty (about six deviations)."""
SIX = tuple(spec.id for spec in ROSTER)
NUMBER = {spec.id: number for number, spec in enumerate(ROSTER)}
# Everything with a positive expectation is traded, often, and no stop ends a session early: the
# question is what trades earn on average.
EAGER = {
    "edge_min": 0.0,
    "edge_stderrs": 0.0,
    "coinflip_band": 0.0,
    "loss_cooldown": 0.0,
    "streak_losses": 1e6,
    "max_positions": 8.0,
    "trades_per_window": 8.0,
}
STEADY: dict[str, Any] = {
    "regimes": (Regime(name="calm"),),
    "transitions": ((1.0,),),
    "jumps_per_hour": 0.0,
    "volatility_of_volatility": 0.0,
}


class Session(NamedTuple):
    """What one session gave."""

    digest: int
    tables: dict[str, NDArray[Any]]

    def profit(self, strategy: int) -> float:
        """Dollars after all costs."""
        rows = self.tables["postings"][self.tables["postings"]["strategy"] == strategy]
        micro = -rows["realised_micro"].sum() - rows["fees_micro"].sum()
        return float(micro) / DOLLAR_MICRO


def beginning(ts_ns: int) -> tuple[Events, dict[int, bytes]]:
    """The controls of an eager session and their payloads by id."""
    asked: list[controls.AnyControl] = [
        controls.Configure(drawdown_stop=1.0),
        controls.Deposit(amount_micro=100_000 * DOLLAR_MICRO),
    ]
    for spec in ROSTER:
        asked.append(controls.Enable(strategy=spec.id, enabled=True))
        asked += [
            controls.SetParameter(strategy=spec.id, name=name, value=value)
            for name, value in EAGER.items()
        ]
    encoded = [controls.encode(ts_ns, control) for control in asked]
    events = np.concatenate([event for event, _ in encoded])
    payloads = {int(event["price"][0]): payload for event, payload in encoded}
    return events, payloads


def trade(events: Events, batch: int | None = None) -> Session:
    """Run a fresh, eager engine over the events, `batch` at a time."""
    asked, payloads = beginning(int(events["ts_ns"][0]))
    events = np.concatenate((asked, events))
    state, out = fresh(), Out.fresh()
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in out.rows()}
    at = 0
    while at < len(events):
        given = events[at : None if batch is None else at + batch]
        took = run(state, given, out, payloads.__getitem__)
        at += took
        if took < len(given):  # out is full
            drain(out, parts)
    drain(out, parts)
    return Session(state.digest(), {name: np.concatenate(rows) for name, rows in parts.items()})


def drain(out: Out, parts: dict[str, list[NDArray[Any]]]) -> None:
    for name, rows in out.rows().items():
        parts[name].append(rows.copy())
    out.clear()


def value_after(window: Window, fill: Any) -> float:
    """True value of a filled share in dollars, at the first whole second after the fill.

    Not before it: a price that moves away while an order travels is part of what it earns.
    """
    second = (int(fill["ts_ns"]) - window.start_ns) // SECOND_NS + 61
    up = float(window.fair[min(second, len(window.fair) - 1)])
    return up if fill["outcome"] == 0 else 1.0 - up


@cache
def zero_edge() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Profit in dollars and number of fills, shape (sessions, strategies)."""
    profits, fills = [], []
    for seed in range(SESSIONS):
        world = generate(Knobs(seed=seed, windows=3, series=SIX, zero_edge=True))
        session = trade(world.events)
        profits.append([session.profit(number) for number in range(len(ROSTER))])
        filled = session.tables["fills"]["strategy"]
        fills.append(np.bincount(filled, minlength=len(ROSTER)))
    return np.array(profits), np.array(fills)


@pytest.mark.parametrize("strategy", SIX)
def test_nobody_earns_where_there_is_nothing_to_earn(strategy: str) -> None:
    profits, fills = zero_edge()
    number = NUMBER[strategy]
    assert fills[:, number].sum() >= SESSIONS / 4
    mine = stats.ttest_1samp(profits[:, number], 0.0, alternative="greater")
    assert mine.pvalue >= LEVEL


def test_taken_together_trades_without_an_edge_lose_their_costs() -> None:
    profits, _ = zero_edge()
    together = stats.ttest_1samp(profits.sum(axis=1), 0.0, alternative="less")
    assert together.pvalue < LEVEL


@cache
def planted_edge() -> tuple[tuple[tuple[Window, ...], Session], ...]:
    """The truth of every session and what it gave, without its scans."""
    found = []
    for seed in range(SESSIONS):
        world = generate(Knobs(seed=seed, windows=24, planted_edge=PLANTED, **STEADY))
        session = trade(world.events)
        session.tables.pop("scans")
        found.append((world.truth, session))
    return tuple(found)


def test_a_planted_edge_is_earned() -> None:
    profits = [session.profit(NUMBER["BTC_5M"]) for _, session in planted_edge()]
    assert stats.ttest_1samp(profits, 0.0, alternative="greater").pvalue < LEVEL


def test_the_edge_earned_per_share_is_the_one_that_was_planted_less_costs() -> None:
    """Realised profit per share has the true edge of the fills in its 99 % interval."""
    shares, true_profit, cost = [], [], 0.0
    for truth, session in planted_edge():
        fills = session.tables["fills"]
        size = fills["size_micro"] / 1e6
        worth = np.array([value_after(truth[fill["market"]], fill) for fill in fills])
        fee = fills["fee_micro"] / 1e6
        shares.append(size.sum())
        true_profit.append((size * (worth - fills["price_e4"] / 1e4) - fee).sum())
        cost += fee.sum()
    bought = np.sum(shares)
    assert bought > 100 * SESSIONS
    profits = np.array([s.profit(NUMBER["BTC_5M"]) for _, s in planted_edge()])
    expected = np.sum(true_profit) / bought
    # Ratio estimator: sessions are independent, shares per session vary.
    spread = profits - profits.sum() / bought * np.array(shares)
    stderr = spread.std(ddof=1) * np.sqrt(len(profits)) / bought
    assert abs(profits.sum() / bought - expected) < 2.58 * stderr
    # What a share costs less than it is worth, before the fee: the bias less half a spread or so.
    assert expected + cost / bought == pytest.approx(PLANTED - 0.005, abs=0.012)


@cache
def two_futures(cut: float) -> tuple[int, Session, Session]:
    """The time of the cut; a session, and one with another world's events from there on."""
    first, other = (generate(Knobs(seed=seed, windows=3, series=SIX)).events for seed in (31, 32))
    cut_ns = int(first["ts_ns"][int(cut * len(first))])
    mixed = (first[first["ts_ns"] < cut_ns], other[other["ts_ns"] >= cut_ns])
    return cut_ns, trade(first), trade(np.concatenate(mixed))


@pytest.mark.parametrize("cut", [0.35, 0.6, 0.9])
@pytest.mark.parametrize("strategy", SIX)
def test_what_is_said_up_to_now_does_not_depend_on_the_future(strategy: str, cut: float) -> None:
    cut_ns, one, two = two_futures(cut)
    assert one.digest != two.digest
    for name in ("scans", "orders", "fills", "postings"):
        said = [s.tables[name] for s in (one, two)]
        mine = [t[(t["strategy"] == NUMBER[strategy]) & (t["ts_ns"] < cut_ns)] for t in said]
        assert mine[0].tobytes() == mine[1].tobytes()
        assert len(mine[0]) > 0 or name != "scans"


def test_the_futures_differ_in_what_is_said_after_the_cut() -> None:
    cut_ns, one, two = two_futures(0.6)
    later = [s.tables["scans"][s.tables["scans"]["ts_ns"] >= cut_ns] for s in (one, two)]
    assert later[0].tobytes() != later[1].tobytes()
    assert (one.tables["fills"]["ts_ns"] < cut_ns).sum() > 0


@pytest.fixture(scope="module")
def short() -> Events:
    return generate(Knobs(seed=33, windows=1, series=("BTC_5M", "ETH_5M"))).events


@pytest.mark.parametrize("batch", [1, 16, 256, 65_536])
def test_the_digest_does_not_depend_on_the_batch_size(short: Events, batch: int) -> None:
    whole, cut = trade(short), trade(short, batch)
    assert len(whole.tables["fills"]) > 0
    assert cut.digest == whole.digest
    for name, rows in whole.tables.items():
        assert cut.tables[name].tobytes() == rows.tobytes()


def test_one_bit_of_one_input_changes_the_digest(short: Events) -> None:
    changed = short.copy()
    trades = np.flatnonzero(changed["kind"] == Kind.TRADE)
    changed["size"][trades[len(trades) // 2]] ^= 1
    assert trade(changed).digest != trade(short).digest


def test_windows_settle_as_the_world_knows_they_must() -> None:
    settled = 0
    for windows, session in planted_edge()[:10]:
        final = session.tables["windows"][session.tables["windows"]["payout_e4"] >= 0]
        for row in final:
            truth = windows[row["market"]]
            assert row["payout_e4"] == truth.payout_e4
            if row["strike_e8"] >= 0 and row["final_e8"] >= 0:
                assert (row["strike_e8"], row["strike_remainder_e18"]) == truth.strike
                assert (row["final_e8"], row["final_remainder_e18"]) == truth.final
                settled += 1
    assert settled > 100
