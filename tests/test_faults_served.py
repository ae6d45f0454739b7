"""Each fault of a stream of the built-in market over a real socket, set on command."""

import asyncio
import json
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
import pytest
from test_server_clock import LISTED_NS, START_NS, Session, stepped
from test_server_streams import checksum
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from fairwind.core.units import MILLISECOND_NS, SECOND_NS
from fairwind.world.faults import HTML, Fault, Kind, LineName

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
    ids=lambda fault: fault.kind,
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
