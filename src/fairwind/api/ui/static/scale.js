/**
 * Geometry of charts and maps. In: figures and widths. Out: ticks, paths, places and classes.
 * Never here: an element.
 */
import { text, time, unit } from "./format.js";

const STEPS_S = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800,
  604800,
];

const LEVELS = [0.12, 0.3, 0.5, 0.75];

/** Which lines share a pane: as given (`a b|c`), else those of one unit. The first is taller. */
export function grouped(lines, given) {
  const units = [...new Set(lines.map(unit))];
  const groups =
    given?.split("|").map((names) => names.trim().split(/\s+/)) ??
    units.map((one) => lines.filter((name) => unit(name) === one));
  return groups.map((names, n) => ({
    lines: names.map((name) => lines.indexOf(name)).filter((at) => at >= 0),
    weight: n ? 1 : 2,
  }));
}

/** Round figures between two, about `count` of them. */
export function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((one) => one * power >= rough) * power;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, n) => (first + n) * step);
}

/** Times on the axis and how they are written, not closer than they can be read. */
export function moments(start, end, width) {
  const seconds = (end - start) / 1e9;
  const step = (STEPS_S.find((one) => (seconds / one) * 95 < width) ?? STEPS_S.at(-1)) * 1e9;
  const found = [];
  for (let at = Math.ceil(start / step) * step; at <= end; at += step) {
    const clock = time(Math.round(at), 0);
    const short = clock.slice(-8, step % 60e9 ? undefined : -3);
    found.push([at, step < 86400e9 ? short : clock.slice(0, 5)]);
  }
  return found;
}

/** A line through places; null is a gap, and `stepped` lines keep their figure until the next. */
export function path(places, stepped) {
  let [drawn, last] = ["", null];
  for (const place of places) {
    const [x, y] = place?.map((one) => one.toFixed(1)) ?? [];
    if (place && last === null) drawn += `M${x} ${y}`;
    else if (place) drawn += stepped && last !== y ? `H${x}V${y}` : `L${x} ${y}`;
    last = place ? y : null;
  }
  return drawn;
}

/** Tags in order of `y`, moved so that none covers another and none is below `bottom`. */
export function apart(tags, bottom, gap) {
  tags.forEach((tag, at) => {
    if (at) tag.y = Math.max(tag.y, tags[at - 1].y + gap);
  });
  tags.toReversed().forEach((tag, at) => {
    tag.y = Math.min(tag.y, bottom - at * gap);
  });
  return tags;
}

/** The number of the point that is drawn nearest to `x`. */
export function nearest(points, place, x) {
  let [low, high] = [0, points.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (place(points[middle][0]) < x) low = middle;
    else high = middle;
  }
  const away = (at) => Math.abs(place(points[at][0]) - x);
  return away(low) < away(high) ? low : high;
}

/** Class of a figure: its sign and a quarter of the largest. */
export function level(figure, most) {
  if (figure === null) return "none";
  const size = Math.abs(figure) / most;
  const step = LEVELS.filter((one) => size > one).length;
  return step === 0 ? "zero" : `${figure < 0 ? "minus" : "plus"}${step}`;
}

/** Seconds on the axis as minutes and seconds. */
export const short = (name, value) =>
  name.endsWith("_s")
    ? `${Math.floor(value / 60)}:${String(value % 60).padStart(2, "0")}`
    : text(name, value);
