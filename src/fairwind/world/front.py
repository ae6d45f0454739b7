"""What a REST request meets before the venue's routes: rate limits, and faults that were set.

In: requests in market time. Out: the routes' answers, late, stale or garbled, or a refusal in their
place. Never here: a limit or a fault on a socket or on the console.
"""

import asyncio
import math
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from fairwind.core.units import SECOND_NS
from fairwind.world.faults import STATUSES, Fault, Kind, LineName, corrupted
from fairwind.world.server.answers import refused
from fairwind.world.server.app import GAMMA, TURN_S, Market
from fairwind.world.server.venue import Venue

RESTARTING, TOO_MANY, BROKEN, UNAVAILABLE = STATUSES
TEXTS = {
    RESTARTING: "matching engine is restarting",
    TOO_MANY: "rate limit exceeded",
    BROKEN: "internal server error",
    UNAVAILABLE: "trading is currently disabled",
}
STALE_ANSWERS = 1_000
"""So many different requests can be answered as they were; more are answered as they are."""


class Rate(NamedTuple):
    """How often requests that begin so may come: a bucket of `burst`, filled with `per_s`."""

    begins: str
    per_s: float
    burst: int


RATES = (
    Rate("POST /order", 40, 60),
    Rate("DELETE /order", 80, 120),
    Rate("DELETE /cancel-", 80, 120),
    Rate("POST /v1/heartbeats", 40, 60),
    Rate(f"GET {GAMMA}/events", 50, 500),
    Rate(f"GET {GAMMA}/markets", 30, 300),
    Rate("GET /data/", 50, 500),
    Rate("GET /balance-allowance", 20, 200),
    Rate("GET /auth/", 10, 100),
    Rate("POST /auth/", 10, 100),
    Rate("POST ", 50, 500),  # several books or prices
    Rate("", 150, 1500),
)
"""First match holds (venue facts 2.8, an account of the lowest tier). Every request costs 1."""
ORDER_ROUTES = ("POST /order", "DELETE /order", "DELETE /cancel-", "POST /v1/")


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Front:
    """An ASGI application before a market's."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._begin(market.venue)

    def _begin(self, venue: Venue) -> None:
        """Know nothing of requests to a venue."""
        self._venue = venue
        self._left = {rate: float(rate.burst) for rate in RATES}
        self._at_ns = 0
        self._stale: dict[tuple[Fault, str], Answer] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; sockets pass."""
        if scope["type"] != "http":
            await self._market(scope, receive, send)
            return
        if self._venue is not self._market.venue:
            self._begin(self._market.venue)
        request = Request(scope)
        asked = f"{request.method} {request.url.path}?{request.url.query}"
        now_ns = self._venue.now_ns
        wait_s = self._over_rate(asked, now_ns)
        faults = self._market.faults.on_frame(_line(asked), asked.encode(), now_ns)
        statuses = [fault.code for fault, _ in faults if fault.kind is Kind.STATUS]
        if wait_s:
            await _refusal(TOO_MANY, wait_s)(scope, receive, send)
        elif statuses and statuses[0] != BROKEN:
            await _refusal(statuses[0], 1)(scope, receive, send)
        elif not faults:
            await self._market(scope, receive, send)
        else:
            answer = await self._befallen(asked, faults, (scope, receive))
            await _send(answer, send)

    async def _befallen(
        self, asked: str, faults: list[tuple[Fault, int]], request: tuple[Scope, Receive]
    ) -> Answer:
        """The routes' answer with what befalls it. The request is carried out in any case."""
        answer = await self._answer(*request)
        until_ns = now_ns = self._venue.now_ns
        for fault, fired in faults:
            if fault.kind is Kind.STATUS:
                broken = refused(TEXTS[BROKEN], BROKEN)
                answer = Answer(BROKEN, list(broken.raw_headers), bytes(broken.body))
            elif fault.kind is Kind.STALE:
                if len(self._stale) < STALE_ANSWERS:
                    self._stale.setdefault((fault, asked), answer)
                answer = self._stale.get((fault, asked), answer)
            elif fault.kind is Kind.DELAY:
                until_ns = max(until_ns, now_ns + fault.by_ns)
            elif fault.kind is Kind.FREEZE:
                until_ns = max(until_ns, fault.until_ns)
            else:
                kind = b"text/html" if fault.kind is Kind.HTML else b"application/json"
                body = corrupted(answer.body, fault, fired)
                answer = Answer(answer.status, [(b"content-type", kind)], body)
        while self._venue.now_ns < until_ns and not await Request(*request).is_disconnected():
            await asyncio.sleep(TURN_S)
        return answer

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        """What the routes answer."""
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        await self._market(scope, receive, keep)
        body = b"".join(message.get("body", b"") for message in sent)
        return Answer(sent[0]["status"], list(sent[0]["headers"]), body)

    def _over_rate(self, asked: str, now_ns: int) -> int:
        """Seconds to wait before such a request may come again; 0 when it may come now."""
        passed_s = max(now_ns - self._at_ns, 0) / SECOND_NS
        self._at_ns = now_ns
        for rate in RATES:
            self._left[rate] = min(rate.burst, self._left[rate] + passed_s * rate.per_s)
        rate = next(rate for rate in RATES if asked.startswith(rate.begins))
        if self._left[rate] < 1:
            return math.ceil((1 - self._left[rate]) / rate.per_s)
        self._left[rate] -= 1
        return 0


def _line(asked: str) -> LineName:
    """The group of routes that a request belongs to."""
    if asked.startswith(ORDER_ROUTES):
        return LineName.ORDERS
    return LineName.GAMMA if asked.partition(" ")[2].startswith(GAMMA) else LineName.CLOB


def _refusal(status: int, wait_s: int) -> Response:
    response = refused(TEXTS[status], status)
    response.headers["Retry-After"] = str(wait_s)
    return response


async def _send(answer: Answer, send: Send) -> None:
    headers = [header for header in answer.headers if header[0] != b"content-length"]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
