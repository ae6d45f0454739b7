"""Views over HTTP: the same as on the socket, and parts of them that lose nothing that counts."""

from collections.abc import Iterator
from typing import Any

import pytest
from api_client import Inside, inside
from conftest import ROOT
from hand_engine import finished
from hypothesis import given
from hypothesis import strategies as st

from fairwind.api.queries import Query, chosen, thinned
from fairwind.core.errors import BadInput
from fairwind.views.shapes import Grid, Rows, Scalar, Series, Values

TABLE = Rows(
    key="id",
    columns=("id", "name", "size_micro"),
    rows=[[1, "Up", 30], [2, "Down", None], [3, "up again", 10], [4, None, 20]],
    total=9,
)


@pytest.fixture(scope="module")
def entered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    with inside(finished(tmp_path_factory.mktemp("views") / "run", windows=1)) as one:
        yield one


def ids(query: Query) -> list[Any]:
    part = chosen(TABLE, query)
    assert isinstance(part, Rows)
    return [row[0] for row in part.rows]


def test_rows_are_sorted_by_any_column_with_what_is_unknown_last() -> None:
    assert ids(Query(sort="size_micro")) == [3, 4, 1, 2]
    assert ids(Query(sort="size_micro", descending=True)) == [1, 4, 3, 2]
    assert ids(Query(sort="name")) == [2, 1, 3, 4]
    assert ids(Query(descending=True)) == [4, 3, 2, 1]
    with pytest.raises(BadInput, match="nearest valid name is 'size_micro'"):
        ids(Query(sort="size"))


def test_rows_are_filtered_by_a_column_or_by_any_text_and_counted() -> None:
    assert ids(Query(filters=("up",))) == [1, 3]
    assert ids(Query(filters=("name=up",))) == [1]
    assert ids(Query(filters=("up", "size_micro=10"))) == [3]
    assert ids(Query(filters=("size_micro=null",))) == [2]
    part = chosen(TABLE, Query(filters=("up",)))
    assert isinstance(part, Rows) and part.total == 2
    with pytest.raises(BadInput, match="no column"):
        ids(Query(filters=("nmae=up",)))


def test_pages_together_are_the_whole() -> None:
    pages = [ids(Query(sort="id", page=page, size=3)) for page in (1, 2, 3)]
    assert pages == [[1, 2, 3], [4], []]


def test_nothing_asked_is_everything() -> None:
    grid = Grid(x_name="x", x=[1], y_name="y", y=[1], cells=[[None]])
    for shown in (TABLE, grid, Values(values={"a": 1}), Series(lines=("a",), points=[[1, 2]])):
        assert chosen(shown, Query()) == shown


@given(
    st.lists(st.lists(st.none() | st.integers(), min_size=2, max_size=2), max_size=60),
    st.integers(2, 30),
)
def test_a_thinned_series_is_small_ordered_and_keeps_ends_and_extremes(
    lines: list[list[int | None]], most: int
) -> None:
    points: list[list[Scalar]] = [[at, *figures] for at, figures in enumerate(lines)]
    kept = thinned(points, most)
    assert len(kept) <= max(most, 0)
    assert [one for one in points if one in kept] == kept
    if points:
        assert (kept[0], kept[-1]) == (points[0], points[-1])
    for line in (1, 2) if most >= 6 else ():
        known = [one[line] for one in points if one[line] is not None]
        if known:
            left = [one[line] for one in kept if one[line] is not None]
            assert (min(left), max(left)) == (min(known), max(known))  # type: ignore[type-var]


def test_every_listed_view_is_answered_with_each_of_its_arguments(entered: Inside) -> None:
    every = entered.client.get("/api/views").json()["views"]
    assert len({one["topic"] for one in every}) == len(every) > 9
    for one in every:
        assert one["says"]
        for argument in one["arguments"][:20] or [""]:
            topic = f"{one['topic']}/{argument}".rstrip("/")
            answer = entered.client.get(f"/api/views/{topic}")
            assert answer.status_code == 200, (topic, answer.text)
            assert answer.json()["topic"] == topic


def test_a_view_that_does_not_exist_is_named_with_the_nearest_one(entered: Inside) -> None:
    answer = entered.client.get("/api/views/ordres")
    assert answer.status_code == 404
    assert "the nearest valid name is 'orders'" in answer.json()["error"]
    assert entered.client.get("/api/views/orders?sort=nothing").status_code == 422
    assert entered.client.get("/api/views/orders?size=501").status_code == 422


def test_the_pages_own_metrics_are_documented(entered: Inside) -> None:
    said = entered.client.get("/metrics").text
    names = {line.split()[2] for line in said.splitlines() if line.startswith("# TYPE")}
    assert names
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in page] == []


def test_history_is_paged_sorted_and_filtered_where_the_data_lies(entered: Inside) -> None:
    first = entered.client.get("/api/history/fills?size=5&sort=ts_ns&descending=true")
    assert first.status_code == 200, first.text
    found = first.json()["snapshot"]
    total, at = found["total"], found["columns"].index("ts_ns")
    assert total == entered.app.state.board.follower.told.counts["fills"] > 5
    times = [row[at] for row in found["rows"]]
    assert len(times) == 5 and times == sorted(times, reverse=True)
    later = entered.client.get(
        "/api/history/fills", params={"filter": f"ts_ns>={times[-1]}", "size": 500}
    ).json()["snapshot"]
    assert later["total"] >= 5
    line = entered.client.get("/api/history/fills/series?line=price_e4&points=4").json()
    assert 2 <= len(line["snapshot"]["points"]) <= 4
    for wrong in ("fills?sort=nothing", "nothing", "fills?filter=ts_ns", "fills?filter=x=1"):
        answer = entered.client.get(f"/api/history/{wrong}")
        assert answer.status_code == 422, wrong
        assert answer.json()["error"]


def test_any_order_s_story_is_told(entered: Inside) -> None:
    orders = entered.client.get("/api/views/orders").json()["snapshot"]
    number = orders["rows"][0][orders["columns"].index("order")]
    told = entered.client.get(f"/api/provenance/{number}").json()["snapshot"]
    assert told["rows"]
    assert entered.client.get("/api/provenance/4611686018427387904").status_code == 404
