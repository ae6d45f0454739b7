"""Books rebuilt from recorded levels and raw frames: snapshots, changes, holes, odd frames."""

import json

import numpy as np

from fairwind.core.events import Flag, Kind, Side
from fairwind.feeds.recorded import clob_frames
from fairwind.feeds.recorded.ladder import Ladder, mirrored
from fairwind.feeds.recorded.recording import Problems, Recording, Rows
from fairwind.feeds.recorded.source import open_source

START = 1787236800
SLUG = f"btc-updown-5m-{START}"


def kinds(recording: Recording, kind: Kind) -> np.ndarray:
    return recording.events[recording.events["kind"] == kind]


def test_a_ladder_writes_a_snapshot_then_changes_then_a_snapshot_after_a_hole() -> None:
    rows = Rows()
    ladder = Ladder(rows, 3, Problems(), "window")
    second = 10**9
    ladder.show(START * second, 0, {(Side.BID, 4000): 5, (Side.ASK, 4100): 6})
    ladder.show((START + 1) * second, 0, {(Side.BID, 4000): 5, (Side.ASK, 4200): 6})
    ladder.show((START + 7) * second, 0, {(Side.BID, 4000): 5})
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
    ladder.show(START * 10**9, 0, {(Side.BID, 9700): 5})
    ladder.show(START * 10**9 + 1, 0, {(Side.BID, 9710): 5})
    found = rows.events()[2:]
    assert found["kind"].tolist() == [Kind.TICK, Kind.CLEAR, Kind.LEVEL]
    assert found["price"].tolist() == [10, 0, 9710]


def test_a_level_that_cannot_stand_in_a_book_is_left_out_and_counted() -> None:
    rows, problems = Rows(), Problems()
    levels = {(Side.BID, 4001): 5, (Side.BID, 0): 5, (Side.ASK, 5000): -1, (Side.ASK, 6000): 1}
    Ladder(rows, 0, problems, "window").show(START * 10**9, 0, levels)
    assert rows.events()["price"].tolist() == [0, 6000]
    assert [(one.code, one.rows) for one in problems.listed()] == [("BAD_LEVEL", 3)]


def test_mirroring_twice_gives_the_same_quote() -> None:
    for quote in ((4000, 4100), (0, 100), (9900, 0), (0, 0)):
        assert mirrored(*mirrored(*quote)) == quote
    assert mirrored(3000, 4500) == (5500, 7000)


MARKET, UP = next((market, up) for market, (_, up) in clob_frames.CAPTURED.items())


def frames(tmp_path, *payloads: dict) -> Recording:
    path = tmp_path / "frames.jsonl"
    stamped = [
        {"market": MARKET, "timestamp": str(START * 1000 + at)} for at in range(len(payloads))
    ]
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
