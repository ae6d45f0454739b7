"""Faults are pure: a line and a schedule say which frames come through, when, and in what state."""

import re
from collections import Counter
from typing import Any

import msgspec
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from fairwind.core.errors import BadInput
from fairwind.core.units import SECOND_NS
from fairwind.world.faults import (
    FAULTS,
    HELD_FRAMES,
    HTML,
    LINES,
    SLOW,
    STREAMS,
    Close,
    Fault,
    Faults,
    Kind,
    Line,
    LineName,
    check,
    schedule,
)

FRAMES = [f'{{"frame":{k}}}'.encode() for k in range(6)]
A, B, C, D, E, F = FRAMES
DOCUMENT = ROOT / "docs" / "faults.md"
END_NS = 100 * SECOND_NS


def through(*faults: Fault, every_ns: int = 1) -> list[bytes | Close]:
    """What comes of six frames, one every so many ns from 0 on, until 100 s."""
    line = Line(LineName.MARKET, Faults(faults))
    out = []
    for k, frame in enumerate(FRAMES):
        line.send(frame, k * every_ns)
        out += line.due(k * every_ns)
    return out + line.due(END_NS)


def fault(kind: Kind, **fields: int | str) -> Fault:
    return Fault(kind=kind, line=LineName.MARKET, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (fault(Kind.DROP), [B, C, D, E, F]),
        (fault(Kind.DROP, skip=2), [A, B, D, E, F]),
        (fault(Kind.DROP, skip=1, times=3), [A, E, F]),
        (fault(Kind.DROP, times=0), []),
        (fault(Kind.DROP, from_ns=2, until_ns=4, times=0), [A, B, E, F]),
        (fault(Kind.DROP, holding='"frame":4'), [A, B, C, D, F]),
        (fault(Kind.DUPLICATE, skip=1), [A, B, B, C, D, E, F]),
        (fault(Kind.REORDER, skip=1), [A, C, B, D, E, F]),
        (fault(Kind.REORDER, times=2), [C, A, B, D, E, F]),
        (fault(Kind.REORDER, skip=5), [A, B, C, D, E]),
        (fault(Kind.DELAY, by_ns=SECOND_NS), FRAMES),
        (fault(Kind.FREEZE, skip=2, until_ns=SECOND_NS), FRAMES),
        (fault(Kind.FREEZE, skip=2), [A, B]),
        (fault(Kind.CLOSE, skip=3, code=1011), [A, B, C, Close(1011, "fault")]),
        (fault(Kind.HTML, skip=5), [A, B, C, D, E, HTML]),
        (fault(Kind.LOST_RESULT), FRAMES),
    ],
    ids=lambda value: f"{value.kind}" if isinstance(value, Fault) else "",
)
def test_a_fault_does_what_its_name_says(one: Fault, expected: list[bytes | Close]) -> None:
    assert through(one) == expected


def test_what_is_held_back_comes_at_its_time_and_in_order() -> None:
    line = Line(LineName.MARKET, Faults([fault(Kind.DELAY, skip=1, by_ns=10)]))
    seen = []
    for k, frame in enumerate(FRAMES[:4]):
        line.send(frame, k)
        seen.append(line.due(k))
    assert seen == [[A], [], [], []]
    assert line.due(10) == [] and line.due(11) == [B, C, D]
    line.send(E, 12)
    assert line.due(12) == [E]


def test_a_cut_frame_is_a_beginning_and_a_flipped_one_differs_in_one_bit() -> None:
    for seed in range(30):
        cut = through(fault(Kind.CUT, seed=seed))[0]
        assert isinstance(cut, bytes) and A.startswith(cut) and cut != A
        flipped = through(fault(Kind.FLIP, seed=seed))[0]
        assert isinstance(flipped, bytes) and len(flipped) == len(A)
        bits = [(a ^ b).bit_count() for a, b in zip(A, flipped, strict=True)]
        assert sum(bits) == 1
    line = Line(LineName.MARKET, Faults([fault(Kind.FLIP)]))
    line.send(b"", 0)
    assert line.due(0) == [b""]


def test_a_frozen_connection_stays_frozen_and_the_next_one_is_well() -> None:
    faults = Faults([fault(Kind.FREEZE)])
    frozen, well = Line(LineName.MARKET, faults), Line(LineName.MARKET, faults)
    for frame in FRAMES:
        frozen.send(frame, 0)
        well.send(frame, 0)
    assert (frozen.due(END_NS), well.due(0)) == ([], FRAMES)


def test_too_many_held_frames_end_the_connection() -> None:
    line = Line(LineName.MARKET, Faults([fault(Kind.FREEZE, until_ns=END_NS)]))
    for _ in range(HELD_FRAMES):
        line.send(A, 0)
    assert line.due(0) == []
    line.send(A, 0)
    line.send(A, END_NS)
    assert line.due(END_NS) == [SLOW]


def test_a_result_is_lost_or_comes_twice_and_other_frames_do_not() -> None:
    result = b'{"event_type":"market_resolved"}'
    for kind, expected in ((Kind.LOST_RESULT, [A]), (Kind.DUPLICATE_RESULT, [A, result, result])):
        line = Line(LineName.MARKET, Faults([fault(kind, times=0)]))
        line.send(A, 0)
        line.send(result, 0)
        assert line.due(0) == expected


def test_a_jump_is_off_at_once_and_a_skew_more_and_more() -> None:
    times = {"from_ns": 100, "until_ns": 200}
    jump = Faults([fault(Kind.JUMP, by_ns=-50, **times)])
    skew = Faults([fault(Kind.SKEW, by_ns=50, **times)])
    at = (99, 100, 150, 199, 200)
    assert [jump.off_ns(LineName.MARKET, now) for now in at] == [0, -50, -50, -50, 0]
    assert [skew.off_ns(LineName.MARKET, now) for now in at] == [0, 0, 25, 49, 0]
    assert [jump.off_ns(LineName.RTDS, now) for now in at] == [0] * 5


def test_how_often_each_fault_has_acted_is_told() -> None:
    faults = Faults([fault(Kind.DROP, times=0), Fault(kind=Kind.CUT, line=LineName.RTDS)])
    line = Line(LineName.MARKET, faults)
    for frame in FRAMES:
        line.send(frame, 0)
    assert [one.fired for one in faults.fired()] == [6, 0]
    faults.again()
    assert [one.fired for one in faults.fired()] == [0, 0]
    faults.clear()
    assert faults.fired() == []


@pytest.mark.parametrize(
    ("name", "kind", "fields"),
    [
        ("line", Kind.STATUS, {"code": 500}),
        ("until_ns", Kind.DROP, {"from_ns": 5, "until_ns": 5}),
        ("until_ns", Kind.SKEW, {"by_ns": 1}),
        ("skip", Kind.DROP, {"skip": -1}),
        ("times", Kind.DROP, {"times": -1}),
        ("by_ns", Kind.DELAY, {}),
        ("by_ns", Kind.JUMP, {"by_ns": 10**18}),
        ("code", Kind.CLOSE, {"code": 1006}),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_its_field(
    name: str, kind: Kind, fields: dict[str, int]
) -> None:
    with pytest.raises(BadInput, match=f"fault {kind}: {name}: expected"):
        check(fault(kind, **fields))
    faults = Faults()
    with pytest.raises(BadInput):
        faults.add([fault(Kind.DROP), fault(kind, **fields)])
    assert faults.fired() == []


def test_there_is_a_most_of_faults() -> None:
    faults = Faults([fault(Kind.DROP)] * FAULTS)
    with pytest.raises(BadInput, match=f"at most {FAULTS}"):
        faults.add([fault(Kind.DROP)])


def test_a_schedule_repeats_by_its_seed_and_can_always_be() -> None:
    kinds: Counter[Kind] = Counter()
    for seed in range(2_000):
        faults = schedule(seed, 0, END_NS)
        assert faults == schedule(seed, 0, END_NS) and 1 <= len(faults) <= 2
        for one in faults:
            check(one)
        kinds.update({one.kind for one in faults})
    assert min(kinds.values()) > 50 and len(kinds) == len(Kind)
    pairs = {tuple(one.kind for one in schedule(seed, 0, END_NS)) for seed in range(2_000)}
    assert len(pairs) > 300


def test_a_schedule_keeps_to_the_kinds_and_lines_that_it_is_given() -> None:
    for seed in range(200):
        (one,) = schedule(seed, 0, END_NS, [Kind.CUT], [LineName.USER, LineName.CLOB])
        assert one.kind is Kind.CUT and one.line in (LineName.USER, LineName.CLOB)
    assert schedule(0, 0, END_NS, [Kind.FAILED], STREAMS) == []


def test_every_kind_is_written_and_read_as_json() -> None:
    for kind, lines in LINES.items():
        for line in lines:
            one = Fault(kind=kind, line=line)
            assert msgspec.json.decode(msgspec.json.encode(one), type=Fault) == one


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


def test_every_kind_has_its_row_in_the_catalogue_and_its_examples_can_be() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert set(rows) & set(Kind) == set(Kind)
    assert len(rows) == len(set(rows))
    examples = blocks("json") + re.findall(r"'(\[.*?\])'", blocks("console")[0])
    assert len(examples) == 2
    for example in examples:
        for one in msgspec.json.decode(example, type=list[Fault]):
            check(one)


def test_the_catalogues_program_runs() -> None:
    (program,) = blocks("python")
    found: dict[str, Any] = {}
    exec(compile(program, DOCUMENT.name, "exec"), found)
    assert len(found["frames"]) > 10


@given(st.integers(0, 2**32), st.lists(st.integers(0, 10 * SECOND_NS), max_size=40))
def test_frames_neither_change_nor_pass_each_other_unless_a_fault_says_so(
    seed: int, gaps_ns: list[int]
) -> None:
    kept = [Kind.DROP, Kind.DELAY, Kind.FREEZE, Kind.CLOSE, Kind.DUPLICATE]
    line = Line(LineName.RTDS, Faults(schedule(seed, 0, END_NS, kept, [LineName.RTDS])))
    now_ns, out = 0, []
    for k, gap_ns in enumerate(gaps_ns):
        now_ns += gap_ns
        line.send(f"{k}".encode(), now_ns)
        out += line.due(now_ns)
    frames = [int(frame) for frame in out if isinstance(frame, bytes)]
    assert frames == sorted(frames) and len(frames) <= 2 * len(gaps_ns)
    assert all(isinstance(frame, bytes) for frame in out[:-1])
