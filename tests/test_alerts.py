"""Alerts fire by elapsed time, once for each trouble, and resolve; each has a page to go to."""

import re

import msgspec
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from fairwind.core.holds import Category
from fairwind.core.units import SECOND_NS
from fairwind.run.alerts import (
    ALERTS_MAX,
    HISTORY_MAX,
    RULES,
    SYSTEM,
    Alert,
    Alerts,
    Condition,
    Kind,
    State,
    playbook,
)

DOWN = Condition(Kind.FEED_DOWN, "market", "closed with 1006")
LASTS = int(RULES[Kind.FEED_DOWN].for_s)
CLEARS = int(RULES[Kind.FEED_DOWN].clear_s)


def told(alerts: Alerts, second: float, *conditions: Condition) -> list[Alert]:
    return alerts.update(round(second * SECOND_NS), conditions)


def fired() -> Alerts:
    alerts = Alerts()
    for second in range(LASTS + 1):
        told(alerts, second, DOWN)
    return alerts


def test_every_kind_has_a_rule_in_a_known_category() -> None:
    assert set(RULES) == set(Kind)
    categories = {category.value for category in Category} | {SYSTEM}
    for rule in RULES.values():
        assert rule.category in categories and rule.text
        assert rule.for_s >= 0 and rule.clear_s >= 0


def test_every_kind_has_its_page_section_with_severity_category_and_what_to_do() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(sections) == [kind.value for kind in Kind]
    for kind, text in sections.items():
        rule = RULES[Kind(kind)]
        first, *_ = text.splitlines()
        said = (rule.severity, rule.category, f"{rule.for_s:g} s", f"{rule.clear_s:g} s")
        assert first == "{} · {} · fires after {} · resolves after {}".format(*said), kind
        for part in ("**Means**", "**Look**", "**Do**"):
            assert part in text, f"{kind}: {part}"


def test_an_alert_fires_when_its_condition_has_lasted_however_often_it_was_seen() -> None:
    seldom, often = Alerts(), Alerts()
    assert told(seldom, 0, DOWN) == []
    assert [one.subject for one in told(seldom, LASTS, DOWN)] == ["market"]
    for step in range(1000):
        assert told(often, step * (LASTS - 0.1) / 1000, DOWN) == []


def test_a_condition_that_goes_away_in_time_is_forgotten() -> None:
    alerts = Alerts()
    told(alerts, 0, DOWN)
    told(alerts, LASTS - 1)
    assert told(alerts, LASTS, DOWN) == []
    assert alerts.active() == ()


def test_a_firing_alert_says_what_and_since_when_and_where_to_look() -> None:
    (alert,) = fired().active()
    assert (alert.kind, alert.subject, alert.state) == (Kind.FEED_DOWN, "market", State.FIRING)
    assert (alert.since_ns, alert.fired_ns) == (0, LASTS * SECOND_NS)
    assert alert.detail == "closed with 1006"
    assert alert.playbook == playbook(Kind.FEED_DOWN) == "docs/alerts.md#feed_down"
    assert msgspec.json.decode(msgspec.json.encode(alert), type=Alert) == alert


def test_one_trouble_is_told_once_and_its_figures_are_kept_up_to_date() -> None:
    alerts = fired()
    later = DOWN._replace(detail="closed with 1013")
    for second in range(LASTS + 1, LASTS + 100):
        assert told(alerts, second, later) == []
    (alert,) = alerts.active()
    assert alert.detail == "closed with 1013"


def test_the_same_kind_of_another_subject_is_another_alert() -> None:
    alerts = Alerts()
    both = (DOWN, DOWN._replace(subject="coinbase"))
    told(alerts, 0, *both)
    assert [one.subject for one in told(alerts, LASTS, *both)] == ["market", "coinbase"]


def test_an_alert_resolves_after_it_has_been_away_long_enough() -> None:
    alerts = fired()
    assert told(alerts, LASTS + CLEARS - 1) == []
    (resolved,) = told(alerts, LASTS + CLEARS)
    assert resolved.state == State.RESOLVED
    assert resolved.resolved_ns == (LASTS + CLEARS) * SECOND_NS
    assert alerts.active() == () and list(alerts.history) == [resolved]


def test_a_flapping_condition_stays_one_alert() -> None:
    alerts = fired()
    for second in range(LASTS + 1, LASTS + 200):
        assert told(alerts, second, *([DOWN] if second % (CLEARS - 1) == 0 else [])) == []
    assert len(alerts.active()) == 1


def test_an_acknowledged_alert_is_still_there_and_resolves() -> None:
    alerts = fired()
    at_ns = LASTS * SECOND_NS
    assert not alerts.acknowledge(Kind.FEED_STALE, "market", "ada", at_ns)
    assert alerts.acknowledge(Kind.FEED_DOWN, "market", "ada", at_ns)
    told(alerts, LASTS + 1, DOWN)
    (known,) = alerts.active()
    assert (known.state, known.operator, known.acknowledged_ns) == (
        State.ACKNOWLEDGED,
        "ada",
        at_ns,
    )
    assert known.last_ns == at_ns + SECOND_NS
    (resolved,) = told(alerts, LASTS + 1 + CLEARS)
    assert (resolved.state, resolved.operator) == (State.RESOLVED, "ada")


def test_a_trouble_that_comes_back_is_another_alert_and_says_how_often_it_came() -> None:
    alerts = Alerts()
    fired = [
        told(alerts, second, *([Condition(Kind.HALTED, "engine", "")] if second % 2 else []))
        for second in range(1, 7)
    ]
    assert [one.count for (one,) in fired] == [1, 1, 2, 2, 3, 3]
    assert len({one.id for (one,) in fired}) == 3
    assert [one.count for one in alerts.newest(2)] == [2, 3]


def test_the_most_severe_alert_comes_first() -> None:
    alerts = Alerts()
    told(alerts, 0, Condition(Kind.HALTED, "engine", ""), Condition(Kind.CLOCK_JUMP, "engine", ""))
    told(alerts, 1, Condition(Kind.HALTED, "engine", ""), Condition(Kind.DISK_FAULT, "engine", ""))
    kinds = [one.kind for one in alerts.active()]
    assert kinds == [Kind.DISK_FAULT, Kind.CLOCK_JUMP, Kind.HALTED]


def test_the_number_of_troubles_and_the_history_are_bounded_and_said() -> None:
    alerts = Alerts()
    many = [Condition(Kind.HALTED, str(number), "") for number in range(ALERTS_MAX + 7)]
    assert len(told(alerts, 0, *many)) == ALERTS_MAX
    assert alerts.dropped == 7
    for second in range(1, 2 * HISTORY_MAX // ALERTS_MAX + 4):
        told(alerts, second, *(many[:ALERTS_MAX] if second % 2 == 0 else []))
    assert len(alerts.history) == HISTORY_MAX


@pytest.mark.parametrize("kind", Kind)
@given(held=st.lists(st.booleans(), min_size=1, max_size=60))
def test_no_sequence_fires_early_or_twice_or_resolves_what_did_not_fire(
    kind: Kind, held: list[bool]
) -> None:
    alerts, rule, firing, run = Alerts(), RULES[kind], False, 0
    for second, holds in enumerate(held):
        changes = told(alerts, second, *([Condition(kind, "x", "")] if holds else []))
        for change in changes:
            assert firing == (change.state == State.RESOLVED)
            firing = change.state == State.FIRING
            assert not firing or run >= rule.for_s
        run = run + 1 if holds else 0
        assert len(alerts.active()) == firing
