"""Recorded frames are decoded by the live decoders, and nothing of them is passed over."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from test_wire_discovery import MARKET, SLUG, gamma
from wire_messages import ASKS, BIDS, MS, book, change, dump

from fairwind.core.errors import BadInput
from fairwind.core.events import Kind, Source
from fairwind.core.units import MILLISECOND_NS, SECOND_NS
from fairwind.feeds.discovery import end_ns
from fairwind.feeds.recorded import raw
from fairwind.feeds.recorded.raw import Recorder
from fairwind.feeds.recorded.recording import Recording, Window
from fairwind.feeds.recorded.source import open_source
from fairwind.run.recorded import recording_of

NS = MS * MILLISECOND_NS
END_NS = end_ns(MARKET)
CLOSED = {"closed": True, "umaResolutionStatus": "resolved", "outcomePrices": '["0", "1"]'}
LEVELS = len(BIDS) + len(ASKS)


def recorded(folder: Path, *records: tuple[str, int, Any]) -> Recording:
    """The recording of (line, ns after NS, message; a text is a loss's reason)."""
    recorder = Recorder(folder)
    for line, after_ns, message in records:
        if isinstance(message, str):
            recorder.lost(line, NS + after_ns, message)
        else:
            recorder.put(line, NS + after_ns, dump(message))
    recorder.close()
    return recording_of(folder)


def told(recording: Recording) -> list[tuple[Kind, int]]:
    """(kind, ms after NS) of the events, without timers."""
    return [
        (Kind(one["kind"]), (int(one["ts_ns"]) - NS) // MILLISECOND_NS)
        for one in recording.events
        if one["kind"] != Kind.TIMER
    ]


FOUND = ("gamma", 0, gamma())
BOOK = ("market", 20 * MILLISECOND_NS, book())


def test_a_recorded_window_is_told_from_listing_to_result(tmp_path: Path) -> None:
    spot = {"type": "update", "tickers": [{"product_id": "BTC-USD", "price": "76000.5"}]}
    ticker = {"channel": "ticker", "timestamp": "2026-09-21T14:13:20Z", "sequence_num": 0}
    point = {"symbol": "btc/usd", "timestamp": MS, "value": 76_000.25}
    oracle = {"topic": "crypto_prices_chainlink", "type": "update", "payload": point}
    recording = recorded(
        tmp_path,
        FOUND,
        ("coinbase", 50 * MILLISECOND_NS, {**ticker, "events": [spot]}),
        BOOK,
        ("market", 30 * MILLISECOND_NS, change("BUY", "0.48", "7")),
        ("rtds", 60 * MILLISECOND_NS, oracle),
        ("gamma", END_NS - NS + 90 * SECOND_NS, gamma(**CLOSED)),
        ("gamma", END_NS - NS + 91 * SECOND_NS, gamma(**CLOSED)),
    )
    result_ms = (END_NS - NS + 90 * SECOND_NS) // MILLISECOND_NS
    assert told(recording)[:2] == [(Kind.LISTED, 0), (Kind.FEES, 0)]
    assert told(recording)[2:] == [
        (Kind.CLEAR, 20),
        *[(Kind.LEVEL, 20)] * LEVELS,
        (Kind.LEVEL, 30),
        (Kind.SPOT, 50),
        (Kind.REFERENCE, 60),
        (Kind.RESOLVED, result_ms),
    ]
    assert recording.windows == (Window(slug=SLUG, payout_e4=0),)
    assert recording.slugs == {0: SLUG}
    assert recording.problems == ()


def test_time_passes_between_frames_as_it_did_live(tmp_path: Path) -> None:
    recording = recorded(tmp_path, FOUND, ("market", 10 * SECOND_NS, book()))
    times = recording.events["ts_ns"].tolist()
    assert all(one <= other for one, other in pairwise(times))
    timers = recording.events[recording.events["kind"] == Kind.TIMER]
    assert len(timers) == 40 and set(timers["source"]) == {Source.CLOCK}


def test_a_recorded_loss_ends_the_books_and_a_new_file_is_one(tmp_path: Path) -> None:
    lost = recorded(tmp_path / "a", FOUND, BOOK, ("market", 40 * MILLISECOND_NS, "silent"))
    assert told(lost)[-1] == (Kind.GAP, 40)
    recorded(tmp_path / "b", FOUND, BOOK)
    later = ("market", 20 * SECOND_NS, book(at_ms=20_000))
    again = told(recorded(tmp_path / "b", later))
    assert [kind for kind, _ in again].count(Kind.LISTED) == 1
    gap = again.index((Kind.GAP, 20))
    assert again[gap + 1 :] == [(Kind.CLEAR, 20_000), *[(Kind.LEVEL, 20_000)] * LEVELS]


def test_lines_are_put_in_order_and_one_line_keeps_its_own(tmp_path: Path) -> None:
    def change_at(ms: int, price: str) -> tuple[str, int, Any]:
        return "market", ms * MILLISECOND_NS, change("BUY", price, "7", best=("0.48", "0.5"))

    def oracle_at(ms: int) -> tuple[str, int, Any]:
        point = {"symbol": "btc/usd", "timestamp": MS + ms, "value": 76_000.25}
        message = {"topic": "crypto_prices_chainlink", "type": "update", "payload": point}
        return "rtds", ms * MILLISECOND_NS, message

    set_back = [change_at(600, "0.45"), change_at(100, "0.46"), change_at(700, "0.44")]
    recording = recorded(tmp_path, FOUND, BOOK, *set_back, oracle_at(50), oracle_at(650))
    found = [(kind, ms) for kind, ms in told(recording) if ms > 20]
    assert found == [
        (Kind.REFERENCE, 50),
        (Kind.LEVEL, 600),
        (Kind.LEVEL, 600),
        (Kind.REFERENCE, 650),
        (Kind.LEVEL, 700),
    ]
    prices = recording.events["price"][recording.events["kind"] == Kind.LEVEL][LEVELS:]
    assert prices.tolist() == [4500, 4600, 4400]


def test_a_window_that_is_over_is_followed_no_more(tmp_path: Path) -> None:
    late_ns = END_NS - NS + 1900 * SECOND_NS
    recording = recorded(
        tmp_path, FOUND, BOOK, ("market", late_ns, book()), ("market", late_ns + SECOND_NS, book())
    )
    assert [kind for kind, _ in told(recording)].count(Kind.CLEAR) == 1


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.put("gamma", NS, dump(gamma(version="v2")))
    recorder.put("telegraph", NS, b"{}")
    recorder.put("market", NS, b"<html>")
    recorder.close()
    recorder.path.write_bytes(recorder.path.read_bytes() + b"torn")
    recording = recording_of(recorder.path)
    found = {one.code: one.example for one in recording.problems}
    assert sorted(found) == ["CUT", "NOT_JSON", "RANGE", "UNKNOWN_LINE"]
    assert "4 bytes from byte" in found["CUT"] and "market" in found["NOT_JSON"]
    assert recording.windows == ()


def test_a_recording_without_frames_is_refused(tmp_path: Path) -> None:
    Recorder(tmp_path).close()
    with pytest.raises(BadInput, match="found none; record some first"):
        recording_of(tmp_path)


def test_a_folder_of_frames_is_a_source(tmp_path: Path) -> None:
    made = recorded(tmp_path, FOUND, BOOK)
    opened = open_source(str(tmp_path), decode=recording_of)
    assert opened.events.tolist() == made.events.tolist()
    assert raw.is_recording(tmp_path)
