"""Alerts: what an operator has to know or do, once for each trouble, by how long it has lasted.

In: the conditions that hold now, as found from feeds and time. Out: alerts that fire, are
acknowledged and resolve. Never here: a count of messages, an alert because nothing was traded.
"""

from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

import msgspec

from fairwind.core.holds import Category
from fairwind.core.units import SECOND_NS

SYSTEM = "system"
"""The category of what concerns our own process and disk; the others are those of holds."""
ALERTS_MAX = 256
"""Troubles that are followed at one time; more are counted in `Alerts.dropped`."""
HISTORY_MAX = 1024
"""Resolved alerts that are kept."""


class Severity(StrEnum):
    """What it asks for: act now, act today, know."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Kind(StrEnum):
    """Everything that an alert can be about."""

    FEED_DOWN = "FEED_DOWN"
    FEED_STALE = "FEED_STALE"
    SEQUENCE_GAPS = "SEQUENCE_GAPS"
    CHECKSUM_FAILURES = "CHECKSUM_FAILURES"
    FRAMES_REFUSED = "FRAMES_REFUSED"
    HEARTBEAT_MISSED = "HEARTBEAT_MISSED"
    SPOT_STALE = "SPOT_STALE"
    REFERENCE_STALE = "REFERENCE_STALE"
    BOOK_INVALID = "BOOK_INVALID"
    BOOK_SLO_BURN = "BOOK_SLO_BURN"
    STRIKE_MISSING = "STRIKE_MISSING"
    RESOLUTION_LATE = "RESOLUTION_LATE"
    DISCOVERY_FAILED = "DISCOVERY_FAILED"
    PART_FAILED = "PART_FAILED"
    INBOX_FULL = "INBOX_FULL"
    JOURNAL_STALLED = "JOURNAL_STALLED"
    DISK_FAULT = "DISK_FAULT"
    LOOP_LAG = "LOOP_LAG"
    CLOCK_JUMP = "CLOCK_JUMP"
    HALTED = "HALTED"
    INVARIANT_BROKEN = "INVARIANT_BROKEN"
    ENGINE_GONE = "ENGINE_GONE"
    DELIVERY_FAILED = "DELIVERY_FAILED"


class Rule(NamedTuple):
    """How a kind is treated: it fires when it has held for `for_s` without a break."""

    severity: Severity
    category: str
    text: str
    for_s: float
    clear_s: float = 10.0  # it resolves after it has been away for so long


_FEED, _BOOK, _WINDOW = Category.FEED.value, Category.BOOK.value, Category.WINDOW.value
_RISK, _OPERATOR = Category.RISK.value, Category.OPERATOR.value
_CRITICAL, _WARNING, _INFO = Severity

RULES: dict[Kind, Rule] = {
    Kind.FEED_DOWN: Rule(_CRITICAL, _FEED, "a connection is down", 5),
    Kind.FEED_STALE: Rule(_CRITICAL, _FEED, "a connection is open but silent", 5),
    Kind.SEQUENCE_GAPS: Rule(_WARNING, _FEED, "a feed keeps losing messages", 0, 30),
    Kind.CHECKSUM_FAILURES: Rule(_WARNING, _BOOK, "books do not match their checksums", 0, 30),
    Kind.FRAMES_REFUSED: Rule(_WARNING, _FEED, "frames of a feed cannot be read", 0, 30),
    Kind.HEARTBEAT_MISSED: Rule(_WARNING, _FEED, "heartbeats are missing", 0, 30),
    Kind.SPOT_STALE: Rule(_WARNING, _FEED, "no spot price within its budget", 15),
    Kind.REFERENCE_STALE: Rule(_WARNING, _FEED, "no oracle print within its budget", 5),
    Kind.BOOK_INVALID: Rule(_WARNING, _BOOK, "an open window's book cannot be used", 5),
    Kind.BOOK_SLO_BURN: Rule(_CRITICAL, _BOOK, "the stale-book budget of the hour is spent", 0, 60),
    Kind.STRIKE_MISSING: Rule(_WARNING, _WINDOW, "an open window has no strike", 15, 0),
    Kind.RESOLUTION_LATE: Rule(_WARNING, _WINDOW, "a held window has no result", 120, 0),
    Kind.DISCOVERY_FAILED: Rule(_CRITICAL, _WINDOW, "a window is not found at the venue", 15),
    Kind.PART_FAILED: Rule(_CRITICAL, SYSTEM, "a part of the process failed by rule", 0),
    Kind.INBOX_FULL: Rule(_CRITICAL, SYSTEM, "a queue is nearly full", 2),
    Kind.JOURNAL_STALLED: Rule(_CRITICAL, SYSTEM, "inputs do not become durable", 2),
    Kind.DISK_FAULT: Rule(_CRITICAL, SYSTEM, "the journal cannot be written", 0, 60),
    Kind.LOOP_LAG: Rule(_WARNING, SYSTEM, "the loop is behind the market", 5),
    Kind.CLOCK_JUMP: Rule(_WARNING, SYSTEM, "the wall clock jumped", 0, 60),
    Kind.HALTED: Rule(_INFO, _OPERATOR, "trading is halted", 0, 0),
    Kind.INVARIANT_BROKEN: Rule(_CRITICAL, _RISK, "an invariant of the engine broke", 0, 60),
    Kind.ENGINE_GONE: Rule(_CRITICAL, SYSTEM, "the trading process is gone or silent", 3, 5),
    Kind.DELIVERY_FAILED: Rule(_CRITICAL, SYSTEM, "alerts do not reach somebody", 10, 0),
}
"""Every kind has a rule, and a page section of its name in docs/alerts.md."""


def playbook(kind: Kind) -> str:
    """Where the documentation says what to do about it."""
    return f"docs/alerts.md#{kind.lower()}"


class Condition(NamedTuple):
    """Something that is so now: what, about which feed, market or part, and its figures."""

    kind: Kind
    subject: str
    detail: str


class State(StrEnum):
    """Life of an alert."""

    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"  # still so, and somebody knows
    RESOLVED = "resolved"


class Alert(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One trouble of one subject. Times are market time."""

    kind: Kind
    severity: Severity
    category: str
    subject: str
    text: str
    detail: str  # the newest figures
    state: State
    since_ns: int  # the condition holds since then
    fired_ns: int
    last_ns: int  # the condition was seen then
    count: int  # times that this kind has fired for this subject, as far as history goes
    resolved_ns: int = 0  # 0 while it is not resolved
    operator: str = ""  # who acknowledged it
    acknowledged_ns: int = 0
    playbook: str
    id: str


class _Trouble(msgspec.Struct):
    """A condition that holds, or did until less than `clear_s` ago."""

    since_ns: int
    seen_ns: int
    alert: Alert | None = None


class Alerts:
    """All troubles by kind and subject."""

    def __init__(self) -> None:
        self.history: deque[Alert] = deque(maxlen=HISTORY_MAX)
        """Resolved alerts, newest last."""
        self.dropped = 0
        self._troubles: dict[tuple[Kind, str], _Trouble] = {}

    def update(self, now_ns: int, conditions: Iterable[Condition]) -> list[Alert]:
        """Take what holds now; returns the alerts that fired or were resolved by it, in order.

        A condition that is given counts as holding until the next update. One that is not given
        is away: it is forgotten if it has not fired, else it resolves after its `clear_s`.
        """
        changes: list[Alert] = []
        for condition in conditions:
            changes += self._hold(now_ns, condition)
        away = [key for key, trouble in self._troubles.items() if trouble.seen_ns != now_ns]
        for key in away:
            changes += self._clear(now_ns, key)
        return changes

    def acknowledge(self, kind: Kind, subject: str, operator: str, now_ns: int) -> bool:
        """Somebody knows of a firing alert; False when there is no such alert."""
        trouble = self._troubles.get((kind, subject))
        if trouble is None or trouble.alert is None:
            return False
        trouble.alert = msgspec.structs.replace(
            trouble.alert, state=State.ACKNOWLEDGED, operator=operator, acknowledged_ns=now_ns
        )
        return True

    def active(self) -> tuple[Alert, ...]:
        """Alerts that are not resolved, the most severe first, then the oldest."""
        alerts = [one.alert for one in self._troubles.values() if one.alert is not None]
        rank = list(Severity)
        return tuple(sorted(alerts, key=lambda a: (rank.index(a.severity), a.fired_ns, a.kind)))

    def newest(self, most: int) -> tuple[Alert, ...]:
        """The last resolved alerts, newest last."""
        return tuple(islice(reversed(self.history), most))[::-1]

    def _hold(self, now_ns: int, condition: Condition) -> list[Alert]:
        key = condition.kind, condition.subject
        trouble = self._troubles.get(key)
        if trouble is None:
            if len(self._troubles) >= ALERTS_MAX:
                self.dropped += 1
                return []
            trouble = self._troubles[key] = _Trouble(now_ns, now_ns)
        trouble.seen_ns = now_ns
        if trouble.alert is not None:
            trouble.alert = msgspec.structs.replace(
                trouble.alert, detail=condition.detail, last_ns=now_ns
            )
        elif now_ns - trouble.since_ns >= RULES[condition.kind].for_s * SECOND_NS:
            trouble.alert = _fired(now_ns, trouble.since_ns, condition, self._count(key) + 1)
            return [trouble.alert]
        return []

    def _count(self, key: tuple[Kind, str]) -> int:
        """How often this trouble has fired, by the newest of it that was resolved."""
        former = (one.count for one in reversed(self.history) if (one.kind, one.subject) == key)
        return next(former, 0)

    def _clear(self, now_ns: int, key: tuple[Kind, str]) -> list[Alert]:
        trouble = self._troubles[key]
        if trouble.alert is None:
            del self._troubles[key]
            return []
        if now_ns - trouble.seen_ns < RULES[key[0]].clear_s * SECOND_NS:
            return []
        del self._troubles[key]
        resolved = msgspec.structs.replace(trouble.alert, state=State.RESOLVED, resolved_ns=now_ns)
        self.history.append(resolved)
        return [resolved]


def _fired(now_ns: int, since_ns: int, condition: Condition, count: int) -> Alert:
    rule = RULES[condition.kind]
    return Alert(
        kind=condition.kind,
        severity=rule.severity,
        category=rule.category,
        subject=condition.subject,
        text=rule.text,
        detail=condition.detail,
        state=State.FIRING,
        since_ns=since_ns,
        fired_ns=now_ns,
        last_ns=now_ns,
        count=count,
        playbook=playbook(condition.kind),
        id=f"{condition.kind}/{condition.subject}/{now_ns}",
    )
