"""The synthetic market: same knobs same bytes, well-formed, calibrated, and true to its truth."""

import hashlib
import os
import subprocess
import sys
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pytest

from fairwind.core.errors import BadConfig
from fairwind.core.events import ALL_MARKETS, Events, Flag, Kind, Side
from fairwind.core.units import SECOND_NS
from fairwind.world.generator import ASSUMPTIONS, Window, World, generate
from fairwind.world.knobs import Knobs, Regime, check

CALM: dict[str, Any] = {"regimes": (Regime(name="calm"),), "transitions": ((1.0,),)}
DIGEST = (
    "import hashlib; from fairwind.world.generator import generate;"
    "from fairwind.world.knobs import Knobs;"
    "print(hashlib.sha256(generate(Knobs(seed=7, windows=2)).events.tobytes()).hexdigest())"
)


@cache
def world(**knobs: Any) -> World:
    return generate(Knobs(**knobs))


def of(events: Events, *kinds: Kind) -> Events:
    return events[np.isin(events["kind"], kinds)]


def in_market(built: World, window: Window) -> Events:
    book = of(built.events, Kind.CLEAR, Kind.LEVEL, Kind.TICK, Kind.TRADE)
    return book[book["market"] == window.market]


class Tops(msgspec.Struct):
    """What a follower of one window's book saw after each atomic change of the best levels."""

    rows: list[tuple[int, int, int, int, int, int]]  # ts, source ts, bid, ask, bid size, ask size
    depth: list[int]  # bid shares micro in the best three levels
    levels: list[int]  # of both sides
    decreases: int = 0
    by_trades: int = 0


def tops(built: World, window: Window) -> Tops:
    """Follow the book event by event, as an engine would."""
    seen = Tops(rows=[], depth=[], levels=[])
    sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
    tick, before, traded = 100, (0, 0, 0, 0), False
    for ts, source, price, size, _, _, kind, _, side, flags in in_market(built, window).tolist():
        if kind == Kind.CLEAR:
            sides = ({}, {})
        elif kind == Kind.TICK:
            tick = price
        elif kind == Kind.TRADE:
            traded = True
        elif size:
            sides[side][price] = size
        else:
            sides[side].pop(price, None)
        if flags & Flag.MORE:
            continue
        bid, ask = max(sides[0], default=0), min(sides[1], default=10_000)
        now = (bid, ask, sides[0].get(bid, 0), sides[1].get(ask, 0))
        if now != before:
            seen.rows.append((ts, source, *now))
            seen.depth.append(sum(sides[0].get(bid - n * tick, 0) for n in range(3)))
            seen.levels.append(len(sides[0]) + len(sides[1]))
            less = now[0] < before[0] or (now[0] == before[0] and now[2] < before[2])
            seen.decreases += less
            seen.by_trades += less and traded
        before, traded = now, False
    return seen


def midway(window: Window, ts_ns: Any) -> Any:
    return (ts_ns >= window.start_ns + 60 * SECOND_NS) & (ts_ns < window.end_ns - 60 * SECOND_NS)


@pytest.mark.parametrize("interpreted", ["0", "1"])
def test_the_same_knobs_give_the_same_bytes_in_every_process(interpreted: str) -> None:
    here = hashlib.sha256(world(seed=7, windows=2).events.tobytes()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", DIGEST],
        capture_output=True,
        check=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": interpreted},
    )
    assert there.stdout.decode().strip() == here


def test_another_seed_gives_another_world() -> None:
    assert world(seed=8, windows=2).events.tobytes() != world(seed=7, windows=2).events.tobytes()


def test_another_window_or_asset_leaves_the_others_as_they_were() -> None:
    alone = world(seed=7, windows=1)
    among = world(seed=7, windows=2, series=("BTC_5M", "ETH_5M"))
    assert alone.truth[0].strike == among.truth[0].strike
    assert (in_market(alone, alone.truth[0]) == in_market(among, among.truth[0])).all()


def test_events_are_in_order_and_every_atomic_group_ends() -> None:
    events = world(seed=7, windows=2, series=("BTC_5M", "ETH_15M")).events
    assert (np.diff(events["ts_ns"]) >= 0).all()
    assert (events["ts_source_ns"] > 0).all()
    listed = of(events, Kind.LISTED)
    assert listed["market"].tolist() == list(range(len(listed)))
    more = events[:-1][events["flags"][:-1] & Flag.MORE != 0]
    after = events[1:][events["flags"][:-1] & Flag.MORE != 0]
    assert len(more) > 1000
    assert (more["market"] == after["market"]).all()
    assert (more["ts_ns"] == after["ts_ns"]).all()


def test_a_market_is_listed_before_anything_of_it_and_spot_comes_long_before() -> None:
    built = world(seed=7, windows=2)
    spot_ns = int(of(built.events, Kind.SPOT)["ts_ns"][0])
    for window in built.truth:
        kinds = built.events["kind"]
        market = (built.events["market"] == window.market) & (kinds < Kind.SPOT)
        mine = built.events[market]
        assert mine["kind"][:3].tolist() == [Kind.LISTED, Kind.FEES, Kind.CLEAR]
        assert mine["ts_source_ns"][0] == window.start_ns
        assert mine["price"][1] == 70_000
        assert window.start_ns - mine["ts_ns"][0] == 60 * SECOND_NS
        assert mine["ts_ns"][0] - spot_ns >= 119 * SECOND_NS
    assert built.assumptions == ASSUMPTIONS
    assert ALL_MARKETS not in built.events["market"]


def test_the_book_is_never_crossed_and_prices_lie_on_the_tick() -> None:
    built = world(seed=7, windows=2)
    for window in built.truth:
        seen = tops(built, window)
        assert len(seen.rows) > 1000
        assert all(bid < ask for _, _, bid, ask, _, _ in seen.rows)
        book = in_market(built, window)
        flips = np.flatnonzero(book["kind"] == Kind.TICK)
        coarse = book[: flips[0] if len(flips) else None]
        assert (coarse["price"] % 100 == 0).all()
        assert (book["price"] % 10 == 0).all()
        assert (of(book, Kind.LEVEL)["size"] >= 0).all()
        if len(flips):
            assert book["kind"][flips[0] + 1] == Kind.CLEAR


@cache
def measured() -> tuple[list[tuple[World, Window]], list[Tops], float]:
    """Three calm windows at the measured rate, their tops, and the seconds looked at."""
    worlds = [world(seed=seed, windows=1, quote_rate=1.0, **CALM) for seed in (21, 22, 23)]
    pairs = [(built, built.truth[0]) for built in worlds]
    return pairs, [tops(*pair) for pair in pairs], 180.0 * len(pairs)


def test_spread_size_and_depth_are_those_that_were_measured() -> None:
    pairs, books, _ = measured()
    rows = np.concatenate([np.array(seen.rows) for seen in books])
    middle = np.concatenate(
        [midway(w, np.array(s.rows)[:, 0]) for (_, w), s in zip(pairs, books, strict=True)]
    )
    two_sided = middle & (rows[:, 4] > 0) & (rows[:, 5] > 0)
    coarse = two_sided & (rows[:, 2] >= 400) & (rows[:, 3] <= 9_600)
    assert coarse.sum() > 10_000
    ticks = (rows[coarse, 3] - rows[coarse, 2]) / 100
    assert 0.985 <= (ticks == 1).mean() < 1.0  # measured: 99.7 %
    assert np.median(rows[coarse, 4:]) / 1e6 == pytest.approx(279, rel=0.10)
    depth = np.concatenate([seen.depth for seen in books])[coarse]
    assert np.median(depth) / 1e6 == pytest.approx(1_175, rel=0.10)
    levels = np.concatenate([seen.levels for seen in books])[coarse]
    assert levels.mean() / 2 == pytest.approx(50, abs=5)


def test_rates_and_trade_sizes_are_those_that_were_measured() -> None:
    pairs, books, seconds = measured()
    mine = [e[midway(w, e["ts_ns"])] for b, w in pairs for e in [in_market(b, w)]]
    changes = sum(len(of(events, Kind.LEVEL)) for events in mine)
    assert changes / seconds == pytest.approx(200, rel=0.15)
    sizes = np.concatenate([of(events, Kind.TRADE)["size"] for events in mine]) / 1e6
    assert len(sizes) / seconds == pytest.approx(5, rel=0.15)
    assert np.median(sizes) == pytest.approx(7.1, rel=0.10)
    decreases = sum(seen.decreases for seen in books)
    assert decreases > 1_000
    by_trades = sum(seen.by_trades for seen in books) / decreases
    assert 0.0 < by_trades < 0.02  # measured: 0.9 %


def test_the_rate_knob_scales_messages() -> None:
    few = world(seed=21, windows=1, quote_rate=0.1, **CALM)
    events = in_market(few, few.truth[0])
    changes = of(events[midway(few.truth[0], events["ts_ns"])], Kind.LEVEL)
    assert len(changes) / 180 == pytest.approx(20, rel=0.25)


def test_the_tick_flips_in_as_many_windows_as_were_counted_before_averages_settled() -> None:
    built = world(seed=5, windows=144, start="2026-07-24T00:00:00Z", quote_rate=0.01)
    flips = of(built.events, Kind.TICK)
    assert len(set(flips["market"].tolist())) == len(flips)
    assert len(flips) / 144 == pytest.approx(0.72, abs=0.08)  # 210 of 292


def test_oracle_prints_come_late_and_some_not_at_all() -> None:
    prints = of(world(seed=7, windows=12).events, Kind.REFERENCE)
    averages = prints[prints["ref"] == 60]
    seconds = 1 + int(np.ptp(averages["ts_source_ns"])) // SECOND_NS
    assert 1 - len(averages) / seconds == pytest.approx(0.02, abs=0.01)
    lag_s = (averages["ts_ns"] - averages["ts_source_ns"]) / 1e9
    assert np.median(lag_s) == pytest.approx(1.64, abs=0.05)
    assert np.quantile(lag_s, 0.95) == pytest.approx(2.23, abs=0.1)


def test_an_average_is_the_exact_mean_of_its_sixty_points() -> None:
    prints = of(world(seed=7, windows=2, missing_print_rate=0.0).events, Kind.REFERENCE)
    values = {
        (int(e["ref"]), int(e["ts_source_ns"])): int(e["price"]) * 10**10 + int(e["size"])
        for e in prints
    }
    last = max(ts for ref, ts in values if ref == 60)
    points = [values[0, last - n * SECOND_NS] for n in range(60)]
    assert values[60, last] == sum(points) // 60


def printed(built: World, averaging_s: int, ts_ns: int) -> list[tuple[int, int]]:
    prints = of(built.events, Kind.REFERENCE)
    found = prints[(prints["ref"] == averaging_s) & (prints["ts_source_ns"] == ts_ns)]
    return list(zip(found["price"].tolist(), found["size"].tolist(), strict=True))


def test_truth_is_what_the_settling_stream_printed_at_both_boundaries() -> None:
    built = world(seed=7, windows=12, missing_print_rate=0.0)
    assert len(of(built.events, Kind.RESOLVED)) == 0
    for window in built.truth:
        assert window.averaging_s == 60
        assert printed(built, 60, window.start_ns) == [window.strike]
        assert printed(built, 60, window.end_ns) == [window.final]
        assert window.payout_e4 == (10_000 if window.final >= window.strike else 0)
    assert {window.payout_e4 for window in built.truth} == {0, 10_000}


def test_a_lost_boundary_print_is_absent_and_the_venue_resolves_both_its_windows() -> None:
    built = world(seed=7, windows=4, missing_print_rate=0.0, lost_boundaries=(2,))
    assert printed(built, 60, built.truth[2].start_ns) == []
    results = of(built.events, Kind.RESOLVED)
    assert sorted(results["market"].tolist()) == [1, 2]
    for market, payout in zip(results["market"], results["price"], strict=True):
        assert payout == built.truth[market].payout_e4


def test_the_settling_stream_follows_the_date() -> None:
    eras = {"2026-07-24": 0, "2026-08-10": 30, "2026-10-05": 60}
    for day, averaging_s in eras.items():
        built = world(seed=7, windows=3, start=f"{day}T00:00:00Z", quote_rate=0.01)
        assert {window.averaging_s for window in built.truth} == {averaging_s}
        assert averaging_s in of(built.events, Kind.REFERENCE)["ref"]


def test_before_averages_the_last_point_that_came_settles() -> None:
    knobs = {"start": "2026-07-24T00:00:00Z", "missing_print_rate": 0.0, "quote_rate": 0.01}
    built = world(seed=7, windows=2, lost_boundaries=(1,), **knobs)
    assert printed(built, 0, built.truth[1].start_ns) == []
    assert printed(built, 0, built.truth[1].start_ns - SECOND_NS) == [built.truth[1].strike]
    assert built.truth[0].final == built.truth[1].strike


@pytest.mark.parametrize("start", ["2026-07-24T00:00:00Z", "2026-10-05T00:00:00Z"])
def test_the_fair_probability_is_honest(start: str) -> None:
    """Payout less probability averages to zero, for high and for low probabilities alike."""
    built = world(
        seed=11, windows=1200, start=start, quote_rate=0.001, spot_rate=0.1, missing_print_rate=0.0
    )
    up = np.array([window.payout_e4 / 1e4 for window in built.truth])
    for second in (30, 60, 150, 240, 300, 330, 345):
        fair = np.array([window.fair[second] for window in built.truth])
        for chosen in (fair < 0.35, (fair >= 0.35) & (fair <= 0.65), fair > 0.65):
            if chosen.sum() < 30:
                continue
            spread = np.sqrt((fair * (1 - fair))[chosen].sum())
            assert abs((up - fair)[chosen].sum()) < 3.5 * spread + 0.5
    last = np.array([window.fair[-1] for window in built.truth])
    assert (last == up).mean() > 0.995


def test_volatility_is_the_knobs_own_on_average() -> None:
    knobs: dict[str, Any] = {"jumps_per_hour": 0.0, "bounce_bp": 0.0, **CALM}
    spot = of(world(seed=3, windows=144, quote_rate=0.001, **knobs).events, Kind.SPOT)
    returns = np.diff(np.log(spot["price"][::10].astype(float)))
    assert np.sqrt(returns.var() * 365.25 * 86_400) == pytest.approx(0.45, rel=0.10)


def test_regimes_change_volatility_and_depth() -> None:
    built = world(seed=3, windows=144, quote_rate=0.001)
    regimes = built.regimes["BTC"]
    assert set(regimes.tolist()) == {0, 1, 2, 3, 4}
    seconds = of(built.events, Kind.SPOT)["price"][::10].astype(float)
    returns = np.abs(np.diff(np.log(seconds)))
    at = regimes[1 : len(returns) + 1]
    assert returns[at == 2].mean() > 1.5 * returns[at == 0].mean()
    assert returns[at == 4].mean() < 0.9 * returns[at == 0].mean()


def test_without_an_edge_makers_stand_a_tick_away_from_the_exact_value() -> None:
    built = world(seed=7, windows=2, zero_edge=True)
    checked = 0
    for window in built.truth:
        for _, source, bid, ask, bid_size, ask_size in tops(built, window).rows:
            if source % SECOND_NS or source > window.end_ns:
                continue
            fair_e4 = window.fair_at(source) * 1e4
            checked += 1
            assert not bid_size or bid <= fair_e4 - 9.999
            assert not ask_size or ask >= fair_e4 + 9.999
    assert checked > 200


def test_a_planted_edge_is_how_far_quotes_are_off() -> None:
    built = world(seed=7, windows=6, planted_edge=0.05, maker_delay_ms=0.0, **CALM)
    off = [
        abs((bid + ask) / 2e4 - window.fair_at(source))
        for window in built.truth
        for _, source, bid, ask, _, _ in tops(built, window).rows
        if source % SECOND_NS == 0 and 0.2 < window.fair_at(source) < 0.8
    ]
    assert len(off) > 200
    assert np.mean(off) == pytest.approx(0.05, abs=0.004)


def test_planted_lag_delays_the_makers_and_nothing_else() -> None:
    prompt, late = (world(seed=7, windows=1, planted_lag_ms=ms) for ms in (0.0, 400.0))
    spot = [of(built.events, Kind.SPOT) for built in (prompt, late)]
    assert (spot[0] == spot[1]).all()
    books = [in_market(built, built.truth[0])["ts_source_ns"] for built in (prompt, late)]
    assert (books[1] - books[0] == 400_000_000).all()


def test_several_series_share_one_session() -> None:
    built = world(seed=7, windows=3, series=("BTC_5M", "BTC_15M", "ETH_5M"), quote_rate=0.02)
    names = [slug.rsplit("-", 1)[0] for slug in built.slugs]
    assert names.count("btc-updown-5m") == 3
    assert names.count("btc-updown-15m") == 1
    assert names.count("eth-updown-5m") == 3
    fifteen = built.truth[names.index("btc-updown-15m")]
    last = max(w.start_ns for w in built.truth if w.slug.startswith("btc-updown-5m"))
    assert fifteen.final == next(
        w.final for w in built.truth if w.slug.startswith("btc-updown-5m") and w.start_ns == last
    )


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"windows": 0}, "windows: expected 1 to"),
        ({"start": "tomorrow"}, "start: expected a time"),
        ({"start": "2026-10-05T00:01:00Z"}, "multiple of the longest window"),
        ({"series": ("BTC_7M",)}, "expected names like BTC_5M"),
        ({"series": ("BTC_1H",)}, "BTC_1H settles on a source that is not generated"),
        ({"zero_edge": True, "planted_edge": 0.05}, "zero_edge excludes"),
        ({"transitions": ((1.0,),)}, "transitions: expected 5 rows"),
        ({"volatility": -1.0}, "volatility: expected"),
    ],
)
def test_an_unusable_knob_is_refused_by_name(knobs: dict[str, Any], says: str) -> None:
    with pytest.raises(BadConfig, match=says):
        check(Knobs(**knobs))


def test_trades_name_the_takers_side_and_hit_the_best_level() -> None:
    built = world(seed=7, windows=1)
    trades = of(in_market(built, built.truth[0]), Kind.TRADE)
    assert {int(s) for s in trades["side"]} == {Side.BID, Side.ASK}
    rows = np.array(tops(built, built.truth[0]).rows)
    before = rows[np.searchsorted(rows[:, 0], trades["ts_ns"], side="left") - 1]
    bought = trades["side"] == Side.BID
    at_best = np.where(bought, before[:, 3], before[:, 2]) == trades["price"]
    assert at_best.mean() > 0.95
