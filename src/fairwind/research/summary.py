"""What a replay says on the terminal: totals, strategies, and where it disagrees with its data.

In: a Report. Out: a few tables on a console. Never here: a figure that the report does not hold.
"""

import shlex
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fairwind.core.intervals import Interval
from fairwind.research.document import Report, Strategy, Totals, Window

LINES = 10
"""At most so many disagreements, problems and assumptions each; the report has all."""


def show(report: Report, console: Console) -> None:
    """Print the summary of a run."""
    totals = report.totals
    console.print(
        f"{totals.events:,} events; {totals.windows} windows, {totals.windows_settled} settled; "
        f"{_labels(totals)}; {totals.trades} trades, "
        f"{totals.open_positions} open; net {totals.net_pnl:+,.2f} dollars",
    )
    table = Table("strategy", "scans", "trades", "net, dollars", "per trade", "held mostly by")
    for name, strategy in report.strategies.items():
        if strategy.scans:
            table.add_row(name, *_figures(strategy))
    if table.row_count:
        console.print(table)
    _several(console, "label", [_disagreement(w) for w in report.windows if w.agrees is False])
    if totals.labels_unknown:
        console.print(f"unknown  labels that name what we do not know: {totals.labels_unknown}")
    _several(console, "data", list(report.problems))
    _several(console, "assumed", list(report.assumptions))
    realism = ", ".join(f"{name} {value}" for name, value in report.realism.items())
    console.print(f"realism  {realism}", soft_wrap=True)
    _several(console, "kind to us", report.optimistic)
    console.print(f"digest   {report.digest}")


def next_command(report: Report, run: Path) -> str:
    """The command that shows the run's first traded window, or its first one; it needs one."""
    slugs = [trade.slug for trade in report.trades if trade.slug]
    slug = slugs[0] if slugs else report.windows[0].slug
    return f"fairwind inspect {shlex.quote(str(run))} --window {slug}"


def _labels(totals: Totals) -> str:
    agree = f"{totals.labels_agree} of {totals.labels} labels agree"
    if not totals.published:
        return agree
    return f"{agree}, {totals.published} published value{'s' if totals.published > 1 else ''}"


def _figures(strategy: Strategy) -> tuple[str, ...]:
    held = sorted(strategy.holds.items(), key=lambda item: (-item[1], item[0]))[:3]
    return (
        f"{strategy.scans:,}",
        str(strategy.trades),
        f"{strategy.net_pnl:+.2f}",
        _interval(strategy.expectancy),
        ", ".join(f"{code} {100 * n / strategy.scans:.0f} %" for code, n in held),
    )


def _interval(found: Interval) -> str:
    if found.mean is None:
        return "none"
    if found.low is None or found.high is None:
        return f"{found.mean:+.2f}"
    return f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _disagreement(window: Window) -> str:
    label = window.label
    assert label is not None
    expected = _known(label.strike, label.final, label.outcome)
    found = _known(window.strike, window.final, window.outcome)
    return f"{window.slug}: expected {expected}, found {found}"


def _known(strike: Decimal | None, final: Decimal | None, outcome: str | None) -> str:
    named = (("strike", strike), ("final", final), ("result", outcome))
    return ", ".join(f"{name} {'not known' if value is None else value}" for name, value in named)


def _several(console: Console, head: str, lines: list[str]) -> None:
    for line in lines[:LINES]:
        console.print(f"{head:<8} {line}", markup=False, soft_wrap=True)
    if len(lines) > LINES:
        console.print(f"{head:<8} and {len(lines) - LINES} more, in the report")
