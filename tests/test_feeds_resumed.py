"""After a reconnect or a restart, what the venues tell again is no event, and what is new is."""

from typing import Any

import pytest
from wire_messages import MS, NS, dump

from fairwind.core.events import Kind
from fairwind.feeds.binance import Binance
from fairwind.feeds.coinbase import Coinbase
from fairwind.feeds.kpis import Count
from fairwind.feeds.reference import PolyBolt, Prints, Rtds

STAMP = "2026-09-21T14:13:20.5Z"


def prices(feed: Any, *messages: dict[str, Any]) -> list[int]:
    rows = [row for message in messages for row in feed.take(dump(message), NS + 10**9)]
    assert {row[6] for row in rows} <= {Kind.SPOT}
    return [row[2] for row in rows]


def ticker(number: int, price: str, kind: str, product: str = "BTC-USD") -> dict[str, Any]:
    tick = {"type": "ticker", "product_id": product, "price": price}
    event = {"type": kind, "tickers": [tick]}
    return {"channel": "ticker", "timestamp": STAMP, "sequence_num": number, "events": [event]}


def level2(number: int, bid: str) -> dict[str, Any]:
    updates = [
        {"side": side, "price_level": price, "new_quantity": "1"}
        for side, price in (("bid", bid), ("offer", "102"))
    ]
    event = {"type": "snapshot", "product_id": "BTC-USD", "updates": updates}
    return {"channel": "l2_data", "timestamp": STAMP, "sequence_num": number, "events": [event]}


def trade(number: int, price: str, at_ms: int = MS) -> dict[str, Any]:
    data = {"s": "BTCUSDT", "t": number, "p": price, "q": "0.01", "T": at_ms}
    return {"stream": "btcusdt@trade", "data": data}


def best(number: int, bid: str) -> dict[str, Any]:
    data = {"s": "BTCUSDT", "u": number, "b": bid, "B": "1", "a": "102", "A": "1"}
    return {"stream": "btcusdt@bookTicker", "data": data}


def relayed(value: float, at_s: int = 0) -> dict[str, Any]:
    point = {"timestamp": MS + at_s * 1000, "value": value}
    payload = {"symbol": "btcusdt", "data": [point]}
    return {"topic": "crypto_prices", "type": "subscribe", "payload": payload}


def test_coinbase_first_ticker_counts_once_over_a_reconnect() -> None:
    feed = Coinbase()
    assert prices(feed, ticker(0, "100", "snapshot")) == [10_000_000_000]
    feed.disconnected(NS)
    assert prices(feed, ticker(0, "100.00", "snapshot")) == []
    assert feed.kpis.counts[Count.DUPLICATES] == 1
    feed.disconnected(NS)
    assert prices(feed, ticker(0, "101", "snapshot")) == [10_100_000_000]


def test_a_coinbase_trade_at_the_known_price_is_news() -> None:
    feed = Coinbase()
    feed.resume(0, 10_000_000_000, NS)
    assert len(prices(feed, ticker(0, "100", "update"), ticker(1, "100", "update"))) == 2


def test_the_last_trade_of_coinbase_exchange_is_known_by_its_time() -> None:
    def exchange(price: str, second: int) -> dict[str, Any]:
        time = f"2026-09-21T14:13:{second}Z"
        return {"type": "ticker", "product_id": "BTC-USD", "price": price, "time": time}

    feed = Coinbase()
    feed.resume(0, 10_000_000_000, NS)
    again, newer = exchange("100", 20), exchange("100", 21)
    assert prices(feed, again, newer, newer) == [10_000_000_000]


def test_coinbase_assets_are_known_apart() -> None:
    feed = Coinbase()
    feed.resume(0, 10_000_000_000, NS)
    assert len(prices(feed, ticker(0, "100", "snapshot", "ETH-USD"))) == 1


def test_a_coinbase_book_with_the_known_mid_is_no_news() -> None:
    feed = Coinbase()
    feed.resume(0, 10_100_000_000, NS)
    assert prices(feed, level2(0, "100"), level2(1, "101")) == [10_150_000_000]


def test_a_binance_trade_that_is_told_again_is_no_news_and_the_next_one_is() -> None:
    feed = Binance()
    feed.resume(0, 10_000_000_000, NS)
    found = prices(feed, trade(7, "100"), trade(8, "100"), trade(9, "101"))
    assert found == [10_000_000_000, 10_100_000_000]
    feed.disconnected(NS)
    assert prices(feed, trade(9, "101")) == []
    feed.disconnected(NS)
    assert prices(feed, trade(9, "101", MS + 1)) == [10_100_000_000]


def test_binance_best_prices_that_stand_unchanged_are_no_news() -> None:
    feed = Binance()
    assert prices(feed, best(1, "100")) == [10_100_000_000]
    feed.disconnected(NS)
    assert prices(feed, best(1, "100"), best(2, "100")) == [10_100_000_000]


def test_a_relayed_price_counts_once_over_connections_and_restarts() -> None:
    prints = Prints()
    prints.resume(0, 10_000_000_000, NS)
    assert prices(Rtds(prints), relayed(100.0), relayed(101.0)) == [10_100_000_000]
    assert prices(Rtds(prints), relayed(101.0), relayed(101.0, 1)) == [10_100_000_000]


@pytest.mark.parametrize("known", [(0, 0, -1), (0, 60, -2), (1, 60, -1)], ids=str)
def test_only_the_remembered_observation_is_left_out(known: tuple[int, int, int]) -> None:
    asset, averaging_s, at_s = known
    prints = Prints()
    prints.remember(asset, averaging_s, NS + at_s * 10**9)
    data = [{"timestamp": MS + at * 1000, "value": 76_210.25} for at in (-2, -1)]
    payload = {"symbol": "btc/usd", "data": data}
    first = {"topic": "crypto_prices_twap_sixty", "type": "subscribe", "payload": payload}
    found = [(row[1] - NS) // 10**9 for row in Rtds(prints).take(dump(first), NS)]
    assert found == ([-1] if known == (0, 60, -2) else [-2, -1])


def test_the_time_since_the_last_remembered_observation_is_a_gap() -> None:
    prints = Prints()
    prints.remember(0, 0, NS - 60 * 10**9)
    feed = Rtds(prints)
    payload = {"symbol": "btc/usd", "timestamp": MS, "value": 76_210.25}
    message = {"topic": "crypto_prices_chainlink", "type": "update", "payload": payload}
    assert len(feed.take(dump(message), NS)) == 1
    assert feed.kpis.counts[Count.GAPS] == 1


def test_a_first_frame_without_a_past_is_no_fault() -> None:
    feeds = Rtds(Prints()), PolyBolt(Prints())
    for topic in ("crypto_prices", "crypto_prices_twap_sixty"):
        payload = {"symbol": "eth/usd", "data": []}
        first = {"topic": topic, "type": "subscribe", "payload": payload}
        assert feeds[0].take(dump(first), NS) == []
    channel = {"channel": "price.crypto", "seq": 1, "snapshot": True}
    payload = {"symbol": "ethusd", "source": "chainlink", "data": []}
    assert feeds[1].take(dump({**channel, "payload": payload}), NS) == []
    assert feeds[0].kpis.counts == {Count.MESSAGES: 2, Count.IGNORED: 2}
    assert feeds[1].kpis.counts == {Count.MESSAGES: 1, Count.IGNORED: 1}
