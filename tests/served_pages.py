"""The pages' server in a process of its own, and viewers of it over real sockets.

In: a run directory. Out: its address and a session; viewers that apply deltas as a page does.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
from websockets.sync.client import ClientConnection, connect

from fairwind.api.app import Announcement
from fairwind.views import shapes
from fairwind.views.shapes import Snapshot

COMMAND = """
import sys, msgspec
from pathlib import Path
from fairwind.api.app import serve
say = lambda found: print(msgspec.json.encode(found).decode(), flush=True)
serve(Path(sys.argv[1]), 0, say, attached=True)
"""
_DELTAS = {
    shapes.Values: shapes.SetValues,
    shapes.Rows: shapes.PutRows,
    shapes.Series: shapes.AddPoints,
    shapes.Grid: shapes.SetCells,
}


class Served(NamedTuple):
    """A server and a session of it."""

    address: str
    process: "subprocess.Popen[bytes]"
    client: httpx.Client
    opened: list[ClientConnection]

    def connect(self) -> ClientConnection:
        """A socket, as the page opens one; it is closed with the server."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.client.cookies.items())
        headers = {"Cookie": cookie, "Origin": self.address}
        url = self.address.replace("http", "ws") + "/api/socket"
        found = connect(
            url,
            additional_headers=headers,
            compression=None,
            proxy=None,
            max_size=None,
            ping_interval=None,
            close_timeout=0.2,
        )
        self.opened.append(found)
        return found

    def cpu_s(self) -> float:
        """Processor time that the server has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def served(run: Path) -> Iterator[Served]:
    """A server as long as the block lasts, with somebody who is logged in."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        opened: list[ClientConnection] = []
        try:
            found = msgspec.json.decode(process.stdout.readline(), type=Announcement)
            with httpx.Client(base_url=found.address, trust_env=False, timeout=20) as client:
                client.get(found.link).raise_for_status()
                yield Served(found.address, process, client, opened)
        finally:
            process.kill()
            for one in opened:
                one.close()


class Page:
    """A viewer that keeps what it is told, and complains of a gap."""

    def __init__(self, served: Served, *topics: str) -> None:
        self.shown: dict[str, Snapshot] = {}
        self.sequences: dict[str, int] = {}
        self.errors: dict[str, str] = {}
        self.beats: list[dict[str, Any]] = []
        self.deltas = 0
        self.socket = served.connect()
        if topics:
            self.say({"subscribe": list(topics)})

    def say(self, what: Any) -> None:
        """Send a message."""
        self.socket.send(json.dumps(what))

    def read(self, within_s: float = 10.0) -> dict[str, Any]:
        """The next frame, after it was taken in."""
        frame: dict[str, Any] = json.loads(self.socket.recv(timeout=within_s))
        if "beat" in frame:
            self.beats.append(frame["beat"])
        elif "error" in frame:
            self.errors[frame["topic"]] = frame["error"]
        elif "snapshot" in frame:
            self.shown[frame["topic"]] = msgspec.convert(frame["snapshot"], Snapshot)  # type: ignore[call-overload]
            self.sequences[frame["topic"]] = frame["sequence"]
        else:
            self._change(frame)
        return frame

    def until(self, what: Any, within_s: float = 10.0) -> Any:
        """Read until a function of this page is true."""
        deadline = time.monotonic() + within_s
        while not what(self):
            self.read(max(0.01, deadline - time.monotonic()))
        return self

    def _change(self, frame: dict[str, Any]) -> None:
        topic = frame["topic"]
        self.sequences[topic] += 1
        assert frame["sequence"] == self.sequences[topic], "frames were lost"
        change = msgspec.convert(frame["delta"], _DELTAS[type(self.shown[topic])])
        self.shown[topic] = shapes.apply(self.shown[topic], change)  # type: ignore[arg-type]
        self.deltas += 1
