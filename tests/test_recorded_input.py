"""Recorded files that are damaged, odd or small: what is read from them and what is said."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fairwind.core.errors import BadInput
from fairwind.core.events import Flag, Kind, Side
from fairwind.feeds.recorded import clob_frames, eventfile
from fairwind.feeds.recorded.btc15m_bba import COLUMNS
from fairwind.feeds.recorded.ladder import Ladder, mirrored
from fairwind.feeds.recorded.recording import Problems, Recording, Rows
from fairwind.feeds.recorded.source import open_source

START = 1787236800
SLUG = f"btc-updown-5m-{START}"
LABEL = {"resolved_up": 1, "price_to_beat": 100.5, "final_price": 101.25}
AVERAGES = [[START + 1.5, "t", START, 100.5], [START + 301.5, "t", START + 300, 101.25]]


def window(tmp_path, *events: list, label: dict = LABEL, name: str = "window.json") -> str:
    path = tmp_path / name
    data = {"window_ts": START, "cid": SLUG, "token_up": "1", "token_down": "2"}
    path.write_text(json.dumps({**data, "label": label, "events": [*AVERAGES, *events]}))
    return str(path)


def quotes_csv(tmp_path, rows: int = 1200) -> tuple[str, list[str]]:
    lines = [",".join(COLUMNS)]
    for row in range(rows):
        at = 1775028136.0 + row / 10
        lines.append(f"{at},btc-updown-15m-1775027700,1,1,0.4,10,0.5,20,0.5,20,0.6,10")
    return str(tmp_path / "quotes.csv"), lines


def kinds(recording, kind: Kind) -> np.ndarray:
    return recording.events[recording.events["kind"] == kind]


def test_a_missing_file_is_named() -> None:
    with pytest.raises(BadInput, match=r"no such thing as '/nowhere/at.all'"):
        open_source("/nowhere/at.all")


def test_a_file_of_no_known_kind_is_refused_with_the_known_kinds(tmp_path) -> None:
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadInput, match=r"expected one of Fairwind's own event file"):
        open_source(str(tmp_path / "notes.csv"))


def test_a_truncated_gzip_file_is_named_as_damaged(tmp_path) -> None:
    whole = gzip.compress(open_text(window(tmp_path, *[[START, "s", START, 1.5]] * 3000)))
    path = tmp_path / "cut.json.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"cut.json.gz: expected a whole gzip file"):
        open_source(str(path))


def open_text(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def test_truncated_json_is_named_as_damaged(tmp_path) -> None:
    path = tmp_path / "cut.json"
    path.write_bytes(open_text(window(tmp_path))[:-20])
    with pytest.raises(BadInput, match=r"cut.json: expected a recorded window.*truncated JSON"):
        open_source(str(path))


def test_a_truncated_parquet_file_is_named_as_damaged(tmp_path) -> None:
    path = tmp_path / "quotes.parquet"
    pq.write_table(pa.table({name: [1.0] for name in COLUMNS}), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadInput, match=r"quotes.parquet: expected a whole Parquet file"):
        open_source(str(path))


def test_a_missing_column_is_named_with_the_columns_found(tmp_path) -> None:
    path = tmp_path / "quotes.parquet"
    pq.write_table(pa.table({name: [1.0] for name in COLUMNS if name != "up_ask"}), path)
    with pytest.raises(BadInput, match=r"expected column up_ask, found recorded_at_ts, market_sl"):
        open_source(str(path))


def test_books_without_their_markets_name_the_missing_file(tmp_path) -> None:
    path = tmp_path / "books.parquet"
    names = ("market_id", "ts", "side", "bid_px", "bid_sz", "ask_px", "ask_sz")
    pq.write_table(pa.table({name: [1.0] for name in names}), path)
    with pytest.raises(BadInput, match=r"markets.parquet: expected this file, found none"):
        open_source(str(path))


@pytest.mark.parametrize(
    "garbage", ["%$#@!", "x," * 11 + "x", "1775028136,btc,1,1,9,1,9,1,9,1,9,1"]
)
def test_garbage_in_row_1000_of_a_csv_names_the_row_and_the_text(tmp_path, garbage: str) -> None:
    path, lines = quotes_csv(tmp_path)
    lines[1000] = garbage
    (tmp_path / "quotes.csv").write_text("\n".join(lines))
    with pytest.raises(BadInput, match=r"row 1000 \(line 1001\)") as refused:
        open_source(path)
    assert garbage[:20] in str(refused.value)


def test_a_tolerated_bad_row_is_counted_with_its_place(tmp_path) -> None:
    path, lines = quotes_csv(tmp_path)
    lines[1000] = "garbage"
    (tmp_path / "quotes.csv").write_text("\n".join(lines))
    (problem,) = open_source(path, tolerate=True).problems
    assert (problem.code, problem.rows) == ("BAD_ROW", 1)
    assert "row 1000 (line 1001)" in problem.example


def test_oracle_rows_whose_two_values_differ_are_refused(tmp_path) -> None:
    path = tmp_path / "BTCUSD-prices-2026-06-08.csv"
    header = "feed_ts_ms,value,full_accuracy_value,server_ts_ms,recv_ms\n"
    path.write_text(header + "1780876800000,63304.2,63304200000000000000,1780876800939,1\n")
    with pytest.raises(BadInput, match=r"row 1 \(line 2\)"):
        open_source(str(path))


def test_a_damaged_json_line_is_named_by_its_number(tmp_path) -> None:
    path = tmp_path / "window.jsonl"
    path.write_text('{"ts":1,"type":"slot","slug":"btc-updown-5m-300000000"}\n\n{"ts":2,"ty\n')
    with pytest.raises(BadInput, match=r"window.jsonl line 3"):
        open_source(str(path))


def test_bad_event_rows_are_counted_and_the_rest_is_read(tmp_path) -> None:
    recording = open_source(
        window(
            tmp_path,
            [START + 1, "b", "1", "0.4"],
            [START + 1, "?", "1"],
            [START + 1, "b", "3", "0.4", "0.5"],
            [START + 1, "p", "1", "abc", "5"],
            [START + 1, "p", "1", "0.40001", "-5"],
            [START + 2, "p", "2", "0.4", "5"],
        )
    )
    counted = {one.code: one.rows for one in recording.problems}
    assert counted == {"BAD_ROW": 4, "BAD_TRADE": 1, "OUT_OF_ORDER": 1}
    assert kinds(recording, Kind.TRADE)["price"].tolist() == [6000]


def test_without_any_kind_but_the_average_a_window_is_still_read(tmp_path) -> None:
    recording = open_source(window(tmp_path))
    assert len(recording.events) == 4
    assert recording.problems == ()


def test_other_assets_and_horizons_follow_from_the_slug(tmp_path) -> None:
    path = tmp_path / "eth.json"
    start = 1787238000
    data = {"window_ts": start, "cid": f"eth-updown-15m-{start}", "token_up": "1"}
    prints = [[start, "s", start, 2.5], [start + 1, "t", start, 3.0]]
    path.write_text(json.dumps({**data, "token_down": "2", "events": prints}))
    recording = open_source(str(path))
    assert recording.slugs == {0: f"eth-updown-15m-{start}"}
    assert kinds(recording, Kind.SPOT)["market"].tolist() == [1]
    assert recording.windows[0].outcome is None


def test_a_down_quote_stands_in_mirrored_where_up_has_none(tmp_path) -> None:
    recording = open_source(
        window(tmp_path, [START + 1, "b", "1", None, None], [START + 1, "b", "2", "0.3", "0.45"])
    )
    levels = kinds(recording, Kind.LEVEL)
    assert levels["side"].tolist() == [Side.BID, Side.ASK]
    assert levels["price"].tolist() == [5500, 7000]


def test_a_repeated_quote_is_shown_again_only_after_a_quarter_of_a_second(tmp_path) -> None:
    quotes = [[START + at / 100, "b", "1", "0.4", "0.41"] for at in range(101, 161)]
    levels = kinds(open_source(window(tmp_path, *quotes)), Kind.LEVEL)
    shown = np.unique(levels["ts_ns"] - START * 10**9) // 10**6
    assert shown.tolist() == [1010, 1260, 1510]


def test_a_print_of_the_stream_is_not_replaced_by_the_label(tmp_path) -> None:
    recording = open_source(window(tmp_path, label={**LABEL, "final_price": 999.0}))
    assert kinds(recording, Kind.REFERENCE)["price"].tolist() == [10_050_000_000, 10_125_000_000]


def test_a_ladder_writes_a_snapshot_then_changes_then_a_snapshot_after_a_hole() -> None:
    rows = Rows()
    ladder = Ladder(rows, 3, Problems(), "window")
    second = 10**9
    ladder.show(0, 0, {(Side.BID, 4000): 5, (Side.ASK, 4100): 6})
    ladder.show(second, 0, {(Side.BID, 4000): 5, (Side.ASK, 4200): 6})
    ladder.show(7 * second, 0, {(Side.BID, 4000): 5})
    found = rows.events()[["kind", "side", "price", "size", "flags"]].tolist()
    assert found == [
        (Kind.CLEAR, Side.NONE, 0, 0, Flag.MORE),
        (Kind.LEVEL, Side.BID, 4000, 5, Flag.MORE),
        (Kind.LEVEL, Side.ASK, 4100, 6, 0),
        (Kind.LEVEL, Side.ASK, 4100, 0, Flag.MORE),
        (Kind.LEVEL, Side.ASK, 4200, 6, 0),
        (Kind.CLEAR, Side.NONE, 0, 0, Flag.MORE),
        (Kind.LEVEL, Side.BID, 4000, 5, 0),
    ]


def test_a_price_off_the_cent_grid_announces_the_finer_tick_before_a_new_snapshot() -> None:
    rows = Rows()
    ladder = Ladder(rows, 0, Problems(), "window")
    ladder.show(0, 0, {(Side.BID, 9700): 5})
    ladder.show(1, 0, {(Side.BID, 9710): 5})
    found = rows.events()[2:]
    assert found["kind"].tolist() == [Kind.TICK, Kind.CLEAR, Kind.LEVEL]
    assert found["price"].tolist() == [10, 0, 9710]


def test_a_level_that_cannot_stand_in_a_book_is_left_out_and_counted() -> None:
    rows, problems = Rows(), Problems()
    levels = {(Side.BID, 4001): 5, (Side.BID, 0): 5, (Side.ASK, 5000): -1, (Side.ASK, 6000): 1}
    Ladder(rows, 0, problems, "window").show(0, 0, levels)
    assert rows.events()["price"].tolist() == [0, 6000]
    assert [(one.code, one.rows) for one in problems.listed()] == [("BAD_LEVEL", 3)]


def test_mirroring_twice_gives_the_same_quote() -> None:
    for quote in ((4000, 4100), (0, 100), (9900, 0), (0, 0)):
        assert mirrored(*mirrored(*quote)) == quote
    assert mirrored(3000, 4500) == (5500, 7000)


def test_an_event_file_reads_back_as_it_was_written(tmp_path) -> None:
    recording = open_source(window(tmp_path, [START + 1, "b", "1", "0.4", "0.5"], [START, "?"]))
    path = tmp_path / "copy.events.npy"
    eventfile.save(path, recording)
    back = open_source(str(path))
    assert isinstance(back.events, np.memmap)
    assert back.events.tobytes() == recording.events.tobytes()
    for field in ("windows", "problems", "assumptions", "checks"):
        assert getattr(back, field) == getattr(recording, field)


def test_an_event_file_of_another_dtype_or_length_is_refused(tmp_path) -> None:
    path = tmp_path / "x.events.npy"
    np.save(path, np.zeros(4))
    with pytest.raises(BadInput, match=r"expected a non-empty array of events.*float64"):
        open_source(str(path))
    eventfile.save(path, open_source(window(tmp_path)))
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(BadInput, match=r"expected a whole event file"):
        open_source(str(path))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("kind", 77, "known kind"), ("side", 9, "known side"), ("ts_ns", 5, "receipt time")],
)
def test_an_impossible_event_is_named_by_its_number(tmp_path, field, value, said) -> None:
    recording = open_source(window(tmp_path))
    recording.events[field][2] = value
    path = tmp_path / "x.events.npy"
    eventfile.save(path, recording)
    with pytest.raises(BadInput, match=rf"event 2: expected a {said}"):
        open_source(str(path))


def test_windows_that_overlap_in_time_share_their_prints_once(tmp_path) -> None:
    shared = [[START + 299.5, "s", START + 299, 7.5], [START + 299.75, "l", START + 298, 8.5]]
    window(tmp_path, *shared)
    later = {"cid": f"btc-updown-5m-{START + 300}", "window_ts": START + 300}
    second = {**json.loads((tmp_path / "window.json").read_text()), **later}
    second["events"] += [[START + 602, "t", START + 600, 99.0]]
    (tmp_path / "later.json").write_text(json.dumps(second))
    recording = open_source(str(tmp_path))
    assert list(recording.slugs.values()) == [SLUG, later["cid"]]
    assert len(kinds(recording, Kind.SPOT)) == 1
    assert sorted(kinds(recording, Kind.REFERENCE)["ref"].tolist()) == [0, 60, 60, 60]
    assert kinds(recording, Kind.TIMER)["ts_ns"].tolist() == [recording.events["ts_ns"][-1]]


MARKET, UP = next((market, up) for market, (_, up) in clob_frames.CAPTURED.items())


def frames(tmp_path, *payloads: dict) -> Recording:
    path = tmp_path / "frames.jsonl"
    stamped = [{"market": MARKET, "timestamp": str(1000 + at)} for at in range(len(payloads))]
    path.write_text(
        "\n".join(
            json.dumps({"capturedAt": 1, "payload": {**stamp, **payload}})
            for stamp, payload in zip(stamped, payloads, strict=True)
        )
    )
    return open_source(str(path))


def book(asset: str = UP) -> dict:
    bids, asks = [{"price": "0.4", "size": "5"}], [{"price": "0.5", "size": "6"}]
    return {"event_type": "book", "asset_id": asset, "hash": "", "bids": bids, "asks": asks}


def change(price: str, size: str, side: str = "BUY", asset: str = UP) -> dict:
    level = {"asset_id": asset, "price": price, "size": size, "side": side, "hash": ""}
    best = {"best_bid": "0.4", "best_ask": "0.5"}
    return {"event_type": "price_change", "price_changes": [{**level, **best}]}


def trade(asset: str, side: str) -> dict:
    return {
        "event_type": "last_trade_price",
        "asset_id": asset,
        "price": "0.3",
        "size": "2",
        "side": side,
    }


def test_only_up_changes_become_levels_and_disagreements_are_counted(tmp_path) -> None:
    recording = frames(
        tmp_path, book(), book("other"), change("0.45", "1"), change("0.6", "1", "SELL", "other")
    )
    assert kinds(recording, Kind.LEVEL)["price"].tolist() == [4000, 5000, 4500]
    assert recording.checks[0] == ("best prices", 2, 1, 1)


def test_a_changed_tick_makes_the_book_unusable_until_its_snapshot(tmp_path) -> None:
    tick = {"event_type": "tick_size_change", "asset_id": UP}
    tick |= {"old_tick_size": "0.01", "new_tick_size": "0.001"}
    recording = frames(tmp_path, book(), tick, tick, change("0.401", "1"), book())
    found = [Kind(int(kind)) for kind in recording.events["kind"]]
    snapshot = [Kind.CLEAR, Kind.LEVEL, Kind.LEVEL]
    assert found == [Kind.LISTED, *snapshot, Kind.TICK, Kind.GAP, *snapshot, Kind.TIMER]
    assert [(one.code, one.rows) for one in recording.problems] == [("BEFORE_SNAPSHOT", 1)]


def test_a_trade_on_down_is_the_opposite_trade_on_up(tmp_path) -> None:
    found = kinds(frames(tmp_path, trade(UP, "BUY"), trade("other", "BUY")), Kind.TRADE)
    assert found["price"].tolist() == [3000, 7000]
    assert found["side"].tolist() == [Side.BID, Side.ASK]


def test_frames_of_unknown_shape_market_or_number_are_counted(tmp_path) -> None:
    recording = frames(
        tmp_path,
        book(),
        {"event_type": "news"},
        {**book(), "market": "0x0"},
        change("cheap", "1"),
    )
    counted = {one.code: one.rows for one in recording.problems}
    assert counted == {"UNKNOWN_FRAME": 1, "UNKNOWN_MARKET": 1, "BAD_NUMBER": 1}


def test_a_new_market_frame_names_the_window_of_its_frames(tmp_path) -> None:
    named = {"event_type": "new_market", "slug": SLUG, "clob_token_ids": ["7", "8"]}
    resolved = {"event_type": "market_resolved", "winning_asset_id": "7"}
    mine = {"market": "0x7"}
    recording = frames(tmp_path, {**named, **mine}, {**book("7"), **mine}, {**resolved, **mine})
    assert recording.slugs == {0: SLUG}
    assert recording.windows[0].outcome == "Up"
    assert kinds(recording, Kind.RESOLVED)["price"].tolist() == [10_000]


@pytest.mark.parametrize(
    "row",
    [
        [START + 1, "t", "soon", 1.5],
        [START + 1, "l", START, None],
        [START + 1, ["b"], "1", "0.4", "0.5"],
        [1e300, "s", START, 1.5],
        [START + 1, "b", "1", ["0.4"], "0.5"],
        [START + 1, "b", "1", "1.5", "0.5"],
        "row",
        [],
    ],
)
def test_any_odd_row_is_counted_once_and_never_ends_the_reading(tmp_path, row) -> None:
    recording = open_source(window(tmp_path, row))
    assert ("BAD_ROW", 1) in [(one.code, one.rows) for one in recording.problems]
    assert len(kinds(recording, Kind.REFERENCE)) == 2


def test_a_label_that_is_no_result_is_refused(tmp_path) -> None:
    with pytest.raises(BadInput, match=r"expected a label with resolved_up 0 or 1"):
        open_source(window(tmp_path, label={"resolved_up": 7}))


def test_a_number_that_fits_no_event_is_refused(tmp_path) -> None:
    with pytest.raises(BadInput, match=r"expected numbers that fit 64 bits"):
        open_source(window(tmp_path, [START, "p", "1", "0.5", "1e30"]))


def test_a_quote_is_kept_when_a_bad_row_of_its_instant_follows(tmp_path) -> None:
    good, bad = [START + 1, "b", "1", "0.4", "0.5"], [START + 1, "b", "2", "x", "y"]
    levels = kinds(open_source(window(tmp_path, good, bad)), Kind.LEVEL)
    assert levels["price"].tolist() == [4000, 5000]
