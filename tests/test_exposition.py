"""The status as Prometheus reads it: every documented metric, with its type, labels and figure."""

import re

import pytest
from conftest import ROOT
from prometheus_client.parser import text_string_to_metric_families
from test_health import at, healthy, looked, part

from fairwind.core.units import SECOND_NS
from fairwind.feeds.kpis import Count, Kpis, health
from fairwind.run.health import Engine, Watch
from fairwind.run.metrics import CONTENT_TYPE, exposition

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]
ENGINE = Engine(
    events=12, trades=3, equity_micro=999_500_000, lag_ns=SECOND_NS // 4, open_positions=2,
    halted="by hand",
)  # fmt: skip


def status_text() -> str:
    fed = Kpis()
    fed.add(Count.MESSAGES, 7)
    fed.add(Count.GAPS)
    fed.add("not_json", 2)
    fed.age(50_000_000)
    fed.invalid_book_ns = 3 * SECOND_NS // 2
    parts = (part(0, "loop", queue=1, queue_max=10, events=5), part(-4, 'a "b"\n', errors=4))
    facts = healthy(0, parts=parts, feeds=(health("market", fed),), engine=ENGINE)
    return exposition(looked(Watch(), (0, facts))[0]).decode()


def figures(text: str) -> Figures:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_is_described_with_its_type_and_labels() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(fairwind_\w+)` \| (\w+) \|([\w, ]*)\| \S", page, re.MULTILINE)
    described = [(name, kind, set(labels.replace(",", " ").split())) for name, kind, labels in rows]
    written = []
    for family in text_string_to_metric_families(status_text()):
        samples = {(one.name, *sorted(one.labels)) for one in family.samples}
        assert len(samples) == 1, family.name
        name, *labels = samples.pop()
        written.append((name, family.type, set(labels)))
    assert sorted(described, key=str) == sorted(written, key=str)
    assert len({name for name, *_ in written}) == len(written)


def test_the_figures_are_those_of_the_status_in_base_units() -> None:
    found = figures(status_text())
    market = (("feed", "market"),)
    assert found["fairwind_health", ()] == 1
    assert found["fairwind_market_time_seconds", ()] == at(0) / SECOND_NS
    assert found["fairwind_part_health", (("part", "loop"),)] == 0
    assert found["fairwind_part_queue_limit", (("part", "loop"),)] == 10
    assert found["fairwind_part_heartbeat_age_seconds", (("part", 'a "b"\n'),)] == 4
    assert found["fairwind_feed_messages_total", market] == 7
    assert found["fairwind_feed_gaps_total", market] == 1
    assert found["fairwind_feed_refused_total", (*market, ("reason", "not_json"))] == 2
    assert found["fairwind_feed_invalid_book_seconds_total", market] == 1.5
    assert found["fairwind_feed_age_seconds", (*market, ("quantile", "0.5"))] == pytest.approx(
        0.05, rel=1 / 8
    )
    assert found["fairwind_book_fresh_ratio", ()] == 1
    assert found["fairwind_engine_equity_dollars", ()] == 999.5
    assert found["fairwind_engine_lag_seconds", ()] == 0.25
    assert found["fairwind_engine_halted", ()] == 1
    assert found["fairwind_alerts", (("severity", "info"),)] == 1
    assert found["fairwind_alerts", (("severity", "critical"),)] == 0


def test_names_keep_the_conventions() -> None:
    for family in text_string_to_metric_families(status_text()):
        for sample in family.samples:
            assert re.fullmatch(r"fairwind_[a-z0-9_]+", sample.name)
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            assert not re.search(r"_(ns|ms|micro|e4|percent)\b", sample.name)


def test_the_same_status_gives_the_same_text_and_leaves_nothing_behind() -> None:
    assert status_text() == status_text()
    assert "version=0.0.4" in CONTENT_TYPE
    assert "python_info" not in status_text(), "the library's own figures are not ours"
