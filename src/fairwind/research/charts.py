"""Inline SVG charts of a report, as text: a line chart, signed bars, intervals and reliability.

In: plain numbers and labels, and a width in CSS pixels. Out: one `<svg>` per call, complete in
itself. Never here: a script, an outside resource, a meaning that only a colour carries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from math import ceil, floor, log10, sqrt

from markupsafe import Markup, escape

from fairwind.core.units import SECOND_NS

WIDE, NARROW = 620, 340
"""The widths of a chart in a column of the page and on a phone."""

_CHARACTER = 7.3  # width of a digit at the charts' 12 px, for the room that a label needs
_STEPS_S = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 604800)


@dataclass(frozen=True)
class Bar:
    """One signed bar: what it is, a remark, its length, and the number as it is read."""

    label: str
    note: str
    value: float
    text: str


@dataclass(frozen=True)
class Range:
    """A promised value, and a measured one with its interval (None: not measured)."""

    label: str
    promised: float | None
    mean: float | None
    low: float | None
    high: float | None
    text: str


def both(wide: Markup, narrow: Markup) -> Markup:
    """The same chart twice; the page's style shows the one that fits the screen."""
    return Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(wide, narrow)


def steps(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers within [low, high]; low < high."""
    rough = (high - low) / max(count, 1)
    power: float = 10.0 ** floor(log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.75)
    return [i * step for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def times(start_ns: int, end_ns: int, count: int) -> list[tuple[int, str]]:
    """At most `count` + 1 round UTC times within [start, end], each with its label."""
    span_s = max((end_ns - start_ns) / SECOND_NS, 1e-9)
    step_s = next((s for s in _STEPS_S if span_s / s <= count), ceil(span_s / count))
    form = "%d %b" if step_s >= 86400 else "%H:%M" if step_s >= 60 else "%H:%M:%S"
    first = -(-start_ns // (step_s * SECOND_NS))
    last = end_ns // (step_s * SECOND_NS)
    marks = [n * step_s for n in range(first, last + 1)]
    return [(s * SECOND_NS, datetime.fromtimestamp(s, UTC).strftime(form)) for s in marks]


def _decimals(values: Sequence[float]) -> int:
    """Decimals that tell neighbouring axis values apart."""
    gap = min((b - a for a, b in pairwise(values)), default=1.0)
    fine = (d for d in range(7) if abs(round(gap, d) - gap) < gap * 1e-6)
    return next(fine, 7)


def signed(value: float, decimals: int) -> str:
    """A number with a true minus sign, and a plus where it is above zero."""
    text = f"{abs(value):,.{decimals}f}"
    zero = not text.strip("0.,")
    return text if zero else ("+" if value > 0 else "\u2212") + text


def plain(value: float, decimals: int) -> str:
    """A number with thousands separators and a true minus sign."""
    return signed(value, decimals).removeprefix("+")


def _svg(width: float, height: float, name: str, parts: Sequence[str]) -> Markup:
    body = "".join(parts)
    return Markup(
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="{escape(name)}">{body}</svg>'
    )


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">'
        f"{escape(text)}</text>"
    )


def _line(start: tuple[float, float], end: tuple[float, float], style: str) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def room(values: Sequence[float]) -> float:
    """Pixels that an axis of such values needs on the right."""
    return _CHARACTER * (max(len(plain(value, 2)) for value in values) + 2) + 14


def stairs(
    ts_ns: Sequence[int],
    values: Sequence[float],
    *,
    name: str,
    width: float,
    height: float,
    room: float,
    area: bool = False,
) -> Markup:
    """A step line over time: axis on the right, the last value as a tag, UTC times below.

    `room` is left for the axis, so that charts above each other share their times.
    `area` fills from zero and turns the axis over (a drawdown hangs down from zero).
    """
    low, high = min(values), max(values)
    low = min(low, 0.0) if area else low
    pad = (high - low) * 0.06 or max(abs(high) * 0.001, 0.01)
    low, high = low - pad * (not area), high + pad
    marks = steps(low, high, max(int(height / 44), 2))
    decimals = _decimals(marks)
    tag = plain(values[-1], max(decimals, 2))
    right = width - room
    top, bottom = 8.0, height - 24.0
    start, span = ts_ns[0], max(ts_ns[-1] - ts_ns[0], 1)

    def at_y(value: float) -> float:
        share = (value - low) / (high - low)
        return top + share * (bottom - top) if area else bottom - share * (bottom - top)

    def at_x(when: int) -> float:
        return (when - start) / span * right

    last_y = at_y(values[-1])
    parts = []
    for mark in marks:
        parts.append(_line((0, at_y(mark)), (right, at_y(mark)), "grid"))
        if abs(at_y(mark) - last_y) > 15:
            parts.append(_text(right + 8, at_y(mark) + 4, plain(mark, decimals), "dim"))
    for when, label in times(start, ts_ns[-1], int(right / 90)):
        x = at_x(when)
        if 20 < x < right - 20:
            parts.append(_line((x, bottom), (x, bottom + 5), "axis"))
            parts.append(_text(x, bottom + 19, label, "dim", "middle"))
    path = f"M0 {at_y(values[0]):.1f}"
    for when, value in zip(ts_ns[1:], values[1:], strict=True):
        path += f"H{at_x(when):.1f}V{at_y(value):.1f}"
    if area:
        parts.append(f'<path d="{path}V{top:.1f}H0Z" class="fall"/>')
    parts.append(f'<path d="{path}" class="{"fallline" if area else "curve"}"/>')
    parts.append(_line((0, bottom), (right, bottom), "axis"))
    style = "tag falltag" if area else "tag"
    parts.append(
        f'<rect x="{right + 2:.1f}" y="{last_y - 10:.1f}" width="{width - right - 2:.1f}" '
        f'height="20" rx="3" class="{style}"/>'
    )
    parts.append(_text(right + 8, last_y + 4, tag, "tagtext"))
    return _svg(width, height, name, parts)


def bars(rows: Sequence[Bar], *, name: str, width: float, style: str = "gain") -> Markup:
    """Horizontal bars from a common zero, each under its label, remark and number.

    `style` is how a bar above zero looks: `gain`, or `amount` where more is not better.
    """
    low = min(0.0, *(row.value for row in rows))
    high = max(0.0, *(row.value for row in rows))
    scale = width / ((high - low) or 1.0)
    zero = -low * scale
    parts = []
    for number, row in enumerate(rows):
        y = number * 38.0
        left = zero + min(row.value, 0.0) * scale
        length = max(abs(row.value) * scale, 1.0)
        look = "loss" if row.value < 0 else style
        label = f'{escape(row.label)}<tspan class="dim" dx="10">{escape(row.note)}</tspan>'
        parts.append(f'<text x="0" y="{y + 14:.1f}">{label}</text>')
        parts.append(_text(width, y + 14, row.text, "", "end"))
        parts.append(
            f'<rect x="0" y="{y + 20:.1f}" width="{width:.1f}" height="9" class="track"/>'
            f'<rect x="{min(left, width - 1):.1f}" y="{y + 20:.1f}" width="{length:.1f}" '
            f'height="9" class="{look}"/>'
        )
        if low < 0:
            parts.append(_line((zero, y + 17), (zero, y + 32), "axis"))
    return _svg(width, len(rows) * 38, name, parts)


def ranges(rows: Sequence[Range], *, name: str, width: float, unit: str) -> Markup:
    """Per row a promised value (hollow diamond) and a measured one (dot) with its interval."""
    known = [
        value
        for row in rows
        for value in (row.promised, row.mean, row.low, row.high)
        if value is not None
    ]
    low, high = min(0.0, *known), max(0.0, *known)
    pad = (high - low) * 0.05 or 1.0
    low, high = low - pad, high + pad
    scale = width / (high - low)
    bottom = len(rows) * 50.0 + 4
    marks = steps(low, high, int(width / 70))
    decimals = _decimals(marks)
    parts = []
    for mark in marks:
        x = (mark - low) * scale
        parts.append(_line((x, 0), (x, bottom), "axis" if mark == 0 else "grid"))
        if 16 < x < width - 16:
            parts.append(_text(x, bottom + 17, plain(mark, decimals), "dim", "middle"))
    for number, row in enumerate(rows):
        y = number * 50.0 + 34
        parts.append(_text(0, y - 18, row.label, "halo"))
        parts.append(_text(width, y - 18, row.text, "halo", "end"))
        if row.low is not None and row.high is not None:
            ends = ((row.low - low) * scale, (row.high - low) * scale)
            parts.append(_line((ends[0], y), (ends[1], y), "whisker"))
            parts.extend(_line((x, y - 5), (x, y + 5), "whisker") for x in ends)
        if row.mean is not None:
            parts.append(
                f'<circle cx="{(row.mean - low) * scale:.1f}" cy="{y}" r="5" class="dot"/>'
            )
        if row.promised is not None:
            x = (row.promised - low) * scale
            diamond = f"M{x - 7:.1f} {y}L{x:.1f} {y - 7}L{x + 7:.1f} {y}L{x:.1f} {y + 7}Z"
            parts.append(f'<path d="{diamond}" class="promise"/>')
    parts.append(_text(width / 2, bottom + 35, unit, "dim", "middle"))
    return _svg(width, bottom + 42, name, parts)


def reliability(points: Sequence[tuple[float, float, int]], *, name: str, width: float) -> Markup:
    """(forecast, frequency, count) as dots around the diagonal; area grows with the count."""
    side = width - 56
    top = 26.0
    most = max(count for _, _, count in points)
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y, x = top + (1 - share) * side, share * side
        parts.append(_line((0, y), (side, y), "grid"))
        parts.append(_text(side + 10, y + 4, f"{share:.2f}", "dim"))
        anchor = {0.0: "start", 1.0: "end"}.get(share, "middle")
        parts.append(_text(x, top + side + 28, f"{share:.2f}", "dim", anchor))
    parts.append(_line((0, top + side), (side, top), "diagonal"))
    for forecast, frequency, count in points:
        x, y = forecast * side, top + (1 - frequency) * side
        radius = 3 + 9 * sqrt(count / most)
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" class="bubble">'
            f"<title>forecast {forecast:.3f}, came true {frequency:.3f}, n {count}</title></circle>"
        )
    parts.append(_text(side / 2, top + side + 46, "forecast", "dim", "middle"))
    parts.append(_text(side + 56, 12, "came true", "dim", "end"))
    return _svg(side + 56, top + side + 52, name, parts)
