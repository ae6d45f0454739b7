"""A replay: recorded or generated events through the one session, and what came of them.

In: a recording, settings, a run directory (or none). Out: progress while it runs, then a RunResult.
Never here: a file format, a figure of the report, engine code of its own.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fairwind import __version__
from fairwind.core import clock, controls
from fairwind.core.compiled import INTERPRETED, cache_folder, source_hash
from fairwind.core.config import Config, configure, nearest
from fairwind.core.errors import BadConfig, BadInput
from fairwind.core.events import Events, Kind, Source, empty
from fairwind.core.outputs import TABLES
from fairwind.core.units import scaled
from fairwind.engine.contract import StrategySpec
from fairwind.engine.run import Out, roster
from fairwind.engine.state import State, fresh
from fairwind.feeds.recorded.eventfile import forget
from fairwind.feeds.recorded.recording import Recording
from fairwind.journal import file, log, record
from fairwind.research.report import Label, RunResult
from fairwind.run.loop import Recovery, Rows, Session, outputs

PACKAGE = Path(__file__).resolve().parents[1]


class Inputs(NamedTuple):
    """All that the engine is given: the settings as opening controls, then the recording."""

    opening: Events
    payloads: Mapping[int, bytes]
    events: Events

    @property
    def total(self) -> int:
        """Number of events in all."""
        return len(self.opening) + len(self.events)

    def since(self, first: int, batch: int) -> Iterator[Events]:
        """The events from number `first` on, at most `batch` at once; the opening comes alone."""
        if first < len(self.opening):
            yield self.opening[first:]
        for start in range(max(first - len(self.opening), 0), len(self.events), batch):
            yield self.events[start : start + batch]
            forget(self.events)

    def between(self, first: int, last: int) -> Events:
        """The events from number `first` up to, but not including, number `last`."""
        n = len(self.opening)
        parts = self.opening[first:last], self.events[max(first - n, 0) : max(last - n, 0)]
        joined: Events = np.concatenate(parts)
        return joined


class Step(NamedTuple):
    """How far a replay is: events consumed, the digest so far, and what could not be used."""

    events: int
    digest: int
    unused: tuple[str, ...]


def step_of(state: State) -> Step:
    """Where an engine stands."""
    return Step(state.events(), state.digest(), state.unused())


def overridden(config: Config, wishes: Iterable[str]) -> Config:
    """The settings with each `STRATEGY.parameter=value` or `STRATEGY.enabled=true` of `wishes`.

    Also checks what the file says of strategies. BadConfig for an unknown strategy or parameter,
    with the nearest valid name, for a value out of bounds and for text of another form.
    """
    changed = {name: dict(table) for name, table in config.strategies.items()}
    for wish in wishes:
        key, equals, text = wish.partition("=")
        strategy, dot, name = key.partition(".")
        if not (equals and dot and text):
            raise BadConfig(f"--set: expected STRATEGY.parameter=value, found {wish!r}")
        changed.setdefault(strategy, {})[name] = _value(key, text)
    specs = {spec.id: spec for spec in roster()}
    for strategy, table in changed.items():
        if strategy not in specs:
            raise BadConfig(f"unknown strategy {strategy!r}; {nearest(strategy, specs)}")
        _check_parameters(specs[strategy], table)
    return msgspec.structs.replace(config, strategies=changed)


def inputs_of(recording: Recording, config: Config) -> Inputs:
    """The events of a replay. BadInput when the recording is empty."""
    if not len(recording.events):
        raise BadInput("expected a source with events, found none in it; choose another source")
    first_ns = int(recording.events["ts_ns"][0])
    encoded = [controls.encode(first_ns, control) for control in configure(config)]
    return Inputs(
        opening=np.concatenate([event for event, _ in encoded]),
        payloads={int(event["price"][0]): payload for event, payload in encoded},
        events=recording.events,
    )


def strategies() -> tuple[str, ...]:
    """Ids of the stack, in the order of their numbers."""
    return tuple(spec.id for spec in roster())


def run_name(source: str, inputs: Inputs) -> str:
    """Name of the run directory: the source's name and a hash of inputs, settings and engine.

    The same replay finds its own run again, and any other gets another directory.
    """
    digest = hashlib.blake2b(source_hash(PACKAGE).encode(), digest_size=4)
    digest.update(inputs.opening.tobytes())
    for events in inputs.since(len(inputs.opening), 1 << 20):
        digest.update(events.tobytes())
    name = Path(source.rstrip("/")).name.split(".")[0] or "replay"
    return f"{name}-{digest.hexdigest()}"


def point_latest(run: Path) -> None:
    """Let `latest` beside a run lead to it, so that the newest run has a name that stays."""
    link = run.with_name("latest")
    if link.exists() and not link.is_symlink():
        raise BadInput(f"{link}: expected a link to the newest run, found something else; move it")
    with log.faults(link):
        draft = run.with_name("latest.new")
        draft.unlink(missing_ok=True)
        draft.symlink_to(run.name)
        draft.replace(link)


def is_compiled() -> bool:
    """Whether the engine's machine code lies in the cache, so that nothing has to be compiled."""
    return INTERPRETED or any(cache_folder(source_hash(PACKAGE)).rglob("run.consume-*.nbc"))


def warm_up() -> None:
    """Compile or load the whole engine by giving it one control and one timer."""
    inputs = inputs_of(Recording(events=_timer()), Config())
    state, out = fresh(), Out.fresh()
    for events in inputs.since(0, 1):
        for _ in outputs(state, events, out, inputs.payloads.__getitem__):
            pass


class Journaled:
    """A replay with a journal: an interrupted run of the same inputs goes on where it stopped.

    Opening it is recovery, and raises what Session raises, and BadInput for a run of other inputs.
    """

    def __init__(self, run: Path, source: str, inputs: Inputs) -> None:
        _same_inputs(run, source, inputs)
        meta = file.Meta(
            code=__version__,
            created_ns=clock.now_ns(),
            source=source,
            strategies=strategies(),
        )
        self.run = run
        self._inputs = inputs
        self._session = Session(run, meta)

    @property
    def recovery(self) -> Recovery:
        """What was found when the run was opened."""
        return self._session.recovery

    @property
    def at(self) -> Step:
        """Where the replay stands."""
        return step_of(self._session.state)

    def steps(self, batch: int) -> Iterator[Step]:
        """Feed what is left, `batch` events at once; may be left at any step."""
        session = self._session
        for events in self._inputs.since(session.events, batch):
            session.feed(events, self._inputs.payloads)
            yield self.at

    def close(self) -> None:
        """Make everything durable and seal the run."""
        self._session.close()

    def tables(self) -> Rows:
        """All rows that the engine has made, by table; close first."""
        return tables_of(self.run)


class Unjournaled:
    """The same replay without a journal: what the engine says is kept in memory."""

    recovery: Recovery | None = None

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._state, self._out = fresh(), Out.fresh()
        self._parts: dict[str, list[NDArray[Any]]] = {table: [] for table in TABLES}

    @property
    def at(self) -> Step:
        """Where the replay stands."""
        return step_of(self._state)

    def steps(self, batch: int) -> Iterator[Step]:
        """Feed everything, `batch` events at once; may be left at any step."""
        for events in self._inputs.since(0, batch):
            payload_of = self._inputs.payloads.__getitem__
            for rows in outputs(self._state, events, self._out, payload_of):
                for table, part in rows.items():
                    self._parts[table].append(part.copy())
            yield self.at

    def close(self) -> None:
        """Nothing has to be made durable."""

    def tables(self) -> Rows:
        """All rows that the engine has made, by table."""
        return _joined(self._parts)


def tables_of(run: Path) -> Rows:
    """Every output row of a run directory, by table, in one pass over its journal."""
    parts: dict[str, list[NDArray[Any]]] = {table: [] for table in TABLES}
    for frame in file.frames(run):
        if frame.kind == record.Kind.OUTPUT:
            table, rows = record.rows_of(frame)
            parts[table].append(rows)
    return _joined(parts)


def result_of(
    source: str, recording: Recording, config: Config, end: Step, tables: Rows
) -> RunResult:
    """A replay's end as the report reads it."""
    realism = msgspec.structs.asdict(config.realism)
    return RunResult(
        digest=end.digest,
        events=end.events,
        tables=tables,
        strategy_ids=strategies(),
        source=source,
        deposit_micro=scaled(config.capital.deposit, 6),
        realism=realism,
        labels={
            window.slug: Label(strike=window.strike, final=window.final, outcome=window.outcome)
            for window in recording.windows
            if (window.strike, window.final, window.outcome) != (None, None, None)
        },
        assumptions=recording.assumptions,
        problems=(*problems_of(recording), *end.unused),
    )


def problems_of(recording: Recording) -> tuple[str, ...]:
    """What is wrong with a recording, one sentence each; failed health checks come last."""
    rows = [f"{one.code}: {one.rows} rows, the first: {one.example}" for one in recording.problems]
    return (*rows, *checks_of(recording, failed_only=True))


def checks_of(recording: Recording, *, failed_only: bool = False) -> tuple[str, ...]:
    """What the health checks of a recording found, one sentence each."""
    return tuple(
        f"{one.name}: {one.agreed} of {one.checked} agreed, {one.disagreed} did not"
        for one in recording.checks
        if one.disagreed or not failed_only
    )


def _value(key: str, text: str) -> float | bool:
    if key.endswith(".enabled"):
        if text.lower() not in ("true", "false"):
            raise BadConfig(f"{key}: expected true or false, found {text!r}")
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError as error:
        raise BadConfig(f"{key}: expected a number, found {text!r}") from error


def _check_parameters(spec: StrategySpec, table: Mapping[str, float | bool]) -> None:
    known = {parameter.name: parameter for parameter in spec.parameters}
    for name, value in table.items():
        if name == "enabled":
            continue
        if name not in known:
            valid = (*known, "enabled")
            raise BadConfig(f"{spec.id} has no parameter {name!r}; {nearest(name, valid)}")
        known[name].checked(float(value), spec.id)


def _same_inputs(run: Path, source: str, inputs: Inputs) -> None:
    """BadInput when `run` holds inputs that are not the first ones of `inputs`."""
    if next(file.frames(run), None) is None:
        return
    meta = file.meta_of(run)
    first = 0
    for part in file.inputs(run):
        if isinstance(part, record.Mark):
            continue
        wanted = inputs.between(first, first + len(part))
        if wanted.tobytes() != part.tobytes():
            raise BadInput(
                f"{run}: expected a run of {source} with the present settings, found one of "
                f"{meta.source} that differs within events {first} to {first + len(part) - 1}; "
                "choose another --journal, or remove that run"
            )
        first += len(part)


def _timer() -> Events:
    events = empty(1)
    events["kind"], events["source"], events["ts_ns"] = Kind.TIMER, Source.CLOCK, 1
    return events


def _joined(parts: Mapping[str, Sequence[NDArray[Any]]]) -> Rows:
    return {
        name: np.concatenate([np.empty(0, TABLES[name]), *part]) for name, part in parts.items()
    }
