"""Frames read in batches by compiled code become exactly what each alone becomes.

FAIRWIND_LONG compares a million mutated frames, else ten thousand.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from conftest import LONG, SHARED, needs_shared
from test_wire_fuzz import retyped, scrambled
from wire_messages import (
    ASKS,
    BIDS,
    CAPTURED,
    CONDITION,
    DOWN,
    NS,
    SAMPLES,
    UP,
    book,
    captured,
    change,
    dump,
    fed,
    levels,
    market,
    sessions,
    watching,
)

from fairwind.core.compiled import INTERPRETED
from fairwind.core.errors import BadInput
from fairwind.core.events import Kind
from fairwind.core.units import MILLISECOND_NS, SECOND_NS
from fairwind.feeds.books import Market
from fairwind.feeds.frames import Row, as_events
from fairwind.feeds.kpis import health
from fairwind.feeds.polymarket import MarketChannel
from fairwind.feeds.scanned.channel import LONGEST
from fairwind.feeds.scanned.record import FRAMES_MAX, MARKETS_MAX
from fairwind.world.generator import generate
from fairwind.world.knobs import Knobs
from fairwind.world.server.venue import MarketFrame, Venue

compiled = pytest.mark.skipif(INTERPRETED, reason="needs compiled code: NUMBA_DISABLE_JIT is set")
INPUTS = 1_000_000 if LONG else 10_000
AGE_NS = 3 * MILLISECOND_NS
HASH = "0123456789abcdef0123456789abcdef01234567"
Frames = Sequence[tuple[int, bytes]]


def channels(number: int, *markets: Market) -> list[MarketChannel]:
    found = [MarketChannel() for _ in range(number)]
    for channel in found:
        for one in markets:
            channel.watch(one, 0)
    return found


def of_the_capture() -> list[Market]:
    named = CAPTURED.items()
    return [market(condition, *tokens, n) for n, (condition, tokens) in enumerate(named)]


class Counted:
    """Counts the frames that compiled code handed back."""

    def __init__(self, channel: MarketChannel) -> None:
        self.frames: list[bytes] = []
        self._other: Callable[[bytes, int], list[Row]] = channel.other
        channel.other = self  # type: ignore[assignment, method-assign]

    def __call__(self, payload: bytes, ts_ns: int) -> list[Row]:
        self.frames.append(payload)
        return self._other(payload, ts_ns)


def state(channel: MarketChannel) -> object:
    """All that a channel will remember: its figures, its books, what it wants."""
    books = [
        (one.live, one._record["sizes"].tobytes(), one._record["stamps"].tobytes())
        for one in channel._books.values()
    ]
    fields = ("snapshot_ns", "newest_ns", "checked_ns", "parity", "heard_ns", "resumed", "trusted")
    rest = [[int(one._record[name]) for name in fields] for one in channel._books.values()]
    bests = [one._best() for one in channel._books.values()]
    prices = [[*one._trades.candidates()] for one in channel._books.values()]
    return health("feed", channel.kpis), books, rest, bests, prices, channel.resyncs(NS)


def compare(single: MarketChannel, batched: MarketChannel, frames: Frames) -> None:
    """Feed both; expect the same rows."""
    rows = [row for ts_ns, payload in frames for row in single.take(payload, ts_ns)]
    found = batched.take_batch(frames)
    assert found.tolist() == as_events(rows).tolist(), frames


@needs_shared
@pytest.mark.parametrize("size", [1, 7, 256, FRAMES_MAX, 10**6])
def test_the_capture_in_batches_is_the_capture_frame_by_frame(size: int) -> None:
    frames = [(stamp + AGE_NS, frame) for stamp, frame in captured()]
    single, batched = channels(2, *of_the_capture())
    handed_back = Counted(batched)
    for at in range(0, len(frames), size):
        compare(single, batched, frames[at : at + size])
    assert state(single) == state(batched)
    assert INTERPRETED or len(handed_back.frames) < 5


@needs_shared
def test_every_recorded_frame_and_sample_is_read_the_same_in_a_batch() -> None:
    samples = [one.read_bytes() for one in sorted(SAMPLES.glob("pm_ws_market_*"))]
    recorded = [one for source, _, one in sessions() if source == "polymarket_clob"]
    frames = [(NS, one) for one in (*samples, *map(compact, samples), *recorded)]
    single, batched = channels(2, *of_the_capture())
    compare(single, batched, frames)
    assert state(single) == state(batched) and len(frames) > 200


def compact(sample: bytes) -> bytes:
    return dump(json.loads(sample))


def test_the_built_in_markets_frames_are_read_the_same_in_batches() -> None:
    tape = generate(Knobs(windows=1, quote_rate=0.1, spot_rate=0.1)).events
    venue = Venue(tape)
    found, _ = venue.advance(int(tape["ts_ns"][-1]))
    sent = [one for one in found if isinstance(one, MarketFrame)]
    shown = venue.numbers[0].listing
    single, batched = channels(2, market(shown.condition_id, *shown.tokens))
    handed_back = Counted(batched)
    frames = [(one.ts_ns + AGE_NS, one.data) for one in sent]
    for at in range(0, len(frames), 100):
        compare(single, batched, frames[at : at + 100])
    assert state(single) == state(batched)
    assert len(frames) > 1000
    assert INTERPRETED or len(handed_back.frames) < len(frames) / 2


def redigited(random_: random.Random, payload: bytes) -> bytes:
    """The payload with a few digits changed: all of it is still of the ordinary shape."""
    data = bytearray(payload)
    places = [at for at, one in enumerate(data) if 48 <= one <= 57]
    for at in random_.sample(places, min(len(places), random_.randrange(1, 4))):
        data[at] = random_.randrange(48, 58)
    return bytes(data)


def printed(price: str = "0.5", size: str = "3", token: str = UP) -> dict[str, Any]:
    """A trade as the venue writes it."""
    found = {"market": CONDITION, "asset_id": token, "price": price, "size": size}
    found |= {"fee_rate_bps": "0", "side": "BUY", "timestamp": str(NS // 10**6 + 2)}
    return found | {"event_type": "last_trade_price", "transaction_hash": "0x" + "ab" * 32}


def best_prices(bid: str = "0.5", ask: str = "0.52") -> dict[str, Any]:
    """Down's best prices alone."""
    found = {"market": CONDITION, "asset_id": DOWN, "best_bid": bid, "best_ask": ask}
    found |= {"spread": "0.02", "timestamp": str(NS // 10**6 + 3), "event_type": "best_bid_ask"}
    return found


def our_stream() -> list[tuple[int, bytes]]:
    """Messages of every ordinary kind about our own market, each fitting the one before it."""
    messages = [book(), ordinary("BUY", "0.47", "12.50"), printed(), again(at_ms=2), best_prices()]
    messages += [ordinary("SELL", "0.51", "7", at_ms=4), again(DOWN, at_ms=5)]
    return [(NS + AGE_NS, dump(one)) for one in messages]


def ordinary(side: str, price: str, size: str, **more: Any) -> dict[str, Any]:
    """A change as the venue writes it, with hashes of the right length."""
    one = change(side, price, size, **more)
    for entry in one["price_changes"]:
        entry["hash"] = HASH
    return one


def again(token: str = UP, at_ms: int = 1, price: str = "0.47", size: str = "10") -> dict[str, Any]:
    """A book as it is sent after a trade; price and size are those of Up's lowest bid."""
    mirrored = [[(f"{1 - float(p):g}", size) for p, size in side] for side in (ASKS, BIDS)]
    sides = [[(price, size), BIDS[1]], [*ASKS]] if token == UP else mirrored
    bids, asks = sorted(sides[0]), sorted(sides[1], reverse=True)
    one = {"market": CONDITION, "asset_id": token, "bids": levels(*bids), "asks": levels(*asks)}
    return {**one, "hash": HASH, "timestamp": str(NS // 10**6 + at_ms), "event_type": "book"}


def mutated(random_: random.Random, stream: Frames) -> Iterator[tuple[int, bytes]]:
    """The stream over and over, every third frame changed before it comes unchanged."""
    while True:
        for ts_ns, payload in stream:
            match random_.randrange(12):
                case 0:
                    yield ts_ns, scrambled(random_, payload)
                case 1:
                    yield ts_ns, retyped(random_, payload)
                case 2 | 3:
                    yield ts_ns, redigited(random_, payload)
            yield ts_ns, payload


@compiled
def test_no_mutated_frame_is_read_differently_in_a_batch() -> None:
    random_ = random.Random(5)
    stream, markets = our_stream() * 20, [market(number=9)]
    if SHARED.exists():
        recorded = [(stamp + AGE_NS, frame) for stamp, frame in captured()]
        stream, markets = stream + recorded, markets + of_the_capture()
    single, batched = channels(2, *markets)
    handed_back = Counted(batched)
    frames, done = mutated(random_, stream), 0
    while done < INPUTS:
        part = [next(frames) for _ in range(random_.randrange(1, 60))]
        compare(single, batched, part)
        done += len(part)
        assert state(single) == state(batched)
    assert done * 0.1 < len(handed_back.frames) < done * 0.7


@compiled
def test_every_ordinary_kind_is_taken_by_compiled_code() -> None:
    single, batched = channels(2, market())
    handed_back = Counted(batched)
    compare(single, batched, our_stream())
    assert len(handed_back.frames) == 1  # the first book of Up
    assert state(single) == state(batched)


SIZES = ("0", "0.0", "00", "01", "1.", ".5", "0.000001", "1.2345678", "20.50", "123456789")
SIZES = (*SIZES, "999999999.999999", "1234567890", "1e3", "+1", "-1", " 1", "1 ", "")
PRICES = ("0.4", "0.40", "0.400", "0.4000", "0.40000", "0.4795", "0.4796", "0.479501", "0.0005")
PRICES = (*PRICES, "0", "0.0", "0.0000", "1", "1.0", "00.4", ".4", "0.", "0.9995", "0.48", "0,4")


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("size", SIZES)
def test_a_number_is_read_the_same_in_a_batch_however_it_is_written(price: str, size: str) -> None:
    single, batched = channels(2, market())
    for one in (ordinary("BUY", "0.4", "1"), ordinary("SELL", "0.9", "1")):
        one["price_changes"][0] |= {"price": price, "size": size}
        one["price_changes"][1] |= {"price": f"{1 - safe(price):.4g}", "size": size}
        compare(single, batched, [(NS, dump(book())), (NS, dump(one))])
        assert state(single) == state(batched)
    trades = [printed(price, size, token) for token in (UP, DOWN)]
    others = [best_prices(price), best_prices("", price), again(size=size), again(price=price)]
    compare(single, batched, [(NS, dump(one)) for one in (book(), *trades, *others)])
    assert state(single) == state(batched)


def safe(price: str) -> float:
    return float(price) if price.replace(".", "").isdigit() else 0.5


@pytest.mark.parametrize("empty", ["", "0", "1", "0.00", "2"])
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_side_that_becomes_empty_is_read_the_same_in_a_batch(side: str, empty: str) -> None:
    single, batched = channels(2, market())
    whole = book(bids=(("0.48", "1"),), asks=(("0.5", "1"),))
    last = ordinary(side, "0.48" if side == "BUY" else "0.5", "0")
    bids = ("best_bid", "best_ask") if side == "BUY" else ("best_ask", "best_bid")
    for entry, name in zip(last["price_changes"], bids, strict=True):
        entry[name] = empty
    back = ordinary(side, "0.47" if side == "BUY" else "0.52", "3", at_ms=2)
    compare(single, batched, [(NS, dump(one)) for one in (whole, last, back)])
    assert state(single) == state(batched)


def test_a_book_whose_checksum_fails_in_a_batch_ends() -> None:
    (channel,) = channels(1, market())
    fed(channel, book())
    wrong = [
        (NS + number * SECOND_NS, dump(ordinary("BUY", "0.47", "1", at_ms=2000 * number)))
        for number in range(1, 6)
    ]
    kinds = channel.take_batch(wrong)["kind"].tolist()
    assert kinds == [Kind.LEVEL] * 2 + [Kind.GAP]
    assert [one.why for one in channel.resyncs(NS)] == ["its checksum keeps failing"]


def test_an_empty_batch_has_no_rows() -> None:
    assert len(watching().take_batch([])) == 0


def test_a_frame_too_long_for_compiled_code_is_read_all_the_same() -> None:
    single, batched = channels(2, market())
    long = dump({**book(), "extra": "x" * LONGEST})
    compare(single, batched, [(NS, long), (NS, dump(change("BUY", "0.47", "1"))), (NS, long)])
    assert batched.live(CONDITION) and state(single) == state(batched)


def test_frames_repeated_across_stretches_and_batches_are_counted_once_each() -> None:
    frames = [(NS, dump(change("BUY", "0.47", "1")))] * (2 * FRAMES_MAX + 3)
    single, batched = channels(2, market())
    for _ in range(2):
        compare(single, batched, [*frames, (NS, b"PONG"), (NS, b"PONG")])
    assert state(single) == state(batched)


def test_a_row_of_a_batch_stays_when_the_next_batch_comes() -> None:
    (channel,) = channels(1, market())
    first = channel.take_batch([(NS, dump(book()))])
    before = first.copy()
    channel.take_batch([(NS, dump(ordinary("BUY", "0.47", "1")))] * 9)
    assert np.array_equal(first, before)


def test_a_market_with_a_strange_name_is_read_frame_by_frame() -> None:
    single, batched = channels(2, market(condition_id='a"b' * 10), market(up="7"))
    compare(single, batched, [(NS, dump({**book(), "market": 'a"b' * 10})), (NS, dump(book()))])


def test_more_markets_than_the_engine_holds_are_refused_until_one_is_forgotten() -> None:
    (channel,) = channels(1, *(market(f"0x{n:064x}", number=n) for n in range(MARKETS_MAX)))
    with pytest.raises(BadInput, match="forget those that are over"):
        channel.watch(market(), NS)
    channel.forget(f"0x{7:064x}")
    channel.watch(market(), NS)
    channel.watch(market(), NS)
    assert len(channel.asset_ids()) == 2 * MARKETS_MAX
    assert channel.take_batch([(NS, dump(book()))])["market"].tolist() == [3] * 5
