/**
 * Snapshot + delta = next snapshot, as in views/shapes.py.
 * In: a shape and what the hub sent after it. Out: the next shape. Never here: an element.
 */

/** A snapshot stands for itself; a delta is applied to the shape before it. */
export function applied(old, change) {
  if (change.shape) return change;
  switch (old.shape) {
    case "values":
      return values(old, change);
    case "rows":
      return rows(old, change);
    case "series":
      return series(old, change);
    default:
      return grid(old, change);
  }
}

function values(old, { set = {}, drop = [] }) {
  const next = { ...old.values, ...set };
  for (const name of drop) delete next[name];
  return { ...old, values: next };
}

function rows(old, { put = [], drop = [], order, total }) {
  const at = old.columns.indexOf(old.key);
  const kept = new Map(old.rows.map((row) => [row[at], row]));
  for (const key of drop) kept.delete(key);
  for (const row of put) kept.set(row[at], row);
  const next = order ? order.map((key) => kept.get(key)) : [...kept.values()];
  return { ...old, rows: next, total };
}

function series(old, { drop = 0, cut = 0, add = [] }) {
  return { ...old, points: [...old.points.slice(drop, old.points.length - cut), ...add] };
}

function grid(old, { cells = [] }) {
  const next = old.cells.map((row) => [...row]);
  for (const [x, y, figure] of cells) next[y][x] = figure;
  return { ...old, cells: next };
}
