"""The journal as tables with readable columns, and SQL over them.

In: the frames of segments. Out: `RUN/tables/TABLE/SEGMENT.parquet` of sealed ones, and results.
Never here: anything that the journal does not hold; the tables can be deleted and come back.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fairwind.core import outputs
from fairwind.core.config import nearest
from fairwind.core.errors import BadInput
from fairwind.core.events import ASSETS, EVENT, HORIZONS_S, Events, Kind, Outcome, Side, Source
from fairwind.core.holds import NO_HOLD, Hold
from fairwind.core.ids import series_name, slug
from fairwind.core.outputs import TABLES, OrderState
from fairwind.journal import file, log, record

Value = str | int | float
TRADE = np.dtype([("event", "<i8"), *((name, EVENT[name].str) for name in EVENT.names or ())])
"""A TRADE event with its number in the run, counted from 0."""

DTYPES = {**TABLES, "decisions": TABLES["orders"], "trades": TRADE}
"""All tables: `decisions` are the orders as they were decided or refused."""

_RENAMED = {
    "order": "order_id",  # a word that SQL keeps for itself
    "trades.price": "price_e4",
    "trades.size": "size_micro",
}
_DROPPED = {"pad", "pad2", "trades.ref", "trades.kind", "trades.flags"}
_NAMED: dict[str, type[IntEnum]] = {
    "hold": Hold,
    "code": Hold,
    "family": outputs.Family,
    "unit": outputs.Unit,
    "outcome": Outcome,
    "scans.side": Outcome,
    "trades.side": Side,
    "orders.state": OrderState,
    "decisions.state": OrderState,
    "windows.state": outputs.WindowState,
    "action": outputs.Action,
    "type": outputs.OrderType,
    "fact": outputs.Fact,
    "by": Source,
    "source": Source,
}
_NONE = {NO_HOLD: "NONE"}
_SERIES = [series_name(number) for number in range(len(ASSETS) * len(HORIZONS_S))]


def complete(run: Path) -> int:
    """Write the tables that a sealed segment lacks; returns how many segments are sealed.

    Raises BadInput when `run` is none, and DiskFault.
    """
    strategies = file.meta_of(run).strategies
    sealed = 0
    with log.faults(run / "tables"):
        (run / "tables").mkdir(exist_ok=True)
        folder = os.open(run / "tables", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # others may want the same tables at this moment
        for path in log.segment_paths(run / "journal"):
            if not log.is_sealed(path):
                break
            sealed += 1
            if not all(_path(run, table, sealed).exists() for table in DTYPES):
                _write(run, sealed, strategies)
    finally:
        os.close(folder)
    return sealed


def query(run: Path, sql: str, values: Sequence[Value] = ()) -> pa.Table:
    """The result of `sql` over one view for each table in DTYPES; see `asking`."""
    with asking(run) as ask:
        return ask(sql, values)


@contextmanager
def asking(run: Path) -> Iterator[Callable[[str, Sequence[Value]], pa.Table]]:
    """Gives what answers SQL, with values for its question marks, over one view for each table.

    They hold all that is durable, of a running or a killed run too. Tables of sealed segments are
    written first where they are missing. Raises BadInput for SQL that does not run or when `run`
    is none, and DiskFault.
    """
    sealed = complete(run)
    with duckdb.connect() as connection:

        def ask(sql: str, values: Sequence[Value]) -> pa.Table:
            try:
                relation = connection.sql(sql, params=list(values))
                if relation is not None:
                    return relation.to_arrow_table()
            except duckdb.Error as error:
                raise BadInput(f"the query does not run: {error}") from error
            raise BadInput(f"expected a query with a result, found {sql!r}; write a SELECT")

        _create_views(connection, run, sealed)
        yield ask


def rows_of(table: str, found: pa.Table) -> NDArray[np.void]:
    """Columns of a table as rows again, dtype DTYPES[table]; `found` has all of its columns."""
    rows = np.zeros(found.num_rows, DTYPES[table])
    for name in rows.dtype.names or ():
        if name not in _DROPPED and f"{table}.{name}" not in _DROPPED:
            column = _RENAMED.get(f"{table}.{name}", _RENAMED.get(name, name))
            rows[name] = found[column].to_numpy()
    return rows


def columns_of(table: str) -> pa.Schema:
    """The columns of a table, and their types; BadInput for an unknown table."""
    if table not in DTYPES:
        raise BadInput(f"no table {table!r}; {nearest(table, DTYPES)}")
    return _columns(table, np.zeros(0, DTYPES[table]), ()).schema


def _create_views(connection: duckdb.DuckDBPyConnection, run: Path, sealed: int) -> None:
    """One view for each table: the files of the sealed segments, then what stands behind them."""
    strategies = file.meta_of(run).strategies
    for table, rows in _rows(run, sealed + 1).items():
        connection.register(f"late_{table}", _columns(table, rows, strategies))
        view = f"CREATE VIEW {table} AS FROM late_{table}"
        if sealed:
            files = [str(_path(run, table, number + 1)) for number in range(sealed)]
            connection.read_parquet(files).create_view(f"early_{table}")
            view += f" UNION ALL BY NAME FROM early_{table}"
        connection.execute(view)


def _write(run: Path, segment: int, strategies: Sequence[str]) -> None:
    for table, rows in _rows(run, segment, segment).items():
        sink = pa.BufferOutputStream()
        pq.write_table(_columns(table, rows, strategies), sink, compression="zstd")
        path = _path(run, table, segment)
        with log.faults(path.parent):
            path.parent.mkdir(exist_ok=True)
        log.write_whole(path, sink.getvalue().to_pybytes())


def _rows(run: Path, first: int, last: int | None = None) -> dict[str, NDArray[Any]]:
    """All rows of the segments from `first` to `last` or the end, by table; they may be none."""
    folder = run / "journal"
    found: dict[str, list[NDArray[Any]]] = {table: [] for table in DTYPES}
    for path in log.segment_paths(folder)[first - 1 : last]:
        events: list[Events] = []
        for frame in log.segment_frames(folder, int(path.stem)):
            if frame.kind == record.Kind.OUTPUT:
                table, rows = record.rows_of(frame)
                found[table].append(rows)
            elif frame.kind == record.Kind.INPUT:
                events.append(record.events_of(frame))
        before = log.beginning(folder, int(path.stem)).events
        found["trades"].append(_trades(record.joined(events), before))
    rows_of = {table: record.joined(parts, DTYPES[table]) for table, parts in found.items()}
    states = rows_of["orders"]["state"]
    decided = (states == OrderState.DECIDED) | (states == OrderState.REFUSED)
    return rows_of | {"decisions": rows_of["orders"][decided]}


def _trades(events: NDArray[np.void], first: int) -> NDArray[np.void]:
    at = np.flatnonzero(events["kind"] == Kind.TRADE)
    trades = np.empty(len(at), TRADE)
    trades["event"] = at + first
    for name in EVENT.names or ():
        trades[name] = events[name][at]
    return trades


def _columns(table: str, rows: NDArray[Any], strategies: Sequence[str]) -> pa.Table:
    """The rows as columns; a closed number gets a readable twin that ends with `_name`."""
    columns: dict[str, Any] = {}
    for name in rows.dtype.names or ():
        key = f"{table}.{name}"
        if name in _DROPPED or key in _DROPPED:
            continue
        values = np.ascontiguousarray(rows[name])
        columns[_RENAMED.get(key, _RENAMED.get(name, name))] = pa.array(values)
        if enum := _NAMED.get(key, _NAMED.get(name)):
            names = {int(member): member.name for member in enum}
            columns[f"{name}_name"] = _named(values, _NONE | names)
    if "strategy" in columns:
        columns["strategy_name"] = _named(rows["strategy"], dict(enumerate(strategies)))
    if table == "windows":
        columns["series_name"] = _named(rows["series"], dict(enumerate(_SERIES)))
        windows = zip(rows["series"].tolist(), rows["start_ns"].tolist(), strict=True)
        columns["slug"] = pa.array([slug(*window) for window in windows], pa.string())
    return pa.table(columns)


def _named(values: NDArray[Any], names: Mapping[int, str]) -> Any:
    """A dictionary column of the names; a value without a name is null."""
    positions = np.full(1 << 16, -1, np.int32)
    positions[list(names)] = np.arange(len(names))
    found = positions[values]
    indices = pa.array(found, mask=found < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names.values()), pa.string()))


def _path(run: Path, table: str, segment: int) -> Path:
    return run / "tables" / table / f"{segment:08d}.parquet"
