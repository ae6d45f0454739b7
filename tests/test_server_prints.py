"""RTDS, PolyBolt and Coinbase stream the tape's prints as the real ones do, quirks included."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from built_in_market import ADDRESS, KEY, environment, listed, row, served, tape, window_now
from conftest import SHARED, needs_shared
from polymarket import AsyncSecureClient
from polymarket.streams import CryptoTwapPriceSpec
from test_server_streams import closing, shape
from websockets.asyncio.client import ClientConnection, connect

from fairwind.core.clock import now_ns
from fairwind.core.events import Events, Kind
from fairwind.core.units import MILLISECOND_NS, reference_parts, spot_e8
from fairwind.world.generator import generate
from fairwind.world.knobs import Knobs
from fairwind.world.server.tape import RESULT_AFTER_NS
from fairwind.world.server.tape import tape as tape_of
from fairwind.world.server.venue import Venue

VALUE = "79696.94817428796123"
Session = Callable[[str], Awaitable[None]]


def prints() -> Events:
    """A window; then, every 20 ms from now, a spot print, a point and a 60 s average of BTC."""
    value_e8, remainder = reference_parts(VALUE)
    rows = []
    for k in range(-30, 200):
        ts = now_ns() + k * 20 * MILLISECOND_NS
        rows.append(row(ts, Kind.SPOT, price=spot_e8("79697.5") + k * 10**8, size=10**6))
        rows += [
            row(ts, Kind.REFERENCE, ref=ref, price=value_e8, size=remainder) for ref in (0, 60)
        ]
    listed_ns, start_ns = window_now()
    return tape(*listed(listed_ns, start_ns), *rows)


def live(path: str, session: Callable[[ClientConnection], Awaitable[None]]) -> None:
    """Run a session on one socket of a served market that prints."""

    async def run() -> None:
        async with (
            served(Venue(prints())) as host,
            asyncio.timeout(20),
            connect(f"ws://{host}{path}") as socket,
        ):
            await session(socket)

    asyncio.run(run())


async def ask(socket: ClientConnection, frame: Any) -> None:
    await socket.send(json.dumps(frame, separators=(",", ":")))


async def hear(socket: ClientConnection) -> Any:
    return json.loads(await socket.recv())


def rtds(*topics: str, filters: str = '{"symbol":"btc/usd"}') -> dict[str, Any]:
    wanted = [{"topic": topic, "type": "*", "filters": filters} for topic in topics]
    return {"action": "subscribe", "subscriptions": wanted}


def recorded(name: str) -> Any:
    return json.loads((SHARED / "wire_samples" / name).read_text())


@needs_shared
def test_rtds_greets_backfills_under_the_wrong_topic_and_then_updates() -> None:
    async def session(socket: ClientConnection) -> None:
        assert await socket.recv() == ""
        await socket.send("PING")
        await ask(socket, rtds("crypto_prices_chainlink"))
        backfill, update = await hear(socket), await hear(socket)
        frames = recorded("pm_rtds_frames.json")
        name = "crypto_prices_chainlink_snapshot_MISLABELLED_topic_truncated_to_3"
        assert shape(backfill) == shape(frames[name])
        assert (backfill["topic"], backfill["payload"]["symbol"]) == ("crypto_prices", "btc/usd")
        assert shape(update) == shape(frames["crypto_prices_chainlink_update"])
        assert update["topic"] == "crypto_prices_chainlink"
        assert update["payload"]["full_accuracy_value"] == "79696948174287961230000"

    live("/rtds", session)


@needs_shared
def test_rtds_averages_and_spot_have_their_own_number_forms() -> None:
    async def session(socket: ClientConnection) -> None:
        await socket.recv()
        await ask(socket, rtds("crypto_prices_twap_sixty"))
        frames = recorded("pm_rtds_frames.json")
        assert shape(await hear(socket)) == shape(frames["twap_sixty_snapshot_truncated_to_3"])
        assert shape(await hear(socket)) == shape(frames["twap_sixty_update"])
        await ask(socket, rtds("crypto_prices", filters='{"symbol":"btcusdt"}'))
        while (spot := await hear(socket))["topic"] != "crypto_prices" or spot["type"] != "update":
            pass
        assert shape(spot) == shape(frames["crypto_prices_update"])
        assert spot["payload"]["full_accuracy_value"].endswith(".50000000")

    live("/rtds", session)


def test_rtds_falls_silent_for_a_space_in_a_filter_and_for_an_unknown_topic() -> None:
    async def session(socket: ClientConnection) -> None:
        await socket.recv()
        await ask(socket, rtds("crypto_prices_chainlink", filters='{"symbol": "btc/usd"}'))
        assert (await hear(socket))["type"] == "subscribe"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.3)
        await ask(socket, rtds("crypto_prices_chainlink", "nonsense"))
        assert (await hear(socket))["statusCode"] == 401
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.3)

    live("/rtds", session)


def test_polybolt_wants_credentials_first() -> None:
    async def session(socket: ClientConnection) -> None:
        wanted = {"channel": "price.crypto", "filter": {"symbol": "btcusd"}}
        await ask(socket, {"op": "subscribe", "rid": "s1", "subscriptions": [wanted]})
        refusal = {"op": "error", "code": "auth_required", "channel": "price.crypto", "rid": "s1"}
        assert await hear(socket) == refusal
        words = {"apiKey": "a", "secret": "b", "passphrase": "c"}
        await ask(socket, {"op": "auth", "rid": "a1", "auth": words})
        assert await closing(socket) == (4001, "authentication failed")

    live("/polybolt", session)


def test_the_official_sdk_reads_the_settlement_stream_from_polybolt_without_a_gap() -> None:
    async def run() -> None:
        async with served(Venue(prints())) as host, asyncio.timeout(20):
            client = await AsyncSecureClient.create(
                private_key=KEY, wallet=ADDRESS, environment=environment(host)
            )
            async with client:
                stream = await client.subscribe(CryptoTwapPriceSpec(symbols=["btcusd"]))
                events = [await anext(stream) for _ in range(12)]
                await stream.close()
        assert [event.type for event in events[:2]] == ["subscribe", "update"]
        assert {event.payload.value for event in events[1:]} == {Decimal(VALUE)}
        sequences = [event.seq for event in events]
        assert sequences == [*range(sequences[0], sequences[0] + 12)]

    asyncio.run(run())


@needs_shared
def test_coinbase_counts_all_messages_of_a_connection_in_one_sequence() -> None:
    async def session(socket: ClientConnection) -> None:
        await ask(socket, {"type": "subscribe", "channel": "heartbeats"})
        for channel in ("level2", "ticker", "market_trades"):
            await ask(socket, {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": channel})
        seen: dict[str, Any] = {}
        heard = []
        while len(seen) < 6:
            message = await hear(socket)
            heard.append(message["sequence_num"])
            kind = message["events"][0].get("type", "")
            if message["channel"] == "l2_data":
                seen.setdefault(f"cb_ws_l2_data_{kind}", message)
            else:
                seen.setdefault(f"cb_ws_{message['channel']}", message)
        assert heard == [*range(len(heard))]
        for name, message in seen.items():
            known = recorded(f"{name}.json")
            assert message.keys() == known.keys() - {"client_id"}
            assert message["events"][0].keys() == known["events"][0].keys()
        update = seen["cb_ws_l2_data_update"]["events"][0]["updates"]
        assert [u["new_quantity"] for u in update] == ["0", "0", "0.5", "0.5"]
        known = recorded("cb_ws_l2_data_update.json")["events"][0]["updates"][0]
        assert update[0].keys() == known.keys()
        trade = seen["cb_ws_market_trades"]["events"][0]["trades"][0]
        assert shape(trade) == shape(recorded("cb_ws_market_trades.json")["events"][0]["trades"][0])

    live("/coinbase", session)


def test_a_worlds_tape_has_one_result_for_every_window() -> None:
    world = generate(Knobs(windows=3, quote_rate=0.001, spot_rate=0.1))
    events = tape_of(world)
    results = events[events["kind"] == Kind.RESOLVED]
    assert sorted(results["market"].tolist()) == [0, 1, 2]
    for window in world.truth:
        (result,) = results[results["market"] == window.market]
        assert result["price"] == window.payout_e4
        assert result["ts_ns"] >= window.end_ns + RESULT_AFTER_NS // 2
    assert (events["ts_ns"][1:] >= events["ts_ns"][:-1]).all()
