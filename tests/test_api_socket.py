"""The socket: deltas lead to what the API says; who floods, or does not read, harms nobody."""

import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from hand_engine import finished, made, trading, wait_for
from served_pages import Page, Served, served
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fairwind.api import hub
from fairwind.core.units import SECOND_NS
from fairwind.views.topics import VIEWS

TOPICS = ("overview", "orders", "windows", "events", "system", "engine", "controls")


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(finished(tmp_path_factory.mktemp("socket") / "run", windows=1)) as one:
        yield one


def closed(page: Page, within_s: float = 10.0) -> int:
    """The code that a viewer is closed with."""
    deadline = time.monotonic() + within_s
    try:
        while time.monotonic() < deadline:
            page.read(max(0.01, deadline - time.monotonic()))
    except ConnectionClosed as error:
        assert error.rcvd is not None, "closed without a word"
        return error.rcvd.code
    raise AssertionError("it is still open")


def seen(page: Page, *topics: str) -> bool:
    return page.shown.keys() >= set(topics)


def test_the_first_frame_of_each_view_holds_what_the_api_answers(replayed: Served) -> None:
    topics = [one for one in topics_of(replayed) if one not in ("system", "engine")]  # these age
    assert {view.topic for view in VIEWS} <= {topic.partition("/")[0] for topic in topics}
    page = Page(replayed, *topics).until(lambda page: seen(page, *topics))
    for topic in topics:
        answer = replayed.client.get(f"/api/views/{topic}").json()["snapshot"]
        assert json.loads(json.dumps(answer)) == as_json(page.shown[topic]), topic


def as_json(one: Any) -> Any:
    return json.loads(msgspec.json.encode(one))


def test_a_run_that_trades_is_shown_as_it_goes_on_without_a_gap(tmp_path: Path) -> None:
    events = made(windows=1)
    events["ts_ns"][-1] = events["ts_ns"][-2]  # so that who has not seen it is not behind
    with trading(tmp_path / "run", int(events["ts_ns"][0])) as engine, served(engine.run) as pages:
        parts = np.array_split(events[:-1], 40)
        engine.play(parts[0])
        early = Page(pages, *TOPICS).until(lambda page: seen(page, *TOPICS))
        for number, part in enumerate(parts[1:]):
            engine.play(part)
            if number % 4 == 0:  # a turn of the pages at least, however busy the machine is
                early.until(lambda page, had=early.deltas: page.deltas > had + 2)
        late = Page(pages, *TOPICS).until(lambda page: seen(page, *TOPICS))
        total, digest = engine.session.events, f"{engine.session.state.digest():016x}"
        engine.play(events[-1:])  # with it the outputs of what came before become durable

        def there(page: Page) -> bool:
            return page.shown["system"].values["events"] == total  # type: ignore[union-attr]

        for page in (early, late):
            page.until(there)
            beats = len(page.beats)  # behind the next one stand all frames of that turn
            page.until(lambda page, had=beats: len(page.beats) > had)
            page.until(lambda page: page.beats[-1]["behind_ns"] < SECOND_NS)
            beat = page.beats[-1]
            assert (beat["mode"], beat["engine"]) == ("PAPER", "running")
        assert early.deltas > 20
        for topic in ("overview", "orders", "windows", "controls"):
            answer = pages.client.get(f"/api/views/{topic}").json()["snapshot"]
            assert as_json(early.shown[topic]) == as_json(late.shown[topic]) == answer
        assert early.shown["system"].values["proved_digest"] == digest  # type: ignore[union-attr]
        engine.silent = True
        early.until(lambda page: page.beats[-1]["engine"] == "silent")
        early.until(lambda page: page.shown["engine"].values["status_age_ns"] >= 2 * SECOND_NS)
        why = early.shown["engine"].values["why"]  # type: ignore[union-attr]
        assert str(why).startswith("silent for")


def test_a_beat_comes_every_second(replayed: Served) -> None:
    page = Page(replayed)
    page.read()
    began_s = time.monotonic()
    page.until(lambda page: len(page.beats) == 4)
    assert 1.9 < time.monotonic() - began_s < 3.6
    assert page.beats[0]["mode"] == "REPLAY"
    assert page.beats[0]["engine"] == "over"


def test_a_topic_that_does_not_exist_says_so_and_leaves_the_others_alone(replayed: Served) -> None:
    page = Page(replayed, "ordres", "overview", "strategy/NOBODY", "overview/x", "")
    page.until(lambda page: seen(page, "overview") and len(page.errors) == 4)
    assert "the nearest valid name is 'orders'" in page.errors["ordres"]
    page.say({"unsubscribe": ["overview"], "subscribe": ["windows"]})
    page.until(lambda page: seen(page, "windows"))


def test_more_topics_than_allowed_are_refused_one_by_one(replayed: Served) -> None:
    page = Page(replayed)
    names = [f"provenance/{number}" for number in range(hub.TOPICS_MAX)]
    page.say({"subscribe": names})
    page.say({"subscribe": ["overview"]})
    page.until(lambda page: "overview" in page.errors)
    assert "at most 64" in page.errors["overview"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("garbage", 1008),
        ("[]", 1008),
        ('{"subscribe": "overview"}', 1008),
        ('{"subscribe": [1]}', 1008),
        ('{"arm": "live"}', 1008),
        ('{"subscribe": ["' + "x" * 200 + '"]}', 1008),
        (b"\x00\xff", 1003),
        ('{"subscribe": []}' + " " * 5_000, 1009),
        ("x" * 100_000, 1009),
    ],
)
def test_garbage_closes_its_own_socket_and_nothing_else(
    replayed: Served, said: str | bytes, code: int
) -> None:
    other = Page(replayed, "overview").until(lambda page: seen(page, "overview"))
    page = Page(replayed)
    page.socket.send(said)
    assert closed(page) == code
    before = len(other.beats)
    other.until(lambda page: len(page.beats) >= before + 2)


def test_a_viewer_that_talks_without_end_is_closed(replayed: Served) -> None:
    page = Page(replayed)
    with suppress(ConnectionClosed):  # it may have been closed before all was said
        for _ in range(2_000):
            page.say({"subscribe": ["overview"]})
    assert closed(page) == 1008


def nonsense(chance: random.Random) -> str | bytes:
    """Anything: bytes, text, JSON that is nearly right."""
    names: list[Any] = ["overview", "orders/1", "", "\ud800", "a/b/c", "../x", None, 7, {"a": []}]
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.randrange(300))
    if kind == 1:
        return chance.randbytes(chance.randrange(300)).decode("latin-1")
    key = chance.choice(["subscribe", "unsubscribe", "topic", "beat"])
    some: Any = [chance.choice(names) for _ in range(chance.randrange(9))]
    text = json.dumps({key: some if kind == 2 else chance.choice(names)})
    return text[: chance.randrange(len(text) + 1)] if chance.random() < 0.3 else text


def test_a_fuzzer_neither_kills_nor_slows(replayed: Served) -> None:
    chance, before = random.Random(4), viewers(replayed)
    other = Page(replayed, "overview").until(lambda page: seen(page, "overview"))
    began_s, slowest_s = time.monotonic(), 0.0
    for _ in range(120):
        fuzzer = Page(replayed)
        try:
            for _ in range(chance.randrange(1, 12)):
                fuzzer.socket.send(nonsense(chance))
        except ConnectionClosed:
            continue
        finally:
            with suppress(OSError):  # it was closed for what it said
                fuzzer.socket.socket.shutdown(socket.SHUT_RDWR)  # without a farewell
        asked_s = time.monotonic()
        assert replayed.client.get("/health").status_code == 200
        slowest_s = max(slowest_s, time.monotonic() - asked_s)
    assert slowest_s < 1.0
    beats = int(time.monotonic() - began_s) - 1
    other.until(lambda page: len(page.beats) >= beats)
    assert replayed.process.poll() is None
    raw = socket.create_connection(("127.0.0.1", int(replayed.address.rpartition(":")[2])))
    raw.sendall(chance.randbytes(4096))
    raw.close()
    wait_for(lambda: viewers(replayed) == before + 1)


def viewers(pages: Served, what: str = "viewers") -> float:
    lines = pages.client.get("/metrics").text.splitlines()
    return next(float(one.split()[1]) for one in lines if one.startswith(f"fairwind_pages_{what} "))


def test_a_viewer_that_stops_reading_is_dropped_and_costs_nothing(tmp_path: Path) -> None:
    """Its socket's buffers are small, so that what is not read waits in the server."""
    events = made(windows=1)
    with (
        trading(tmp_path / "run", int(events["ts_ns"][0])) as engine,
        served(engine.run) as pages,
        _lazy(pages) as lazy,
    ):
        engine.play(events[:2_000])
        other = Page(pages, *TOPICS).until(lambda page: seen(page, *TOPICS))
        wait_for(lambda: viewers(pages) == 2)
        lazy.sendall(_masked(json.dumps({"subscribe": topics_of(pages)[: hub.TOPICS_MAX]})))
        at, deadline = 2_000, time.monotonic() + 60
        while viewers(pages, "dropped_viewers_total") == 0:
            assert time.monotonic() < deadline
            engine.play(events[at : at + 40])
            at += 40
            other.until(lambda page: page.read(), 5)
        assert viewers(pages) == 1
        descriptors = Path(f"/proc/{pages.process.pid}/fd")
        wait_for(lambda: _sockets(descriptors) <= 6)
        total = engine.session.events
        engine.play(events[at : at + 1])
        other.until(lambda page: page.shown["system"].values["events"] == total)


def topics_of(pages: Served) -> list[str]:
    """Every view, with the first argument where it has one."""
    every = pages.client.get("/api/views").json()["views"]
    return [one["topic"] + (f"/{one['arguments'][0]}" if one["arguments"] else "") for one in every]


def _sockets(descriptors: Path) -> int:
    found = 0
    for one in descriptors.iterdir():
        try:
            found += str(one.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


def _lazy(pages: Served) -> socket.socket:
    """A socket that has said hello and reads nothing from then on."""
    host, port = pages.address.removeprefix("http://").split(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    raw.connect((host, int(port)))
    cookie = "; ".join(f"{name}={value}" for name, value in pages.client.cookies.items())
    raw.sendall(
        f"GET /api/socket HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: {pages.address}\r\n"
        f"Cookie: {cookie}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert raw.recv(12) == b"HTTP/1.1 101"
    return raw


def _masked(text: str) -> bytes:
    """A client's text frame with a mask of zeros."""
    data = text.encode()
    assert 125 < len(data) < 65_536 or len(data) <= 125
    size = bytes([0x80 | len(data)]) if len(data) <= 125 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + data


def test_a_stranger_s_socket_is_refused_before_it_is_one(replayed: Served) -> None:
    url = replayed.address.replace("http", "ws") + "/api/socket"
    with pytest.raises(InvalidStatus, match="401"):
        connect(url, proxy=None, origin=replayed.address)  # type: ignore[arg-type]
    cookie = "; ".join(f"{name}={value}" for name, value in replayed.client.cookies.items())
    with pytest.raises(InvalidStatus, match="403"):
        connect(url, proxy=None, additional_headers={"Cookie": cookie})


def test_a_socket_ends_with_its_session(replayed: Served) -> None:
    link = replayed.client.post(
        "/api/links",
        headers={
            "Origin": replayed.address,
            "X-CSRF-Token": replayed.client.get("/api/session").json()["csrf"],
        },
    ).json()["link"]
    with httpx.Client(base_url=replayed.address, trust_env=False) as client:
        client.get(link).raise_for_status()
        guest = replayed._replace(client=client)
        page = Page(guest, "overview").until(lambda page: seen(page, "overview"))
        csrf = client.get("/api/session").json()["csrf"]
        client.delete(
            "/api/session", headers={"Origin": replayed.address, "X-CSRF-Token": csrf}
        ).raise_for_status()
        assert closed(page, 3.0) == 1008
