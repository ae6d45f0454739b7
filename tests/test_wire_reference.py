"""The oracle's two feeds, recorded and our own: each observation once, exact, and truly its own."""

import json
from typing import Any

import msgspec
import pytest
from conftest import needs_shared
from wire_messages import MS, NS, SAMPLES, dump, sessions

from fairwind.core.events import Kind, Source
from fairwind.feeds import reference
from fairwind.feeds.kpis import Count
from fairwind.feeds.reference import PolyBolt, Prints, Rtds


def observed(at_s: int, value: float = 76_211.5, full: str | None = None) -> dict[str, Any]:
    point: dict[str, Any] = {"timestamp": MS + at_s * 1000, "value": value}
    return point if full is None else {**point, "full_accuracy_value": full}


def rtds(topic: str, payload: dict[str, Any], kind: str = "update") -> dict[str, Any]:
    return {"topic": topic, "type": kind, "timestamp": MS, "payload": payload, "connection_id": "a"}


def rows(feed: Any, *messages: Any) -> list[tuple[int, ...]]:
    """(kind, averaging, seconds after NS, value_e8, remainder) of each row."""
    found = [one for message in messages for one in feed.take(dump(message), NS + 10**9)]
    return [(one[6], one[5], (one[1] - NS) // 10**9, one[2], one[3]) for one in found]


SPOT_TOPIC, POINTS, TWAP = "crypto_prices", "crypto_prices_chainlink", "crypto_prices_twap_sixty"
EXACT = "76211500000000000000001"
KIND = int(Kind.REFERENCE)


def test_an_oracle_print_keeps_every_digit() -> None:
    feed = Rtds(Prints())
    one = {"symbol": "btc/usd", **observed(0, full=EXACT)}
    expected = [(KIND, averaging, 0, 7_621_150_000_000, 1) for averaging in (0, 60)]
    assert rows(feed, rtds(POINTS, one), rtds(TWAP, {**one, "window_s": 60})) == expected


def test_the_first_frame_is_told_by_its_symbol_and_not_by_its_topic() -> None:
    feed = Rtds(Prints())
    assert feed.take(b"", NS) == []
    past = {"symbol": "btc/usd", "data": [observed(-1, 76_210.25), observed(-2, 76_209.5)]}
    assert rows(feed, rtds(SPOT_TOPIC, past, "subscribe")) == [
        (KIND, 0, -2, 7_620_950_000_000, 0),
        (KIND, 0, -1, 7_621_025_000_000, 0),
    ]
    relayed = {"symbol": "btcusdt", **observed(0, full="76211.50000000")}
    (row,) = feed.take(dump(rtds(SPOT_TOPIC, relayed)), NS)
    assert (row[6], row[7], row[2]) == (Kind.SPOT, Source.BINANCE, 7_621_150_000_000)


def test_an_observation_counts_once_whichever_feed_brings_it() -> None:
    prints = Prints()
    first, second = Rtds(prints), PolyBolt(prints)
    one = {"symbol": "btc/usd", **observed(0, full=EXACT)}
    bolt = {"symbol": "btcusd", "window_seconds": 60, "source": "chainlink"}
    sent = {"v": 1, "channel": reference.BOLT_TWAP, "seq": 1, "ts": MS}
    assert len(rows(first, rtds(TWAP, {**one, "window_s": 60}))) == 1
    assert rows(second, {**sent, "payload": {**bolt, **observed(0, full="76211.5")}}) == []
    assert second.kpis.counts[Count.DUPLICATES] == 1


def test_missing_seconds_are_a_gap_and_a_late_observation_still_counts() -> None:
    feed = Rtds(Prints())
    found = [rtds(POINTS, {"symbol": "btc/usd", **observed(at, full=EXACT)}) for at in (-9, -2, -5)]
    assert [at for _, _, at, _, _ in rows(feed, *found)] == [-9, -2, -5]
    assert (feed.kpis.counts[Count.GAPS], feed.kpis.counts[Count.OUT_OF_ORDER]) == (1, 1)


@pytest.mark.parametrize(
    ("reason", "topic", "payload"),
    [
        ("RANGE", POINTS, {"symbol": "btc/usd", **observed(0, full="76211500000000000000")}),
        ("NUMBER", POINTS, {"symbol": "btc/usd", **observed(0, full="76211.5")}),
        ("RANGE", SPOT_TOPIC, {"symbol": "btcusdt", **observed(0, full=EXACT)}),
        ("NUMBER", SPOT_TOPIC, {"symbol": "btcusdt", **observed(0, full="NaN")}),
        ("RANGE", POINTS, {"symbol": "btc/usd", **observed(0, value=-1.0)}),
        ("RANGE", POINTS, {"symbol": "btcusdt", **observed(0, full=EXACT)}),
        ("RANGE", TWAP, {"symbol": "btc/usd", "window_s": 30, **observed(0, full=EXACT)}),
        ("TIME", POINTS, {"symbol": "btc/usd", **observed(99, full=EXACT)}),
        ("SHAPE", POINTS, {"symbol": "btc/usd", "data": []}),
        ("SHAPE", POINTS, {"symbol": "btc/usd", "value": "76211.5", "timestamp": MS}),
    ],
)
def test_a_malformed_print_is_counted_with_its_reason(
    reason: str, topic: str, payload: dict[str, Any]
) -> None:
    feed = Rtds(Prints())
    assert rows(feed, rtds(topic, payload)) == [] and feed.kpis.counts[reason] == 1


def test_an_error_body_is_a_refusal_and_other_topics_are_ignored() -> None:
    feed = Rtds(Prints())
    refusal = {"body": {"message": "topic: x not found"}, "statusCode": 401}
    assert rows(feed, refusal, rtds("activity", {"side": "BUY"})) == []
    assert feed.kpis.counts == {Count.MESSAGES: 2, "REFUSED": 1, Count.IGNORED: 1}


def bolt(seq: int, at_s: int, **more: Any) -> dict[str, Any]:
    payload = {"symbol": "btcusd", "window_seconds": 60, "source": "chainlink"}
    payload |= observed(at_s, full="76211.500000000000000001")
    found = {"v": 1, "channel": reference.BOLT_TWAP, "seq": seq, "ts": MS, "payload": payload}
    return {**found, **more}


def test_a_lost_bolt_message_makes_its_channel_unusable_until_a_snapshot() -> None:
    feed = PolyBolt(Prints())
    assert rows(feed, bolt(1, -9), bolt(3, -7), bolt(4, -6)) == [
        (KIND, 60, -9, 7_621_150_000_000, 1)
    ]
    assert list(feed.wanted) == [reference.BOLT_TWAP] and feed.kpis.counts[Count.GAPS] == 1
    past = {**bolt(5, 0)["payload"], "data": [observed(at) for at in (-8, -7, -6)]}
    assert [at for _, _, at, _, _ in rows(feed, bolt(5, 0, snapshot=True, payload=past))] == [
        -8,
        -7,
        -6,
    ]
    assert len(rows(feed, bolt(6, -5))) == 1


def test_messages_dropped_for_our_slowness_are_lost_messages() -> None:
    feed = PolyBolt(Prints())
    assert len(rows(feed, bolt(1, -9), bolt(2, -8, dropped=3))) == 1
    assert feed.kpis.counts[Count.GAPS] == 1


def test_sequences_start_anew_with_each_connection() -> None:
    feed = PolyBolt(Prints())
    assert len(rows(feed, bolt(1, -9), bolt(1, -8))) == 1
    feed.disconnected(NS)
    assert len(rows(feed, bolt(1, -8))) == 1
    assert feed.kpis.counts[Count.DUPLICATES] == 1 and feed.kpis.counts[Count.GAPS] == 0


def test_another_vendors_price_is_never_the_oracles() -> None:
    feed = PolyBolt(Prints())
    point = {"symbol": "btcusd", **observed(0, full="76211.5")}
    sent = {"channel": reference.BOLT_POINT, "snapshot": False}
    vendors = ({"source": "pyth"}, {}, {"source": "chainlink"})
    found = rows(
        feed, *[bolt(at, 0, **sent, payload={**point, **one}) for at, one in enumerate(vendors, 1)]
    )
    assert found == [(KIND, 0, 0, 7_621_150_000_000, 0)]
    assert feed.kpis.counts[Count.IGNORED] == 1 and feed.kpis.counts["SHAPE"] == 1


def test_the_venues_answers_are_ignored_and_its_errors_counted() -> None:
    feed = PolyBolt(Prints())
    rows(feed, {"op": "authed", "rid": "a"}, {"op": "error", "code": "auth_required", "rid": "s"})
    assert feed.kpis.counts == {Count.MESSAGES: 2, Count.IGNORED: 1, "REFUSED": 1}


def test_an_rtds_filter_has_no_spaces_and_a_bolt_average_its_window() -> None:
    (one,) = msgspec.json.decode(reference.rtds_subscription(TWAP, "btc/usd"))["subscriptions"]
    assert one == {"topic": TWAP, "type": "*", "filters": '{"symbol":"btc/usd"}'}
    sent = msgspec.json.decode(reference.bolt_subscription("s1", reference.BOLT_TWAP, "btcusd"))
    assert sent["subscriptions"][0]["filter"] == {"symbol": "btcusd", "window_seconds": 60}


@needs_shared
def test_every_recorded_rtds_frame_parses() -> None:
    feed = Rtds(Prints())
    frames = [(at, one) for source, at, one in sessions() if source == "polymarket_rtds_chainlink"]
    found = [row for at, one in frames for row in feed.take(one, at)]
    assert len(frames) == 120 and {row[6] for row in found} == {KIND}
    assert set(feed.kpis.counts) <= {
        Count.MESSAGES,
        Count.DUPLICATES,
        Count.OUT_OF_ORDER,
        Count.GAPS,
    }


@needs_shared
def test_every_sample_of_the_oracles_feeds_parses() -> None:
    samples = json.loads((SAMPLES / "pm_rtds_frames.json").read_text())
    for name, one in samples.items():
        feed = Rtds(Prints())
        feed.take(b"" if one == "" else dump(one), 2 * 10**18)
        refused = {"REFUSED": 1} if "error" in name else {}
        expected = {} if one == "" else {Count.MESSAGES: 1, **refused}
        assert "client" in name or feed.kpis.counts == expected
    ours = reference.rtds_subscription("crypto_prices_chainlink", "btc/usd")
    assert msgspec.json.decode(ours) == samples["client_subscribe_chainlink"]
    feed, samples = (
        PolyBolt(Prints()),
        json.loads((SAMPLES / "pm_polybolt_frames.json").read_text()),
    )
    for one in samples.values():
        feed.take(dump(one), 2 * 10**18)
    assert set(feed.kpis.counts) == {Count.MESSAGES, Count.IGNORED, "REFUSED"}
