"""The market channel's frames, recorded and our own: every kind parses, and says what it says."""

import json
from collections import Counter

import msgspec
import pytest
from conftest import needs_shared
from wire_messages import (
    CAPTURED,
    CONDITION,
    DOWN,
    SAMPLES,
    UP,
    book,
    captured,
    change,
    dump,
    fed,
    market,
    sessions,
    watching,
)

from fairwind.core.events import Kind
from fairwind.feeds import polymarket
from fairwind.feeds.frames import BadFrame, as_events
from fairwind.feeds.kpis import Count
from fairwind.feeds.polymarket import MarketChannel

NEW_MARKET = {
    "event_type": "new_market",
    "market": CONDITION,
    "timestamp": "1790000000000",
    "slug": "btc-updown-5m-1790000100",
    "clob_token_ids": [UP, DOWN],
    "fee_schedule": {"rate": "0.07", "exponent": "1", "taker_only": True},
    "active": False,
}


def watching_the_capture() -> MarketChannel:
    channel = MarketChannel()
    for number, (condition, (up, down)) in enumerate(CAPTURED.items()):
        channel.watch(market(condition, up, down, number), 0)
    return channel


def test_an_answer_to_a_ping_is_no_message() -> None:
    assert polymarket.decode(b"PONG") == polymarket.decode(b"") == polymarket.decode(b"[]") == []


def test_the_first_frame_is_a_list_of_books() -> None:
    channel = watching()
    rows = fed(channel, [book(), book(token=DOWN, bids=(("0.5", "40"),), asks=(("0.52", "1"),))])
    assert len(rows) == 5 and channel.live(CONDITION)


def test_fields_that_the_venue_adds_are_passed_over() -> None:
    more = {"event_type": "book", "min_order_size": "5", "neg_risk": False, "extra": {"a": [1]}}
    assert len(fed(watching(), {**book(), **more})) == 5


def test_a_new_market_is_counted_and_looked_for_by_its_slug() -> None:
    channel = watching()
    assert fed(channel, NEW_MARKET) == []
    assert channel.kpis.counts["ignored"] == 1


def test_best_prices_alone_are_read_and_change_nothing() -> None:
    best = {"event_type": "best_bid_ask", "market": CONDITION, "timestamp": "1790000000001"}
    best |= {"asset_id": UP, "best_bid": "", "best_ask": "0.5", "spread": ""}
    channel = watching()
    assert fed(channel, best, {**best, "best_bid": "none"}) == []
    assert channel.kpis.counts["NUMBER"] == 1


def test_a_message_ages_from_the_venues_stamp_to_its_receipt() -> None:
    channel = watching()
    fed(channel, book(), at_ms=100)
    assert 100_000_000 <= channel.kpis.age_percentile_ns(50) < 113_000_000


def test_a_rest_book_needs_no_event_type_and_no_key_twice() -> None:
    shown = {key: value for key, value in book().items() if key != "event_type"}
    assert polymarket.decode_rest_book(dump(shown)).asset_id == UP
    twice = dump(shown).replace(b'"market"', b'"market":"0","market"')
    with pytest.raises(BadFrame, match="each key once"):
        polymarket.decode_rest_book(twice)


def test_the_client_frames_are_what_the_venue_documents() -> None:
    assert msgspec.json.decode(polymarket.subscribe_first([UP])) == {
        "type": "market",
        "assets_ids": [UP],
        "custom_feature_enabled": True,
    }
    assert msgspec.json.decode(polymarket.subscribe([UP]))["operation"] == "subscribe"
    assert msgspec.json.decode(polymarket.unsubscribe([UP])) == {
        "operation": "unsubscribe",
        "assets_ids": [UP],
    }


def test_deep_nesting_and_bytes_that_are_no_text_are_no_json() -> None:
    for payload in (b"[" * 100_000, b'{"event_type":"book\xff"}', b"\x00", b"<html>"):
        with pytest.raises(BadFrame):
            polymarket.decode(payload)


@needs_shared
@pytest.mark.parametrize("name", [one.name for one in sorted(SAMPLES.glob("pm_ws_market_*"))])
def test_every_sample_of_the_market_channel_parses(name: str) -> None:
    if "client" in name:
        frames = json.loads((SAMPLES / name).read_text())
        ours = msgspec.json.decode(polymarket.subscribe_first(["<UP token id>", "<DOWN token id>"]))
        assert ours == frames["initial_subscribe"]
        return
    assert polymarket.decode((SAMPLES / name).read_bytes())


@needs_shared
def test_the_sample_of_a_rest_book_parses() -> None:
    assert polymarket.decode_rest_book((SAMPLES / "pm_rest_book.json").read_bytes()).bids


@needs_shared
def test_the_whole_capture_becomes_one_consistent_book_of_each_market() -> None:
    channel = watching_the_capture()
    rows = [row for stamp, frame in captured() for row in channel.take(frame, stamp)]
    kinds = Counter(as_events(rows)["kind"].tolist())
    # A change is one level, a book sent after a trade differs by one level, the first books are
    # two snapshots; nothing is refused or doubted.
    assert kinds == {Kind.LEVEL: 5454, Kind.TRADE: 71, Kind.CLEAR: 2}
    assert channel.resyncs(1) == [] and all(map(channel.live, CAPTURED))
    counts = channel.kpis.counts
    assert counts[Count.MESSAGES] == 5544
    assert set(counts) == {Count.MESSAGES, Count.CHECKSUMS} and counts[Count.CHECKSUMS] > 5


@needs_shared
def test_every_recorded_frame_of_the_sessions_parses() -> None:
    found: Counter[str] = Counter()
    for source, _, payload in sessions():
        if source == "polymarket_clob" and b'"event_type"' not in payload:
            found["rest"] += bool(polymarket.decode_rest_book(payload))
        elif source == "polymarket_clob":
            found["stream"] += bool(polymarket.decode(payload))
    assert found == {"rest": 150, "stream": 90}


def test_a_change_before_its_listing_is_ignored() -> None:
    assert fed(MarketChannel(), book(), change("BUY", "0.47", "1")) == []
