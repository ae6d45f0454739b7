"""The four shapes of everything that people look at, and what changed between two of one shape.

In: plain scalars. Out: Values, Rows, Series or Grid; a Delta that leads from one to the next.
Never here: what is shown, an order that depends on anything but the shapes.
"""

from collections.abc import Mapping, Sequence

import msgspec

Scalar = str | int | float | bool | None
"""A name says its unit by its end: `price_e4`, `cash_micro`, `start_ns`, `left_s`, `hold_share`."""


class Values(msgspec.Struct, frozen=True, kw_only=True, tag_field="shape", tag="values"):
    """Named figures."""

    values: dict[str, Scalar]


class Rows(msgspec.Struct, frozen=True, kw_only=True, tag_field="shape", tag="rows"):
    """A table, oldest first. The `key` column tells rows apart; `total` counts those left out."""

    key: str
    columns: tuple[str, ...]
    rows: list[list[Scalar]]
    total: int


class Series(msgspec.Struct, frozen=True, kw_only=True, tag_field="shape", tag="series"):
    """Lines over one time axis: each point is `at_ns` and one figure for each line."""

    lines: tuple[str, ...]
    points: list[list[Scalar]]


class Grid(msgspec.Struct, frozen=True, kw_only=True, tag_field="shape", tag="grid"):
    """Figures over two axes, `cells[y][x]`; None: no data."""

    x_name: str
    x: list[Scalar]
    y_name: str
    y: list[Scalar]
    cells: list[list[Scalar]]


Snapshot = Values | Rows | Series | Grid


class SetValues(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Figures that are new or others, and names that are gone."""

    set: dict[str, Scalar] = {}
    drop: list[str] = []


class PutRows(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rows gone, then rows that replace theirs or follow at the end, then an order of keys if
    that is another one."""

    put: list[list[Scalar]] = []
    drop: list[Scalar] = []
    order: list[Scalar] | None = None
    total: int


class AddPoints(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Points gone from the beginning, from the end, and points that follow."""

    drop: int = 0
    cut: int = 0
    add: list[list[Scalar]] = []


class SetCells(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Cells that are others: [x index, y index, figure]."""

    cells: list[tuple[int, int, Scalar]] = []


Delta = SetValues | PutRows | AddPoints | SetCells


def delta(old: Snapshot, new: Snapshot) -> Delta | Snapshot | None:
    """What leads from `old` to `new`; None when nothing changed, `new` when only that says it."""
    if old == new:
        return None
    match old, new:
        case Values(), Values():
            return _values(old.values, new.values)
        case Rows(), Rows() if (old.key, old.columns) == (new.key, new.columns):
            return _rows(old, new)
        case Series(), Series() if old.lines == new.lines:
            return _points(old.points, new.points)
        case Grid(), Grid() if _axes(old) == _axes(new):
            return _cells(old.cells, new.cells)
    return new


def apply(old: Snapshot, change: Delta | Snapshot) -> Snapshot:
    """The snapshot that `delta` was made for, from the one before it."""
    match old, change:
        case Values(), SetValues():
            kept = {name: one for name, one in old.values.items() if name not in change.drop}
            return Values(values=kept | change.set)
        case Rows(), PutRows():
            return _put(old, change)
        case Series(), AddPoints():
            kept_points = old.points[change.drop : len(old.points) - change.cut]
            return Series(lines=old.lines, points=kept_points + change.add)
        case Grid(), SetCells():
            cells = [list(row) for row in old.cells]
            for x, y, figure in change.cells:
                cells[y][x] = figure
            return msgspec.structs.replace(old, cells=cells)
    assert isinstance(change, Snapshot), f"a delta of {type(old).__name__} is expected"
    return change


def _values(old: Mapping[str, Scalar], new: Mapping[str, Scalar]) -> SetValues:
    changed = {name: one for name, one in new.items() if name not in old or old[name] != one}
    return SetValues(set=changed, drop=[name for name in old if name not in new])


def _rows(old: Rows, new: Rows) -> PutRows:
    at = old.columns.index(old.key)
    before, after = ({row[at]: row for row in one.rows} for one in (old, new))
    put = [row for key, row in after.items() if before.get(key) != row]
    drop = [key for key in before if key not in after]
    natural = [key for key in before if key in after] + [key for key in after if key not in before]
    order = None if natural == list(after) else list(after)
    return PutRows(put=put, drop=drop, order=order, total=new.total)


def _put(old: Rows, change: PutRows) -> Rows:
    at = old.columns.index(old.key)
    kept = {row[at]: row for row in old.rows if row[at] not in set(change.drop)}
    kept |= {row[at]: row for row in change.put}
    keys = kept if change.order is None else change.order
    return msgspec.structs.replace(old, rows=[kept[key] for key in keys], total=change.total)


def _points(old: Sequence[list[Scalar]], new: Sequence[list[Scalar]]) -> AddPoints:
    """The longest run of old points that the new ones begin with stays."""
    drop = next((n for n, one in enumerate(old) if new and one == new[0]), len(old))
    kept = 0
    for was, now in zip(old[drop:], new, strict=False):
        if was != now:
            break
        kept += 1
    return AddPoints(drop=drop, cut=len(old) - drop - kept, add=list(new[kept:]))


def _axes(one: Grid) -> tuple[Scalar | list[Scalar], ...]:
    return one.x_name, one.x, one.y_name, one.y


def _cells(old: Sequence[Sequence[Scalar]], new: Sequence[Sequence[Scalar]]) -> SetCells:
    return SetCells(
        cells=[
            (x, y, now)
            for y, (before, after) in enumerate(zip(old, new, strict=True))
            for x, (was, now) in enumerate(zip(before, after, strict=True))
            if was != now
        ]
    )
