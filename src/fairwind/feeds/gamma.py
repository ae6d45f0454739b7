"""Discovery over HTTP: a window's market by its slug, or from the list of its tag.

In: an address, a slug. Out: the verified market and its text as it came, None while it is not
listed, or a Fault that says what to do. Never here: a market that contradicts its slug; an answer,
an attempt or a page without a limit.
"""

import asyncio
import random
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import httpx
import msgspec

from fairwind.core.clock import now_ns
from fairwind.core.errors import BadInput, Fault
from fairwind.core.events import HORIZONS_S
from fairwind.core.ids import parse_slug
from fairwind.core.units import SECOND_NS
from fairwind.feeds.discovery import GammaMarket, events_page, from_gamma, gamma_market, result_e4
from fairwind.feeds.frames import BadFrame, decoded, stamp_ns

ATTEMPTS_MAX = 4
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
"""Bounds of the wait before the next attempt: between 0 and a limit that doubles (full jitter)."""
TIMEOUT_S, LEAST_TIMEOUT_S = 10.0, 1.0
"""Time for a whole answer: the venue's, but never less than the second of our own clock."""
BODY_BYTES_MAX = 16 * 2**20
PAGE, PAGES_MAX = 100, 10
TAG = "up-or-down"
TRY_AGAIN = (425, 429)
"""Statuses that pass, beside those from 500 on."""

AGENT = "fairwind"
"""The venue's shield refuses the names under which libraries come."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""The built-in market is never asked through the environment's proxy."""

T = TypeVar("T")
_seconds = msgspec.json.Decoder(int)


class Listing(NamedTuple):
    """A market, verified, and its text as the venue wrote it: `gamma_market` reads it again."""

    market: GammaMarket
    payload: bytes


class Skew(NamedTuple):
    """Our clock minus the venue's, and how far off that may be; both in ns."""

    skew_ns: int
    within_ns: int


class _Again(NamedTuple):
    """An attempt failed in a way that passes."""

    found: str
    after_s: float = 0.0


class Rest:
    """GET requests below one address.

    At `speed` 20 all waits are 20 times shorter. Raises BadInput when the address is none.
    """

    def __init__(
        self,
        url: str,
        *,
        speed: float = 1.0,
        client: httpx.AsyncClient | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._speed = speed
        self._timeout_s = max(TIMEOUT_S / speed, LEAST_TIMEOUT_S)
        self._chance = chance or random.Random()
        self._client = client or httpx.AsyncClient(
            headers={"User-Agent": AGENT}, trust_env=_host(url) not in LOOPBACK, timeout=None
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> bytes | None:
        """The body of the answer, or None where the server has nothing (404).

        Raises Fault: at once where asking again does not help, or after the last attempt.
        """
        attempts = 0
        while isinstance(answer := await self._attempt(path, query or {}), _Again):
            attempts += 1
            if attempts == ATTEMPTS_MAX:
                raise Fault(
                    f"{self.url}{path}: expected an answer, found {answer.found} at the last of "
                    f"{attempts} attempts; see whether the venue has announced a maintenance"
                )
            limit_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**attempts)
            wait_s = max(answer.after_s, self._chance.uniform(0, limit_s))
            await asyncio.sleep(wait_s / self._speed)
        return answer

    async def _attempt(self, path: str, query: Mapping[str, str]) -> bytes | _Again | None:
        url = self.url + path
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("GET", url, params=query) as response,
            ):
                if response.status_code in (200, 404):  # read whole, so that it can be used again
                    body = await _body(response)
                    return body if response.status_code == 200 else None
                return _refused(response)
        except (TimeoutError, httpx.TimeoutException):
            return _Again(f"no whole answer within {self._timeout_s:g} s")
        except (httpx.ReadError, httpx.RemoteProtocolError) as error:
            return _Again(f"a broken connection ({error})")
        except httpx.RequestError as error:
            raise _unreachable(url, error) from error


class Gamma:
    """The venue's catalogue of markets. Errors as for Rest."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def close(self) -> None:
        """Close all connections."""
        await self._rest.close()

    async def market(self, slug: str) -> Listing | None:
        """The market with this slug; None while it is not listed.

        Where the slug's own route knows nothing, the list of the tag is searched, open markets
        only. Raises Fault, also for a market that contradicts its slug, and BadInput for a slug
        that is no window's.
        """
        series, start_ns = parse_slug(slug)
        payload = await self._rest.get(f"/markets/slug/{slug}")
        if payload is None:
            payload = await self._listed(
                slug, start_ns // SECOND_NS + HORIZONS_S[series % len(HORIZONS_S)]
            )
        return None if payload is None else self._verified(slug, payload)

    async def _listed(self, slug: str, end_s: int) -> bytes | None:
        """The market in the list of windows that end at `end_s`, page by page."""
        query = {
            "tag_slug": TAG,
            "closed": "false",
            "end_date_min": _time(end_s - 1),
            "end_date_max": _time(end_s + 1),
            "limit": str(PAGE),
        }
        for _ in range(PAGES_MAX):
            payload = await self._rest.get("/events/keyset", query)
            if payload is None:
                raise Fault(
                    f"{self._rest.url}: expected Gamma, found a server that knows neither its "
                    "markets nor its lists (404); check the address"
                )
            page = self._read(events_page, payload)
            for event in page.events:
                if event.slug == slug and event.markets:
                    return bytes(event.markets[0])
            if page.next_cursor is None:
                return None
            query["after_cursor"] = page.next_cursor
        raise Fault(
            f"{self._rest.url}: expected at most {PAGES_MAX} pages of windows that end together, "
            f"found more; see whether the filters of /events/keyset have changed"
        )

    def _verified(self, slug: str, payload: bytes) -> Listing:
        found = self._read(gamma_market, payload)
        try:
            from_gamma(found, 0)
            result_e4(found)
        except BadFrame as error:
            raise Fault(
                f"{self._rest.url}: {slug} is not traded, its market cannot be used ({error}); "
                "see whether the venue has changed its rules"
            ) from error
        if found.slug != slug:
            raise Fault(
                f"{self._rest.url}: expected the market {slug}, found {found.slug}; "
                "check the address, and what answers in Gamma's place"
            )
        return Listing(found, payload)

    def _read(self, decode: Callable[[bytes], T], payload: bytes) -> T:
        try:
            return decode(payload)
        except BadFrame as error:
            raise _unreadable(self._rest.url, payload, error) from error


async def clock_skew(clob: Rest, clock: Callable[[], int] = now_ns) -> Skew:
    """How far our clock is ahead of the venue's, by the CLOB's whole seconds. Raises Fault."""
    before_ns = clock()
    payload = await clob.get("/time")
    after_ns = clock()
    try:
        venue_ns = stamp_ns(decoded(_seconds, payload or b""))
    except BadFrame as error:
        raise _unreadable(clob.url, payload or b"", error) from error
    middle_ns, half_ns = (before_ns + after_ns) // 2, (after_ns - before_ns) // 2
    return Skew(middle_ns - venue_ns - SECOND_NS // 2, half_ns + SECOND_NS // 2)


def _host(url: str) -> str:
    """The host of an address; BadInput when it is none."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise BadInput(f"expected an address, found {url!r} ({error}); correct it") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise BadInput(f"expected an address like https://host, found {url!r}; correct it")
    return parsed.host


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise Fault(
                f"{response.url}: expected an answer of at most {BODY_BYTES_MAX} bytes, found a "
                "longer one; check the address"
            )
    return bytes(body)


def _refused(response: httpx.Response) -> _Again:
    """What a status other than 200 and 404 means."""
    status = response.status_code
    if status in TRY_AGAIN or status >= 500:
        asked = response.headers.get("Retry-After", "")
        after_s = min(float(asked), LONGEST_WAIT_S) if asked.isdecimal() else 0.0
        return _Again(f"HTTP {status}", after_s)
    found, advice = f"HTTP {status}", "check the address"
    if response.has_redirect_location:
        found += f" to {response.headers['Location']}"
    elif status in (401, 403, 451):
        advice = "see whether the venue refuses this network or country"
    raise Fault(f"{response.url}: expected an answer, found {found}; {advice}")


def _unreachable(url: str, error: httpx.RequestError) -> Fault:
    """What kept a request from its server, and what to do about it."""
    found, advice = str(error) or type(error).__name__, "check the address and the network"
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            found = f"no TLS that can be trusted ({found})"
            advice = "check the address, this machine's clock, and for a proxy that reads along"
        elif isinstance(cause, socket.gaierror):
            found = f"no such host ({found})"
            advice = "check the address, and that this machine has internet"
        elif isinstance(cause, ConnectionRefusedError):
            found = f"nobody listening there ({found})"
            advice = "start the server, or check the address and its port"
    return Fault(f"{url}: expected an answer, found {found}; {advice}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came from, and the members of groups."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            for member in cause.exceptions:
                yield from _causes(member)
        cause = cause.__cause__ or cause.__context__


def _unreadable(url: str, payload: bytes, error: BadFrame) -> Fault:
    """An answer that is no JSON, or JSON of another shape."""
    if payload.lstrip()[:1] == b"<":
        return Fault(
            f"{url}: expected JSON, found a web page ({payload[:60]!r}); check the address, and "
            "for a proxy or a login page in between"
        )
    return Fault(f"{url}: {error}; check the address, and whether the venue changed its answers")


def _time(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
