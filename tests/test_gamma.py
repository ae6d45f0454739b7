"""Discovery over HTTP: what is found where, what is asked again, and what every failure says."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import httpx
import pytest
from built_in_market import SERIES, listed, served, tape, window_now
from hypothesis import given, settings
from hypothesis import strategies as st
from test_wire_discovery import MARKET, SLUG, START_S
from test_wire_discovery import gamma as market_object

from fairwind.core.clock import now_ns
from fairwind.core.errors import BadInput, Fault
from fairwind.core.ids import slug
from fairwind.core.units import SECOND_NS
from fairwind.feeds import gamma
from fairwind.feeds.discovery import from_gamma, gamma_market
from fairwind.feeds.gamma import Gamma, Rest
from fairwind.world.server.app import GAMMA
from fairwind.world.server.venue import Venue

T = TypeVar("T")
Answer = httpx.Response | Exception
URL = "http://gamma.test"
BODY = json.dumps(market_object()).encode()
UNKNOWN = httpx.Response(404, json={"error": "slug not found"})


class Server:
    """Answers with a script, the last entry for ever; remembers the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def paths(self) -> list[str]:
        return [one.url.path for one in self.asked]


def asked(
    ask: Callable[[Gamma], Awaitable[T]],
    handler: Callable[[httpx.Request], Any],
    *,
    speed: float = 1e6,
) -> T:
    """What `ask` gets from a Gamma whose server is `handler`. At this speed no wait is felt."""

    async def run() -> T:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            return await ask(Gamma(Rest(URL, speed=speed, client=client, chance=random.Random(1))))

    return asyncio.run(run())


def found(handler: Callable[[httpx.Request], Any]) -> gamma.Listing | None:
    return asked(lambda catalogue: catalogue.market(SLUG), handler)


def fault(handler: Callable[[httpx.Request], Any]) -> str:
    with pytest.raises(Fault) as raised:
        found(handler)
    return str(raised.value)


def ok(value: Any) -> httpx.Response:
    return httpx.Response(200, json=value)


def page(*slugs: str, cursor: str | None = None) -> httpx.Response:
    events = [{"slug": one, "markets": [market_object(slug=one)]} for one in slugs]
    return ok({"events": events, **({"next_cursor": cursor} if cursor else {})})


def test_a_listed_market_is_found_by_its_slug_and_its_text_is_kept() -> None:
    server = Server(httpx.Response(200, content=BODY))
    listing = found(server)
    assert listing is not None
    assert from_gamma(listing.market, 4) == MARKET
    assert listing.payload == BODY and gamma_market(listing.payload) == listing.market
    assert server.paths == [f"/markets/slug/{SLUG}"]


def test_a_market_that_its_route_does_not_know_is_looked_for_in_the_list() -> None:
    other = f"eth-updown-5m-{START_S}"
    server = Server(UNKNOWN, page(other, cursor="abc"), page(SLUG))
    listing = found(server)
    assert listing is not None and from_gamma(listing.market, 4) == MARKET
    assert gamma_market(listing.payload) == listing.market
    first, second = (dict(one.url.params) for one in server.asked[1:])
    assert server.paths[1:] == ["/events/keyset"] * 2
    assert first == {
        "tag_slug": "up-or-down",
        "closed": "false",
        "end_date_min": "2026-09-21T14:14:59Z",
        "end_date_max": "2026-09-21T14:15:01Z",
        "limit": "100",
    }
    assert second == {**first, "after_cursor": "abc"}


def test_a_market_that_is_nowhere_is_not_listed_yet() -> None:
    assert found(Server(UNKNOWN, page())) is None


def test_a_server_without_lists_is_not_gamma() -> None:
    assert "expected Gamma, found a server that knows neither" in fault(Server(UNKNOWN))


def test_a_list_without_an_end_is_given_up() -> None:
    server = Server(UNKNOWN, page("x", cursor="again"))
    assert "at most 10 pages" in fault(server)
    assert len(server.asked) == 1 + gamma.PAGES_MAX


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"endDate": "2026-09-21T14:25:00Z"}, "an end one horizon after the start"),
        ({"version": "v2"}, "a market of this kind"),
        ({"clobTokenIds": ""}, "cannot be used"),
        (
            {"closed": True, "umaResolutionStatus": "resolved", "outcomePrices": '["1", "1"]'},
            "two payouts of a dollar",
        ),
        ({"slug": SLUG.replace("btc", "eth")}, f"expected the market {SLUG}, found eth-updown"),
        ({"conditionId": None}, "known shape"),
    ],
    ids=str,
)
def test_a_market_that_contradicts_its_slug_is_a_fault(wrong: dict[str, Any], said: str) -> None:
    assert said in fault(Server(ok(market_object(**wrong))))


def test_a_slug_of_no_window_is_refused_before_anything_is_asked() -> None:
    server = Server(UNKNOWN)
    with pytest.raises(BadInput, match="expected a window slug"):
        asked(lambda catalogue: catalogue.market("nba-bos-phi"), server)
    assert server.asked == []


PASSING: list[Answer] = [
    httpx.Response(425),
    httpx.Response(429),
    httpx.Response(500),
    httpx.Response(503, content=b"<html>maintenance</html>"),
    httpx.ReadTimeout("slow"),
    httpx.ConnectTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("closed"),
]


@pytest.mark.parametrize("passing", PASSING, ids=str)
def test_what_passes_is_asked_again(passing: Answer) -> None:
    server = Server(passing, passing, httpx.Response(200, content=BODY))
    assert found(server) is not None
    assert len(server.asked) == 3


@pytest.mark.parametrize("lasting", PASSING, ids=str)
def test_what_does_not_pass_is_a_fault_after_the_last_attempt(lasting: Answer) -> None:
    server = Server(lasting)
    assert "at the last of 4 attempts" in fault(server)
    assert len(server.asked) == gamma.ATTEMPTS_MAX


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(403), "found HTTP 403; see whether the venue refuses this network"),
        (httpx.Response(400), "found HTTP 400; check the address"),
        (httpx.Response(302, headers={"Location": "/login"}), "found HTTP 302 to /login"),
        (httpx.Response(200, content=b"<!DOCTYPE html><p>Hi"), "found a web page"),
        (httpx.Response(200, content=b""), "expected JSON"),
        (httpx.Response(200, content=b"[]"), "expected a known shape"),
        (httpx.Response(200, content=b"\xff\xfe{"), "expected JSON"),
        (httpx.Response(200, content=BODY[:-9]), "expected JSON"),
        (httpx.ConnectError("no route"), "found no route; check the address and the network"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_asking_again_cannot_help_is_a_fault_at_once(answer: Answer, said: str) -> None:
    server = Server(answer)
    assert said in fault(server)
    assert len(server.asked) == 1


def test_a_damaged_compression_is_a_fault() -> None:
    def damaged(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip")
        )

    assert "expected an answer, found" in fault(damaged)


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gamma, "BODY_BYTES_MAX", 1000)
    assert "at most 1000 bytes" in fault(Server(httpx.Response(200, content=b" " * 1001)))


def test_an_answer_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    monkeypatch.setattr(gamma, "LEAST_TIMEOUT_S", 0.01)
    assert "no whole answer within 0.01 s" in fault(
        lambda request: httpx.Response(200, content=trickle())
    )


def waits(monkeypatch: pytest.MonkeyPatch, answer: Answer, speed: float) -> list[float]:
    """The waits between the attempts, in seconds."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(Fault):
        asked(lambda catalogue: catalogue.market(SLUG), Server(answer), speed=speed)
    return slept


def test_waits_grow_by_chance_and_follow_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = waits(monkeypatch, httpx.Response(500), 1.0)
    fast = waits(monkeypatch, httpx.Response(500), 20.0)
    assert fast == pytest.approx([one / 20 for one in slow])
    assert len(slow) == gamma.ATTEMPTS_MAX - 1
    assert all(0 <= one <= gamma.FIRST_WAIT_S * 2**at for at, one in enumerate(slow, 1))
    assert len(set(slow)) == len(slow)


@pytest.mark.parametrize(("asks", "waited_s"), [("7", 7.0), ("86400", 60.0)])
def test_the_wait_that_the_venue_asks_for_is_kept_up_to_a_minute(
    asks: str, waited_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = httpx.Response(429, headers={"Retry-After": asks})
    assert waits(monkeypatch, answer, 1.0) == [waited_s] * 3
    assert waits(monkeypatch, answer, 20.0) == [waited_s / 20] * 3


@pytest.mark.parametrize(
    "url", ["gamma.test", "ftp://gamma.test", "http://", "http://gamma.test:x", ""]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="expected an address"):
        Rest(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9", "nobody listening there"),
        ("http://no-such-host.invalid", "no such host"),
        ("https://127.0.0.1:{port}", "no TLS that can be trusted"),
        ("http://127.0.0.1:{port}", "a broken connection"),
    ],
)
def test_a_server_that_cannot_be_reached_is_named_with_what_to_do(url: str, said: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"no server of the web\r\n")
        writer.close()

    async def run() -> str:
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            catalogue = Gamma(Rest(url.format(port=port), speed=1e6))
            with pytest.raises(Fault) as raised:
                await catalogue.market(SLUG)
            await catalogue.close()
            return str(raised.value)

    assert said in asyncio.run(run())


def test_the_built_in_market_is_found_by_slug_and_by_list() -> None:
    async def run() -> None:
        at_ns, start_ns = window_now()
        async with served(Venue(tape(*listed(at_ns, start_ns)))) as host:
            catalogue = Gamma(Rest(f"http://{host}{GAMMA}"))
            name = slug(SERIES, start_ns)
            by_slug = await catalogue.market(name)
            end_s = start_ns // SECOND_NS + 300
            by_list = await catalogue._listed(name, end_s)
            assert by_slug is not None and by_list is not None
            assert gamma_market(by_list) == by_slug.market
            assert from_gamma(by_slug.market, 0).start_ns == start_ns
            assert await catalogue.market(slug(SERIES, start_ns + 300 * SECOND_NS)) is None
            await catalogue.close()

    asyncio.run(run())


def test_the_clocks_difference_is_found_within_half_a_second_and_the_way() -> None:
    async def run() -> None:
        at_ns, start_ns = window_now()
        async with served(Venue(tape(*listed(at_ns, start_ns)))) as host:
            clob = Rest(f"http://{host}")
            own = await gamma.clock_skew(clob)
            ahead = await gamma.clock_skew(clob, lambda: now_ns() + 60 * SECOND_NS)
            assert abs(own.skew_ns) <= own.within_ns
            assert abs(ahead.skew_ns - 60 * SECOND_NS) <= ahead.within_ns < 2 * SECOND_NS
            await clob.close()

    asyncio.run(run())


def test_a_clock_that_answers_nonsense_is_a_fault() -> None:
    async def run(body: bytes) -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(200, content=body))
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(Fault, match="check the address"):
                await gamma.clock_skew(Rest(URL, client=client))

    for body in (b"", b"soon", b"12", b"<html>"):
        asyncio.run(run(body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
CHANGED = st.builds(
    lambda name, value: json.dumps(market_object(**{name: value})).encode(),
    st.sampled_from(sorted(market_object())),
    JSON,
)
CUT = st.builds(
    lambda at, noise: BODY[:at] + noise + BODY[at:], st.integers(0, len(BODY)), st.binary()
)


@settings(max_examples=200, deadline=None)
@given(body=st.binary() | JSON.map(lambda one: json.dumps(one).encode()) | CHANGED | CUT)
def test_any_answer_is_the_market_or_a_fault(body: bytes) -> None:
    for server in (
        Server(httpx.Response(200, content=body)),
        Server(UNKNOWN, httpx.Response(200, content=body)),
        Server(
            UNKNOWN,
            httpx.Response(
                200, content=b'{"events":[{"slug":"%b","markets":[' % SLUG.encode() + body + b"]}]}"
            ),
        ),
    ):
        try:
            listing = found(server)
        except Fault:
            continue
        assert listing is None or from_gamma(listing.market, 4).start_ns == MARKET.start_ns
