"""The official SDK, with nothing but its addresses changed, trades against the built-in market."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from built_in_market import ADDRESS, KEY, environment, listed, served, tape, window_now
from polymarket import AsyncSecureClient
from polymarket.errors import OrderHeartbeatMismatchError, RequestRejectedError
from polymarket.models.clob import PriceRequest
from polymarket.streams import MarketSpec, UserSpec
from test_signing import ORDER, sdk_signature

from fairwind.core.units import SECOND_NS
from fairwind.world.server.venue import Venue


def test_the_sdks_reads_of_markets_and_prices_are_answered() -> None:
    scripted(reads)


async def reads(client: AsyncSecureClient, venue: Venue) -> None:
    (shown,) = venue.shown.values()
    up, down = shown.listing.tokens
    found = [event async for page in client.list_events(closed=False) for event in page.items]
    assert [event.slug for event in found] == [shown.listing.slug]
    markets = [one async for page in client.list_markets() for one in page.items]
    assert [one.condition_id for one in markets] == [shown.listing.condition_id]
    assert await client.get_midpoint(asset_id=up) == Decimal("0.5")
    assert await client.get_midpoints(asset_ids=[up, down]) == dict.fromkeys(
        (up, down), Decimal("0.5")
    )
    assert await client.get_spread(asset_id=down) == Decimal("0.02")
    assert await client.get_spreads(asset_ids=[down]) == {down: Decimal("0.02")}
    assert await client.get_price(asset_id=up, side="BUY") == Decimal("0.49")
    asked = [PriceRequest(up, "BUY"), PriceRequest(up, "SELL")]
    prices = await client.get_prices(requests=asked)
    assert prices == {up: {"BUY": Decimal("0.49"), "SELL": Decimal("0.51")}}
    books = await client.get_order_books(asset_ids=[up, down])
    assert [book.bids[-1].size for book in books] == [100, 200]
    assert await client.get_last_trade_price(asset_id=up) is None
    assert (await client.get_closed_only_mode()) is False
    held = await client.get_balance_allowance(asset_type="COLLATERAL")
    assert held.balance == 10_000_000_000
    owned = await client.get_balance_allowance(asset_type="CONDITIONAL", asset_id=up)
    assert owned.balance == 0
    with pytest.raises(RequestRejectedError, match="No orderbook exists"):
        await client.get_order_book(asset_id="5")


OTHER_KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
OTHER_ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
"""The second key of every development chain: as public as the first."""


async def until(events: Any, found: Callable[[Any], bool], within_s: float = 5.0) -> Any:
    """The first event of a subscription that is looked for."""

    async def search() -> Any:
        async for event in events:
            if found(event):
                return event
        raise AssertionError("the subscription ended")

    return await asyncio.wait_for(search(), within_s)


def scripted(session: Callable[[AsyncSecureClient, Venue], Awaitable[None]]) -> None:
    """Run a session of the SDK's client against one window that trades now."""

    async def run() -> None:
        venue = Venue(tape(*listed(*window_now())))
        async with served(venue) as host:
            client = await AsyncSecureClient.create(
                private_key=KEY, wallet=ADDRESS, environment=environment(host)
            )
            async with client:
                await session(client, venue)

    asyncio.run(run())


def test_a_session_discovers_streams_places_cancels_and_reads_trades() -> None:
    scripted(whole_session)


async def whole_session(client: AsyncSecureClient, venue: Venue) -> None:
    (shown,) = venue.shown.values()
    event = await client.get_event(slug=shown.listing.slug)
    (market,) = event.markets
    up = market.outcomes.yes.token_id
    assert (market.outcomes.yes.label, up) == ("Up", shown.listing.tokens[0])
    books = await client.get_order_book(asset_id=up)
    assert books.bids[-1].price == Decimal("0.49") and books.asks[-1].size == 200

    spec = MarketSpec(asset_ids=shown.listing.tokens, custom_feature_enabled=True)
    prices = await client.subscribe(spec)
    own = await client.subscribe(UserSpec())
    first = await until(prices, lambda e: e.type == "book" and e.payload.asset_id == up)
    assert first.payload.hash == books.hash

    bid = await client.place_limit_order(asset_id=up, price="0.5", size=20, side="BUY")
    assert bid.ok and bid.status == "live"
    placed = await until(own, lambda e: e.type == "order")
    assert (placed.payload.id, placed.payload.order_event_type) == (bid.order_id, "PLACEMENT")
    change = await until(prices, lambda e: e.type == "price_change")
    assert {c.best_bid for c in change.payload.price_changes} == {Decimal("0.5"), Decimal("0.49")}

    bought = await client.place_market_order(asset_id=up, side="BUY", amount=5, max_price="0.51")
    assert bought.ok and bought.status == "matched" and len(bought.trade_ids) == 1
    trade = await until(own, lambda e: e.type == "trade")
    assert trade.payload.status == "MATCHED" and trade.payload.trader_side == "TAKER"
    assert (await until(prices, lambda e: e.type == "last_trade_price")).payload.side == "BUY"

    crossing = await client.place_limit_order(asset_id=up, price="0.51", size=300, side="BUY")
    assert crossing.ok and crossing.status == "matched" and 0 < crossing.taking_amount < 300
    resting = {order.id: order async for page in client.list_open_orders() for order in page.items}
    assert resting[crossing.order_id].size_matched == crossing.taking_amount
    cancelled = await client.cancel_order(order_id=crossing.order_id)
    assert cancelled.canceled == (crossing.order_id,)
    again = await client.cancel_order(order_id=crossing.order_id)
    assert again.not_canceled == {crossing.order_id: "already canceled or matched"}
    assert (await client.cancel_all()).canceled == (bid.order_id,)

    trades = [trade async for page in client.list_account_trades() for trade in page.items]
    assert [t.id for t in trades] == [*crossing.trade_ids, *bought.trade_ids]
    hashes = await client.wait_for_order_fill_settlement(bought)
    assert len(hashes) == 1
    await prices.close()
    await own.close()


def posted(client: AsyncSecureClient, **changes: Any) -> dict[str, Any]:
    """A body of `POST /order` for 10 Up at 0.50, with fields of the order changed, then signed.

    Further names, `signature` too, replace what is sent after signing.
    """
    sent = {name: changes.pop(name) for name in ("signature", "orderType") if name in changes}
    owner = changes.pop("owner", client.credentials.key)
    order = ORDER._replace(token_id=changes.pop("token"), timestamp_ms=1, **changes)
    body = {
        "builder": order.builder,
        "expiration": "0",
        "maker": order.maker,
        "makerAmount": str(order.maker_amount),
        "metadata": order.metadata,
        "salt": order.salt,
        "side": "SELL" if order.side else "BUY",
        "signature": sent.get("signature") or sdk_signature(order),
        "signatureType": order.signature_type,
        "signer": order.signer,
        "takerAmount": str(order.taker_amount),
        "timestamp": str(order.timestamp_ms),
        "tokenId": str(order.token_id),
    }
    return {"deferExec": False, "order": body, "orderType": "GTC", "owner": owner}


async def refusal(client: AsyncSecureClient, body: Any) -> tuple[int, str]:
    """(status, text) of the refusal of a posted order."""
    with pytest.raises(RequestRejectedError) as caught:
        await client._ctx.secure_clob.post_json("/order", json=body)
    return caught.value.status, str(caught.value)


def test_orders_that_the_venue_would_refuse_are_refused_in_its_words() -> None:
    scripted(refusals)


async def refusals(client: AsyncSecureClient, venue: Venue) -> None:
    (shown,) = venue.shown.values()
    token = int(shown.listing.tokens[0])
    good = posted(client, token=token)
    other = posted(client, token=token, salt=7)["order"]["signature"]
    forged = await refusal(client, posted(client, token=token, signature=other))
    assert forged == (400, "invalid signature")
    off_tick = posted(client, token=token, maker_amount=5_050_000)
    status, text = await refusal(client, off_tick)
    assert status == 400 and text.startswith("order 0x")
    assert text.endswith(" is invalid. Price (0.505) breaks minimum tick size rule: 0.01")
    odd = await refusal(client, posted(client, token=token, taker_amount=30_000_000))
    assert "Price (0.166666) breaks minimum tick size rule" in odd[1]
    small = posted(client, token=token, maker_amount=2_000_000, taker_amount=4_000_000)
    assert (await refusal(client, small))[1].endswith("Size (4) lower than the minimum: 5")
    rich = posted(client, token=token, maker_amount=10**11, taker_amount=2 * 10**11)
    assert (await refusal(client, rich))[1].startswith("not enough balance / allowance")
    stranger = posted(client, token=token, signer="0x" + "11" * 20)
    assert (await refusal(client, stranger))[1] == (
        "the order signer address has to be the address of the API KEY"
    )
    owner = posted(client, token=token, owner="somebody")
    assert (await refusal(client, owner))[1].startswith("the order owner has to be")
    unknown = posted(client, token=5)
    assert (await refusal(client, unknown))[1].startswith("the market is not yet ready")
    assert await refusal(client, {"order": 1}) == (400, "Invalid order payload")
    assert (await client._ctx.secure_clob.post_json("/order", json=good))["status"] == "live"
    assert (await refusal(client, good))[1].endswith("is invalid. Duplicated.")


def test_a_private_request_with_a_wrong_code_is_unauthorized() -> None:
    scripted(wrong_codes)


async def wrong_codes(client: AsyncSecureClient, venue: Venue) -> None:
    headers = dict(await client._ctx.secure_clob._header_resolver("GET", "/data/orders", None))
    host = client._ctx.environment_config.clob_url
    async with httpx.AsyncClient(base_url=host) as http:
        assert (await http.get("/data/orders", headers=headers)).status_code == 200
        for name in headers:
            wrong = {**headers, name: headers[name][:-2] + "00"}
            answer = await http.get("/data/orders", headers=wrong)
            assert (answer.status_code, answer.json()) == (
                401,
                {"error": "Unauthorized/Invalid api key"},
            )
        elsewhere = await http.get("/data/trades", headers=headers)
        assert elsewhere.status_code == 401


def test_a_deposit_wallets_order_is_accepted_when_its_owner_signed() -> None:
    scripted(deposit_wallet)


async def deposit_wallet(client: AsyncSecureClient, venue: Venue) -> None:
    (shown,) = venue.shown.values()
    wallet = "0x" + "12" * 20
    token = int(shown.listing.tokens[1])
    body = posted(client, token=token, maker=wallet, signer=wallet, signature_type=3)
    answer = await client._ctx.secure_clob.post_json("/order", json=body)
    assert answer["status"] == "live"
    (order,) = [order async for page in client.list_open_orders() for order in page.items]
    assert (order.id, order.maker_address, order.outcome) == (answer["orderID"], wallet, "Down")


def test_an_answer_may_be_delayed_and_the_outcome_comes_on_the_user_channel() -> None:
    async def run() -> None:
        venue = Venue(tape(*listed(*window_now())))
        async with served(venue, waits=False) as host:
            client = await AsyncSecureClient.create(
                private_key=KEY, wallet=ADDRESS, environment=environment(host)
            )
            async with client:
                own = await client.subscribe(UserSpec())
                (shown,) = venue.shown.values()
                token = shown.listing.tokens[0]
                taken = await client.place_limit_order(
                    asset_id=token, price="0.51", size=5, side="BUY"
                )
                assert taken.ok and (taken.status, taken.trade_ids) == ("delayed", ())
                held = await client.cancel_order(order_id=taken.order_id)
                assert "delayed" in held.not_canceled[taken.order_id]
                trade = await until(own, lambda e: e.type == "trade")
                assert trade.payload.taker_order_id == taken.order_id
                await own.close()

    asyncio.run(run())


def test_an_account_hears_of_its_own_orders_and_of_its_part_of_a_trade_only() -> None:
    scripted(two_accounts)


async def two_accounts(client: AsyncSecureClient, venue: Venue) -> None:
    other = await AsyncSecureClient.create(
        private_key=OTHER_KEY, wallet=OTHER_ADDRESS, environment=client.environment
    )
    async with other:
        (shown,) = venue.shown.values()
        up, down = shown.listing.tokens
        heard = await other.subscribe(UserSpec())
        mine = await client.subscribe(UserSpec())
        bid = await client.place_limit_order(asset_id=up, price="0.5", size=6, side="BUY")
        assert bid.ok
        taken = await other.place_limit_order(asset_id=down, price="0.5", size=6, side="BUY")
        assert taken.ok and taken.status == "matched"
        first = await until(heard, lambda event: True)
        assert first.type == "trade" and first.payload.trader_side == "TAKER"
        trade = (await until(mine, lambda e: e.type == "trade")).payload
        assert (trade.trader_side, trade.asset_id, trade.outcome) == ("MAKER", down, "Down")
        (part,) = trade.maker_orders
        assert (part.order_id, part.asset_id, part.price) == (bid.order_id, up, Decimal("0.5"))
        await heard.close()
        await mine.close()


def test_heartbeats_go_on_or_all_orders_are_cancelled() -> None:
    scripted(heartbeats)


async def heartbeats(client: AsyncSecureClient, venue: Venue) -> None:
    (shown,) = venue.shown.values()
    await client.place_limit_order(
        asset_id=shown.listing.tokens[0], price="0.3", size=5, side="BUY"
    )
    post = client._ctx.secure_clob.post_json
    first = await post("/v1/heartbeats", json={"heartbeat_id": ""})
    second = await post("/v1/heartbeats", json={"heartbeat_id": first["heartbeat_id"]})
    with pytest.raises(OrderHeartbeatMismatchError) as caught:
        await post("/v1/heartbeats", json={"heartbeat_id": first["heartbeat_id"]})
    assert second["heartbeat_id"] in str(vars(caught.value).values())
    assert len(venue.exchange.open) == 1
    frames, _ = venue.advance(venue.now_ns + 11 * SECOND_NS)
    assert venue.exchange.open == {} and b"CANCELLATION" in frames[-1].data + frames[0].data
