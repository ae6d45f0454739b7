"""History: pages, lines and stories out of a run's tables, for what memory does not hold.

In: a run directory, names of tables and columns, filters. Out: rows and series. Never here: text
of a caller inside SQL: names are looked up in the schema, values are bound.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fairwind.core.config import nearest
from fairwind.core.errors import BadInput
from fairwind.core.ids import slug
from fairwind.core.outputs import Action, WindowState
from fairwind.journal import file, tables
from fairwind.journal.tables import Value
from fairwind.views import provenance
from fairwind.views.provenance import Story
from fairwind.views.shapes import Rows, Scalar, Series

SIZE_MAX = 500
POINTS_MAX = 2_000
OPERATORS = ("=", ">=", "<=")
FOREVER_NS = 2**63 - 1


class Filter(NamedTuple):
    """`column` `operator` `value`; the value as text, read by the column's type."""

    column: str
    operator: str
    value: str


def page(
    run: Path,
    table: str,
    *,
    sort: str = "ts_ns",
    descending: bool = False,
    filters: Sequence[Filter] = (),
    page: int = 1,
    size: int = 100,
) -> Rows:
    """One page of a table, counted from 1; column `row` is the place in that order.

    BadInput for what is no table, column or value of it, with the nearest name.
    """
    if not 1 <= size <= SIZE_MAX or page < 1:
        raise BadInput(f"expected a page from 1 of 1 to {SIZE_MAX} rows, found {page} of {size}")
    schema = tables.columns_of(table)
    where, values = _where(schema, filters)
    way = "DESC" if descending else "ASC"
    order = f"{_named(schema, sort)} {way}, " + ", ".join(f'"{name}"' for name in schema.names)
    first = (page - 1) * size
    with tables.asking(run) as ask:
        total = ask(f"SELECT count(*) AS n FROM {table}{where}", values)["n"][0].as_py()
        found = ask(
            f"SELECT * FROM {table}{where} ORDER BY {order} LIMIT ? OFFSET ?",
            [*values, size, first],
        )
    columns = ("row", *found.column_names)
    rows = [
        [first + place, *map(_scalar, one.values())] for place, one in enumerate(found.to_pylist())
    ]
    return Rows(key="row", columns=columns, rows=rows, total=total)


def series(
    run: Path,
    table: str,
    lines: Sequence[str],
    *,
    filters: Sequence[Filter] = (),
    points: int = 600,
) -> Series:
    """Columns of a table over time. Of more rows than `points`, in each stretch the lowest and
    the highest of the first line are kept, and the first and the last row. BadInput as `page`.
    """
    if not lines or not 4 <= points <= POINTS_MAX:
        raise BadInput(f"expected a column, and 4 to {POINTS_MAX} points; found {points}")
    schema = tables.columns_of(table)
    shown = ", ".join(_named(schema, line) for line in lines)
    line = _named(schema, lines[0])
    where, values = _where(schema, filters)
    sql = f"""
        WITH one AS MATERIALIZED (
            SELECT ts_ns, {shown}, row_number() OVER (ORDER BY ts_ns) - 1 AS n FROM {table}{where}
        ), kept AS (
            SELECT unnest([arg_min(n, {line}), arg_max(n, {line})]) AS n FROM one
            GROUP BY n * {points // 2 - 1} // (SELECT count(*) FROM one)
            UNION SELECT 0 UNION SELECT max(n) FROM one
        )
        SELECT ts_ns, {shown} FROM one
        WHERE n IN (SELECT n FROM kept) OR (SELECT count(*) FROM one) <= {points} ORDER BY n
    """
    found = tables.query(run, sql, values).to_pylist()
    return Series(
        lines=tuple(lines), points=[[_scalar(value) for value in row.values()] for row in found]
    )


def _where(schema: pa.Schema, filters: Sequence[Filter]) -> tuple[str, list[Value]]:
    parts, values = [], []
    for column, operator, value in filters:
        name = _named(schema, column)
        if operator not in OPERATORS:
            raise BadInput(f"{column}: expected {' '.join(OPERATORS)}, found {operator!r}")
        text = not _is_number(schema, column)
        parts.append(f"CAST({name} AS VARCHAR) {operator} ?" if text else f"{name} {operator} ?")
        values.append(value if text else _number(column, value))
    return (" WHERE " + " AND ".join(parts) if parts else ""), values


def _named(schema: pa.Schema, column: str) -> str:
    """The column as SQL writes it."""
    if column not in schema.names:
        raise BadInput(f"no column {column!r}; {nearest(column, schema.names)}")
    return f'"{column}"'


def _is_number(schema: pa.Schema, column: str) -> bool:
    kind = schema.field(column).type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _number(column: str, value: str) -> int | float:
    try:
        number = float(value)
        whole = int(value) if value.lstrip("+-").isdecimal() else None
    except ValueError as error:
        raise BadInput(f"{column}: expected a number, found {value!r}") from error
    if not math.isfinite(number) or abs(number) >= 2**63:
        raise BadInput(f"{column}: expected a number within 64 bits, found {value!r}")
    return number if whole is None else whole


def _scalar(value: Any) -> Scalar:
    """No number that JSON cannot say."""
    unsayable = isinstance(value, float) and not math.isfinite(value)
    return None if unsayable else value


def story(run: Path, number: int) -> Rows:
    """The provenance of any order of a run, as `provenance.steps` tells it. BadInput for none."""
    strategies = file.meta_of(run).strategies
    with tables.asking(run) as ask:
        return provenance.steps(_story(ask, number, strategies))


def _story(
    ask: Callable[[str, Sequence[Value]], pa.Table], number: int, strategies: Sequence[str]
) -> Story:
    def rows(table: str, where: str, *values: Value) -> Sequence[np.void]:
        found = tables.rows_of(table, ask(f"SELECT * FROM {table} WHERE {where}", values))
        return list(found[np.argsort(found["ts_ns"], kind="stable")])

    orders = rows("orders", "order_id = ?", number)
    if not orders:
        raise BadInput(f"no order {number} in this run; look one up in the table `decisions`")
    first = orders[0]
    strategy, market, at_ns = (int(first[name]) for name in ("strategy", "market", "ts_ns"))
    listed = rows("windows", f"market = ? AND state = {WindowState.LISTED:d}", market)
    own = next((row for row in listed[::-1] if row["ts_ns"] <= at_ns), None)
    since_ns = 0 if own is None else int(own["ts_ns"])
    later = (int(row["ts_ns"]) for row in listed if row["ts_ns"] > at_ns)
    until_ns = next(later, FOREVER_NS)  # the number is used again
    within = "market = ? AND ts_ns >= ? AND ts_ns < ?"
    scans = rows("scans", f"strategy = ? AND {within}", strategy, market, since_ns, at_ns + 1)
    same = [row for row in scans if row["mask"] == first["mask"] or first["action"] != Action.BUY]
    windows = rows("windows", within, market, since_ns, until_ns)
    return Story(
        orders=orders,
        scan=same[-1] if same else None,
        fills=rows("fills", "order_id = ?", number),
        postings=rows(
            "postings", f"strategy = ? AND {within}", strategy, market, since_ns, until_ns
        ),
        windows=windows,
        strategy=strategies[strategy],
        slug=slug(int(windows[0]["series"]), int(windows[0]["start_ns"])) if windows else None,
    )
