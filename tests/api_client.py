"""The API in this process, and somebody who is logged in to it.

In: a run directory. Out: a client, with its cookie and CSRF token; every route that there is.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import FastAPI
from hand_engine import wait_for
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from fairwind.api.app import application

with warnings.catch_warnings():  # it would rather have a library that we do not use
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient, WebSocketDenialResponse

__all__ = ["TestClient", "WebSocketDenialResponse"]
PORT = 8765
HERE = f"http://127.0.0.1:{PORT}"


class Way(NamedTuple):
    """One way in: a method and a path that fits a route."""

    method: str  # SOCKET for one
    path: str


class Inside(NamedTuple):
    """A client with a session, and what its changes need."""

    client: TestClient
    app: FastAPI
    csrf: str

    @property
    def headers(self) -> dict[str, str]:
        """Of a change that is allowed."""
        return {"Origin": HERE, "X-CSRF-Token": self.csrf}

    def ask(self, what: str, key: str, **body: Any) -> Any:
        """POST a control."""
        headers = {**self.headers, "Idempotency-Key": key}
        return self.client.post(f"/api/controls/{what}", json=body, headers=headers)


def logged_in(app: FastAPI, client: TestClient) -> Inside:
    """Come in by a new link."""
    assert client.get("/login", params={"token": app.state.door.link()}).status_code == 200
    return Inside(client, app, client.get("/api/session").json()["csrf"])


@contextmanager
def inside(run: Path) -> Iterator[Inside]:
    """The API of a run as long as the block lasts, once there is something to see."""
    app = application(run, port=PORT)
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        wait_for(lambda: app.state.board.ready.is_set() and app.state.board.caught_up)
        yield logged_in(app, client)


def ways(app: FastAPI) -> list[Way]:
    """Every route with each of its methods, also those that FastAPI makes by itself."""
    return sorted(set(_ways(app.routes, "")))


def _ways(routes: list[BaseRoute], before: str) -> Iterator[Way]:
    for route in routes:
        if isinstance(route, Mount):
            yield Way("GET", f"{before}{route.path}/anything.js")
            yield from _ways(route.routes, before + route.path)
        elif isinstance(route, WebSocketRoute):
            yield Way("SOCKET", before + _filled(route.path))
        elif isinstance(route, Route):
            for method in route.methods or ():
                yield Way(method, before + _filled(route.path))
        else:  # a router that was included as a whole
            inner = getattr(route, "original_router", None) or getattr(route, "router", None)
            assert inner is not None, f"how is {route!r} reached? tell this test"
            yield from _ways(inner.routes, before)


def _filled(path: str) -> str:
    while "{" in path:
        head, _, rest = path.partition("{")
        path = f"{head}1{rest.partition('}')[2]}"
    return path
