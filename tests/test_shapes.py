"""Snapshot and delta give the next snapshot: for any two of one shape, and for every view."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from conftest import LONG
from hypothesis import given, settings
from hypothesis import strategies as st
from viewed_run import Viewer, at_random, inputs, viewed

from fairwind.research.replay import Inputs
from fairwind.views import topics
from fairwind.views.shapes import (
    AddPoints,
    Delta,
    Grid,
    PutRows,
    Rows,
    Scalar,
    Series,
    SetCells,
    SetValues,
    Snapshot,
    Values,
    apply,
    delta,
)
from fairwind.views.told import Look

EXAMPLES = 2_000 if LONG else 200
FIGURES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
)
NAMES = st.sampled_from(["a", "b", "c_micro", "d_ns", "e"])
COLUMNS = st.sampled_from([("id", "x"), ("x", "id"), ("id", "x", "y_e4")])
FEW = st.integers(0, 6)


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    columns = draw(COLUMNS)
    at = columns.index("id")
    keys = draw(st.lists(st.integers(0, 7), unique=True, max_size=8))
    table: list[list[Scalar]] = []
    for key in keys:
        row = [draw(FIGURES) for _ in columns]
        row[at] = key
        table.append(row)
    return Rows(key="id", columns=columns, rows=table, total=len(keys) + draw(FEW))


@st.composite
def series(draw: st.DrawFn) -> Series:
    lines = draw(st.sampled_from([("one",), ("one", "two")]))
    times = sorted(draw(st.sets(st.integers(0, 12))))
    points: list[list[Scalar]] = [[at, *(draw(FEW) for _ in lines)] for at in times]
    return Series(lines=lines, points=points)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    width, height = draw(st.sampled_from([(2, 3), (1, 1), (0, 0), (3, 2)]))
    return Grid(
        x_name="left_s",
        x=list(range(width)),
        y_name="price_e4",
        y=list(range(height)),
        cells=[[draw(st.one_of(st.none(), FEW)) for _ in range(width)] for _ in range(height)],
    )


VALUES = st.dictionaries(NAMES, FIGURES).map(lambda found: Values(values=found))
SHAPES = {Values: VALUES, Rows: rows(), Series: series(), Grid: grids()}
DELTAS = {Values: SetValues, Rows: PutRows, Series: AddPoints, Grid: SetCells}
TO_JSON, TO_PYTHON = msgspec.json.encode, msgspec.json.decode


def over_the_wire(old: Snapshot, new: Snapshot) -> Snapshot:
    """`new`, as a viewer finds it who holds `old` and gets the change as JSON."""
    change = delta(old, new)
    if change is None:
        return old
    kind: Any = type(new) if isinstance(change, Snapshot) else DELTAS[type(new)]
    return apply(old, msgspec.json.decode(TO_JSON(change), type=kind))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_a_snapshot_and_its_delta_are_the_next_snapshot(shape: type[Snapshot]) -> None:
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(SHAPES[shape], SHAPES[shape])
    def check(old: Snapshot, new: Snapshot) -> None:
        before = TO_JSON(old)
        found = over_the_wire(old, new)
        assert found == new
        assert TO_PYTHON(TO_JSON(found)) == TO_PYTHON(TO_JSON(new))
        assert TO_JSON(old) == before, "a snapshot that viewers hold was changed"

    check()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_any_number_of_deltas_leads_from_the_first_snapshot_to_the_last(
    shape: type[Snapshot],
) -> None:
    @settings(max_examples=EXAMPLES // 4, deadline=None)
    @given(st.lists(SHAPES[shape], min_size=2, max_size=6))
    def check(snapshots: list[Snapshot]) -> None:
        held = snapshots[0]
        for new in snapshots[1:]:
            held = over_the_wire(held, new)
            assert held == new

    check()


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.one_of(*SHAPES.values()), st.one_of(*SHAPES.values()))
def test_from_one_shape_to_another_the_delta_is_the_whole_snapshot(
    old: Snapshot, new: Snapshot
) -> None:
    change = delta(old, new)
    if type(old) is not type(new):
        assert change == new
    assert (change is None) == (old == new)


@given(SHAPES[Rows])
def test_a_row_at_the_end_costs_one_row(old: Rows) -> None:
    row: list[Scalar] = [99 if name == "id" else None for name in old.columns]
    new = Rows(key=old.key, columns=old.columns, rows=[*old.rows, row], total=old.total + 1)
    assert delta(old, new) == PutRows(put=[row], total=new.total)


def test_a_curve_that_grows_and_forgets_costs_the_points_that_change() -> None:
    points: list[list[Scalar]] = [[at, at * at] for at in range(600)]
    old = Series(lines=("x",), points=points)
    grown = Series(lines=("x",), points=[*points[5:-1], [599, 0], [600, 1]])
    assert delta(old, grown) == AddPoints(drop=5, cut=1, add=[[599, 0], [600, 1]])


@pytest.fixture(scope="module")
def run() -> Inputs:
    return inputs(windows=4)


def asked(look: Look) -> list[str]:
    """Every topic, and each with a few of its arguments."""
    found = []
    for view in topics.VIEWS:
        arguments = list(view.arguments(look)) if view.arguments else []
        found += [f"{view.topic}/{one}" for one in (*arguments[:4], *arguments[-3:])]
        if view.alone or view.arguments is None:
            found.append(view.topic)
    return sorted(set(found))


def test_every_view_can_be_followed_by_its_deltas(run: Inputs) -> None:
    """A viewer's copies, over a real run that is looked at at random moments."""
    viewer, held, changes = Viewer(run), dict[str, Snapshot](), dict[str, int]()
    wholes = 0
    for first, last in pairwise([0, *at_random(run, 3, 60 if LONG else 25)]):
        viewer.take(run.between(first, last))
        for topic in asked(viewer.look):
            new = topics.snapshot(viewer.look, topic)
            if topic in held:
                change = delta(held[topic], new)
                wholes += isinstance(change, Snapshot)
                changes[topic] = changes.get(topic, 0) + (change is not None)
                held[topic] = over_the_wire(held[topic], new)
            held[topic] = held.get(topic, new)
            assert TO_JSON(held[topic]) == TO_JSON(new), topic
            if isinstance(new, Rows):
                keys = [row[new.columns.index(new.key)] for row in new.rows]
                assert len(keys) == len(set(keys)), f"{topic}: its key does not tell rows apart"
    assert wholes == 0, "a delta says it in every case of a run"
    assert {topic.partition("/")[0] for topic in held} == set(topics.TOPICS)
    assert all(changes[topic] > 10 for topic in ("overview", "strategy/BTC_5M", "holds"))


@pytest.mark.parametrize("seed", [1, 2])
def test_every_view_is_the_same_however_the_events_come_in_batches(run: Inputs, seed: int) -> None:
    """Live in many small batches and replayed in one: not a digit differs, in the middle of a
    second neither."""
    cuts = at_random(run, seed, 40)[: 20 + 10 * seed]
    end = cuts[-1]
    looks = [viewed(run, batches) for batches in ([end], cuts, [*range(1, end, 1_009), end])]
    for topic in asked(looks[0]):
        said = [TO_JSON(topics.snapshot(look, topic)) for look in looks]
        assert said[0] == said[1] == said[2], topic


def test_json_of_a_delta_leaves_out_what_is_empty() -> None:
    change: Delta = SetValues(set={"a": 1})
    assert TO_JSON(change) == b'{"set":{"a":1}}'
    assert TO_JSON(AddPoints(add=[[1, 2]])) == b'{"add":[[1,2]]}'
    assert TO_JSON(PutRows(drop=["x"], total=0)) == b'{"drop":["x"],"total":0}'
