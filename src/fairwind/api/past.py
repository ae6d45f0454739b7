"""What the memory does not hold any more: pages, lines and stories out of the run's tables.

In: a table, columns, filters as text. Out: rows and series. Never here: two questions at a time,
one that keeps the pages waiting.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from fairwind.api.board import Board
from fairwind.api.wire import Refusal, answer, documented
from fairwind.core.errors import BadInput
from fairwind.views import history
from fairwind.views.history import Filter
from fairwind.views.shapes import Rows, Series

router = APIRouter(prefix="/api", tags=["history"])
A = TypeVar("A")
WAITING_MAX = 8
Name = Annotated[str, Query(max_length=40)]
Table = Annotated[str, Path(max_length=40)]
Filters = Annotated[
    list[Annotated[str, Query(max_length=100)]],
    Query(alias="filter", max_length=8, description="column=value, column>=value, column<=value"),
]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a table of the run, by the columns of its schema."""

    table: str
    page: int
    snapshot: Rows


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of a table over time."""

    table: str
    snapshot: Series


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order, step by step."""

    order: int
    snapshot: Rows


class Wanted:
    """Which rows of a table, in what order."""

    def __init__(
        self,
        sort: Name = "ts_ns",
        descending: bool = False,
        filters: Filters = [],  # noqa: B006
    ) -> None:
        self.sort = sort
        self.descending = descending
        self.filters = [_filter(text) for text in filters]


class Queue:
    """Questions to the tables, one at a time, beside the loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def ask(self, question: Callable[[], A]) -> A:
        """Its answer. Refusal when too many wait."""
        if self._waiting >= WAITING_MAX:
            raise Refusal(429, "too many questions wait for the tables; ask again", retry_s=2.0)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(question)
        finally:
            self._waiting -= 1


@router.get("/history/{table}", responses=documented(Page, 401, 422, 429), response_class=Response)
async def page(
    request: Request,
    table: Table,
    wanted: Annotated[Wanted, Depends()],
    page: Annotated[int, Query(ge=1, le=10_000_000)] = 1,
    size: Annotated[int, Query(ge=1, le=history.SIZE_MAX)] = 100,
) -> Response:
    """One page of a table, sorted and filtered where the data lies. Pages count from 1."""
    board: Board = request.app.state.board
    found = await request.app.state.past.ask(
        lambda: history.page(
            board.run,
            table,
            sort=wanted.sort,
            descending=wanted.descending,
            filters=wanted.filters,
            page=page,
            size=size,
        )
    )
    return answer(Page(table=table, page=page, snapshot=found))


@router.get(
    "/history/{table}/series", responses=documented(Line, 401, 422, 429), response_class=Response
)
async def line(
    request: Request,
    table: Table,
    lines: Annotated[list[Name], Query(alias="line", min_length=1, max_length=4)],
    filters: Filters = [],  # noqa: B006
    points: Annotated[int, Query(ge=4, le=history.POINTS_MAX)] = 600,
) -> Response:
    """Columns of a table over time; of many points the lowest and highest are kept."""
    board: Board = request.app.state.board
    named = [_filter(text) for text in filters]
    found = await request.app.state.past.ask(
        lambda: history.series(board.run, table, lines, filters=named, points=points)
    )
    return answer(Line(table=table, snapshot=found))


@router.get(
    "/provenance/{order}", responses=documented(Story, 401, 404, 422, 429), response_class=Response
)
async def story(request: Request, order: Annotated[int, Path(ge=0, lt=2**63)]) -> Response:
    """Why an order was sent or refused and what became of it, for any order of the run."""
    board: Board = request.app.state.board
    try:
        found = await request.app.state.past.ask(lambda: history.story(board.run, order))
    except BadInput as error:
        raise Refusal(404, str(error)) from error
    return answer(Story(order=order, snapshot=found))


def _filter(text: str) -> Filter:
    """`column>=value` in its parts. BadInput when there is no comparison in it."""
    for operator in (">=", "<=", "="):
        column, found, value = text.partition(operator)
        if found:
            return Filter(column, operator, value)
    raise BadInput(f"filter: expected column=value, column>=value or column<=value, found {text!r}")
