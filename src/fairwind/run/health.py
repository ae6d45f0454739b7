"""Health by rule: what the loop knows of its parts becomes OK, DEGRADED or FAILED, and alerts.

In: facts, once a second of market time. Out: a Status that is derived anew each time.
Never here: a health that somebody sets or a good sign that outweighs a bad one.
"""

from collections import deque
from enum import StrEnum

import msgspec

from fairwind.core.units import SECOND_NS
from fairwind.feeds import kpis
from fairwind.run.alerts import Alert, Alerts, Condition, Kind
from fairwind.run.slo import Slo, StaleBooks

MINUTE_NS = 60 * SECOND_NS
FAILED_SILENCES = 5
"""A part whose heartbeat is this many times later than allowed has failed."""
ERRORS_DEGRADED, ERRORS_FAILED = 3, 30
"""Errors in the last minute."""
QUEUE_DEGRADED, QUEUE_FAILED = 0.5, 0.9
"""Parts of a queue's maximum."""
OFTEN = 3
"""So many lost, refused or unverified messages of a feed in a minute are a trouble."""
LATE_NS = SECOND_NS
"""More than this is too long for a batch to become durable, and for the loop to be behind."""
JUMP_NS = SECOND_NS // 2
HISTORY_SHOWN = 100
"""Resolved alerts that a status holds."""
STRIKE_AFTER_NS = 5 * SECOND_NS
RESULT_AFTER_NS = 60 * SECOND_NS
"""From a window's start and end: before that, the print and the result are still on their way."""


class Health(StrEnum):
    """How a part is, from best to worst."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what the loop hands over."""


class Part(Fact, frozen=True, kw_only=True):
    """One part of the process. `errors` and `events` count from its beginning."""

    name: str
    phase: str = "running"
    beat_ns: int  # market time of its last sign of life: a turn, a frame
    silent_s: float = 3.0  # longer without a sign is too long
    connected: bool | None = None  # None: it is no connection
    problem: str = ""  # what it says is wrong
    errors: int = 0
    events: int = 0
    queue: int = 0
    queue_max: int = 0
    detail: str = ""


class Market(Fact, frozen=True, kw_only=True):
    """A window that is followed and has not been settled."""

    name: str
    start_ns: int
    end_ns: int
    followed_ns: int  # since then; the strike of a window that was joined late is not expected
    valid: bool
    book_ns: int  # receipt of its last book event; 0: none yet
    book_budget_ns: int = SECOND_NS
    seen_ns: int = 0  # time of the engine when this was read; 0: that of the look
    struck: bool
    held: bool = False  # somebody has a position in it

    def is_open(self, now_ns: int) -> bool:
        """Whether it can be traded at that time."""
        return self.start_ns <= now_ns < self.end_ns

    def is_fresh(self, now_ns: int) -> bool:
        """Whether its book could be decided on at that time, or when the engine last decided."""
        return self.valid and (self.seen_ns or now_ns) - self.book_ns <= self.book_budget_ns


class Asset(Fact, frozen=True, kw_only=True):
    """What is known of the prices of an asset that has an open window."""

    name: str
    spot_ns: int  # receipt of the newest; 0: none yet
    reference_ns: int
    spot_budget_ns: int = 2 * SECOND_NS
    reference_budget_ns: int = 5 * SECOND_NS


class Engine(Fact, frozen=True, kw_only=True):
    """What the engine and its journal are at."""

    events: int = 0
    lag_ns: int = 0  # market time less the time of the newest event consumed
    undurable_ns: int = 0  # age of the oldest input that is not durable
    equity_micro: int = 0
    trades: int = 0
    open_positions: int = 0
    halted: str = ""  # why, in words
    broken: str = ""  # the invariant
    disk_fault: str = ""


class Facts(Fact, frozen=True, kw_only=True):
    """All that a status is made of."""

    parts: tuple[Part, ...] = ()
    feeds: tuple[kpis.Health, ...] = ()
    markets: tuple[Market, ...] = ()
    assets: tuple[Asset, ...] = ()
    engine: Engine = Engine()
    unlisted: tuple[tuple[str, str], ...] = ()  # windows that should be followed, and why not
    clock_jump_ns: int = 0  # of the wall clock against the steady one, since the last facts


class Module(Fact, frozen=True, kw_only=True):
    """One part as it is shown."""

    name: str
    phase: str
    health: Health
    reason: str  # in words; empty when it is OK
    heartbeat_age_s: float
    events: int
    errors: int
    errors_minute: int
    queue: int
    queue_max: int
    detail: str


class Status(Fact, frozen=True, kw_only=True):
    """The state of a live run at one moment."""

    now_ns: int
    overall: Health
    modules: tuple[Module, ...]
    feeds: tuple[kpis.Health, ...]
    alerts: tuple[Alert, ...]
    history: tuple[Alert, ...] = ()  # the newest that were resolved, newest last
    slo: Slo
    engine: Engine


class Watch:
    """Looks at the facts; remembers only a minute of counters, an hour of books, and alerts."""

    def __init__(self) -> None:
        self.alerts = Alerts()
        self._books = StaleBooks()
        self._recent = Recent()

    def look(self, now_ns: int, facts: Facts) -> tuple[Status, list[Alert]]:
        """The status now, and the alerts that fired or were resolved since the last look.

        Wants to be called once a second of market time, or more often.
        """
        opened = [one for one in facts.markets if one.is_open(now_ns)]
        self._books.sample(now_ns, [(one.name, one.is_fresh(now_ns)) for one in opened])
        slo = self._books.report()
        modules = [
            module(now_ns, part, self._recent.grown(now_ns, f"errors of {part.name}", part.errors))
            for part in facts.parts
        ]
        found = conditions_of_parts(facts.parts, modules)
        found += conditions_of_markets(now_ns, facts.markets, slo)
        found += conditions_of_assets(now_ns, facts.assets)
        found += conditions_of_engine(facts)
        for feed in facts.feeds:
            found += conditions_of_feed(now_ns, feed, self._recent)
        changes = self.alerts.update(now_ns, found)
        status = Status(
            now_ns=now_ns,
            overall=overall(modules, slo, facts.engine),
            modules=tuple(modules),
            feeds=facts.feeds,
            alerts=self.alerts.active(),
            history=self.alerts.newest(HISTORY_SHOWN),
            slo=slo,
            engine=facts.engine,
        )
        return status, changes


class Recent:
    """How much counters grew in the last minute; one note a second and counter is kept."""

    def __init__(self) -> None:
        self._notes: dict[str, deque[tuple[int, int]]] = {}

    def grown(self, now_ns: int, name: str, total: int) -> int:
        """By how much `name`, which is at `total` now and began at 0, grew in the last minute."""
        notes = self._notes.setdefault(name, deque([(now_ns, 0)]))
        while len(notes) > 1 and notes[1][0] <= now_ns - MINUTE_NS:
            notes.popleft()
        if now_ns - notes[-1][0] >= SECOND_NS:
            notes.append((now_ns, total))
        return total - notes[0][1]


def module(now_ns: int, part: Part, errors_minute: int) -> Module:
    """The part's health: the worst of what its rules say, each with its figures."""
    age_s = max(now_ns - part.beat_ns, 0) / SECOND_NS
    found = _of_part(part) + _of_heartbeat(part, age_s)
    found += _of_errors(errors_minute) + _of_queue(part)
    ranks = list(Health)
    return Module(
        name=part.name,
        phase=part.phase,
        health=max((health for health, _ in found), key=ranks.index, default=Health.OK),
        reason="; ".join(reason for _, reason in found),
        heartbeat_age_s=age_s,
        events=part.events,
        errors=part.errors,
        errors_minute=errors_minute,
        queue=part.queue,
        queue_max=part.queue_max,
        detail=part.detail,
    )


def overall(modules: list[Module], slo: Slo, engine: Engine) -> Health:
    """The worst of all parts, of the books' objective and of the engine."""
    ranks = list(Health)
    worst = max((one.health for one in modules), key=ranks.index, default=Health.OK)
    if engine.broken or engine.disk_fault:
        return Health.FAILED
    return Health.DEGRADED if slo.burning and worst == Health.OK else worst


def conditions_of_parts(parts: tuple[Part, ...], modules: list[Module]) -> list[Condition]:
    """Connections that are down or silent, parts that are late, failed or too slow."""
    found: list[Condition] = []
    for part, shown in zip(parts, modules, strict=True):
        late = _of_heartbeat(part, shown.heartbeat_age_s)
        silence = f"nothing for {shown.heartbeat_age_s:.1f} s"
        if part.connected is False:
            found.append(Condition(Kind.FEED_DOWN, part.name, shown.reason))
        elif late and part.connected:
            found.append(Condition(Kind.FEED_STALE, part.name, silence))
        elif late:
            found.append(Condition(Kind.HEARTBEAT_MISSED, part.name, silence))
        if part.connected is None and shown.health == Health.FAILED:
            found.append(Condition(Kind.PART_FAILED, part.name, shown.reason))
        if part.queue_max and part.queue >= QUEUE_FAILED * part.queue_max:
            detail = f"{part.queue} of {part.queue_max} places are taken"
            found.append(Condition(Kind.INBOX_FULL, part.name, detail))
    return found


def conditions_of_feed(now_ns: int, feed: kpis.Health, recent: Recent) -> list[Condition]:
    """What a feed counted too often in the last minute."""
    watched = (
        (Kind.SEQUENCE_GAPS, feed.gaps, OFTEN),
        (Kind.CHECKSUM_FAILURES, feed.checksum_failures, OFTEN),
        (Kind.FRAMES_REFUSED, sum(feed.refused.values()), OFTEN),
        (Kind.HEARTBEAT_MISSED, feed.heartbeat_misses, 1),
    )
    grown = [
        (kind, recent.grown(now_ns, f"{kind} of {feed.feed}", total), least)
        for kind, total, least in watched
    ]
    return [
        Condition(kind, feed.feed, f"{times} in the last minute")
        for kind, times, least in grown
        if times >= least
    ]


def conditions_of_markets(now_ns: int, markets: tuple[Market, ...], slo: Slo) -> list[Condition]:
    """Books that cannot be used, strikes and results that are missing, the objective."""
    found: list[Condition] = []
    for one in markets:
        joined_in_time = one.followed_ns <= one.start_ns <= now_ns - STRIKE_AFTER_NS
        if one.is_open(now_ns) and not one.valid:
            found.append(Condition(Kind.BOOK_INVALID, one.name, _age(now_ns, one.book_ns)))
        if one.is_open(now_ns) and joined_in_time and not one.struck:
            detail = f"{(now_ns - one.start_ns) / SECOND_NS:.0f} s after its start"
            found.append(Condition(Kind.STRIKE_MISSING, one.name, detail))
        if one.held and now_ns >= one.end_ns + RESULT_AFTER_NS:
            detail = f"{(now_ns - one.end_ns) / SECOND_NS:.0f} s after its end"
            found.append(Condition(Kind.RESOLUTION_LATE, one.name, detail))
    if slo.burning:
        detail = f"{slo.share:.2%} fresh, burn rate {slo.burn_1h:.1f}, mostly {slo.worst}"
        found.append(Condition(Kind.BOOK_SLO_BURN, "books", detail))
    return found


def conditions_of_assets(now_ns: int, assets: tuple[Asset, ...]) -> list[Condition]:
    """Prices that are older than decisions may be based on."""
    aged = [
        (kind, one.name, at_ns)
        for one in assets
        for kind, at_ns, budget_ns in (
            (Kind.SPOT_STALE, one.spot_ns, one.spot_budget_ns),
            (Kind.REFERENCE_STALE, one.reference_ns, one.reference_budget_ns),
        )
        if now_ns - at_ns > budget_ns
    ]
    return [Condition(kind, name, _age(now_ns, at_ns)) for kind, name, at_ns in aged]


def conditions_of_engine(facts: Facts) -> list[Condition]:
    """What concerns the engine, its journal, the clock and discovery."""
    engine = facts.engine
    jumped = abs(facts.clock_jump_ns) >= JUMP_NS
    every = (
        (Kind.HALTED, engine.halted),
        (Kind.INVARIANT_BROKEN, engine.broken),
        (Kind.DISK_FAULT, engine.disk_fault),
        (Kind.JOURNAL_STALLED, _late(engine.undurable_ns, "the oldest input waits for")),
        (Kind.LOOP_LAG, _late(engine.lag_ns, "behind by")),
        (Kind.CLOCK_JUMP, f"by {facts.clock_jump_ns / SECOND_NS:+.1f} s" if jumped else ""),
    )
    found = [Condition(kind, "engine", detail) for kind, detail in every if detail]
    return found + [Condition(Kind.DISCOVERY_FAILED, name, why) for name, why in facts.unlisted]


def _of_part(part: Part) -> list[tuple[Health, str]]:
    if part.connected is False:
        return [(Health.DEGRADED, part.problem or "not connected")]
    return [(Health.DEGRADED, part.problem)] if part.problem else []


def _of_heartbeat(part: Part, age_s: float) -> list[tuple[Health, str]]:
    if age_s <= part.silent_s:
        return []
    failed = age_s > FAILED_SILENCES * part.silent_s
    health = Health.FAILED if failed else Health.DEGRADED
    return [(health, f"no heartbeat for {age_s:.1f} s, at most {part.silent_s:g} s")]


def _of_errors(errors_minute: int) -> list[tuple[Health, str]]:
    if errors_minute < ERRORS_DEGRADED:
        return []
    health = Health.FAILED if errors_minute >= ERRORS_FAILED else Health.DEGRADED
    return [(health, f"{errors_minute} errors in the last minute")]


def _of_queue(part: Part) -> list[tuple[Health, str]]:
    if not part.queue_max or part.queue < QUEUE_DEGRADED * part.queue_max:
        return []
    failed = part.queue >= QUEUE_FAILED * part.queue_max
    text = f"{part.queue} of {part.queue_max} places of its queue are taken"
    return [(Health.FAILED if failed else Health.DEGRADED, text)]


def _age(now_ns: int, at_ns: int) -> str:
    return f"the newest is {(now_ns - at_ns) / SECOND_NS:.1f} s old" if at_ns else "none came yet"


def _late(age_ns: int, what: str) -> str:
    return f"{what} {age_ns / SECOND_NS:.1f} s" if age_ns > LATE_NS else ""
