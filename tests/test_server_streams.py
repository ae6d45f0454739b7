"""The built-in market's sockets and Gamma say what the venue says, frame by frame."""

import asyncio
import hashlib
import json
from typing import Any

import httpx
import pytest
from built_in_market import level, listed, row, served, tape, window_now
from conftest import SHARED, needs_shared
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from fairwind.core.events import Kind, Side
from fairwind.core.units import SECOND_NS
from fairwind.world.server import sockets
from fairwind.world.server.venue import KEPT_NS, MarketFrame, UserFrame, Venue

TS = 1_791_200_000 * SECOND_NS
START = 1_791_200_100 * SECOND_NS


def played(*rows: Any, until_ns: int = TS + 60 * SECOND_NS) -> tuple[Venue, list[Any]]:
    """A venue after its tape, and its market frames as (frame, decoded)."""
    venue = Venue(tape(*listed(TS, START), *rows))
    frames, _ = venue.advance(until_ns)
    return venue, [(f, json.loads(f.data)) for f in frames if isinstance(f, MarketFrame)]


def kinds(frames: list[Any]) -> list[str]:
    return [decoded["event_type"] for _, decoded in frames]


def checksum(book: dict[str, Any], least: str, tick: str, last: str) -> str:
    """The venue's checksum of a token's book, written once more."""
    hashed = {
        "market": book["market"],
        "asset_id": book["asset_id"],
        "timestamp": book["timestamp"],
        "hash": "",
        "bids": book["bids"],
        "asks": book["asks"],
        "min_order_size": least,
        "tick_size": tick,
        "neg_risk": False,
        "last_trade_price": last,
    }
    return hashlib.sha1(json.dumps(hashed, separators=(",", ":")).encode()).hexdigest()


def test_a_listing_is_announced_to_all_and_followed_by_whole_books() -> None:
    _, frames = played()
    assert kinds(frames)[:3] == ["new_market", "book", "book"]
    (announced, market), (book, _) = frames[:2]
    assert announced.tokens == () and announced.custom and not book.custom
    assert market["slug"] == "btc-updown-5m-1791200100"
    assert (
        market["question"]
        == "Bitcoin Up or Down - October 5, 4:15AM-4:20AM UTC"[:20] + (market["question"][20:])
    )


def test_a_delta_comes_for_both_tokens_with_the_checksum_of_the_book_after_it() -> None:
    venue, frames = played(
        level(TS + 1, Side.BID, 4900, 33.5),
        level(TS + 10**6, Side.ASK, 5100, 0),
        level(TS + 2 * 10**6, Side.BID, 5000, 7),
    )
    (shown,) = venue.shown.values()
    up, down = shown.listing.tokens
    books = {d["asset_id"]: d for _, d in frames if d["event_type"] == "book"}
    deltas = [d for _, d in frames if d["event_type"] == "price_change"]
    assert [(c["price"], c["size"], c["side"]) for c in deltas[0]["price_changes"]] == [
        ("0.49", "33.5", "BUY"),
        ("0.51", "33.5", "SELL"),
    ]
    assert [(c["best_bid"], c["best_ask"]) for c in deltas[2]["price_changes"]] == [
        ("0.5", "0.52"),
        ("0.48", "0.5"),
    ]
    for delta in deltas:
        assert [c["asset_id"] for c in delta["price_changes"]] == [up, down]
        for change in delta["price_changes"]:
            book = books[change["asset_id"]]
            side = "bids" if change["side"] == "BUY" else "asks"
            levels = {one["price"]: one["size"] for one in book[side]}
            levels[change["price"]] = change["size"]
            kept = sorted(levels, key=float, reverse=side == "asks")
            book[side] = [{"price": p, "size": levels[p]} for p in kept if levels[p] != "0"]
            book["timestamp"] = delta["timestamp"]
            assert checksum(book, "5", "0.01", "") == change["hash"]


def test_a_trade_is_printed_and_followed_by_both_books_without_tick_or_last_price() -> None:
    _, frames = played(
        row(TS + 1, Kind.TRADE, side=Side.ASK, price=4900, size=30_000_000),
        level(TS + 2, Side.BID, 4900, 70),
    )
    after = [decoded for _, decoded in frames[kinds(frames).index("last_trade_price") :]]
    assert [d["event_type"] for d in after[:3]] == ["last_trade_price", "book", "book"]
    assert (after[0]["side"], after[0]["price"], after[0]["fee_rate_bps"]) == ("BUY", "0.51", "0")
    assert "tick_size" not in after[1] and "last_trade_price" not in after[1]
    assert checksum(after[1], "5", "0.01", "0.510") == after[1]["hash"]


def test_a_new_tick_is_told_twice_for_each_token_before_the_books() -> None:
    _, frames = played(row(TS + 1, Kind.TICK, price=10))
    changes = [d for _, d in frames if d["event_type"] == "tick_size_change"]
    assert [d["asset_id"] for d in changes] == [
        t for t in (changes[0]["asset_id"], changes[2]["asset_id"]) for _ in range(2)
    ]
    assert (changes[0]["old_tick_size"], changes[0]["new_tick_size"]) == ("0.01", "0.001")
    assert kinds(frames)[-2:] == ["book", "book"]


def test_a_result_names_the_winner_and_ends_the_book() -> None:
    venue, frames = played(row(TS + 1, Kind.RESOLVED, price=0))
    (shown,) = venue.shown.values()
    (resolved,) = [d for _, d in frames if d["event_type"] == "market_resolved"]
    assert resolved["winning_outcome"] == "Down"
    assert resolved["winning_asset_id"] == shown.listing.tokens[1]
    assert shown.levels == ({}, {}) and kinds(frames).count("price_change") == 0


def test_a_resolved_market_is_answered_for_a_while_and_then_gone() -> None:
    rows = [row(TS + 1, Kind.TRADE, side=Side.ASK, price=4900, size=30_000_000)]
    rows += [row(TS + 2, Kind.RESOLVED, price=0), level(TS + 2 * KEPT_NS, Side.BID, 4900, 1)]
    venue, _ = played(*rows, until_ns=TS + KEPT_NS)
    (shown,) = venue.shown.values()
    assert venue.slugs == {shown.listing.slug: shown} and len(venue.tokens) == 2
    assert venue.advance(TS + 3 * KEPT_NS) == ([], [])
    assert not (venue.shown or venue.slugs or venue.tokens or venue.numbers)
    assert venue.exchange.markets == {}


def test_the_best_prices_are_told_when_they_change_only() -> None:
    _, frames = played(
        level(TS + 1, Side.BID, 4800, 1),
        level(TS + 2, Side.BID, 5000, 1),
    )
    best = [d for _, d in frames if d["event_type"] == "best_bid_ask"]
    assert [(d["best_bid"], d["best_ask"], d["spread"]) for d in best] == [
        ("0.49", "0.51", "0.02"),
        ("0.49", "0.51", "0.02"),
        ("0.5", "0.51", "0.01"),
        ("0.49", "0.5", "0.01"),
    ]


SAMPLES = {
    "new_market": "pm_ws_market_new_market_btc5m.json",
    "book": "pm_ws_market_book_after_trade.json",
    "price_change": "pm_ws_market_price_change.json",
    "last_trade_price": "pm_ws_market_last_trade_price_v1_era.json",
    "tick_size_change": "pm_ws_market_tick_size_change.json",
    "best_bid_ask": "pm_ws_market_best_bid_ask.json",
    "market_resolved": "pm_ws_market_resolved.json",
}


def shape(value: Any) -> Any:
    """Names and types of a decoded message."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value and not isinstance(value[0], str) else ["text"]
    return type(value).__name__


@needs_shared
@pytest.mark.parametrize("kind", SAMPLES)
def test_a_frame_has_the_recorded_names_and_types(kind: str) -> None:
    _, frames = played(
        level(TS + 1, Side.BID, 4900, 33.5),
        row(TS + 1, Kind.TRADE, side=Side.ASK, price=4900, size=30_000_000),
        row(TS + 3, Kind.TICK, price=10),
        row(TS + 4, Kind.RESOLVED, price=10_000),
    )
    recorded = json.loads((SHARED / "wire_samples" / SAMPLES[kind]).read_text())
    ours = next(d for _, d in frames if d["event_type"] == kind)
    assert shape(ours) == shape(recorded)


def test_the_same_tape_gives_the_same_frames_however_time_is_cut() -> None:
    rows = [level(TS + k * 10**8, Side(k % 2), 4900 + 200 * (k % 2), k) for k in range(1, 20)]
    whole, _ = Venue(tape(*listed(TS, START), *rows)).advance(TS + 10**10)
    venue = Venue(tape(*listed(TS, START), *rows))
    parts = [f for k in range(0, 101) for f in venue.advance(TS + k * 10**8)[0]]
    assert parts == whole and not any(isinstance(frame, UserFrame) for frame in whole)


def live(session: Any) -> None:
    """Run a session against a served window: session(venue, address of the host)."""

    async def run() -> None:
        venue = Venue(tape(*listed(*window_now())))
        async with served(venue) as host, asyncio.timeout(30):
            await session(venue, host)

    asyncio.run(run())


async def closing(socket: ClientConnection, within_s: float = 2.0) -> tuple[int, str]:
    """(code, reason) with which the server closes, soon."""
    with pytest.raises(ConnectionClosed):
        while True:
            await asyncio.wait_for(socket.recv(), within_s)
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


def test_a_ping_before_a_subscription_is_closed_with_1008_and_after_it_answered() -> None:
    async def session(venue: Venue, host: str) -> None:
        (shown,) = venue.shown.values()
        for channel in ("market", "user"):
            for bad in ("PING", "not json", "{}", '{"type":"user","auth":{"apiKey":"a"}}'):
                async with connect(f"ws://{host}/ws/{channel}") as socket:
                    await socket.send(bad)
                    assert await closing(socket) == (1008, "invalid subscription payload")
        async with connect(f"ws://{host}/ws/market") as socket:
            ask = {"type": "market", "assets_ids": [*shown.listing.tokens, "1"]}
            await socket.send(json.dumps(ask))
            books = json.loads(await socket.recv())
            assert [book["asset_id"] for book in books] == [*shown.listing.tokens]
            assert books[0]["tick_size"] == "0.01" and "min_order_size" not in books[0]
            await socket.send("PING")
            assert await socket.recv() == "PONG"
            await socket.send(json.dumps({"operation": "subscribe", "assets_ids": ["2"]}))
            assert await socket.recv() == "[]"

    live(session)


def test_a_reader_that_does_not_read_is_closed_with_1013(monkeypatch: pytest.MonkeyPatch) -> None:
    async def session(venue: Venue, host: str) -> None:
        (shown,) = venue.shown.values()
        async with connect(f"ws://{host}/ws/market", max_queue=1) as socket:
            ask = {"type": "market", "assets_ids": shown.listing.tokens}
            await socket.send(json.dumps(ask))
            await socket.recv()
            await asyncio.sleep(0)
            market = shown.listing.condition_id
            for k in range(30_000):
                venue.exchange.house_level(market, Side.BID, 4900, 10**8 + k % 7 * 10**6, TS)
                if k % 500 == 0:
                    await asyncio.sleep(0.01)
            assert await closing(socket) == (1013, "slow consumer: send buffer full")

    monkeypatch.setattr(sockets, "BUFFER_FRAMES", 50)
    live(session)


def test_gamma_finds_a_window_by_slug_by_page_and_by_tag() -> None:
    async def session(venue: Venue, host: str) -> None:
        (shown,) = venue.shown.values()
        slug = shown.listing.slug
        async with httpx.AsyncClient(base_url=f"http://{host}/gamma") as http:
            event = (await http.get(f"/events/slug/{slug}")).json()
            (market,) = event["markets"]
            assert json.loads(market["clobTokenIds"]) == [*shown.listing.tokens]
            assert json.loads(market["outcomes"]) == ["Up", "Down"]
            assert market["cryptoMarketConfig"]["twapLookbackSeconds"] == 60
            assert market["eventStartTime"] == event["startTime"] < market["endDate"]
            assert (await http.get(f"/markets/slug/{slug}")).json()["events"][0]["slug"] == slug
            assert (await http.get("/events/slug/none")).status_code == 404
            page = (await http.get("/events/keyset", params={"tag_slug": "up-or-down"})).json()
            assert [one["slug"] for one in page["events"]] == [slug] and "next_cursor" not in page
            assert (await http.get("/events", params={"closed": "true"})).json() == []
            assert (await http.get("/markets", params={"slug": slug})).json()[0]["slug"] == slug

    live(session)


@needs_shared
def test_gammas_market_has_the_recorded_types_of_the_fields_that_it_has() -> None:
    name = "pm_gamma_market_btc5m_resolved_2026-07-24.json"
    recorded = json.loads((SHARED / "wire_samples" / name).read_text())

    async def session(venue: Venue, host: str) -> None:
        (shown,) = venue.shown.values()
        venue.exchange.resolve(shown.listing.condition_id, 0)
        url = f"http://{host}/gamma/markets/slug/{shown.listing.slug}"
        async with httpx.AsyncClient() as http:
            market = (await http.get(url)).json()
        numbers = {"int": "number", "float": "number"}
        both = recorded.keys() & market.keys()
        for field in both - {"feeSchedule"}:
            ours, theirs = (type(one[field]).__name__ for one in (market, recorded))
            assert (field, numbers.get(ours, ours)) == (field, numbers.get(theirs, theirs))
        assert market["outcomePrices"] == '["0","1"]'
        assert len(both) >= 35 and market["closedTime"].endswith("+00")
        assert market["feeSchedule"] == recorded["feeSchedule"]

    live(session)
