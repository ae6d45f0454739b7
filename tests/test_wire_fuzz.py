"""Mutated frames: whatever comes, a feed counts it or takes it, and a book is never malformed.

FAIRWIND_LONG tries a million inputs, else twenty thousand. Real frames are the seeds where the
recorded data is there, our own messages everywhere.
"""

import json
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from conftest import LONG, SHARED
from wire_messages import (
    CAPTURED,
    CONDITION,
    DOWN,
    NS,
    RAW,
    SAMPLES,
    UP,
    binance_day,
    book,
    captured,
    change,
    dump,
    market,
    sessions,
)

from fairwind.core.events import Kind, Side
from fairwind.feeds import account, polymarket
from fairwind.feeds.binance import Binance
from fairwind.feeds.coinbase import Coinbase
from fairwind.feeds.frames import BadFrame, Reason, Row
from fairwind.feeds.polymarket import MarketChannel
from fairwind.feeds.reference import PolyBolt, Prints, Rtds

INPUTS = 1_000_000 if LONG else 20_000
SHARES = {
    "market": 0.6,
    "account": 0.1,
    "coinbase": 0.1,
    "binance": 0.1,
    "rtds": 0.05,
    "bolt": 0.05,
}
STRANGE = (
    *(None, True, 0, -1, 0.5, 1e300, [], {}, [[]], "", "0", "1", "-0.5", "NaN", "Infinity"),
    *("1e-3", "0.50", "0.5005", " 0.5", "0x1", "1_0", "٠.٥", "9" * 400, "BUY", "\ud800", 10**400),
)


def scrambled(random_: random.Random, payload: bytes) -> bytes:
    """The payload with a few bytes changed, cut, removed or repeated."""
    data = bytearray(payload or b" ")
    at, length = random_.randrange(len(data)), random_.randrange(1, 40)
    match random_.randrange(4):
        case 0:
            for _ in range(random_.randrange(1, 5)):
                data[random_.randrange(len(data))] = random_.randrange(256)
        case 1:
            del data[at:]
        case 2:
            del data[at : at + length]
        case 3:
            data[at:at] = data[at : at + length]
    return bytes(data)


def retyped(random_: random.Random, payload: bytes) -> bytes:
    """The message with one field deleted, renamed, copied over another, or of a strange value."""
    message = json.loads(payload)
    node: Any = message
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return payload
        key = random_.choice(keys)
        if isinstance(node[key], dict | list) and random_.random() < 0.9:
            node = node[key]
            continue
        break
    match random_.randrange(4):
        case 0:
            del node[key]
        case 1 if isinstance(node, dict):
            node[str(key) + "x"] = node.pop(key)
        case 2:
            node[key] = node[random_.choice(keys)]
        case _:
            node[key] = random_.choice(STRANGE)
    return json.dumps(message, separators=(",", ":")).encode()


def mutants(seed: int, number: int, seeds: list[bytes]) -> Any:
    random_ = random.Random(seed)
    readable = [one for one in seeds if one[:1] in (b"{", b"[")]
    for _ in range(number):
        if random_.random() < 0.4:
            yield retyped(random_, random_.choice(readable))
        else:
            yield scrambled(random_, random_.choice(seeds))


def some(frames: list[bytes], number: int) -> list[bytes]:
    """Every so many of the frames."""
    return frames[:: max(1, len(frames) // number)]


def samples(pattern: str) -> list[bytes]:
    found = [json.loads(one.read_text()) for one in sorted(SAMPLES.glob(pattern))]
    return [dump(one) for one in found]


def market_seeds() -> list[bytes]:
    trade = {"event_type": "last_trade_price", "market": CONDITION, "timestamp": "1790000000001"}
    trade |= {"asset_id": UP, "price": "0.3", "size": "7.1", "side": "BUY"}
    tick = {"event_type": "tick_size_change", "market": CONDITION, "timestamp": "1790000000001"}
    tick |= {"asset_id": UP, "old_tick_size": "0.01", "new_tick_size": "0.001"}
    down = book(token=DOWN, bids=(("0.5", "40"),), asks=(("0.52", "20.5"),))
    found = [change("BUY", "0.47", "12"), change("SELL", "0.51", "0.55"), trade, tick]
    ours = [dump(one) for one in (book(), [book(), down], *found)] * 20
    if not SHARED.exists():
        return ours
    frames = [frame for _, frame in captured()]
    books = [one for one in frames if b'"bids"' in one]
    return [*ours, *some(frames, 150), *some(books, 4), *samples("pm_ws_market_*")]


ORACLE = {"timestamp": NS // 10**6, "value": 100.5, "full_accuracy_value": "100500000000000000000"}
BOLT_PAYLOAD = {"symbol": "btcusd", "window_seconds": 60, "source": "chainlink", "timestamp": 1}
SIMPLE = {
    "coinbase": (
        {
            "channel": "ticker",
            "timestamp": "2026-09-21T14:13:20.5Z",
            "sequence_num": 0,
            "events": [{"tickers": [{"product_id": "BTC-USD", "price": "1"}]}],
        },
    ),
    "binance": (
        {
            "stream": "btcusdt@bookTicker",
            "data": {"s": "BTCUSDT", "u": 1, "b": "1", "B": "1", "a": "2", "A": "1"},
        },
    ),
    "rtds": (
        {
            "topic": "crypto_prices_chainlink",
            "type": "update",
            "payload": {"symbol": "btc/usd", **ORACLE},
        },
    ),
    "bolt": (
        {
            "channel": "price.crypto.twap",
            "seq": 1,
            "payload": {**BOLT_PAYLOAD, **ORACLE, "full_accuracy_value": "100.5"},
        },
    ),
    "account": (
        {
            "type": "PLACEMENT",
            "id": "0x1",
            "market": "0x2",
            "asset_id": "3",
            "side": "BUY",
            "price": "0.4",
            "status": "LIVE",
            "original_size": "5",
            "size_matched": "0",
            "timestamp": NS // 10**9,
        },
    ),
}


def recorded_seeds(name: str) -> list[bytes]:
    match name:
        case "coinbase":
            recorded = (RAW / "coinbase_advanced_trade_20260907.jsonl").read_bytes().splitlines()
            return [*recorded, *samples("cb_*ws_*")]
        case "binance":
            return some([one for _, one in binance_day()], 100)
        case "rtds":
            (one,) = samples("pm_rtds_frames.json")
            found = [frame for source, _, frame in sessions() if "rtds" in source]
            return [*some(found, 40), *[dump(frame) for frame in json.loads(one).values()]]
        case "bolt":
            (one,) = samples("pm_polybolt_frames.json")
            return [dump(frame) for frame in json.loads(one).values()]
        case _:
            return samples("pm_ws_user_*_*al*")


def seeds(name: str) -> list[bytes]:
    ours = [dump(one) for one in SIMPLE[name]] * 3
    return [*ours, *(recorded_seeds(name) if SHARED.exists() else [])]


class Shadow:
    """A slow second book of one market, built from the rows alone."""

    def __init__(self) -> None:
        self.usable = False
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def take(self, row: Row) -> None:
        _, _, price, size, _, _, kind, _, side, _ = row
        if kind == Kind.GAP:
            self.usable = False
        elif kind == Kind.CLEAR:
            self.usable, self.sides = True, ({}, {})
        elif kind == Kind.LEVEL:
            assert self.usable and 0 < price < 10_000 and price % 5 == 0 and size >= 0
            self.sides[side][price] = size
            if size == 0:
                del self.sides[side][price]

    def check(self) -> None:
        bids, asks = self.sides[Side.BID], self.sides[Side.ASK]
        assert not self.usable or not bids or not asks or max(bids) < min(asks)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


def malformed(payload: bytes) -> set[str]:
    """The markets of books and changes that nobody should take, by an independent slow reading."""
    try:
        frames = json.loads(payload)
    except (ValueError, RecursionError):
        return set()
    try:
        json.loads(payload, object_pairs_hook=once)
        single = True
    except AssertionError:
        single = False
    found = [one for one in (frames if isinstance(frames, list) else [frames]) if of_a_book(one)]
    return {one["market"] for one in found if not (single and good(one))}


def of_a_book(frame: Any) -> bool:
    kinds = ("book", "price_change")
    return (
        isinstance(frame, dict)
        and frame.get("event_type") in kinds
        and isinstance(frame.get("market"), str)
    )


def good(frame: Any) -> bool:
    """Whether each number of the message is one that can stand in a book."""
    try:
        if frame["event_type"] == "price_change":
            for one in frame.get("price_changes") or ():
                price, size = Decimal(one["price"]), Decimal(one["size"])
                assert 0 < price < 1 and size >= 0 and one["side"] in ("BUY", "SELL")
                bid, ask = one["best_bid"], one["best_ask"]
                assert {bid, ask} & {"", "0", "1"} or Decimal(bid) < Decimal(ask)
            return True
        sides = [
            [(Decimal(one["price"]), Decimal(one["size"])) for one in frame[side]]
            for side in ("bids", "asks")
        ]
        levels = [level for side in sides for level in side]
        assert all(0 < price < 1 and size > 0 for price, size in levels)
        assert len({price for price, _ in levels}) == len(levels)
        bids, asks = sides
        assert not bids or not asks or max(bids)[0] < min(asks)[0]
    except (AssertionError, ArithmeticError, ValueError, TypeError, KeyError, AttributeError):
        return False
    return True


def refusals(feed: Any) -> int:
    return sum(feed.kpis.counts[reason] for reason in Reason)


def snapshots() -> dict[str, bytes]:
    """A good book of Up for each market that is watched."""
    found = {CONDITION: dump(book())}
    if SHARED.exists():
        for _, frame in captured():
            message = json.loads(frame)
            up, _ = CAPTURED[message["market"]]
            if message["event_type"] == "book" and message["asset_id"] == up:
                found.setdefault(message["market"], frame)
    return found


@pytest.mark.parametrize("batched", [False, True], ids=["alone", "in a batch"])
def test_no_mutated_frame_breaks_a_book_or_is_taken_for_one(batched: bool) -> None:
    channel, fresh, shadows = MarketChannel(), snapshots(), []
    tokens = {CONDITION: (UP, DOWN), **CAPTURED}
    for number, condition in enumerate(fresh):
        channel.watch(market(condition, *tokens[condition], number), 0)
        shadows.append(Shadow())
    found = refused = 0
    for payload in mutants(1, int(INPUTS * SHARES["market"]), market_seeds()):
        for condition in fresh:
            if not channel.live(condition):
                feed(channel, fresh[condition], shadows, batched)
            assert channel.live(condition)
        before = refusals(channel)
        feed(channel, payload, shadows, batched)
        refused += refusals(channel) > before
        for condition in malformed(payload) & fresh.keys():
            found += 1
            assert refusals(channel) > before or not channel.live(condition), payload
    assert found > INPUTS * 0.02 and refused > INPUTS * 0.2


def feed(channel: MarketChannel, payload: bytes, shadows: list[Shadow], batched: bool) -> None:
    rows = channel.take_batch([(NS, payload)]).tolist() if batched else channel.take(payload, NS)
    for row in rows:
        shadows[row[4]].take(row)
    for shadow in shadows:
        shadow.check()


FEEDS: dict[str, Callable[[], Any]] = {
    "coinbase": Coinbase,
    "binance": Binance,
    "rtds": lambda: Rtds(Prints()),
    "bolt": lambda: PolyBolt(Prints()),
}


@pytest.mark.parametrize("name", FEEDS)
def test_no_mutated_frame_breaks_a_price_feed(name: str) -> None:
    feed, taken = FEEDS[name](), 0
    inputs = int(INPUTS * SHARES[name])
    for payload in mutants(2, inputs, seeds(name)):
        for row in feed.take(payload, NS + 10**9):
            taken += 1
            assert row[2] > 0 and row[3] >= 0 and row[4] < 8
            assert row[6] in (Kind.SPOT, Kind.REFERENCE)
        feed.disconnected(NS)
    assert refusals(feed) > inputs * 0.1 and taken > 0


@pytest.mark.parametrize(
    "decode", [lambda one: account.decode(one, "me"), polymarket.decode_rest_book]
)
def test_no_mutated_frame_breaks_a_decoder(decode: Callable[[bytes], object]) -> None:
    refused = 0
    for payload in mutants(3, int(INPUTS * SHARES["account"] / 2), seeds("account")):
        try:
            decode(payload)
        except BadFrame:
            refused += 1
    assert refused > 0
