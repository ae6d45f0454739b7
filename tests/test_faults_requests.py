"""Each fault of a request to the built-in market, and of orders, over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from built_in_market import ADDRESS, KEY, announced, environment, listed, tape, window_now
from polymarket import AsyncSecureClient
from polymarket.errors import RequestRejectedError
from polymarket.streams import UserSpec
from test_server_sdk import until

from fairwind.core.clock import now_ns
from fairwind.core.units import SECOND_NS
from fairwind.world.clock import MarketClock
from fairwind.world.faults import HTML, Fault, Faults, Kind, LineName
from fairwind.world.server.app import Market
from fairwind.world.server.venue import Venue

Ask = Callable[[httpx.AsyncClient], Awaitable[None]]


def asked(ask: Ask, *faults: Fault, speed: float = 20.0) -> None:
    """Ask a market that trades now, at speed 20, under faults."""

    async def run() -> None:
        venue = Venue(tape(*listed(*window_now())), Faults(faults))
        async with (
            announced(Market(venue, MarketClock(now_ns(), speed))) as announcement,
            httpx.AsyncClient(base_url=announcement.address) as http,
            asyncio.timeout(20),
        ):
            await ask(http)

    asyncio.run(run())


@pytest.mark.parametrize("code", [425, 429, 500, 503])
@pytest.mark.parametrize(
    ("line", "method", "path"),
    [
        (LineName.GAMMA, "GET", "/gamma/events"),
        (LineName.CLOB, "GET", "/time"),
        (LineName.ORDERS, "POST", "/order"),
    ],
)
def test_a_group_of_routes_answers_with_a_status(
    line: LineName, method: str, path: str, code: int
) -> None:
    async def ask(http: httpx.AsyncClient) -> None:
        answer = await http.request(method, path)
        assert (answer.status_code, "error" in answer.json()) == (code, True)
        assert (answer.headers.get("Retry-After") == "1") == (code != 500)
        assert (await http.request(method, path)).status_code in (200, 401)
        other = "/ok" if line is not LineName.CLOB else "/gamma/events"
        assert (await http.get(other)).status_code == 200

    asked(ask, Fault(kind=Kind.STATUS, line=line, code=code))


def test_a_restart_of_the_matching_engine_lasts_for_its_time() -> None:
    begins_ns = now_ns()
    fault = Fault(
        kind=Kind.STATUS,
        line=LineName.ORDERS,
        code=425,
        times=0,
        until_ns=begins_ns + 10 * SECOND_NS,
    )

    async def ask(http: httpx.AsyncClient) -> None:
        codes = []
        while (code := (await http.delete("/cancel-all")).status_code) == 425:
            codes.append(code)
            await asyncio.sleep(0.05)
        assert code == 401 and len(codes) > 3
        assert (await http.get("/control/clock")).json()["now_ns"] >= fault.until_ns

    asked(ask, fault)


def test_answers_are_late_garbled_pages_or_stale() -> None:
    clob, gamma = LineName.CLOB, LineName.GAMMA

    async def ask(http: httpx.AsyncClient) -> None:
        page = await http.get("/gamma/events")
        assert (page.content, page.headers["content-type"]) == (HTML, "text/html")
        cut, right = await http.get("/gamma/events"), await http.get("/gamma/events")
        assert right.content.startswith(cut.content) and cut.content != right.content
        before = (await http.get("/control/clock")).json()["now_ns"]
        assert (await http.get("/ok")).json() == "OK"
        clock = (await http.get("/control/clock")).json()
        assert clock["now_ns"] - before >= 4 * SECOND_NS
        times = []
        for _ in range(3):
            times.append((await http.get("/time")).text)
            await asyncio.sleep(0.1)
        assert len(set(times)) == 1

    asked(
        ask,
        Fault(kind=Kind.HTML, line=gamma),
        Fault(kind=Kind.CUT, line=gamma, skip=1, seed=2),
        Fault(kind=Kind.DELAY, line=clob, holding="/ok", by_ns=4 * SECOND_NS),
        Fault(kind=Kind.STALE, line=clob, holding="/time", times=0),
    )


def test_a_frozen_request_is_answered_when_it_thaws() -> None:
    until_ns = now_ns() + 8 * SECOND_NS
    fault = Fault(kind=Kind.FREEZE, line=LineName.CLOB, until_ns=until_ns)

    async def ask(http: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.ReadTimeout):
            await http.get("/ok", timeout=0.1)
        assert (await http.get("/ok")).status_code == 200

    asked(ask, fault)


def test_the_clobs_clock_jumps() -> None:
    fault = Fault(kind=Kind.JUMP, line=LineName.CLOB, by_ns=-1000 * SECOND_NS)

    async def ask(http: httpx.AsyncClient) -> None:
        off_s = int((await http.get("/time")).text) - now_ns() / SECOND_NS
        assert -1002 < off_s < -900

    asked(ask, fault)


def test_more_requests_than_the_rate_allows_are_refused_with_a_time_to_wait() -> None:
    async def ask(http: httpx.AsyncClient) -> None:
        answers = [await http.delete("/cancel-all") for _ in range(125)]
        codes = [answer.status_code for answer in answers]
        assert codes[:120] == [401] * 120 and 429 in codes[120:]
        assert answers[codes.index(429)].headers["Retry-After"] == "1"
        assert (await http.get("/ok")).status_code == 200
        first_ns = (await http.get("/control/clock")).json()["first_ns"]
        await http.post("/control/seek", json={"to_ns": first_ns})
        assert (await http.delete("/cancel-all")).status_code == 401

    asked(ask, speed=0.01)


def test_faults_are_listed_refused_and_cleared_on_command() -> None:
    async def ask(http: httpx.AsyncClient) -> None:
        fault = {"kind": "status", "line": "rest-clob", "code": 500}
        (told,) = (await http.post("/control/faults", json=[fault])).json()
        assert (told["fault"]["kind"], told["fired"]) == ("status", 0)
        assert (await http.get("/ok")).status_code == 500
        assert (await http.get("/control/faults")).json()[0]["fired"] == 1
        first_ns = (await http.get("/control/clock")).json()["first_ns"]
        await http.post("/control/seek", json={"to_ns": first_ns})
        assert (await http.get("/control/faults")).json()[0]["fired"] == 0
        for wrong in ([{**fault, "code": 200}], [{**fault, "colour": 1}], fault, [{"kind": "x"}]):
            refusal = await http.post("/control/faults", json=wrong)
            assert (refusal.status_code, "expected" in refusal.json()["error"].lower()) == (
                400,
                True,
            )
        assert (await http.delete("/control/faults")).json() == []

    asked(ask)


def traded(faults: list[Fault], session: Any) -> None:
    """A session of the official SDK at speed 20, under faults of orders."""

    async def run() -> None:
        venue = Venue(tape(*listed(*window_now())), Faults(faults))
        async with announced(Market(venue, MarketClock(now_ns(), 20.0))) as announcement:
            host = announcement.address.removeprefix("http://")
            client = await AsyncSecureClient.create(
                private_key=KEY, wallet=ADDRESS, environment=environment(host)
            )
            async with client, asyncio.timeout(20):
                (shown,) = venue.shown.values()
                own = await client.subscribe(UserSpec())
                try:
                    await session(client, own, shown.listing.tokens[0])
                finally:
                    await own.close()

    asyncio.run(run())


def test_an_order_is_answered_as_delayed_and_traded_later() -> None:
    async def session(client: Any, own: Any, token: str) -> None:
        taken = await client.place_limit_order(asset_id=token, price="0.51", size=5, side="BUY")
        assert (taken.status, taken.trade_ids) == ("delayed", ())
        trade = await until(own, lambda event: event.type == "trade")
        assert trade.payload.taker_order_id == taken.order_id
        usual = await client.place_limit_order(asset_id=token, price="0.51", size=5, side="BUY")
        assert usual.status == "matched"

    traded([Fault(kind=Kind.DELAYED, line=LineName.ORDERS)], session)


def test_a_trade_fails_on_its_way_to_the_chain_and_gives_back_what_it_took() -> None:
    async def session(client: Any, own: Any, token: str) -> None:
        before = (await client.get_balance_allowance(asset_type="COLLATERAL")).balance
        taken = await client.place_limit_order(asset_id=token, price="0.51", size=5, side="BUY")
        assert taken.status == "matched"
        assert (await client.get_balance_allowance(asset_type="COLLATERAL")).balance < before
        failed = await until(own, lambda e: e.type == "trade" and e.payload.status == "FAILED")
        assert failed.payload.taker_order_id == taken.order_id
        assert (await client.get_balance_allowance(asset_type="COLLATERAL")).balance == before

    traded([Fault(kind=Kind.FAILED, line=LineName.ORDERS)], session)


def test_an_order_may_be_taken_although_the_answer_is_an_error() -> None:
    async def session(client: Any, own: Any, token: str) -> None:
        with pytest.raises(RequestRejectedError):
            await client.place_limit_order(asset_id=token, price="0.5", size=5, side="BUY")
        placed = await until(own, lambda event: event.type == "order")
        assert placed.payload.order_event_type == "PLACEMENT"

    traded([Fault(kind=Kind.STATUS, line=LineName.ORDERS, code=500)], session)
