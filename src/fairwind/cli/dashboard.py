"""How a session looks on a terminal: a screen of panels, or one line for a log.

In: a View, a width, a height. Out: Rich renderables. Never here: a figure that the View does not
hold (an en dash stands for what is unknown), a sign that is made by colour alone.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fairwind.cli.view import Feed, View
from fairwind.core.holds import CATEGORY
from fairwind.core.ids import parse_slug, series_name
from fairwind.core.outputs import Action, WindowState
from fairwind.core.units import DOLLAR_MICRO, MILLISECOND_NS, SECOND_NS, SHARE_MICRO
from fairwind.run.alerts import Alert, Severity
from fairwind.run.health import Health
from fairwind.run.inbox import Line
from fairwind.views.windows import Scan, Window

WIDE = 140
"""From so many columns on panels stand side by side."""
FIXED, FIXED_WIDE, ROWS_MAX = 27, 20, 16
"""Lines of a screen beside the rows of its lists, and the most rows of one list."""
UNKNOWN = "\N{EN DASH}"
OUTCOMES = ("Up", "Down")
WON = {10_000: "Up won", 0: "Down won"}
FILLS_SHOWN = 3
DONE = {Action.BUY: "bought", Action.SELL: "sold"}
SIGNS = {
    Health.OK: "\N{BLACK CIRCLE}",
    Health.DEGRADED: "\N{BLACK UP-POINTING TRIANGLE}",
    Health.FAILED: "\N{HEAVY MULTIPLICATION X}",
}
HEALTHS = {
    Health.OK: (f"{SIGNS[Health.OK]} OK", "green"),
    Health.DEGRADED: (f"{SIGNS[Health.DEGRADED]} DEGRADED", "yellow"),
    Health.FAILED: (f"{SIGNS[Health.FAILED]} FAILED", "bold red"),
}
SEVERITIES = {
    Severity.CRITICAL: (SIGNS[Health.FAILED], "bold red"),
    Severity.WARNING: (SIGNS[Health.DEGRADED], "yellow"),
    Severity.INFO: ("i", "cyan"),
}
FAINT = "bright_black"
WINDOWS = ("window", "state", ">strike", ">spot", ">reference", ">bid/ask", ">fair Up", "book")
SCANS = ("strategy", "window", "side", ">net edge", ">needs", "says")
HELD = ("strategy", "window", "what", ">shares", ">at", "worth")
FEEDS = ("feed", ">msg/s", ">age p95", ">gaps", ">reconnects", ">refused", ">no book", "state")
ALERTS = ("severity", "alert", ">since", "about", "what")

Cell = str | Text
Row = tuple[Cell, ...]


def line(view: View) -> str:
    """Everything that a log has to know, on one line."""
    firing = f", {len(view.status.alerts)} alerts" if view.status.alerts else ""
    return (
        f"{moment(view.now_ns)}  {view.events:,} events  {view.trades} fills  "
        f"equity {dollars(view.money.equity_micro)}  {HEALTHS[view.status.overall][0]}{firing}"
    )


def render(view: View, width: int, height: int) -> RenderableType:
    """The whole screen for a terminal of that size; height 0: as long as it has to be."""
    wide = width >= WIDE
    windows, scans, held, alerts = lists = (
        _window_rows(view, wide),
        _scan_rows(view),
        _held_rows(view),
        _alert_rows(view),
    )
    most = _most([len(one) for one in lists], wide, height)
    parts = (
        _panel("Windows", _listed(WINDOWS, windows, most) or "no window is known yet"),
        _panel("Scans", _listed(SCANS, scans, most) or "no strategy is switched on"),
        _panel("Positions, orders, fills", _listed(HELD, held, most) or "none yet"),
        _panel("Money", _money(view, 2 if wide else 4)),
        _panel("Feeds (in market time)", _listed(FEEDS, _feed_rows(view), most) or "none"),
        _panel("Alerts", _listed(ALERTS, alerts, most) or "none"),
    )
    if not wide:
        return Group(_header(view), *parts)
    grid = Table.grid(expand=True)
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    grid.add_row(parts[1], parts[2])
    grid.add_row(parts[3], parts[4])
    return Group(_header(view), parts[0], grid, parts[5])


def _most(lengths: Sequence[int], wide: bool, height: int) -> int:
    """How many rows a list may have, so that the end of the screen is seen, too."""
    windows, scans, held, alerts = lengths

    def lines(most: int) -> int:
        beside = (min(scans, most), min(held, most))
        rest = min(windows, most) + min(alerts, most)
        return FIXED_WIDE + max(beside) + rest if wide else FIXED + sum(beside) + rest

    fitting = [most for most in range(2, ROWS_MAX + 1) if lines(most) <= height]
    return max(fitting, default=2) if height else ROWS_MAX


def _panel(title: str, inside: RenderableType) -> Panel:
    inside = Text(inside, FAINT) if isinstance(inside, str) else inside
    return Panel(inside, title=title, title_align="left", box=box.ROUNDED, padding=(0, 1))


def _listed(heads: Sequence[str], rows: Sequence[Row], most: int) -> Table | None:
    """A table of at most so many lines, the last of which says how many are left out.

    Heads that begin with > are figures. The last column gives way when there is too little room.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style=FAINT)
    for head in heads:
        justify: Literal["left", "right"] = "right" if head.startswith(">") else "left"
        table.add_column(head.removeprefix(">"), justify=justify, no_wrap=head != heads[-1])
    shown = rows if len(rows) <= most else rows[: most - 1]
    for *firm, last in shown:
        cut = Text(last) if isinstance(last, str) else last
        cut.no_wrap, cut.overflow = True, "ellipsis"
        table.add_row(*firm, cut)
    if len(rows) > len(shown):
        table.add_row(Text(f"{len(rows) - len(shown)} more", FAINT))
    return table if rows else None


def _header(view: View) -> RenderableType:
    sign, style = HEALTHS[view.status.overall]
    pace = "stepped" if view.speed is None else f"{view.speed:g} x the clock"
    first = Text.assemble(
        (" PAPER ", "reverse"),
        f"  {view.venue}   {moment(view.now_ns)}   {pace}   {view.events:,} events   ",
        (sign, style),
    )
    engine, slo = view.status.engine, view.status.slo
    reasons = [f"{one.name}: {one.reason}" for one in view.status.modules if one.reason]
    reasons += [one for one in (engine.halted, engine.broken, engine.disk_fault) if one]
    reasons += [f"books were fresh {slo.share:.0%} of the hour"] if slo.burning else []
    second = Text(f"run {view.run}   digest {view.digest:016x}   {view.address}/status", FAINT)
    lines = [first, second]
    lines += [Text(f"pages {view.pages}", FAINT)] if view.pages else []
    lines += [Text("; ".join(reasons), style)] if reasons else []
    for one in lines:
        one.no_wrap, one.overflow = True, "ellipsis"
    return Group(*lines)


def _window_rows(view: View, wide: bool) -> list[Row]:
    def row(one: Window) -> Row:
        ended = view.now_ns >= one.end_ns
        return (
            one.slug if wide else _short(one.slug),
            _window_state(one, view.now_ns),
            *(price(one.strike), price(one.spot), price(one.reference)),
            UNKNOWN if ended else f"{share(one.bid_e4)}/{share(one.ask_e4)}",
            UNKNOWN if ended or one.fair_up is None else f"{one.fair_up:.3f}",
            Text(UNKNOWN) if ended else _book(one, view.now_ns),
        )

    missing: list[Row] = [
        (slug if wide else _short(slug), Text(why, FAINT), *[UNKNOWN] * 6)
        for slug, why in view.missing
    ]
    return [*map(row, view.windows), *missing]


def _window_state(one: Window, now_ns: int) -> Text:
    if one.payout_e4 is not None:
        return Text(WON.get(one.payout_e4, "half each"), FAINT)
    if now_ns < one.start_ns:
        return Text(f"begins in {span(one.start_ns - now_ns)}", FAINT)
    if now_ns >= one.end_ns:
        return Text("no result yet", "yellow")
    left = f"{span(one.end_ns - now_ns)} left"
    if one.state == WindowState.STRIKE_MISSED:
        return Text(f"NO STRIKE, {left}", "yellow")
    return Text(left)


def _book(one: Window, now_ns: int) -> Text:
    if one.book_ns is None:
        return Text("none yet", FAINT)
    age = f"{max(now_ns - one.book_ns, 0) / SECOND_NS:.1f} s"
    if not one.book_valid:
        return Text(f"INVALID {age}", "bold red")
    return Text(f"fresh {age}", "green") if one.book_fresh else Text(f"STALE {age}", "yellow")


def _scan_rows(view: View) -> list[Row]:
    return [
        (
            one.strategy,
            UNKNOWN if one.slug is None else _start(one.slug),
            UNKNOWN if one.side is None else OUTCOMES[one.side],
            UNKNOWN if one.net_edge_e4 is None else f"{one.net_edge_e4 / 10_000:+.4f}",
            UNKNOWN if one.required_edge_e4 is None else f"{one.required_edge_e4 / 10_000:.4f}",
            _says(one),
        )
        for one in view.scans
    ]


def _says(one: Scan) -> Text:
    if one.slug is None:
        return Text("no open window", FAINT)
    if not one.scanned:
        return Text("not scanned yet", FAINT)
    if one.hold is None:
        return Text("may trade", "green")
    return Text(f"holds: {one.hold.name.replace('_', ' ').lower()} ({CATEGORY[one.hold].value})")


def _held_rows(view: View) -> list[Row]:
    positions = [
        (
            one.strategy,
            _start(one.slug),
            f"holds {OUTCOMES[one.outcome]}",
            shares(one.shares_micro),
            f"{one.cost_micro / one.shares_micro:.4f}",
            UNKNOWN if one.worth_micro is None else dollars(one.worth_micro),
        )
        for one in view.positions
    ]
    orders = [
        (
            one.strategy,
            _start(one.slug),
            f"{one.action.name.lower()} {OUTCOMES[one.outcome]}, {one.state.name.lower()}",
            f"{shares(one.filled_micro)}/{shares(one.size_micro)}",
            share(one.limit_e4),
            UNKNOWN,
        )
        for one in view.orders
    ]
    fills = [
        (
            Text(one.strategy, FAINT),
            UNKNOWN if one.slug is None else _start(one.slug),
            f"{DONE[one.action]} {OUTCOMES[one.outcome]} {moment(one.ts_ns)[11:19]}",
            shares(one.size_micro),
            share(one.price_e4),
            UNKNOWN,
        )
        for one in view.fills[:FILLS_SHOWN]
    ]
    return [*positions, *orders, *fills]


def _money(view: View, pairs: int) -> Table:
    """So many pairs of name and figure in a row."""
    money = view.money
    lost = UNKNOWN if money.drawdown is None else f"{money.drawdown:.2%}"
    figures = {
        "equity": dollars(money.equity_micro),
        "profit": f"{(money.equity_micro - money.deposits_micro) / DOLLAR_MICRO:+,.2f}",
        "cash": dollars(money.cash_micro),
        "reserved": dollars(money.reserved_micro),
        "in positions": dollars(money.positions_micro),
        "to redeem": dollars(money.receivable_micro),
        "realised": f"{money.realised_micro / DOLLAR_MICRO:+,.2f}",
        "fees": dollars(money.fees_micro),
        "fills": f"{view.trades}",
        "drawdown": f"{lost} of {money.drawdown_stop:.0%}",
    }
    grid = Table.grid(padding=(0, 2))
    for _ in range(pairs):
        grid.add_column(style=FAINT)
        grid.add_column(justify="right")
    cells = [cell for pair in figures.items() for cell in pair]
    for first in range(0, len(cells), 2 * pairs):
        grid.add_row(*cells[first : first + 2 * pairs])
    return grid


def _feed_rows(view: View) -> list[Row]:
    def row(one: Feed) -> Row:
        counted = one.figures
        without = f"{counted.invalid_book_ns / SECOND_NS:,.1f} s"
        return (
            counted.feed,
            UNKNOWN if one.per_s is None else f"{one.per_s:,.1f}",
            f"{counted.age_p95_ns / MILLISECOND_NS:,.0f} ms" if counted.messages else UNKNOWN,
            *(f"{counted.gaps}", f"{counted.reconnects}", f"{sum(counted.refused.values())}"),
            without if counted.feed == Line.MARKET else UNKNOWN,
            Text(f"{SIGNS[Health.OK]} connected", "green") if one.connected else _down(one),
        )

    return [row(one) for one in view.feeds]


def _down(one: Feed) -> Text:
    return Text(f"{SIGNS[Health.FAILED]} DOWN {one.problem}", "bold red")


def _alert_rows(view: View) -> list[Row]:
    def row(one: Alert) -> Row:
        sign, style = SEVERITIES[one.severity]
        what = f"{one.text}: {one.detail}" if one.detail else one.text
        since = span(view.now_ns - one.since_ns)
        return (Text(f"{sign} {one.severity}", style), one.kind.value, since, one.subject, what)

    return [row(one) for one in view.status.alerts]


def _short(slug: str) -> str:
    """A window by its series and start, where its slug is too long."""
    return f"{series_name(parse_slug(slug)[0])} {_start(slug)}"


def _start(slug: str) -> str:
    return moment(parse_slug(slug)[1])[11:16]


def moment(ts_ns: int) -> str:
    """A market time, UTC, to the second."""
    return f"{datetime.fromtimestamp(ts_ns // SECOND_NS, UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(passed_ns: int) -> str:
    """A time span as m:ss or h:mm:ss."""
    minutes, seconds = divmod(max(passed_ns, 0) // SECOND_NS, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def shares(micro: int) -> str:
    """A number of shares."""
    return f"{micro / SHARE_MICRO:,.2f}"


def dollars(micro: int) -> str:
    """Micro-dollars as dollars and cents."""
    return f"{micro / DOLLAR_MICRO:,.2f}"


def share(e4: int | None) -> str:
    """A share's price in dollars: whole cents, or as fine as it is."""
    digits = 2 if e4 is None or e4 % 100 == 0 else 3 if e4 % 10 == 0 else 4
    return UNKNOWN if e4 is None else f"{e4 / 10_000:.{digits}f}"


def price(value: float | None) -> str:
    """An asset's price in dollars."""
    return UNKNOWN if value is None else f"{value:,.2f}" if value >= 100 else f"{value:.5g}"
