"""Who may come in: one-time links, sessions, and a guard before every route.

In: requests and sockets. Out: the same with a session, or a refusal. Never here: a route that is
open because nobody thought of it, a secret that is logged or compared byte by byte.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fairwind.api.wire import Refusal, refused
from fairwind.core.errors import BadInput

LINK_S = 600.0
SESSION_S = 12 * 3600.0
LINKS_MAX = 16
SESSIONS_MAX = 32
"""The oldest go first."""
CLIENTS_MAX = 1024
TOKEN_CHARS_MIN = 32
BODY_BYTES_MAX = 16_384
SAFE = ("GET", "HEAD")
OPEN = ("/login", "/health", "/static/fairwind.css")
"""What may be read without a session: to log in, and to see that the server is there."""
BEARER = (("GET", "/metrics"), ("POST", "/api/links"))
"""What programs of this user may ask for with the token of RUN/pages.json."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HOW = "log in with a one-time link: `fairwind login RUN` makes one"


class Session(NamedTuple):
    """Somebody who came in. `csrf` has to come with every change."""

    id: str
    until_s: float
    csrf: str


class Allowance:
    """So many at once and so many a second, for each client."""

    def __init__(
        self, at_once: int, a_second: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._rate, self._now_s = float(at_once), a_second, now_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """One more; Refusal when it is one too many."""
        now_s = self._now_s()
        left, at_s = self._left.pop(client, (self._most, now_s))
        left = min(self._most, left + (now_s - at_s) * self._rate)
        self._left[client] = (left - 1 if left >= 1 else left), now_s
        while len(self._left) > CLIENTS_MAX:
            self._left.popitem(last=False)
        if left < 1:
            wait_s = (1 - left) / self._rate
            raise Refusal(429, f"too many; wait {wait_s:.0f} s", retry_s=wait_s)


class Door:
    """Links that have not been used, and sessions, in memory: a restart ends them all."""

    def __init__(self, *, token: str = "", now_s: Callable[[], float] = time.monotonic) -> None:
        self.token = token or secrets.token_urlsafe(32)
        """Of the programs of this user."""
        self.logins = Allowance(10, 0.2, now_s)
        self.controls = Allowance(20, 2.0, now_s)
        self._now_s = now_s
        self._key = secrets.token_bytes(32)
        self._links: OrderedDict[bytes, float] = OrderedDict()
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def link(self) -> str:
        """The token of a new one-time link."""
        token = secrets.token_urlsafe(32)
        self._links[_hashed(token)] = self._now_s() + LINK_S
        while len(self._links) > LINKS_MAX:
            self._links.popitem(last=False)
        return token

    def enter(self, token: str) -> str | None:
        """The cookie of a new session, for a link that is fresh; it is burnt by this."""
        until_s = self._links.pop(_hashed(token), 0.0)
        if self._now_s() >= until_s:
            return None
        one = secrets.token_urlsafe(32)
        self._sessions[one] = Session(one, self._now_s() + SESSION_S, self._signed(f"csrf {one}"))
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return f"{one}.{self._signed(one)}"

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie; None for one that is forged, unknown or too old."""
        one, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signed(one).encode()):
            return None
        found = self._sessions.get(one)
        if found is None or self.lives(found):
            return found
        del self._sessions[one]
        return None

    def lives(self, session: Session) -> bool:
        """Whether it has neither ended nor grown too old."""
        return session.id in self._sessions and self._now_s() < session.until_s

    def left_s(self, session: Session) -> float:
        """How long it will last."""
        return session.until_s - self._now_s()

    def leave(self, session: Session) -> None:
        """End a session."""
        self._sessions.pop(session.id, None)

    def _signed(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


class Guard:
    """ASGI middleware: nothing behind it is reached without a session, but for OPEN and BEARER.

    Changes also need the session's CSRF token, and like sockets our own Origin.
    """

    def __init__(self, app: ASGIApp, *, door: Door, cookie: str) -> None:
        self._app = app
        self._door = door
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._judge(scope)
        except Refusal as refusal:
            await _said(scope, refusal)(scope, receive, _with_headers(send))
            return
        await self._app(scope, _bounded(receive), _with_headers(send))

    def _judge(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        method = scope["method"] if scope["type"] == "http" else "SOCKET"
        if method in SAFE and scope["path"] in OPEN:
            return
        if (method, scope["path"]) in BEARER and self._is_ours(headers):
            return
        session = self._door.session(_cookie_of(headers, self._cookie))
        if session is None:
            raise Refusal(401, f"no session; {HOW}")
        scope.setdefault("state", {})
        scope["state"] |= {"session": session, "csrf": session.csrf}
        if method in SAFE:
            return
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        if headers.get("origin") != f"{scheme}://{headers.get('host')}":
            raise Refusal(403, "expected a request of our own pages, found another Origin")
        csrf = headers.get("x-csrf-token", "")
        if method != "SOCKET" and not hmac.compare_digest(csrf.encode(), session.csrf.encode()):
            raise Refusal(403, "expected X-CSRF-Token of this session; reload the page")

    def _is_ours(self, headers: Headers) -> bool:
        found = headers.get("authorization", "")
        return hmac.compare_digest(found.encode(), f"Bearer {self._door.token}".encode())


def cookie_name(port: int) -> str:
    """Cookies do not tell ports apart, so each server of a machine has its own."""
    return f"fairwind_{port}"


def login_page(text: str, status: int, *, next_page: str = "") -> Response:
    """What somebody without a session sees, and what leads on to the pages. The way on is not a
    redirect: after one, a link that was clicked elsewhere would come without its strict cookie."""
    refresh = f'<meta http-equiv="refresh" content="0; url={next_page}">' if next_page else ""
    way = f'<p><a href="{next_page}">Go on</a></p>' if next_page else ""
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<title>Fairwind</title><link rel="icon" href="data:,">{refresh}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/static/fairwind.css"></head>'
        f'<body class="login"><main><h1>Fairwind</h1><p>{text}</p>{way}</main></body></html>',
        status,
    )


def secret_of(path: Path) -> str:
    """The token in a file that only its owner can read. BadInput for another file."""
    try:
        mode, token = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: expected a token file, found: {error}") from error
    if mode & 0o077:
        raise BadInput(f"{path}: expected a file that only you can read; run chmod 600 on it")
    if len(token) < TOKEN_CHARS_MIN:
        raise BadInput(
            f"{path}: expected at least {TOKEN_CHARS_MIN} characters, found {len(token)}"
        )
    return token


def _hashed(token: str) -> bytes:
    """So that looking a token up takes as long whatever it shares with a right one."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _cookie_of(headers: Headers, name: str) -> str:
    """As browsers write it: other servers of this machine share the header, and need not follow
    the grammar that the standard library insists on."""
    return cookie_parser(headers.get("cookie", "")).get(name, "")


def _said(scope: Scope, refusal: Refusal) -> Response:
    """A page for people, JSON for programs."""
    page = scope["type"] == "http" and not scope["path"].startswith("/api/")
    if page and "text/html" in Headers(scope=scope).get("accept", ""):
        text = "Log in with a one-time link: <code>fairwind login RUN</code> makes one."
        return login_page(text if refusal.status == 401 else refusal.text, refusal.status)
    return refused(refusal)


def _bounded(receive: Receive) -> Receive:
    """A body that is longer than any of ours is not read to its end."""
    left = BODY_BYTES_MAX

    async def receiving() -> Message:
        nonlocal left
        message = await receive()
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"expected at most {BODY_BYTES_MAX} bytes")
        return message

    return receiving


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)  # a report brings a policy of its own
        await send(message)

    return sending
