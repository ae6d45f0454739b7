"""Each fault of the built-in market over a real socket or request, set on command."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import cache
from typing import Any

import httpx
import msgspec
import pytest
from built_in_market import ADDRESS, KEY, announced, environment, listed, tape, window_now
from polymarket import AsyncSecureClient
from polymarket.errors import RequestRejectedError
from polymarket.streams import UserSpec
from test_server_clock import LISTED_NS, START_NS, Session, stepped
from test_server_sdk import until
from test_server_streams import checksum
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from fairwind.core.clock import now_ns
from fairwind.core.units import MILLISECOND_NS, SECOND_NS
from fairwind.world.clock import MarketClock
from fairwind.world.faults import HTML, Fault, Faults, Kind, LineName
from fairwind.world.server.app import Market
from fairwind.world.server.venue import Venue

END_NS = START_NS + 300 * SECOND_NS
PATHS = {
    LineName.MARKET: "/ws/market",
    LineName.RTDS: "/rtds",
    LineName.COINBASE: "/coinbase",
}


async def put(found: Session, *faults: Fault) -> None:
    sent = msgspec.to_builtins(list(faults))
    answer = await found.http.post("/control/faults", json=sent)
    assert answer.status_code == 200, answer.text


async def rest(socket: ClientConnection) -> list[Any]:
    """The frames that have come; the code at the end when the connection was closed."""
    frames: list[Any] = []
    try:
        while True:
            frames.append(await asyncio.wait_for(socket.recv(), 0.1))
    except TimeoutError:
        return frames
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return [*frames, closed.rcvd.code]


def heard(line: LineName, *faults: Fault, steps_s: tuple[int, ...] = (10,)) -> list[list[Any]]:
    """The frames of a line in each step, by its end in seconds, after faults were set."""
    parts: list[list[Any]] = []

    async def run(found: Session) -> None:
        await found.control("step", to_ns=LISTED_NS)
        await found.open()
        await put(found, *faults)
        for step_s in steps_s:
            await found.control("step", to_ns=LISTED_NS + step_s * SECOND_NS)
            parts.append(await rest(found.sockets[PATHS[line]]))

    stepped(run)
    return parts


@cache
def well(line: LineName, steps_s: tuple[int, ...] = (10,)) -> list[list[Any]]:
    """The same without a fault."""
    return heard(line, steps_s=steps_s)


@pytest.mark.parametrize("line", PATHS)
def test_a_frame_is_dropped_and_all_others_come(line: LineName) -> None:
    (frames,) = heard(line, Fault(kind=Kind.DROP, line=line, skip=3))
    (expected,) = well(line)
    assert len(expected) > 5 and frames == expected[:3] + expected[4:]


def of_market(kind: Kind, **fields: Any) -> Fault:
    return Fault(kind=kind, line=LineName.MARKET, **fields)


def test_frames_come_twice_and_in_the_wrong_order() -> None:
    twice, swapped = of_market(Kind.DUPLICATE), of_market(Kind.REORDER, skip=5)
    (frames,) = heard(LineName.MARKET, twice, swapped)
    ((first, *others),) = well(LineName.MARKET)
    assert frames == [first, first, *others[:4], others[5], others[4], *others[6:]]


@pytest.mark.parametrize(
    "fault",
    [
        of_market(Kind.DELAY, from_ns=LISTED_NS, by_ns=15 * SECOND_NS),
        of_market(Kind.FREEZE, from_ns=LISTED_NS, until_ns=LISTED_NS + 15 * SECOND_NS),
    ],
    ids=str,
)
def test_frames_are_held_back_and_come_later_in_order(fault: Fault) -> None:
    steps_s = (10, 30)
    early, late = heard(LineName.MARKET, fault, steps_s=steps_s)
    expected = well(LineName.MARKET, steps_s)
    assert early == [] and late == expected[0] + expected[1]


def test_a_frozen_connection_stays_open_and_says_nothing() -> None:
    assert heard(LineName.COINBASE, Fault(kind=Kind.FREEZE, line=LineName.COINBASE)) == [[]]


def test_a_connection_is_closed_with_a_code() -> None:
    (frames,) = heard(LineName.MARKET, of_market(Kind.CLOSE, skip=3, code=1011))
    assert frames == [*well(LineName.MARKET)[0][:3], 1011]


def test_frames_are_cut_flipped_or_pages() -> None:
    faults = [of_market(kind, skip=k) for k, kind in enumerate((Kind.CUT, Kind.FLIP, Kind.HTML))]
    (frames,) = heard(LineName.MARKET, *faults)
    (expected,) = well(LineName.MARKET)
    assert expected[0].startswith(frames[0]) and frames[0] != expected[0]
    assert [a == b for a, b in zip(frames[1], expected[1], strict=True)].count(False) == 1
    assert frames[2:] == [HTML.decode(), *expected[3:]]


def test_the_books_stamps_jump_and_their_checksums_are_right() -> None:
    (frames,) = heard(LineName.MARKET, of_market(Kind.JUMP, by_ns=-7 * SECOND_NS), steps_s=(40,))
    (expected,) = well(LineName.MARKET, (40,))
    off = [
        int(json.loads(a)["timestamp"]) - int(json.loads(b)["timestamp"])
        for a, b in zip(frames, expected, strict=True)
    ]
    assert set(off) == {-7_000}
    last, right = "", []
    for one in map(json.loads, frames):
        if one["event_type"] == "last_trade_price":
            last = f"{float(one['price']):.3f}"
        elif one["event_type"] == "book" and last:
            right.append(checksum(one, "5", "0.01", last) == one["hash"])
    assert len(right) >= 2 and all(right)


@pytest.mark.parametrize("line", [LineName.RTDS, LineName.COINBASE])
def test_a_clock_goes_wrong_more_and_more(line: LineName) -> None:
    until_ns = LISTED_NS + 10 * SECOND_NS
    skew = Fault(
        kind=Kind.SKEW, line=line, from_ns=LISTED_NS, until_ns=until_ns, by_ns=100 * SECOND_NS
    )
    (frames,) = heard(line, skew)
    (expected,) = well(line)

    def stamp_s(frame: str) -> float:
        found = json.loads(frame)["timestamp"]
        if isinstance(found, int):
            return found / 1000
        return datetime.fromisoformat(found[:26] + "+00:00").timestamp()

    pairs = [(stamp_s(b), stamp_s(a)) for a, b in zip(frames, expected, strict=True)]
    wrong = [(at, stamp - at) for at, stamp in pairs if at < until_ns / SECOND_NS]
    assert len(wrong) > 5
    for at, off_s in wrong:
        assert off_s == pytest.approx(10 * (at - LISTED_NS / SECOND_NS), abs=0.02)


@cache
def results(kind: Kind | None) -> tuple[list[int], list[bool]]:
    """(results on the stream by 30 s and 90 s after a window, whether Gamma says closed then)."""
    counts, closed = [], []

    async def run(found: Session) -> None:
        await found.control("step", to_ns=END_NS - SECOND_NS)
        await found.open()
        slug = (await found.http.get("/gamma/events")).json()[0]["slug"]
        if kind is not None:
            await put(found, of_market(kind, by_ns=60 * SECOND_NS))
        for after_s in (30, 90):
            await found.control("step", to_ns=END_NS + after_s * SECOND_NS)
            frames = await rest(found.sockets["/ws/market"])
            counts.append(sum("market_resolved" in frame for frame in frames))
            closed.append((await found.http.get(f"/gamma/markets/slug/{slug}")).json()["closed"])

    stepped(run)
    return counts, closed


def test_a_result_comes_late_never_or_twice() -> None:
    assert results(None) == ([1, 0], [True, True])
    assert results(Kind.LATE_RESULT) == ([0, 1], [False, True])
    assert results(Kind.LOST_RESULT) == ([0, 0], [True, True])
    assert results(Kind.DUPLICATE_RESULT) == ([2, 0], [True, True])


def test_the_print_of_a_boundary_is_missing_in_updates_and_in_the_backfill() -> None:
    stamps: list[set[int]] = []

    async def run(found: Session, fault: Fault | None = None) -> None:
        await found.control("step", to_ns=START_NS - 5 * SECOND_NS)
        await found.open()
        if fault is not None:
            await put(found, fault)
        await found.control("step", to_ns=START_NS + 5 * SECOND_NS)
        live = await rest(found.sockets["/rtds"])
        stamps.append({json.loads(frame)["payload"]["timestamp"] for frame in live})
        await found.close()
        found.heard["/rtds"].clear()
        await found.open()
        backfill = json.loads(found.heard["/rtds"][1])["payload"]["data"]
        stamps.append({point["timestamp"] for point in backfill})

    fault = Fault(kind=Kind.MISSING_PRINT, line=LineName.RTDS, times=0)
    stepped(run)
    stepped(lambda found: run(found, fault))
    boundary_ms = START_NS // MILLISECOND_NS
    assert [boundary_ms in one for one in stamps] == [True, True, False, False]
    assert all(len(one) >= 8 for one in stamps)


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

    asked(ask, speed=0.01)


def test_faults_are_listed_refused_and_cleared_on_command() -> None:
    async def ask(http: httpx.AsyncClient) -> None:
        fault = {"kind": "status", "line": "rest-clob", "code": 500}
        (told,) = (await http.post("/control/faults", json=[fault])).json()
        assert (told["fault"]["kind"], told["fired"]) == ("status", 0)
        assert (await http.get("/ok")).status_code == 500
        assert (await http.get("/control/faults")).json()[0]["fired"] == 1
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
