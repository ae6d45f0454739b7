"""The spot feeds, recorded and our own: which frames become prices, and which do not."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from conftest import needs_shared
from wire_messages import MS, NS, RAW, SAMPLES, binance_day, dump, sessions

from fairwind.core.events import Kind, Source
from fairwind.feeds import binance, coinbase
from fairwind.feeds.binance import Binance
from fairwind.feeds.coinbase import Coinbase
from fairwind.feeds.frames import BadFrame, as_events
from fairwind.feeds.kpis import Count

AT = "2026-09-21T14:13:20.5Z"
"""The time NS, half a second later, as Coinbase writes it."""


def message(number: int, channel: str, *events: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "channel": channel,
        "timestamp": AT,
        "sequence_num": number,
        "events": [*events],
        **more,
    }


def ticker(number: int, price: str = "68900.5", product: str = "BTC-USD") -> dict[str, Any]:
    return message(number, "ticker", {"tickers": [{"product_id": product, "price": price}]})


def levels(number: int, kind: str, *updates: tuple[str, str, str]) -> dict[str, Any]:
    found = [{"side": s, "price_level": p, "new_quantity": q} for s, p, q in updates]
    return message(number, "l2_data", {"type": kind, "product_id": "BTC-USD", "updates": found})


def prices(feed: Any, *messages: Any) -> list[int]:
    return [one[2] for message in messages for one in feed.take(dump(message), NS + 10**9)]


SNAPSHOT = levels(0, "snapshot", ("bid", "100", "1"), ("bid", "99", "1"), ("offer", "102", "2"))


def test_a_ticker_is_a_spot_price_with_its_time() -> None:
    feed = Coinbase()
    (row,) = feed.take(dump(ticker(0)), NS + 10**9)
    (event,) = as_events([row])
    assert (event["kind"], event["source"], event["market"]) == (Kind.SPOT, Source.COINBASE, 0)
    assert (event["price"], event["ts_source_ns"]) == (6_890_050_000_000, NS + 500_000_000)
    assert 500_000_000 <= feed.kpis.age_percentile_ns(99) < 563_000_000


@pytest.mark.parametrize(("product", "number"), [("BTC-USDC", 1), ("BTC-PERP-INTX", 0)])
def test_only_dollar_products_of_our_assets_are_prices(product: str, number: int) -> None:
    assert len(prices(Coinbase(), ticker(0, product=product))) == number


def test_a_client_id_may_be_there_and_a_heartbeat_counter_may_be_text() -> None:
    feed = Coinbase()
    beats = [(0, 7), (1, "8"), (2, 12)]
    for number, count in beats:
        beat = {"heartbeat_counter": count, "current_time": "2026-09-21 +0000 UTC m=+1"}
        prices(feed, message(number, "heartbeats", beat, client_id=""))
    assert feed.kpis.counts == {Count.MESSAGES: 3, Count.HEARTBEAT_MISSES: 3}


def test_a_lost_message_stops_everything_until_a_new_connection() -> None:
    feed = Coinbase()
    assert len(prices(feed, ticker(0), ticker(2), ticker(3))) == 1
    assert feed.kpis.counts[Count.GAPS] == 1
    assert feed.wanted is not None and "1 is missing" in feed.wanted
    feed.disconnected(NS)
    assert feed.wanted is None
    assert len(prices(feed, ticker(0), ticker(1))) == 2


def test_a_malformed_message_of_no_book_is_counted_and_the_next_one_follows() -> None:
    feed = Coinbase()
    strange = [message(0, "novelty"), ticker(1, "NaN"), {**ticker(2), "events": 0}]
    assert len(prices(feed, *strange, ticker(3))) == 1
    assert feed.kpis.counts == {Count.MESSAGES: 4, "SHAPE": 2, "NUMBER": 1}


def test_a_message_without_its_number_is_lost() -> None:
    feed = Coinbase()
    assert feed.take(b'{"channel":"tick', NS) == []
    assert feed.wanted is not None and feed.kpis.counts[Count.GAPS] == 1


def test_a_malformed_message_of_the_book_wants_a_new_connection() -> None:
    feed = Coinbase()
    assert len(prices(feed, SNAPSHOT, message(1, "l2_data", {"type": "rumour"}))) == 1
    assert feed.wanted is not None


def test_a_late_message_and_a_repeated_one_are_ignored() -> None:
    feed = Coinbase()
    assert len(prices(feed, ticker(0), ticker(1), ticker(1), ticker(0))) == 2
    assert (feed.kpis.counts[Count.DUPLICATES], feed.kpis.counts[Count.OUT_OF_ORDER]) == (1, 1)


def test_a_book_gives_the_mid_and_any_zero_removes() -> None:
    found = prices(
        Coinbase(),
        SNAPSHOT,
        levels(1, "update", ("bid", "100", "0.00000000")),
        levels(2, "update", ("offer", "101", "3"), ("bid", "100.5", "0.1")),
        levels(3, "update", ("offer", "101", "0"), ("offer", "102", "0")),
    )
    assert found == [10_100_000_000, 10_050_000_000, 10_075_000_000]


def test_a_level_that_comes_and_goes_is_kept_once() -> None:
    book = coinbase.Ladders()
    for price in (5, 7, 6):
        book.set("bid", price, 1)
    for size in (0, 1, 0, 1, 0):
        book.set("bid", 6, size)
    assert book.best("bid") == 7
    book.set("bid", 7, 0)
    assert book.best("bid") == 5
    book.set("bid", 6, 2)
    assert book.best("bid") == 6 and book.best("offer") is None
    assert len(book._heaps["bid"]) == 2


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("CROSSED", levels(1, "update", ("bid", "102", "1"))),
        ("NUMBER", levels(1, "update", ("bid", "101", "-1"))),
        ("NUMBER", levels(1, "update", ("bid", "NaN", "1"))),
        ("PRICE", levels(1, "update", ("bid", "0", "1"))),
        ("SHAPE", levels(1, "update", ("ask", "101", "1"))),
        ("DUPLICATE_LEVEL", levels(1, "snapshot", ("bid", "1", "1"), ("bid", "1.0", "2"))),
    ],
)
def test_a_malformed_spot_book_is_refused_and_wants_a_new_connection(
    reason: str, bad: dict[str, Any]
) -> None:
    feed = Coinbase()
    assert len(prices(feed, SNAPSHOT, bad, levels(2, "update", ("bid", "100", "9")))) == 1
    assert feed.kpis.counts[reason] == 1 and feed.wanted is not None


def test_an_update_without_its_snapshot_is_refused() -> None:
    feed = Coinbase()
    assert prices(feed, levels(0, "update", ("bid", "100", "1"))) == []
    assert feed.kpis.counts["SHAPE"] == 1


def test_new_prints_are_prices_and_old_ones_of_a_snapshot_are_not() -> None:
    def trades(number: int, kind: str) -> dict[str, Any]:
        one = {"product_id": "BTC-USD", "size": "0.5", "side": "BUY", "trade_id": "1"}
        found = [
            {**one, "price": "102", "time": AT},
            {**one, "price": "101", "time": AT[:19] + "Z"},
        ]
        return message(number, "market_trades", {"type": kind, "trades": found})

    assert prices(Coinbase(), trades(0, "snapshot"), trades(1, "update")) == [
        10_100_000_000,
        10_200_000_000,
    ]


def test_channels_without_prices_are_ignored_by_name_and_an_error_is_counted() -> None:
    feed = Coinbase()
    unused = ("candles", "status", "subscriptions", "user")
    prices(feed, *[message(at, channel) for at, channel in enumerate(unused)])
    prices(feed, {"type": "error", "message": "authentication failure"})
    assert feed.kpis.counts == {Count.MESSAGES: 5, Count.IGNORED: 4, "REFUSED": 1}
    assert feed.wanted is None


def test_each_channel_is_subscribed_in_its_own_frame() -> None:
    frames = [msgspec.json.decode(one) for one in coinbase.subscriptions(["BTC-USD"])]
    assert frames == [
        {"type": "subscribe", "channel": "heartbeats"},
        {"type": "subscribe", "channel": "ticker", "product_ids": ["BTC-USD"]},
    ]


@pytest.mark.parametrize("text", ["", "2026-09-21", "2026-13-21T14:13:20Z", "2026-09-21T14:13:20"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    feed = Coinbase()
    assert prices(feed, {**ticker(0), "timestamp": text}) == []
    assert feed.kpis.counts["TIME"] == 1


def stream(name: str, **data: Any) -> dict[str, Any]:
    return {"stream": f"btcusdt@{name}", "data": {"s": "BTCUSDT", **data}}


def trade(number: int, price: str = "76584.81") -> dict[str, Any]:
    return stream("trade", e="trade", E=MS, t=number, p=price, q="0.01", T=MS, m=False, M=True)


def quote(number: int, bid: str = "100", ask: str = "101") -> dict[str, Any]:
    return stream("bookTicker", u=number, b=bid, B="1", a=ask, A="2")


def depth(first: int, last: int, size: str = "1") -> dict[str, Any]:
    return stream("depth@100ms", e="depthUpdate", E=MS, U=first, u=last, b=[["1", size]], a=[])


def test_prints_and_mids_are_prices_and_depth_is_not() -> None:
    found = prices(Binance(), trade(1), quote(5), depth(1, 2))
    assert found == [7_658_481_000_000, 10_050_000_000]


def test_jumps_in_ids_that_count_every_message_are_gaps() -> None:
    feed = Binance()
    prices(feed, trade(1), trade(3), quote(1), quote(9), depth(1, 2), depth(3, 4), depth(6, 7))
    assert feed.kpis.counts == {Count.MESSAGES: 7, Count.GAPS: 2}


def test_repeated_and_older_ids_are_ignored_until_the_next_connection() -> None:
    feed = Binance()
    assert len(prices(feed, trade(5), trade(5), trade(4), quote(9), quote(8))) == 2
    assert (feed.kpis.counts[Count.DUPLICATES], feed.kpis.counts[Count.OUT_OF_ORDER]) == (1, 2)
    feed.disconnected(NS)
    assert len(prices(feed, trade(4))) == 1


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("CROSSED", quote(1, "101", "101")),
        ("NUMBER", quote(1, "1e2", "101")),
        ("NUMBER", depth(1, 2, "-1")),
        ("PRICE", trade(1, "0.00000000")),
        ("SHAPE", stream("trade", t="1")),
        ("SHAPE", stream("kline_1m")),
        ("SHAPE", ["no", "stream"]),
    ],
)
def test_a_malformed_binance_frame_is_counted(reason: str, bad: Any) -> None:
    feed = Binance()
    assert prices(feed, bad) == [] and feed.kpis.counts[reason] == 1


def test_an_answer_to_a_subscription_and_other_symbols_are_ignored() -> None:
    feed = Binance()
    other = {**quote(1), "data": {**quote(1)["data"], "s": "ETHBTC"}}
    assert prices(feed, {"result": None, "id": 1}, other) == []
    assert feed.kpis.counts == {Count.MESSAGES: 2, Count.IGNORED: 1}


@needs_shared
@pytest.mark.parametrize("name", [one.name for one in sorted(SAMPLES.glob("cb_*ws_*"))])
def test_every_coinbase_sample_parses(name: str) -> None:
    assert coinbase.decode((SAMPLES / name).read_bytes())


@needs_shared
def test_every_recorded_coinbase_frame_parses() -> None:
    lines = (RAW / "coinbase_advanced_trade_20260907.jsonl").read_bytes().splitlines()
    kinds = [type(coinbase.decode(one)).__name__ for one in lines[:-1]]
    assert kinds == ["Levels", "Subscriptions", "Subscriptions", "Heartbeats"]
    with pytest.raises(BadFrame, match="authentication failure"):
        coinbase.decode(lines[-1])
    others = Counter(
        type(coinbase.decode(payload)).__name__
        for source, _, payload in sessions()
        if source == "coinbase"
    )
    assert others == {"ExchangeTicker": 72, "ExchangeSubscriptions": 18}


@needs_shared
def test_every_recorded_binance_frame_parses_without_a_gap() -> None:
    feed, found = Binance(), Counter[int]()
    for receipt, payload in binance_day():
        found.update(row[6] for row in feed.take(payload, receipt))
    assert feed.kpis.counts == {Count.MESSAGES: 58_325}
    assert found == {Kind.SPOT: 55_281}
    frames = [payload for source, _, payload in sessions() if source == "binance"]
    assert len(frames) == 90 and all(map(binance.decode, frames))
