"""Views of what the journal does not hold: parts, feeds, alerts, the engine's word, this process.

In: a Scene. Out: the four shapes, each figure of the engine with the time that it was said at.
Never here: an old status without its age, a view that the journal alone could give.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from fairwind.api.engine_link import EngineLink
from fairwind.api.follow import Follower
from fairwind.core import controls
from fairwind.core.controls import AnyControl
from fairwind.core.events import Source
from fairwind.core.outputs import WindowState
from fairwind.core.units import SECOND_NS
from fairwind.feeds import kpis
from fairwind.run.alerts import Alert
from fairwind.run.health import Module
from fairwind.views.names import Names
from fairwind.views.shapes import Rows, Scalar, Snapshot, Values

EVENTS_SHOWN = 200
CONTROLS_SHOWN = 500
STATUS_AT = "status_at_ns"
"""Column of when the engine said it, in market time."""


class Machine(NamedTuple):
    """This process and its machine, as of the last second."""

    memory_bytes: int
    disk_free_bytes: int
    viewers: int
    uptime_s: int
    failed: str  # why the journal is not followed any more; empty: it is


class Scene(NamedTuple):
    """What the live views are folded from."""

    follower: Follower
    engine: EngineLink
    machine: Machine


class Live(NamedTuple):
    """One view."""

    topic: str
    says: str
    fold: Callable[[Scene], Snapshot]


def engine(scene: Scene) -> Values:
    """How the trading process is, in its own words, and how old these are."""
    link, status = scene.engine, scene.engine.status
    shown: dict[str, Scalar] = {
        "mode": link.mode,
        "engine": link.phase,
        "why": link.why,
        "speed": link.speed,
        "overall": None,
        STATUS_AT: None,
        "status_age_ns": None,
    }
    if status is not None:
        said = {
            name: one if one != "" else None
            for name, one in msgspec.structs.asdict(status.engine).items()
        }
        age_ns = 0 if link.phase == "running" else int(link.silent_s) * SECOND_NS
        shown |= {"overall": status.overall, STATUS_AT: status.now_ns, "status_age_ns": age_ns}
        shown |= said
    return Values(values=shown)


def modules(scene: Scene) -> Rows:
    """Parts of the trading process: phase, health by rule, heartbeat, events, errors, queue."""
    status = scene.engine.status
    return _told(scene, Module, "name", () if status is None else status.modules)


def feeds(scene: Scene) -> Rows:
    """What each feed has counted."""
    status = scene.engine.status
    return _told(scene, kpis.Health, "feed", () if status is None else status.feeds)


def alerts(scene: Scene) -> Rows:
    """Alerts that are not resolved."""
    found = sorted(scene.engine.active, key=lambda one: one.fired_ns)
    return _told(scene, Alert, "id", found)


def alert_history(scene: Scene) -> Rows:
    """Alerts that were resolved since the session began."""
    return _told(scene, Alert, "id", scene.engine.history)


def slo(scene: Scene) -> Values:
    """The stale-book objective: share, budget, burn rates."""
    status = scene.engine.status
    if status is None:
        return Values(values={"engine": scene.engine.phase, STATUS_AT: None})
    shown = {_named(name): one for name, one in msgspec.structs.asdict(status.slo).items()}
    return Values(values={"engine": scene.engine.phase, STATUS_AT: status.now_ns, **shown})


def system(scene: Scene) -> Values:
    """The run, how far it is proved, and the process that shows it."""
    follower, machine = scene.follower, scene.machine
    return Values(
        values={
            "run": str(follower.run),
            "source": follower.meta.source,
            "code": follower.meta.code,
            "created_at_ns": follower.meta.created_ns,
            "strategies": len(follower.meta.strategies),
            "events": follower.state.events(),
            "digest": f"{follower.state.digest():016x}",
            "proved_events": follower.mark.events,
            "proved_digest": f"{follower.mark.digest:016x}",
            "sealed": follower.sealed,
            "failed": machine.failed or None,
            "memory_bytes": machine.memory_bytes,
            "disk_free_bytes": machine.disk_free_bytes,
            "viewers": machine.viewers,
            "uptime_s": machine.uptime_s,
        }
    )


def given(scene: Scene) -> Rows:
    """Controls of the journal, by their event number."""
    known = list(scene.follower.controls)
    return Rows(
        key="event",
        columns=("event", "at_ns", "operator", "kind", "text"),
        rows=[
            [one.event, one.at_ns, one.control.operator, _kind(one.control), says(one.control)]
            for one in known[-CONTROLS_SHOWN:]
        ],
        total=len(known),
    )


def events(scene: Scene) -> Rows:
    """What happened lately: alerts, controls, results of windows."""
    found = (*_of_alerts(scene), *_of_controls(scene), *_of_windows(scene))
    every = sorted({one[1]: one for one in found}.values())
    rows: list[list[Scalar]] = [
        [name, at_ns, *rest] for at_ns, name, *rest in every[-EVENTS_SHOWN:]
    ]
    return Rows(
        key="id", columns=("id", "at_ns", "kind", "subject", "text"), rows=rows, total=len(every)
    )


def says(control: AnyControl) -> str:
    """A control in words."""
    match control:
        case controls.Enable(strategy=strategy, enabled=enabled):
            return f"{strategy} {'on' if enabled else 'off'} for new entries"
        case controls.SetParameter(strategy=strategy, name=name, value=value):
            return f"{strategy}.{name} = {value:g}"
        case controls.SetMultiplier(strategy=strategy, value=value):
            return f"size of {strategy} times {value:g}"
        case controls.Halt(reason=reason):
            return reason
        case controls.Reset(force_defaults=force):
            return "counters and cooldowns" + (", and all settings" if force else "")
    figures = msgspec.structs.asdict(control)
    return ", ".join(f"{name} {one}" for name, one in figures.items() if name != "operator")


VIEWS: tuple[Live, ...] = (
    Live("engine", "how the trading process is, and how old that word is", engine),
    Live("modules", "its parts: phase, health by rule, heartbeat, errors, queue", modules),
    Live("feeds", "what each feed has counted, and ages", feeds),
    Live("alerts", "alerts that are not resolved", alerts),
    Live("alert_history", "alerts that were resolved", alert_history),
    Live("slo", "the stale-book objective", slo),
    Live("system", "the run, its proof, and the process that shows it", system),
    Live("controls", "controls, who gave them and when", given),
    Live("events", "what happened lately", events),
)


def _told(scene: Scene, kind: type[msgspec.Struct], key: str, found: Iterable[Any]) -> Rows:
    """Structs of the engine's status as rows, each with the time of the status."""
    fields = kind.__struct_fields__
    names = [key, *(name for name in fields if name != key)]
    status = scene.engine.status
    at_ns = None if status is None else status.now_ns
    rows = [[*(_plain(name, getattr(one, name)) for name in names), at_ns] for one in found]
    columns = (*map(_named, names), STATUS_AT)
    return Rows(key=key, columns=columns, rows=rows, total=len(rows))


def _named(name: str) -> str:
    """A moment says so by its name, as a span does not; shares are named as such."""
    moments = ("since_ns", "fired_ns", "last_ns", "resolved_ns", "acknowledged_ns")
    shares = {"objective": "objective_share", "share": "fresh_share", "budget_left": "left_share"}
    return name.removesuffix("_ns") + "_at_ns" if name in moments else shares.get(name, name)


def _plain(name: str, one: Any) -> Scalar:
    if isinstance(one, dict):
        return ", ".join(f"{what} {times}" for what, times in one.items())
    if name in ("resolved_ns", "acknowledged_ns") and not one:
        return None
    return str(one) if isinstance(one, str) else one


def _of_alerts(scene: Scene) -> Iterator[tuple[int, str, str, str, str]]:
    for one in (*scene.engine.history, *scene.engine.active):
        yield one.fired_ns, f"{one.id} fired", "alert", one.subject, f"{one.kind}: {one.text}"
        if one.acknowledged_ns:
            text = f"{one.kind} acknowledged by {one.operator}"
            yield one.acknowledged_ns, f"{one.id} acknowledged", "alert", one.subject, text
        if one.resolved_ns:
            text = f"{one.kind} resolved"
            yield one.resolved_ns, f"{one.id} resolved", "alert", one.subject, text


def _of_controls(scene: Scene) -> Iterator[tuple[int, str, str, str, str]]:
    for one in scene.follower.controls:
        text = f"{_kind(one.control)}: {says(one.control)}"
        yield one.at_ns, f"control {one.event}", "control", one.control.operator, text


def _of_windows(scene: Scene) -> Iterator[tuple[int, str, str, str, str]]:
    names = scene.follower.told.of(Names)
    for row in list(scene.follower.told.windows)[-EVENTS_SHOWN:]:
        if row["state"] != WindowState.FINAL:
            continue
        at_ns, market = int(row["ts_ns"]), int(row["market"])
        slug = names.slug(market, at_ns) or f"market {market}"
        text = f"an Up share pays {int(row['payout_e4']) / 10_000:g}, by {Source(row['by']).name}"
        yield at_ns, f"{slug} {at_ns}", "window", slug, text


def _kind(control: AnyControl) -> str:
    return type(control).__name__
