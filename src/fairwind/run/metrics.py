"""A status as Prometheus reads it.

In: a Status. Out: its figures in the text exposition format, with names in base units.
Never here: a registry that outlives the call, a figure that the status does not hold.
"""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fairwind.core.units import DOLLAR_MICRO, SECOND_NS
from fairwind.feeds.kpis import Count
from fairwind.run.alerts import Severity
from fairwind.run.health import Engine, Health, Module, Status
from fairwind.run.slo import Slo

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What `exposition` has to be served as."""

Sample = tuple[Sequence[str], float]
"""Label values, and the figure."""

_RANKS = list(Health)


def exposition(status: Status) -> bytes:
    """All metrics of docs/metrics.md. A figure that is of a part or feed has one line for each."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(status))
    return generate_latest(registry)


class _Figures(Collector):
    """One status, as the library wants to be given metrics."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Every metric once."""
        status = self._status
        health = _RANKS.index(status.overall)
        yield _gauge("health", "Of the whole: 0 ok, 1 degraded, 2 failed", [((), health)])
        yield _gauge("market_time_seconds", "Market time", [((), status.now_ns / SECOND_NS)])
        yield from _of_parts(status.modules)
        yield from _of_feeds(status)
        yield from _of_books(status.slo)
        yield from _of_alerts(status)
        yield from _of_engine(status.engine)


def _of_parts(modules: Sequence[Module]) -> Iterator[Metric]:
    def each(figure: str) -> list[Sample]:
        return [((one.name,), getattr(one, figure)) for one in modules]

    health = [((one.name,), float(_RANKS.index(one.health))) for one in modules]
    yield _gauge("part_health", "0 ok, 1 degraded, 2 failed", health, ["part"])
    age = each("heartbeat_age_s")
    yield _gauge("part_heartbeat_age_seconds", "Since its last sign of life", age, ["part"])
    yield _gauge("part_queue_length", "What waits in its queue", each("queue"), ["part"])
    yield _gauge("part_queue_limit", "What its queue can hold", each("queue_max"), ["part"])
    yield _counter("part_events", "What it has handled", each("events"), ["part"])
    yield _counter("part_errors", "What went wrong in it", each("errors"), ["part"])


def _of_feeds(status: Status) -> Iterator[Metric]:
    feeds = status.feeds
    for count in Count:
        samples: list[Sample] = [((one.feed,), getattr(one, count.value)) for one in feeds]
        yield _counter(f"feed_{count}", f"Since it began: {count}", samples, ["feed"])
    refused: list[Sample] = [
        ((one.feed, reason), times) for one in feeds for reason, times in one.refused.items()
    ]
    yield _counter("feed_refused", "Frames refused, by reason", refused, ["feed", "reason"])
    invalid: list[Sample] = [((one.feed,), one.invalid_book_ns / SECOND_NS) for one in feeds]
    yield _counter("feed_invalid_book_seconds", "Time without a usable book", invalid, ["feed"])
    ages: list[Sample] = [
        ((one.feed, quantile), age_ns / SECOND_NS)
        for one in feeds
        for quantile, age_ns in (
            ("0.5", one.age_p50_ns),
            ("0.95", one.age_p95_ns),
            ("0.99", one.age_p99_ns),
        )
    ]
    yield _gauge("feed_age_seconds", "From stamp to receipt", ages, ["feed", "quantile"])


def _of_books(slo: Slo) -> Iterator[Metric]:
    burns: list[Sample] = [(("5m",), slo.burn_5m), (("1h",), slo.burn_1h)]
    yield _gauge("book_fresh_ratio", "Of open windows' time in the last hour", [((), slo.share)])
    yield _gauge("book_fresh_objective_ratio", "What it should be", [((), slo.objective)])
    yield _gauge("book_error_budget_left_ratio", "Of the hour's", [((), slo.budget_left)])
    yield _gauge("book_burn_rate", "1 over an hour spends its budget", burns, ["window"])


def _of_alerts(status: Status) -> Iterator[Metric]:
    found = [one.severity for one in status.alerts]
    counted: list[Sample] = [((severity,), found.count(severity)) for severity in Severity]
    yield _gauge("alerts", "Alerts that are not resolved", counted, ["severity"])
    labels = ["kind", "subject", "severity", "state"]
    each: list[Sample] = [
        ((one.kind, one.subject, one.severity, one.state), 1) for one in status.alerts
    ]
    yield _gauge("alert", "1 for each alert that is not resolved", each, labels)


def _of_engine(engine: Engine) -> Iterator[Metric]:
    yield _counter("engine_events", "Events consumed", [((), engine.events)])
    yield _counter("engine_trades", "Fills", [((), engine.trades)])
    for name, text, figure in (
        ("lag_seconds", "Behind the market time", engine.lag_ns / SECOND_NS),
        (
            "undurable_seconds",
            "Age of the oldest input on its way",
            engine.undurable_ns / SECOND_NS,
        ),
        ("equity_dollars", "Cash and positions at mark", engine.equity_micro / DOLLAR_MICRO),
        ("open_positions", "Positions not settled", engine.open_positions),
        ("halted", "1 when no entries are made", float(bool(engine.halted))),
        ("broken", "1 when an invariant broke", float(bool(engine.broken))),
        ("disk_fault", "1 when the journal cannot be written", float(bool(engine.disk_fault))),
    ):
        yield _gauge(f"engine_{name}", text, [((), figure)])


def _gauge(name: str, text: str, samples: Iterable[Sample], labels: Sequence[str] = ()) -> Metric:
    family = GaugeMetricFamily(f"fairwind_{name}", text, labels=labels)
    for values, figure in samples:
        family.add_metric(values, figure)
    return family


def _counter(name: str, text: str, samples: Iterable[Sample], labels: Sequence[str] = ()) -> Metric:
    family = CounterMetricFamily(f"fairwind_{name}", text, labels=labels)
    for values, figure in samples:
        family.add_metric(values, figure)
    return family
