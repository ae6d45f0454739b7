"""Health is derived: from heartbeats, errors, queues and the objective; never from a good mood."""

from typing import Any

import msgspec
import pytest

from fairwind.core.units import SECOND_NS
from fairwind.feeds.kpis import Count, Kpis, health
from fairwind.run.alerts import Alert, Kind, State
from fairwind.run.health import (
    ERRORS_DEGRADED,
    ERRORS_FAILED,
    Asset,
    Engine,
    Facts,
    Health,
    Market,
    Module,
    Part,
    Recent,
    Status,
    Watch,
)

START_NS = 1_791_201_600 * SECOND_NS
WINDOW_S = 300


def at(second: float) -> int:
    return START_NS + round(second * SECOND_NS)


def part(second: float, name: str = "loop", **more: Any) -> Part:
    """A part that was alive at that second."""
    usual: dict[str, Any] = {"name": name, "beat_ns": at(second)}
    return Part(**(usual | more))


def market(second: float, **more: Any) -> Market:
    """The window of that second, with everything that it should have."""
    start_ns = at(second // WINDOW_S * WINDOW_S)
    usual: dict[str, Any] = {
        "name": f"btc-updown-5m-{start_ns // SECOND_NS}",
        "start_ns": start_ns,
        "end_ns": start_ns + WINDOW_S * SECOND_NS,
        "followed_ns": start_ns - 60 * SECOND_NS,
        "valid": True,
        "book_ns": at(second),
        "struck": True,
    }
    return Market(**(usual | more))


def healthy(second: float, **more: Any) -> Facts:
    """A session whose feeds and parts are well, and that never trades."""
    fed = Kpis()
    fed.add(Count.MESSAGES, round(second * 100))
    usual: dict[str, Any] = {
        "parts": (
            part(second, queue=1, queue_max=100),
            part(second, "market", connected=True, events=round(second * 100)),
        ),
        "feeds": (health("market", fed),),
        "markets": (market(second),),
        "assets": (Asset(name="BTC", spot_ns=at(second - 1), reference_ns=at(second - 1)),),
        "engine": Engine(events=round(second * 100), lag_ns=SECOND_NS // 10),
    }
    return Facts(**(usual | more))


def looked(watch: Watch, *facts: tuple[float, Facts]) -> tuple[Status, list[Alert]]:
    """The last status and all changes."""
    changes: list[Alert] = []
    for second, given in facts:
        status, found = watch.look(at(second), given)
        changes += found
    return status, changes


def shown(second: float, one: Part) -> Module:
    return looked(Watch(), (second, Facts(parts=(one,))))[0].modules[0]


def kinds(facts: Facts, second: float, lasting_s: int) -> set[Kind]:
    """What fires when the facts, as of `second`, last."""
    times = [(second + later, facts) for later in range(lasting_s + 1)]
    return {change.kind for change in looked(Watch(), *times)[1]}


def test_an_idle_healthy_session_raises_no_alert_in_an_hour_of_market_time() -> None:
    watch = Watch()
    for second in range(3600):
        status, changes = watch.look(at(second), healthy(second))
        assert (changes, status.alerts, status.overall) == ([], (), Health.OK)
    assert status.engine.trades == 0 and status.slo.share == 1.0


def test_killing_a_socket_shows_degraded_at_the_next_look_and_recovers() -> None:
    watch, problem = Watch(), "wss://host: ConnectionClosedError; trying again"
    looked(watch, *((second, healthy(second)) for second in range(60)))
    down = part(59, "market", connected=False, problem=problem)
    status, _ = looked(watch, (60, healthy(60, parts=(part(60), down))))
    assert status.overall == status.modules[1].health == Health.DEGRADED
    assert status.modules[0].health == Health.OK
    assert problem in status.modules[1].reason
    lost = ((second, healthy(second, parts=(part(second), down))) for second in range(61, 66))
    status, (alert,) = looked(watch, *lost)
    assert (alert.kind, alert.subject, alert.detail) == (
        Kind.FEED_DOWN,
        "market",
        problem + "; no heartbeat for 6.0 s, at most 3 s",
    )
    again = ((second, healthy(second)) for second in range(66, 90))
    status, (alert,) = looked(watch, *again)
    assert (status.overall, alert.state) == (Health.OK, State.RESOLVED)


def test_a_connection_that_was_never_open_is_degraded_too() -> None:
    assert shown(0, part(0, connected=False)).reason == "not connected"


def test_a_frozen_connection_is_degraded_although_it_is_open() -> None:
    frozen = part(0, "market", connected=True)
    assert shown(3.0, frozen).health == Health.OK
    module = shown(3.1, frozen)
    assert module.health == Health.DEGRADED
    assert module.heartbeat_age_s == pytest.approx(3.1)
    assert shown(15.1, frozen).health == Health.FAILED
    assert kinds(Facts(parts=(frozen,)), 4, 5) == {Kind.FEED_STALE}


def test_a_part_may_be_silent_for_as_long_as_it_says() -> None:
    assert shown(12, part(0, silent_s=12.0)).health == Health.OK
    assert shown(12.1, part(0, silent_s=12.0)).health == Health.DEGRADED


def test_one_wedged_part_is_degraded_then_failed_while_the_others_beat_on() -> None:
    watch, changes = Watch(), []
    seen: dict[Health, int] = {}
    for second in range(30):
        parts = (part(second), part(0, "journal"))
        status, found = watch.look(at(second), healthy(second, parts=parts))
        changes += [(second, change.kind) for change in found]
        assert status.modules[0].health == Health.OK
        seen.setdefault(status.modules[1].health, second)
        assert status.overall == status.modules[1].health
    assert seen == {Health.OK: 0, Health.DEGRADED: 4, Health.FAILED: 16}
    assert changes == [(4, Kind.HEARTBEAT_MISSED), (16, Kind.PART_FAILED)]


def test_a_flood_of_good_heartbeats_does_not_hide_errors() -> None:
    watch = Watch()
    for tick in range(6000):
        second = tick / 100
        errors = min(tick // 1000, ERRORS_DEGRADED)
        status, _ = watch.look(at(second), healthy(second, parts=(part(second, errors=errors),)))
    assert status.modules[0].errors_minute == ERRORS_DEGRADED
    assert status.modules[0].health == Health.DEGRADED
    assert status.modules[0].reason == f"{ERRORS_DEGRADED} errors in the last minute"


def test_errors_are_forgotten_after_a_minute_and_many_are_a_failure() -> None:
    watch = Watch()
    status, _ = looked(watch, (0, healthy(0, parts=(part(0, errors=ERRORS_FAILED),))))
    assert status.modules[0].health == Health.FAILED
    later = [(s, healthy(s, parts=(part(s, errors=ERRORS_FAILED),))) for s in range(1, 62)]
    status, _ = looked(watch, *later)
    assert status.modules[0].health == Health.OK
    assert status.modules[0].errors == ERRORS_FAILED


@pytest.mark.parametrize(
    ("queue", "health"), [(49, Health.OK), (50, Health.DEGRADED), (90, Health.FAILED)]
)
def test_a_queue_that_fills_up_is_seen_before_it_is_full(queue: int, health: Health) -> None:
    module = shown(0, part(0, queue=queue, queue_max=100))
    assert module.health == health
    assert bool(module.reason) == (health != Health.OK)


def test_stale_books_degrade_the_whole_and_name_the_worst_market() -> None:
    watch = Watch()
    stale = [(s, healthy(s, markets=(market(s, book_ns=at(s - 2)),))) for s in range(60)]
    status, changes = looked(watch, *stale)
    assert [change.kind for change in changes] == [Kind.BOOK_SLO_BURN]
    assert changes[0].detail.endswith(f"mostly {market(0).name}")
    assert (status.overall, status.slo.share) == (Health.DEGRADED, 0.0)
    assert {module.health for module in status.modules} == {Health.OK}


@pytest.mark.parametrize(
    ("facts", "second", "kind"),
    [
        (Facts(markets=(market(20, valid=False),)), 20, Kind.BOOK_INVALID),
        (Facts(markets=(market(0, struck=False),)), 0, Kind.STRIKE_MISSING),
        (Facts(markets=(market(0, held=True),)), 300, Kind.RESOLUTION_LATE),
        (
            Facts(assets=(Asset(name="BTC", spot_ns=at(0), reference_ns=at(99)),)),
            0,
            Kind.SPOT_STALE,
        ),
        (
            Facts(assets=(Asset(name="BTC", spot_ns=at(99), reference_ns=0),)),
            0,
            Kind.REFERENCE_STALE,
        ),
        (Facts(unlisted=(("btc-updown-5m-1", "not listed"),)), 0, Kind.DISCOVERY_FAILED),
        (Facts(parts=(part(99, queue=95, queue_max=100),)), 0, Kind.INBOX_FULL),
        (Facts(engine=Engine(undurable_ns=2 * SECOND_NS)), 0, Kind.JOURNAL_STALLED),
        (Facts(engine=Engine(lag_ns=2 * SECOND_NS)), 0, Kind.LOOP_LAG),
        (Facts(engine=Engine(disk_fault="disk full")), 0, Kind.DISK_FAULT),
        (Facts(engine=Engine(halted="by hand")), 0, Kind.HALTED),
        (Facts(engine=Engine(broken="cash below zero")), 0, Kind.INVARIANT_BROKEN),
        (Facts(clock_jump_ns=-SECOND_NS), 0, Kind.CLOCK_JUMP),
    ],
    ids=lambda given: given.value if isinstance(given, Kind) else "",
)
def test_each_trouble_that_lasts_raises_its_alert(facts: Facts, second: int, kind: Kind) -> None:
    assert kind in kinds(facts, second, 200)


def test_a_window_that_was_joined_late_is_not_expected_to_have_a_strike() -> None:
    late = Facts(markets=(market(0, struck=False, followed_ns=at(30)),))
    assert Kind.STRIKE_MISSING not in kinds(late, 31, 100)


def test_a_result_that_nobody_waits_for_is_not_late() -> None:
    assert Kind.RESOLUTION_LATE not in kinds(Facts(markets=(market(0),)), 300, 300)


@pytest.mark.parametrize(
    ("count", "kind", "least"),
    [
        (Count.GAPS, Kind.SEQUENCE_GAPS, 3),
        (Count.CHECKSUM_FAILURES, Kind.CHECKSUM_FAILURES, 3),
        (Count.HEARTBEAT_MISSES, Kind.HEARTBEAT_MISSED, 1),
        ("json", Kind.FRAMES_REFUSED, 3),
    ],
)
def test_a_feed_that_counts_trouble_again_and_again_is_told_of(
    count: str, kind: Kind, least: int
) -> None:
    watch, fed, changes = Watch(), Kpis(), []
    for second in range(100 * least):
        if second % 100 == 0:
            fed.add(count)
        changes += watch.look(at(second), healthy(second, feeds=(health("market", fed),)))[1]
    seldom = [change.kind for change in changes]
    fed.add(count, least)
    changes = watch.look(at(101 * least), healthy(101 * least, feeds=(health("x", fed),)))[1]
    assert [(change.kind, change.subject) for change in changes] == [(kind, "x")]
    assert (kind in seldom) == (least == 1)


def test_a_broken_engine_or_disk_is_a_failure_whatever_the_parts_say() -> None:
    for engine in (Engine(broken="cash"), Engine(disk_fault="full")):
        assert looked(Watch(), (0, healthy(0, engine=engine)))[0].overall == Health.FAILED


def test_a_status_goes_to_json_and_back() -> None:
    facts = healthy(0, engine=Engine(halted="by hand"))
    status, _ = looked(Watch(), (0, facts))
    assert msgspec.json.decode(msgspec.json.encode(status), type=Status) == status
    assert [alert.kind for alert in status.alerts] == [Kind.HALTED]


def test_counters_of_the_last_minute_take_bounded_memory() -> None:
    recent = Recent()
    for tick in range(100_000):
        grown = recent.grown(at(tick / 100), "errors", tick)
    assert grown == pytest.approx(6000, abs=101)
    assert len(recent._notes["errors"]) <= 62
