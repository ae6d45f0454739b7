"""A webhook for tests: takes messages, refuses them, or is slow.

In: the answers that it gives. Out: what it heard. Never here: a library that plays the network.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fairwind.core.config import Target

SECRET = "verysecretpart"


class Webhook:
    """A server that takes messages; `answers` are given in turn, then 200 for ever."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.slow_s = 0.0
        self.port = 0

    def target(self, *severities: Any, more: str = "") -> Target:
        url = f"json://{SECRET}:{SECRET}2@127.0.0.1:{self.port}/{SECRET}3{more}"
        return Target(url=url, severities=severities or ("critical", "warning"))

    def titles(self) -> list[str]:
        return [str(one["title"]) for one in self.heard]


@contextmanager
def listening() -> Iterator[Webhook]:
    """A webhook at work."""
    webhook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(webhook.slow_s)
            answer = webhook.answers.pop(0) if webhook.answers else 200
            if answer == 200:
                webhook.heard.append(json.loads(body))
            with suppress(BrokenPipeError):
                self.send_response(answer)
                self.end_headers()

        def log_message(self, format: str, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        webhook.port = server.server_address[1]
        yield webhook
        server.shutdown()
