"""Recorded files that are damaged, odd or small: what is read from them and what is said."""

import codecs
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fairwind.core.errors import BadInput
from fairwind.core.events import Kind, Side, Source
from fairwind.feeds.recorded import eventfile
from fairwind.feeds.recorded.btc15m_bba import COLUMNS
from fairwind.feeds.recorded.recording import RESOLVED_ASSUMED, Rows
from fairwind.feeds.recorded.source import open_source

START = 1787236800
SLUG = f"btc-updown-5m-{START}"
LABEL = {"resolved_up": 1, "price_to_beat": 100.5, "final_price": 101.25}
AVERAGES = [[START + 1.5, "t", START, 100.5], [START + 301.5, "t", START + 300, 101.25]]


def window(
    tmp_path, *events: list, label: dict = LABEL, name: str = "window.json", **changed: object
) -> str:
    path = tmp_path / name
    data = {"window_ts": START, "cid": SLUG, "token_up": "1", "token_down": "2", "label": label}
    path.write_text(json.dumps({**data, "events": [*AVERAGES, *events], **changed}))
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
    path.write_text(
        header + "1780876800000,63304.2,63304200000000000000,1780876800939,1780876800950\n"
    )
    with pytest.raises(BadInput, match=r"row 1 \(line 2\)"):
        open_source(str(path))


def oracle_csv(tmp_path, receipt: int) -> str:
    path = tmp_path / "BTCUSD-prices-2026-06-08.csv"
    header = "feed_ts_ms,value,full_accuracy_value,server_ts_ms,recv_ms\n"
    path.write_text(f"{header}1780876800000,63.5,63500000000000000000,1780876800939,{receipt}\n")
    return str(path)


@pytest.mark.parametrize("receipt", [-5, 0, 1, 4_102_444_800_000, 10**30])
def test_an_oracle_row_received_at_no_time_is_named(tmp_path, receipt: int) -> None:
    with pytest.raises(BadInput, match=rf"row 1 \(line 2\): expected two times.*{receipt}"):
        open_source(oracle_csv(tmp_path, receipt))


def test_rows_received_at_no_time_are_refused_by_their_kind() -> None:
    for ts_ns in (0, -1, 1_262_303_999 * 10**9, 4_102_444_800 * 10**9):
        rows = Rows()
        rows.add(Kind.SPOT, START * 10**9, price=1)
        rows.add(Kind.TRADE, ts_ns, price=1)
        with pytest.raises(BadInput, match=rf"from 2010 to 2100, found {ts_ns} ns in a TRADE row"):
            rows.events()


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


@pytest.mark.parametrize(
    "row",
    [
        [START + 1, "t", "soon", 1.5],
        [START + 1, "l", START, None],
        [START + 1, ["b"], "1", "0.4", "0.5"],
        [1e300, "s", START, 1.5],
        [True, "s", START, 1.5],
        [START * 1000, "s", START, 1.5],
        [START - 86_401, "b", "1", "0.4", "0.5"],
        [START + 86_401, "p", "1", "0.4", "5"],
        [START, "s", True, 1.5],
        [START, "l", START - 86_401, 1.5],
        [START, "l", START + 1.5, 1.5],
        [START, "s", START, -1.5],
        [START, "s", START, 1e9],
        [START, "l", START, "1e30"],
        [START, "l", START, "NaN"],
        [START, "p", "1", "0.5", "1e12"],
        [START, "p", "1", "0.5", "inf"],
        [START + 1, "b", "1", ["0.4"], "0.5"],
        [START + 1, "b", "1", "1.5", "0.5"],
        "row",
        [],
    ],
)
def test_any_odd_row_is_counted_once_and_never_ends_the_reading(tmp_path, row) -> None:
    recording = open_source(window(tmp_path, row))
    (bad,) = [one for one in recording.problems if one.code == "BAD_ROW"]
    assert bad.rows == 1
    assert bad.example.endswith(f": {row!r}")
    found = [Kind(int(kind)) for kind in recording.events["kind"]]
    assert found == [Kind.LISTED, Kind.REFERENCE, Kind.REFERENCE, Kind.TIMER]


def test_an_observation_a_second_after_its_receipt_is_kept(tmp_path) -> None:
    recording = open_source(window(tmp_path, [START, "s", START + 1, 1.5]))
    assert len(kinds(recording, Kind.SPOT)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"resolved_up": 7},
        {"resolved_up": -1},
        {"resolved_up": 0.5},
        {"resolved_up": "1"},
        {"price_to_beat": "NaN"},
        {"final_price": "Infinity"},
    ],
)
def test_a_label_that_is_no_result_is_refused(tmp_path, wrong: dict) -> None:
    with pytest.raises(BadInput, match=r"expected a label with resolved_up 0 or 1"):
        open_source(window(tmp_path, label={**LABEL, **wrong}))


def test_a_number_that_fits_no_event_is_refused() -> None:
    rows = Rows()
    rows.add(Kind.TRADE, START * 10**9, size=10**30)
    with pytest.raises(BadInput, match=r"expected numbers that fit 64 bits"):
        rows.events()


def test_a_window_with_one_token_for_both_outcomes_is_refused(tmp_path) -> None:
    with pytest.raises(BadInput, match=r"expected two tokens, found '1' as token_up and token_d"):
        open_source(window(tmp_path, token_down="1"))


def test_a_window_whose_start_is_not_its_slugs_is_refused(tmp_path) -> None:
    with pytest.raises(BadInput, match=rf"expected the start of {SLUG}, found {START + 300}"):
        open_source(window(tmp_path, window_ts=START + 300))


def test_an_hours_window_settles_on_a_source_that_is_not_modelled(tmp_path) -> None:
    recording = open_source(window(tmp_path, cid=f"btc-updown-1h-{START}"))
    (problem,) = recording.problems
    assert problem.code == "SETTLEMENT_NOT_MODELLED"
    assert "1h windows settle on a source that is not modelled" in problem.example
    assert Source.RECORDED not in recording.events["source"]
    (resolved,) = kinds(recording, Kind.RESOLVED)
    assert (resolved["ts_ns"], resolved["price"]) == ((START + 3600 + 20) * 10**9, 10_000)
    assert RESOLVED_ASSUMED in recording.assumptions


def test_a_byte_order_mark_changes_nothing(tmp_path) -> None:
    path = Path(window(tmp_path))
    plain = open_source(str(path)).events
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert open_source(str(path)).events.tobytes() == plain.tobytes()
    quotes, lines = quotes_csv(tmp_path, 3)
    Path(quotes).write_text("\n".join(lines), encoding="utf-8-sig")
    assert len(open_source(quotes).windows) == 1


def test_a_number_that_json_does_not_have_is_not_called_a_cut(tmp_path) -> None:
    path = window(tmp_path, [START, "s", START, float("nan")])
    with pytest.raises(BadInput, match=r"not JSON.*invalid character.*NaN") as refused:
        open_source(path)
    assert "truncated" not in str(refused.value)
    assert "fetch" not in str(refused.value)


@pytest.mark.parametrize("depth", [0.0, 0.009, 1e9, float("nan")])
def test_a_depth_that_nothing_could_trade_is_refused(tmp_path, depth: float) -> None:
    with pytest.raises(BadInput, match=r"expected a depth of at least 0.01"):
        open_source(window(tmp_path), quote_depth_shares=depth)


def test_a_quote_is_kept_when_a_bad_row_of_its_instant_follows(tmp_path) -> None:
    good, bad = [START + 1, "b", "1", "0.4", "0.5"], [START + 1, "b", "2", "x", "y"]
    levels = kinds(open_source(window(tmp_path, good, bad)), Kind.LEVEL)
    assert levels["price"].tolist() == [4000, 5000]
