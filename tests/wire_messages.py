"""Messages of the venues' shape with values of our own, and the recorded ones where they lie.

In: nothing. Out: builders of payloads, and iterators over recorded frames.
"""

import gzip
import json
from collections.abc import Iterator
from typing import Any

from conftest import SHARED

from fairwind.core.events import EVENT
from fairwind.feeds.books import Market
from fairwind.feeds.checksum import TokenBook, book_hash
from fairwind.feeds.frames import Row, as_events
from fairwind.feeds.polymarket import MarketChannel

CONDITION, UP, DOWN = "0x" + "ab" * 32, "7" * 77, "8" * 76
MS = 1_790_000_000_000
NS = MS * 1_000_000
RAW, SAMPLES = SHARED / "data" / "raw_frames", SHARED / "wire_samples"
CAPTURE = RAW / "clob_market_20260421.jsonl.gz"
CAPTURED = {
    "0x125149c5918fc5f8c6d34682f700a898a1a19ea4f4e2ae68ff4c5794ba657074": (
        "45936375922793925919605092352922707796689801895417366600539442410775071099958",
        "86520121088881862182423437128238697252500151785248183602134095101149900014256",
    ),
    "0xdab1ff110d9d2439c5bd75c4f503ae7300457a35b124ce0c7260ec86dcc688c8": (
        "13917627517502768201235213826866970628416806758650647861097354638225151676696",
        "79951446619687279678993570456142474051779067785614208685555261501997794502271",
    ),
}
"""The capture's markets: condition id -> (Up's token, Down's token)."""


def dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def market(
    condition_id: str = CONDITION, up: str = UP, down: str = DOWN, number: int = 3
) -> Market:
    return Market(
        number=number,
        series=0,
        start_ns=NS,
        condition_id=condition_id,
        up=up,
        down=down,
    )


def watching() -> MarketChannel:
    """A channel that watches our own market, listed already."""
    channel = MarketChannel()
    channel.watch(market(), NS)
    return channel


def levels(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"price": price, "size": size} for price, size in pairs]


BIDS, ASKS = (("0.47", "10"), ("0.48", "20.5")), (("0.52", "30"), ("0.5", "40"))


def book(
    bids: tuple[tuple[str, str], ...] = BIDS,
    asks: tuple[tuple[str, str], ...] = ASKS,
    at_ms: int = 0,
    token: str = UP,
    **more: Any,
) -> dict[str, Any]:
    """A snapshot whose hash fits."""
    shown = TokenBook(CONDITION, token, dict(bids), dict(asks))
    return {
        "market": CONDITION,
        "asset_id": token,
        "timestamp": str(MS + at_ms),
        "hash": book_hash(shown, str(MS + at_ms), ""),
        "bids": levels(*bids),
        "asks": levels(*asks),
        "tick_size": "0.01",
        "event_type": "book",
        "last_trade_price": "",
        **more,
    }


def change(
    side: str,
    price: str,
    size: str,
    best: tuple[str, str] = ("0.48", "0.5"),
    at_ms: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """Up's new total at a price, and its mirror on Down; `best` after it."""
    other = {"BUY": "SELL", "SELL": "BUY"}
    up = {"asset_id": UP, "price": price, "size": size, "side": side, "hash": "x"}
    down = {"asset_id": DOWN, "price": _less(price), "size": size, "side": other[side], "hash": "y"}
    bests = {"best_bid": best[0], "best_ask": best[1]}
    mirrored = {"best_bid": _less(best[1]), "best_ask": _less(best[0])}
    return {
        "market": CONDITION,
        "price_changes": [{**up, **bests}, {**down, **mirrored}],
        "timestamp": str(MS + at_ms),
        "event_type": "price_change",
        **more,
    }


def _less(price: str) -> str:
    return f"{(10_000 - round(float(price) * 10_000)) / 10_000:g}"


def fed(channel: MarketChannel, *messages: Any, at_ms: int = 5) -> list[Row]:
    """The rows of messages that are received `at_ms`."""
    return [one for message in messages for one in channel.take(dump(message), NS + at_ms * 10**6)]


def summary(rows: list[Row]) -> list[tuple[int, ...]]:
    """(kind, side, price, size, flags) of each row."""
    events = as_events(rows)
    assert events.dtype == EVENT
    fields = ("kind", "side", "price", "size", "flags")
    return [tuple(int(one[name]) for name in fields) for one in events]


def captured() -> Iterator[tuple[int, bytes]]:
    """(venue's time in ns, frame) of the market channel's capture, by the venue's time."""
    with gzip.open(CAPTURE, "rt") as file:
        found = [json.loads(line)["payload"] for line in file]
    found.sort(key=lambda one: (int(one["timestamp"]), one["event_type"] != "book"))
    for one in found:
        yield int(one["timestamp"]) * 1_000_000, dump(one)


def sessions() -> Iterator[tuple[str, int, bytes]]:
    """(source, receipt in ns, payload) of all recorded sessions."""
    for path in sorted(RAW.glob("m9-*.jsonl")):
        for line in path.read_text().splitlines():
            one = json.loads(line)
            yield one["source"], one["recv_wall_ts"] * 1_000_000, one["payload"].encode()


def binance_day() -> Iterator[tuple[int, bytes]]:
    """(receipt in ns, payload) of the recorded Binance streams."""
    with gzip.open(RAW / "binance_spot_btcusdt_20240809.gz", "rb") as file:
        for line in file:
            stamp, _, payload = line.partition(b" ")
            yield int(stamp), payload.strip()
