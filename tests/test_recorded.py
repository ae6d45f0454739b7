"""Recorded data sets become events: exact figures of each set, and what holds for all of them."""

import importlib.util
from decimal import Decimal
from functools import cache

import numpy as np
import pytest
from conftest import SHARED, needs_shared

from fairwind.core.errors import BadInput
from fairwind.core.events import Flag, Kind, Side, Source
from fairwind.core.ids import parse_slug
from fairwind.core.units import SECOND_NS, reference_value
from fairwind.feeds.recorded.recording import Recording
from fairwind.feeds.recorded.source import open_source, sources

DATA = SHARED / "data"
FRAMES = "raw_frames/clob_market_20260421.jsonl.gz"
GOLDEN = {
    "btc5m_events": {
        Kind.LISTED: 2,
        Kind.CLEAR: 2,
        Kind.LEVEL: 5821,
        Kind.TRADE: 7089,
        Kind.SPOT: 1520,
        Kind.REFERENCE: 2857,
        Kind.RESOLVED: 1,
        Kind.TIMER: 1,
    },
    "btc15m_books": {
        Kind.LISTED: 14,
        Kind.CLEAR: 780,
        Kind.LEVEL: 305_258,
        Kind.TICK: 11,
        Kind.RESOLVED: 14,
        Kind.TIMER: 1,
    },
    "btc15m_bba": {
        Kind.LISTED: 5,
        Kind.CLEAR: 77,
        Kind.LEVEL: 13_199,
        Kind.TICK: 3,
        Kind.RESOLVED: 3,
        Kind.TIMER: 1,
    },
    "btc5m_window_1hz": {
        Kind.LISTED: 1,
        Kind.CLEAR: 1,
        Kind.LEVEL: 3632,
        Kind.SPOT: 1050,
        Kind.REFERENCE: 525,
        Kind.TIMER: 1,
    },
    "chainlink_btc": {Kind.LISTED: 292, Kind.FEES: 292, Kind.REFERENCE: 84_562, Kind.TIMER: 1},
    FRAMES: {Kind.LISTED: 2, Kind.CLEAR: 72, Kind.LEVEL: 12_313, Kind.TRADE: 71, Kind.TIMER: 1},
}
EVERY_SET = pytest.mark.parametrize("name", GOLDEN)


@cache
def recorded(name: str) -> Recording:
    return open_source(str(DATA / name))


def problems(recording: Recording) -> dict[str, int]:
    return {code: rows for code, rows, _ in recording.problems}


@needs_shared
@EVERY_SET
def test_each_set_becomes_the_known_number_of_events_of_each_kind(name: str) -> None:
    kinds, counts = np.unique(recorded(name).events["kind"], return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == GOLDEN[name]


@needs_shared
@EVERY_SET
def test_events_are_in_order_and_a_market_is_listed_before_all_else_of_it(name: str) -> None:
    events = recorded(name).events
    assert (np.diff(events["ts_ns"]) >= 0).all()
    of_market = events[np.isin(events["kind"], (1, 2, 3, 4, 5, 6, 7))]
    _, first = np.unique(of_market["market"], return_index=True)
    assert (of_market["kind"][first] == Kind.LISTED).all()


@needs_shared
@EVERY_SET
def test_atomic_groups_are_closed_and_hold_one_market_and_one_instant(name: str) -> None:
    events = recorded(name).events
    more = np.flatnonzero(events["flags"] & Flag.MORE)
    assert more.size == 0 or more[-1] < len(events) - 1
    for field in ("market", "ts_ns"):
        assert (events[field][more] == events[field][more + 1]).all()
    assert np.isin(events["kind"][more + 1], (Kind.LEVEL, Kind.CLEAR)).all()


@needs_shared
@EVERY_SET
def test_prices_lie_on_the_grid_and_sizes_are_not_negative(name: str) -> None:
    events = recorded(name).events
    priced = events[np.isin(events["kind"], (Kind.LEVEL, Kind.TRADE))]
    assert ((priced["price"] > 0) & (priced["price"] < 10_000)).all()
    assert (priced["price"] % 5 == 0).all()
    assert (events["size"] >= 0).all()


@needs_shared
@EVERY_SET
def test_a_side_starts_with_a_snapshot(name: str) -> None:
    events = recorded(name).events
    books = events[np.isin(events["kind"], (Kind.LEVEL, Kind.CLEAR))]
    _, first = np.unique(books["market"], return_index=True)
    assert (books["kind"][first] == Kind.CLEAR).all()


@needs_shared
def test_labels_of_event_windows_are_exact_and_the_stream_holds_both_strikes() -> None:
    recording = recorded("btc5m_events")
    assert [one.strike for one in recording.windows] == [
        Decimal("71485.23965784832"),
        Decimal("72771.32406155956"),
    ]
    averages = recording.events[recording.events["ref"] == 60]
    for window in recording.windows:
        start_ns = parse_slug(window.slug)[1]
        at_start = averages[averages["ts_source_ns"] == start_ns]
        assert at_start["source"].tolist() == [Source.REFERENCE]
        assert reference_value(at_start["price"][0], at_start["size"][0]) == window.strike
    assert [one.outcome for one in recording.windows] == ["Down", "Down"]


@needs_shared
def test_a_lost_settlement_print_is_named_and_comes_from_the_venue_after_the_end() -> None:
    recording = recorded("btc5m_events")
    lost = next(one for one in recording.problems if one.code == "SETTLEMENT_PRINT_MISSING")
    assert lost.rows == 1
    assert "btc-updown-5m-1787258400" in lost.example
    (published,) = recording.events[recording.events["source"] == Source.RECORDED]
    end_ns = 1787258700 * SECOND_NS
    assert (published["ts_source_ns"], published["ts_ns"]) == (end_ns, end_ns + 60 * SECOND_NS)
    value = reference_value(published["price"], published["size"])
    assert value == recording.windows[1].final == Decimal("72766.87339570653")


@needs_shared
def test_quotes_without_size_are_marked_and_take_the_given_depth() -> None:
    levels = recorded("btc5m_events").events
    levels = levels[levels["kind"] == Kind.LEVEL]
    assert (levels["flags"] & Flag.ASSUMED_SIZE).all()
    assert set(levels["size"].tolist()) == {0, 50_000_000}
    deeper = open_source(str(DATA / "btc5m_events"), quote_depth_shares=7.5).events
    assert set(deeper["size"][deeper["kind"] == Kind.LEVEL].tolist()) == {0, 7_500_000}
    assert (levels["flags"] & Flag.PARITY).any()


@needs_shared
def test_the_takers_side_is_inferred_only_where_quotes_exist() -> None:
    trades = recorded("btc5m_events").events
    trades = trades[(trades["kind"] == Kind.TRADE) & (trades["market"] == 0)]
    early = trades["ts_ns"] < (1787236800 + 210) * SECOND_NS
    assert (trades["side"][early] == Side.NONE).all()
    assert (trades["side"][~early] != Side.NONE).mean() > 0.98


@needs_shared
def test_overlapping_copies_of_a_window_are_refused(tmp_path) -> None:
    for name in ("one.json.gz", "two.json.gz"):
        source = DATA / "btc5m_events" / "btc-updown-5m-1787236800.json.gz"
        (tmp_path / name).symlink_to(source)
    with pytest.raises(BadInput, match=r"1787236800 in several files"):
        open_source(str(tmp_path))


@needs_shared
def test_payouts_resolve_after_the_end_only_where_no_settlement_stream_is_recorded() -> None:
    recording = recorded("btc15m_books")
    resolved = recording.events[recording.events["kind"] == Kind.RESOLVED]
    for event in resolved:
        window = recording.windows[event["market"]]
        assert event["price"] == window.payout_e4
        assert event["ts_ns"] == parse_slug(window.slug)[1] + (900 + 20) * SECOND_NS
    assert Kind.RESOLVED not in GOLDEN["chainlink_btc"]
    assert Kind.RESOLVED not in GOLDEN["btc5m_window_1hz"]


@needs_shared
def test_crossed_snapshots_and_contradicting_quotes_are_passed_on_and_counted() -> None:
    assert problems(recorded("btc15m_books")) == {"CROSSED_BOOK": 8}
    assert problems(recorded("btc15m_bba")) == {"PARITY": 66}


@needs_shared
def test_a_window_without_a_pinned_last_quote_stays_pending() -> None:
    outcomes = [one.outcome for one in recorded("btc15m_bba").windows]
    assert outcomes == ["Down", None, "Down", "Down", None]


@needs_shared
def test_the_polled_window_has_the_strike_of_its_label_and_the_outcome_of_its_points() -> None:
    recording = recorded("btc5m_window_1hz")
    window = recording.windows[0]
    points = recording.events[recording.events["kind"] == Kind.REFERENCE]
    strike, final = (
        points[points["ts_source_ns"] == at_s * SECOND_NS][0] for at_s in (1777108200, 1777108500)
    )
    assert reference_value(strike["price"], strike["size"]) == window.strike
    assert ("Down", "Up")[int(final["price"] >= strike["price"])] == window.outcome == "Up"


@needs_shared
def test_all_280_windows_with_both_boundaries_follow_from_the_last_point_at_or_before() -> None:
    recording = recorded("chainlink_btc")
    points = recording.events[recording.events["kind"] == Kind.REFERENCE]
    value = {int(one["ts_source_ns"]): reference_value(one["price"], one["size"]) for one in points}
    strikes = {parse_slug(one.slug)[1]: one.strike for one in recording.windows}
    day = range(1780876800, 1780963200, 300)
    matched = []
    for window in recording.windows:
        start_ns = parse_slug(window.slug)[1]
        end_ns = start_ns + 300 * SECOND_NS
        both = strikes[start_ns] is not None and strikes.get(end_ns) is not None
        if start_ns // SECOND_NS in day and both:
            assert value[start_ns] == window.strike
            matched.append(("Down", "Up")[value[end_ns] >= value[start_ns]] == window.outcome)
    assert (len(matched), sum(matched)) == (280, 280)


@needs_shared
def test_the_rebuilt_book_agrees_with_the_venues_best_prices_and_checksums() -> None:
    recording = recorded(FRAMES)
    checks = {one.name: one[1:] for one in recording.checks}
    assert checks["best prices"] == (10_370, 10_370, 0)
    assert checks["book checksum"] == (144, 144, 0)
    assert checks["change checksum"] == (10_370, 9_884, 486)
    assert set(recording.slugs.values()) == {
        "btc-updown-5m-1776808200",
        "btc-updown-5m-1776808500",
    }


@needs_shared
def test_a_folder_counts_the_files_that_it_does_not_know() -> None:
    recording = open_source(str(DATA / "raw_frames"))
    assert problems(recording) == {"UNKNOWN_FILE": 5}
    assert len(recording.events) == len(recorded(FRAMES).events)


@pytest.mark.parametrize(
    ("name", "module", "windows", "events"),
    [
        ("resolvedkit", "resolvedkit", 18, 410_485),
        ("polymarket-backtest", "polymarket_backtest", 5, 13_288),
    ],
)
def test_an_installed_sample_is_a_recording_like_the_file(
    name: str, module: str, windows: int, events: int
) -> None:
    if importlib.util.find_spec(module) is None:
        with pytest.raises(BadInput, match=r"pip install 'fairwind\[samples\]'"):
            open_source(name)
        return
    recording = open_source(name)
    assert (len(recording.windows), len(recording.events)) == (windows, events)


def test_a_missing_sample_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr("fairwind.feeds.recorded.samples.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"resolvedkit.*pip install 'fairwind\[samples\]'"):
        open_source("resolvedkit")


def test_every_known_source_has_one_line_about_it() -> None:
    assert all(name and about and "\n" not in about for name, about in sources())
    assert len({name for name, _ in sources()}) == len(sources())
