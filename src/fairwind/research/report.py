"""The report's page, and both of its files on disk.

In: a RunResult. Out: one self-contained HTML page with inline charts, byte-identical for the same
run, and `report.json` beside it. Never here: a script, an outside resource, a figure that the
JSON does not hold.
"""

import os
from datetime import UTC, datetime
from decimal import Decimal
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fairwind.core.errors import DiskFault
from fairwind.core.holds import CATEGORY, Hold
from fairwind.core.intervals import MIN_WINDOWS, Interval
from fairwind.core.units import SECOND_NS
from fairwind.research import charts
from fairwind.research.charts import NARROW, WIDE, Bar, Range, both, plain, signed
from fairwind.research.document import (
    Cost,
    Label,
    Report,
    RunResult,
    Strategy,
    build,
    report_json,
)
from fairwind.research.metrics import Calibration

__all__ = ["Label", "RunResult", "report_html", "report_json", "write_report"]

FULL = 1300
"""Width of a chart that spans the page, in CSS pixels."""

ROWS = 300
"""The page lists at most so many windows and trades each; the JSON has all."""

HOLDS = 8
"""The page draws a strategy's most frequent hold codes; the JSON has all."""

EDGE_UNIT = "cents per share, after all costs"


def report_html(result: RunResult) -> str:
    """The whole page; Corrupt when the run's fills and ledger contradict each other."""
    report = build(result)
    pages = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    pages.filters.update(money=_money, price=_price, count=_count, interval=_interval, utc=_utc)
    template = resources.files("fairwind.research").joinpath("report.html.j2")
    return pages.from_string(template.read_text(encoding="utf-8")).render(
        report=report,
        rows=ROWS,
        min_windows=MIN_WINDOWS,
        nothing=_nothing(report),
        equity=_equity(report),
        costs=_costs(report.totals.cost),
        edges=_edges(report.strategies),
        holds={name: _holds(name, one) for name, one in report.strategies.items() if one.holds},
        hold_limit=HOLDS,
        reliability={name: _reliability(one) for name, one in report.calibration.items()},
    )


def write_report(result: RunResult, directory: Path) -> Path:
    """Write `report.html` and `report.json`, each whole or not at all; returns the page's path.

    Raises DiskFault when the directory cannot be written.
    """
    page, data = report_html(result).encode(), report_json(result)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _replace(directory / "report.json", data)
        _replace(directory / "report.html", page)
    except OSError as error:
        raise DiskFault(
            f"report: expected to write into {directory}, found {error}; "
            "choose another --report directory or free some space"
        ) from error
    return directory / "report.html"


def _replace(path: Path, content: bytes) -> None:
    written = path.with_name(path.name + ".new")
    with written.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(written, path)


def _money(value: Decimal | float | None, decimals: int = 2) -> str:
    """Dollars with their sign; a dash where there is nothing to say."""
    if value is None:
        return "–"
    text = signed(float(value), decimals)
    return text[0] + "$" + text[1:] if text[0] in "+−" else "$" + text


def _price(value: Decimal | None) -> str:
    """All digits of a reference price."""
    return "unknown" if value is None else f"{value:,f}"


def _count(value: int) -> str:
    return f"{value:,}"


def _interval(value: Interval, scale: float = 1, decimals: int = 2) -> str:
    """`+1.20 [−0.40, +2.80]`, or the mean alone where there is no interval."""
    if value.mean is None:
        return "–"
    mean = signed(value.mean * scale, decimals)
    if value.low is None or value.high is None:
        return f"{mean} (no interval)"
    low, high = (signed(end * scale, decimals) for end in (value.low, value.high))
    return f"{mean} [{low}, {high}]"


def _utc(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns // SECOND_NS, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _nothing(report: Report) -> str:
    """Why there are no closed trades; empty when there are some."""
    totals = report.totals
    if totals.trades:
        return ""
    if totals.open_positions:
        return f"No closed trades: {totals.open_positions} positions still wait for a result"
    if not totals.scans:
        return "No trades: no strategy scanned anything (none enabled, or no window was listed)"
    holds: dict[str, int] = {}
    for strategy in report.strategies.values():
        for code, n in strategy.holds.items():
            holds[code] = holds.get(code, 0) + n
    held = sum(holds.values())
    who = f"all {held:,} scans held" if held == totals.scans else f"{held:,} scans held"
    often = min(holds, key=lambda code: (-holds[code], code), default="")
    if not often:
        return f"No trades: {totals.scans:,} scans passed, and no order was filled"
    rest = "" if held == totals.scans else f"; {totals.scans - held:,} passed without a fill"
    return f"No trades: {who}; most frequent {often} ({holds[often]:,}){rest}"


def _equity(report: Report) -> Markup | None:
    curve = report.equity
    if len(curve.ts_ns) < 2:
        return None
    room = charts.room([float(value) for value in curve.equity])
    drawn = []
    for width in (FULL, NARROW):
        parts = (
            ("Equity at cost over time, dollars", curve.equity, 240, False),
            ("Drawdown of profit over time, dollars", curve.drawdown, 110, True),
        )
        drawn.append(
            Markup("").join(
                charts.stairs(
                    curve.ts_ns,
                    [float(value) for value in values],
                    name=name,
                    width=width,
                    height=height,
                    room=room,
                    area=area,
                )
                for name, values, height, area in parts
            )
        )
    return both(*drawn)


def _costs(cost: Cost) -> Markup:
    """Gross, minus each cost, is net. A cost is drawn as the loss that it is."""
    rows = [Bar("gross", "at the mids decided on", float(cost.gross), _money(cost.gross, 4))]
    for name, note in (
        ("spread", "mid to best price"),
        ("slippage", "best price to price paid"),
        ("latency", "mid moved on the way"),
        ("adverse_selection", "mid moved while waiting"),
        ("fee", "the venue's"),
    ):
        value = -getattr(cost, name)
        rows.append(Bar(name.replace("_", " "), note, float(value), _money(value, 4)))
    rows.append(Bar("net", "as the ledger books it", float(cost.net), _money(cost.net, 4)))
    name = "Gross profit, each cost, net profit, dollars"
    return both(*(charts.bars(rows, name=name, width=width) for width in (WIDE, NARROW)))


def _edges(strategies: dict[str, Strategy]) -> Markup | None:
    def cents(value: float | None) -> float | None:
        return None if value is None else value * 100

    rows = [
        Range(
            label=name,
            promised=cents(one.predicted_edge.mean),
            mean=cents(one.realised_edge.mean),
            low=cents(one.realised_edge.low),
            high=cents(one.realised_edge.high),
            text=f"{_interval(one.predicted_edge, 100).split(' ')[0]} promised, "
            f"{_interval(one.realised_edge, 100).split(' ')[0]} realised",
        )
        for name, one in strategies.items()
        if one.trades
    ]
    if not rows:
        return None
    name = "Edge promised and realised per strategy, " + EDGE_UNIT
    return both(
        *(charts.ranges(rows, name=name, width=width, unit=EDGE_UNIT) for width in (WIDE, NARROW))
    )


def _holds(name: str, strategy: Strategy) -> Markup:
    most = sorted(strategy.holds.items(), key=lambda item: (-item[1], item[0]))[:HOLDS]
    rows = [
        Bar(code, CATEGORY[Hold[code]].value, n, f"{n:,} · {plain(100 * n / strategy.scans, 1)} %")
        for code, n in most
    ]
    title = f"Most frequent hold codes of {name}"
    return both(
        *(charts.bars(rows, name=title, width=width, style="amount") for width in (WIDE, NARROW))
    )


def _reliability(calibration: Calibration) -> Markup | None:
    points = [
        (one.mean, one.frequency, one.n)
        for one in calibration.bins
        if one.mean is not None and one.frequency is not None
    ]
    if not points:
        return None
    name = "How often forecasts came true, by forecast"
    return charts.reliability(points, name=name, width=NARROW)
