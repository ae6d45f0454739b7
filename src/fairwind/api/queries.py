"""Parts of a snapshot: rows that are sorted, filtered and paged, series with fewer points.

In: a snapshot, a Query. Out: a snapshot of the same shape. Never here: a column that does not
exist taken for one that is empty, a thinned series that hides an extreme.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import Query as Parameter
from msgspec.structs import replace

from fairwind.core.config import nearest
from fairwind.core.errors import BadInput
from fairwind.views.shapes import Rows, Scalar, Series, Snapshot

PAGE_MAX = 500
POINTS_MAX = 5_000
Text = Annotated[str, Parameter(max_length=100)]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What of a view is wanted; nothing said: all of it, as the socket has it."""

    sort: str = ""  # a column
    descending: bool = False
    filters: tuple[str, ...] = ()  # `column=value`, or a text that stands in any cell
    page: int | None = None  # from 1
    size: int = 100
    points: int | None = None  # of a series, at most


def query(
    sort: Annotated[Text, Parameter(description="column of rows")] = "",
    descending: bool = False,
    filter: Annotated[
        list[Text], Parameter(description="column=value, or a text in any cell", max_length=8)
    ] = [],  # noqa: B006
    page: Annotated[int | None, Parameter(ge=1, le=1_000_000)] = None,
    size: Annotated[int, Parameter(ge=1, le=PAGE_MAX)] = 100,
    points: Annotated[int | None, Parameter(ge=2, le=POINTS_MAX)] = None,
) -> Query:
    """A Query of a request's parameters."""
    return Query(
        sort=sort,
        descending=descending,
        filters=tuple(filter),
        page=page,
        size=size,
        points=points,
    )


def chosen(shown: Snapshot, query: Query) -> Snapshot:
    """The part that is wanted. BadInput for a column that the view does not have."""
    match shown:
        case Rows():
            return _rows(shown, query)
        case Series() if query.points is not None:
            return replace(shown, points=thinned(shown.points, query.points))
    return shown


def thinned(points: Sequence[list[Scalar]], most: int) -> list[list[Scalar]]:
    """At most `most` of the points: first, last, and of each stretch between them those where a
    line is lowest and highest."""
    if len(points) <= most:
        return list(points)
    last, lines = len(points) - 1, len(points[0]) - 1
    stretches = (most - 2) // (2 * lines) if lines else 0
    if not stretches:
        return [points[last * n // (most - 1)] for n in range(most)]
    kept = {0, last}
    for stretch in range(stretches):
        first, after = (1 + (last - 1) * n // stretches for n in (stretch, stretch + 1))
        for line in range(1, lines + 1):
            known = [at for at in range(first, after) if points[at][line] is not None]
            if known:
                value: Any = lambda at, line=line: points[at][line]  # noqa: E731
                kept |= {min(known, key=value), max(known, key=value)}
    return [points[at] for at in sorted(kept)]


def _rows(shown: Rows, query: Query) -> Rows:
    rows, total = shown.rows, shown.total
    for wanted in query.filters:
        rows = _filtered(shown, rows, wanted)
        total = len(rows)
    if query.sort:
        at = _column(shown, query.sort)
        known = [row for row in rows if row[at] is not None]
        known.sort(key=lambda row: _order(row[at]), reverse=query.descending)
        rows = known + [row for row in rows if row[at] is None]
    elif query.descending:
        rows = rows[::-1]
    if query.page is not None:
        rows = rows[(query.page - 1) * query.size : query.page * query.size]
    return replace(shown, rows=rows, total=total)


def _filtered(shown: Rows, rows: list[list[Scalar]], wanted: str) -> list[list[Scalar]]:
    column, equals, value = wanted.partition("=")
    if not equals:
        text = wanted.lower()
        return [row for row in rows if any(text in str(cell).lower() for cell in row)]
    at = _column(shown, column)
    return [row for row in rows if _said(row[at]) == value.lower()]


def _column(shown: Rows, name: str) -> int:
    if name not in shown.columns:
        raise BadInput(f"no column {name!r}; {nearest(name, shown.columns)}")
    return shown.columns.index(name)


def _order(cell: Scalar) -> tuple[bool, Any]:
    """Texts after figures, so that a column with both has an order."""
    return isinstance(cell, str), cell


def _said(cell: Scalar) -> str:
    """A cell as JSON writes it."""
    return "null" if cell is None else str(cell).lower()
