"""What a report says about one run, as typed figures and as JSON.

In: a RunResult (output tables, digest, what realism was on). Out: bytes that depend on nothing
but the run, so the same run gives the same report. Never here: the time of writing, a rounded
sum of money, a position without a result in a total.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

import msgspec
import numpy as np

from fairwind.core.controls import Configure
from fairwind.core.costs import MICRO_UNITS, PARTS
from fairwind.core.events import Outcome, Source
from fairwind.core.holds import CATEGORY, Category, Hold
from fairwind.core.ids import slug
from fairwind.core.intervals import Interval, ratio_interval
from fairwind.core.outputs import WindowState
from fairwind.core.units import DOLLAR_MICRO, PRICE_ONE_E4, reference_value
from fairwind.research import metrics
from fairwind.research.metrics import Calibration, Rows

CURVE_POINTS = 1500
"""The equity curve is thinned to about so many points, keeping every stretch's extremes."""

REALISM = {
    name: getattr(Configure(), name)
    for name in ("latency_ms", "taker_delay", "own_consumption", "queue")
}
"""Settings of the simulated exchange, as realistic as they are by default."""

PUBLISHED = "PUBLISHED"
"""`settled_by` of a window that a value of the venue, fed for a lost print, has decided."""

OUTCOMES = {PRICE_ONE_E4: "Up", 0: "Down", PRICE_ONE_E4 // 2: "Void"}


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What the data set says about a window, for comparison; None where it says nothing."""

    strike: Decimal | None = None
    final: Decimal | None = None
    outcome: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Everything that a report is made of. `tables`: by name, dtypes of `core.outputs.TABLES`."""

    digest: int
    events: int
    tables: Mapping[str, Rows]
    strategy_ids: tuple[str, ...]
    source: str
    deposit_micro: int
    realism: Mapping[str, object]
    labels: Mapping[str, Label] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Cost(msgspec.Struct, frozen=True):
    """Dollars; gross - net = spread + fee + slippage + latency + adverse_selection, exactly."""

    spread: Decimal
    fee: Decimal
    slippage: Decimal
    latency: Decimal
    adverse_selection: Decimal
    gross: Decimal
    net: Decimal


class Window(msgspec.Struct, frozen=True):
    """One window; strike and final with all their digits, None while unknown.

    `agrees` is None where nothing can be compared: no label, a part of the label that we do not
    know, or a published value, which agrees with itself.
    """

    slug: str
    strike: Decimal | None
    final: Decimal | None
    outcome: str | None
    state: str
    settled_by: str | None
    averaging_s: int
    contradicted: bool
    label: Label | None
    agrees: bool | None


class Trade(msgspec.Struct, frozen=True):
    """One position. Open: `net_pnl` is what is booked so far, and counts in no total."""

    strategy: str
    slug: str | None
    outcome: str
    opened_ns: int
    closed: bool
    shares: Decimal
    paid: Decimal
    net_pnl: Decimal


class Strategy(msgspec.Struct, frozen=True):
    """One strategy's part in the run; edges in dollars per share."""

    scans: int
    holds: dict[str, int]
    hold_categories: dict[str, int]
    trades: int
    open_positions: int
    net_pnl: Decimal
    expectancy: Interval
    cost: Cost
    predicted_edge: Interval
    realised_edge: Interval


class Totals(msgspec.Struct, frozen=True):
    """The run as a whole; dollars. Drawdown and final equity count positions at cost.

    `labels` counts those that were compared; `labels_unknown` those that were not, because we do
    not know what they name; `published` the windows that a published value has decided.
    """

    events: int
    scans: int
    windows: int
    windows_settled: int
    labels: int
    labels_agree: int
    labels_unknown: int
    published: int
    trades: int
    open_positions: int
    net_pnl: Decimal
    gross_pnl: Decimal
    fees: Decimal
    cost: Cost
    deposits: Decimal
    final_equity: Decimal
    max_drawdown: Decimal
    max_drawdown_fraction: float


class Curve(msgspec.Struct, frozen=True):
    """Equity at cost (no marks) and drawdown of profit, dollars, at each time that changed it."""

    ts_ns: list[int]
    equity: list[Decimal]
    drawdown: list[Decimal]


class Report(msgspec.Struct, frozen=True):
    """The whole report, as the JSON writes it and as the page shows it."""

    digest: str
    source: str
    totals: Totals
    windows: list[Window]
    strategies: dict[str, Strategy]
    calibration: dict[str, Calibration]
    equity: Curve
    trades: list[Trade]
    realism: dict[str, object]
    optimistic: list[str]
    assumptions: tuple[str, ...]
    problems: tuple[str, ...]


def dollars(units: int) -> Decimal:
    """Money units (half-e4 x micro) as exact dollars without trailing zeros."""
    value = Decimal(int(units) * 5).scaleb(-11)
    return value.normalize() if value % 1 else value.quantize(Decimal(1))


def optimistic(realism: Mapping[str, object]) -> list[str]:
    """The settings that are kinder than the default, or not stated; each as one sentence."""
    found = []
    for name, usual in REALISM.items():
        value = realism.get(name)
        if value is None:
            found.append(f"{name} is not stated (default {usual})")
        elif isinstance(value, int | float) and value < usual:
            found.append(f"{name} is {value} (default {usual})")
    return found


def build(result: RunResult) -> Report:
    """The report of a run; Corrupt when its fills and its ledger contradict each other."""
    tables = result.tables
    index = metrics.window_index(tables["windows"])
    found = metrics.positions(tables["fills"], tables["postings"], index)
    windows = [_window(row, result.labels) for row in index.rows]
    slugs = [window.slug for window in windows]
    trades = [_trade(row, slugs, result.strategy_ids) for row in found]
    closed = found[found["closed"]]
    counts = np.bincount(
        tables["scans"]["strategy"].astype(np.int64) * 256 + tables["scans"]["hold"],
        minlength=len(result.strategy_ids) * 256,
    ).reshape(-1, 256)
    strategies = {
        name: _strategy(found[found["strategy"] == number], counts[number])
        for number, name in enumerate(result.strategy_ids)
    }
    return Report(
        digest=f"{result.digest:016x}",
        source=result.source,
        totals=_totals(result, windows, found),
        windows=sorted(windows, key=lambda window: (window.slug.rsplit("-", 1)[1], window.slug)),
        strategies=strategies,
        calibration={
            "scans": metrics.scan_calibration(tables["scans"], index),
            "trades": metrics.trade_calibration(closed, index),
        },
        equity=thinned(metrics.equity(tables["postings"])),
        trades=sorted(trades, key=lambda trade: (trade.opened_ns, trade.strategy, trade.outcome)),
        realism=dict(result.realism),
        optimistic=optimistic(result.realism),
        assumptions=result.assumptions,
        problems=result.problems,
    )


def _window(row: np.void, labels: Mapping[str, Label]) -> Window:
    name = slug(int(row["series"]), int(row["start_ns"]))
    values = {
        part: None
        if row[f"{part}_e8"] < 0
        else reference_value(int(row[f"{part}_e8"]), int(row[f"{part}_remainder_e18"]))
        for part in ("strike", "final")
    }
    outcome = OUTCOMES.get(int(row["payout_e4"]))
    label = labels.get(name)
    by = Source(row["by"])
    published = by is Source.RECORDED
    return Window(
        slug=name,
        **values,
        outcome=outcome,
        state=WindowState(row["state"]).name,
        settled_by=(PUBLISHED if published else by.name) if outcome else None,
        averaging_s=int(row["averaging_s"]),
        contradicted=bool(row["anomaly"]),
        label=label,
        agrees=None if published else _agrees(label, values["strike"], values["final"], outcome),
    )


def _agrees(
    label: Label | None, strike: Decimal | None, final: Decimal | None, outcome: str | None
) -> bool | None:
    """Whether all that a label says is what we found; None when some of it is not known to us."""
    if label is None:
        return None
    pairs = ((label.strike, strike), (label.final, final), (label.outcome, outcome))
    said = [(theirs, ours) for theirs, ours in pairs if theirs is not None]
    if any(ours is not None and theirs != ours for theirs, ours in said):
        return False
    return None if any(ours is None for _, ours in said) else True


def _trade(row: np.void, slugs: list[str], strategy_ids: tuple[str, ...]) -> Trade:
    window = int(row["window"])
    return Trade(
        strategy=strategy_ids[row["strategy"]],
        slug=slugs[window] if window >= 0 else None,
        outcome=Outcome(row["outcome"]).name.title(),
        opened_ns=int(row["opened_ns"]),
        closed=bool(row["closed"]),
        shares=dollars(row["bought_micro"] * MICRO_UNITS),
        paid=dollars(row["paid"]),
        net_pnl=dollars(row["net"]),
    )


def _cost(closed: Rows) -> Cost:
    parts = {name: dollars(sum(closed["cost"][name].tolist())) for name in PARTS}
    gross, net = (dollars(sum(closed[name].tolist())) for name in ("gross", "net"))
    return Cost(**parts, gross=gross, net=net)


def _strategy(found: Rows, counts: metrics.Ints) -> Strategy:
    closed = found[found["closed"]]
    holds = {code.name: int(counts[code]) for code in Hold if counts[code]}
    categories = {
        category.value: sum(n for code, n in holds.items() if CATEGORY[Hold[code]] is category)
        for category in Category
    }
    shares = closed["bought_micro"] / 1e6
    profit = closed["net"] / (MICRO_UNITS * DOLLAR_MICRO)
    promised = closed["promised"] / (PRICE_ONE_E4 * 1e6)
    cluster = closed["window"]
    return Strategy(
        scans=int(counts.sum()),
        holds=holds,
        hold_categories={name: n for name, n in categories.items() if n},
        trades=len(closed),
        open_positions=len(found) - len(closed),
        net_pnl=dollars(sum(closed["net"].tolist())),
        expectancy=ratio_interval(profit, np.ones(len(closed)), cluster),
        cost=_cost(closed),
        predicted_edge=ratio_interval(promised, shares, cluster),
        realised_edge=ratio_interval(profit, shares, cluster),
    )


def _totals(result: RunResult, windows: list[Window], found: Rows) -> Totals:
    closed = found[found["closed"]]
    cost = _cost(closed)
    postings = result.tables["postings"]
    curve = metrics.equity(postings)
    peak = np.maximum(curve.equity_micro + curve.drawdown_micro, 1)
    final = int(curve.equity_micro[-1]) if len(postings) else result.deposit_micro
    paid_in = -int(postings["deposits_micro"].sum()) if len(postings) else result.deposit_micro
    compared = [window.agrees for window in windows if window.agrees is not None]
    labelled = sum(
        window.label is not None and window.settled_by != PUBLISHED for window in windows
    )
    return Totals(
        events=result.events,
        scans=len(result.tables["scans"]),
        windows=len(windows),
        windows_settled=sum(window.outcome is not None for window in windows),
        labels=len(compared),
        labels_agree=sum(compared),
        labels_unknown=labelled - len(compared),
        published=sum(window.settled_by == PUBLISHED for window in windows),
        trades=len(closed),
        open_positions=len(found) - len(closed),
        net_pnl=cost.net,
        gross_pnl=cost.gross,
        fees=cost.fee,
        cost=cost,
        deposits=dollars(paid_in * MICRO_UNITS),
        final_equity=dollars(final * MICRO_UNITS),
        max_drawdown=dollars(int(curve.drawdown_micro.max(initial=0)) * MICRO_UNITS),
        max_drawdown_fraction=round(float((curve.drawdown_micro / peak).max(initial=0.0)), 9),
    )


def thinned(equity: metrics.Equity) -> Curve:
    """The curve with at most about CURVE_POINTS points, first, last and extremes kept."""
    kept = _thin(equity.equity_micro)
    return Curve(
        ts_ns=equity.ts_ns[kept].tolist(),
        equity=[dollars(value * MICRO_UNITS) for value in equity.equity_micro[kept].tolist()],
        drawdown=[dollars(value * MICRO_UNITS) for value in equity.drawdown_micro[kept].tolist()],
    )


def _thin(values: metrics.Ints) -> metrics.Ints:
    """Places to keep: each stretch's lowest and highest value, and the first and the last."""
    count = len(values)
    if count <= CURVE_POINTS:
        return np.arange(count)
    edges = np.linspace(0, count, CURVE_POINTS // 2 + 1).astype(np.int64)
    kept = {0, count - 1}
    for start, end in pairwise(edges):
        kept |= {int(start + values[start:end].argmin()), int(start + values[start:end].argmax())}
    return np.array(sorted(kept), np.int64)


def report_json(result: RunResult) -> bytes:
    """The report as indented JSON: dollars and prices are numbers with all their digits."""
    encoded = msgspec.json.Encoder(decimal_format="number").encode(build(result))
    return msgspec.json.format(encoded, indent=1) + b"\n"
