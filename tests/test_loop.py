"""A session: what it journals, what opening it again finds, and what it refuses."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fairwind.core import controls
from fairwind.core.errors import BadInput, Diverged
from fairwind.core.events import Events, Flag, Kind, Side, Source, empty, in_order
from fairwind.core.outputs import TABLES
from fairwind.core.units import MILLISECOND_NS, SECOND_NS, reference_parts
from fairwind.engine.run import Out, roster
from fairwind.engine.state import fresh
from fairwind.journal import file, log, record
from fairwind.journal.file import Journal, Meta
from fairwind.run.loop import Rows, Session, outputs

START_NS = 1_787_236_800 * SECOND_NS
WINDOW_NS = 300 * SECOND_NS
META = Meta(code="test", created_ns=1, source="made here", strategies=tuple(s.id for s in roster()))


def _column(kind: Kind, source: Source, times: NDArray[np.int64], **fields: Any) -> Events:
    events = empty(len(times))
    events["kind"], events["source"], events["ts_ns"] = kind, source, times
    for name, value in fields.items():
        events[name] = value
    return events


def _window(market: int, rng: np.random.Generator) -> list[Events]:
    """One Bitcoin window: a book that follows the spot price, and the oracle each second."""
    start = START_NS + market * WINDOW_NS
    listed = _column(
        Kind.LISTED,
        Source.POLYMARKET,
        np.array([start]),
        market=market,
        price=100,
        size=5_000_000,
        ts_source_ns=start,
    )
    steps = np.arange(0, 300 * 5, dtype=np.int64)
    times = start + steps * 200 * MILLISECOND_NS
    spot = 64_000 + rng.normal(0, 2.5, len(steps)).cumsum()
    spots = _column(Kind.SPOT, Source.COINBASE, times + 1, price=(spot * 1e8).astype(np.int64))
    seconds = times[::5]
    value = reference_parts("64000.123456789012345678")
    moved = np.round(spot[::5] - spot[0]).astype(np.int64) * 10**8
    prints = _column(
        Kind.REFERENCE,
        Source.REFERENCE,
        seconds + 2,
        ref=60,
        ts_source_ns=seconds,
        price=value[0] + moved,
        size=value[1],
    )
    # The book lags behind the spot price, so that there is something to trade on.
    lagged = np.roll(spot, 10) - spot[0]
    middle = np.clip(5000 + np.round(lagged / 0.4) * 100, 1000, 9000).astype(np.int64)
    book = [
        _column(
            Kind.LEVEL,
            Source.POLYMARKET,
            times + 3,
            market=market,
            side=side,
            flags=Flag.MORE if side == Side.BID else 0,
            price=middle + (1 if side == Side.ASK else -1) * 100,
            size=rng.integers(20, 500, len(steps)) * 1_000_000,
        )
        for side in (Side.BID, Side.ASK)
    ]
    clear = _column(
        Kind.CLEAR,
        Source.POLYMARKET,
        times + 3,
        market=market,
        flags=Flag.MORE,
    )
    trades = _column(
        Kind.TRADE,
        Source.POLYMARKET,
        times[::7] + 4,
        market=market,
        side=Side.BID,
        price=middle[::7] + 100,
        size=3_000_000,
    )
    return [listed, spots, prints, clear, *book, trades]


def made_events(windows: int = 1, seed: int = 0) -> tuple[Events, dict[int, bytes]]:
    """A small deterministic market with its controls: events in order, payloads by id."""
    rng = np.random.default_rng(seed)
    wishes = (controls.Configure(), controls.Deposit(amount_micro=1_000_000_000))
    asked = [controls.encode(START_NS, wish) for wish in wishes]
    parts = [event for event, _ in asked]
    for market in range(windows):
        parts += _window(market, rng)
    payloads = {int(event["price"][0]): payload for event, payload in asked}
    return in_order(np.concatenate(parts)), payloads


def undisturbed_digest(events: Events, payloads: dict[int, bytes]) -> int:
    """The engine's digest after all events, without a journal."""
    state, out = fresh(), Out.fresh()
    for _ in outputs(state, events, out, payloads.__getitem__):
        pass
    return state.digest()


def journaled(run: Path) -> Iterator[tuple[int, bytes]]:
    """What a run holds, without how it was cut into frames: inputs and outputs as bytes."""
    parts: dict[str, list[bytes]] = {name: [] for name in ("inputs", *TABLES)}
    for frame in file.frames(run):
        if frame.kind == record.Kind.INPUT:
            parts["inputs"].append(bytes(frame.payload))
        elif frame.kind == record.Kind.OUTPUT:
            table, rows = record.rows_of(frame)
            parts[table].append(rows.tobytes())
    return ((name, b"".join(part)) for name, part in parts.items())


def fed(
    run: Path, events: Events, payloads: dict[int, bytes], step: int, **options: int
) -> Session:
    """A session that has got the rest of `events` in steps."""
    session = Session(run, META, **options)
    while session.events < len(events):
        session.feed(events[session.events :][:step], payloads)
    return session


def test_a_session_journals_its_inputs_its_outputs_and_the_digest(tmp_path: Path) -> None:
    events, payloads = made_events()
    session = fed(tmp_path, events, payloads, 1000)
    session.close()
    held = dict(journaled(tmp_path))
    assert held["inputs"] == events.tobytes()
    state, out = fresh(), Out.fresh()
    made: dict[str, bytes] = dict.fromkeys(TABLES, b"")
    for rows in outputs(state, events, out, payloads.__getitem__):
        made = {name: made[name] + part.tobytes() for name, part in rows.items()}
    assert {name: held[name] for name in TABLES} == made
    assert all(made[name] for name in TABLES)
    marks = [part for part in file.inputs(tmp_path) if isinstance(part, record.Mark)]
    assert marks[-1] == record.Mark(len(events), state.digest())


def test_outputs_are_never_durable_before_their_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, payloads = made_events()
    steps: list[str] = []
    for name in ("append_inputs", "commit", "append_outputs", "mark"):
        plain = getattr(Journal, name)

        def noted(*given: Any, _name: str = name, _plain: Any = plain) -> Any:
            steps.append(_name)
            return _plain(*given)

        monkeypatch.setattr(Journal, name, noted)
    session = fed(tmp_path, events[:200], payloads, 200)
    assert steps[:2] == ["append_inputs", "commit"]
    assert set(steps[2:-1]) == {"append_outputs"}
    assert steps[-1] == "mark"
    session.close()


def test_the_outbox_is_told_every_row_once_its_inputs_are_durable(tmp_path: Path) -> None:
    events, payloads = made_events()
    told: dict[str, bytes] = dict.fromkeys(TABLES, b"")
    consumed: list[int] = []

    def tell(rows: Rows) -> None:
        journal = (part for part in file.inputs(tmp_path) if not isinstance(part, record.Mark))
        consumed.append(sum(len(part) for part in journal))
        for name, part in rows.items():
            told[name] += part.tobytes()

    session = Session(tmp_path, META, tell=tell)
    for start in range(0, len(events), 1000):
        session.feed(events[start : start + 1000], payloads)
    session.close()
    assert consumed == [min(1000 * n, len(events)) for n in range(1, len(consumed) + 1)]
    held = dict(journaled(tmp_path))
    assert told == {name: held[name] for name in TABLES}


@pytest.mark.parametrize("snapshot_events", [1500, 10**9])
def test_a_run_that_lost_its_last_outputs_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, snapshot_events: int
) -> None:
    events, payloads = made_events()
    fed(tmp_path / "a", events, payloads, 700).close()
    session = fed(tmp_path / "b", events[:4200], payloads, 700, snapshot_events=snapshot_events)
    session.journal.abandon()  # the outputs and the mark of the last 700 were not committed
    session = Session(tmp_path / "b", META, snapshot_events=snapshot_events)
    assert session.recovery.cut is None
    expected = 4200 if snapshot_events > 4200 else 0
    assert session.recovery.derived_events in (700, expected)
    assert session.events == 4200
    session.close()
    fed(tmp_path / "b", events, payloads, 700).close()
    assert dict(journaled(tmp_path / "b")) == dict(journaled(tmp_path / "a"))


def test_recovery_starts_at_the_newest_good_snapshot_and_says_what_it_skipped(
    tmp_path: Path,
) -> None:
    events, payloads = made_events()
    fed(tmp_path, events[:5000], payloads, 1000, snapshot_events=2000).close()
    session = Session(tmp_path, META)
    assert session.recovery.snapshot_events == 4000
    assert session.recovery.replayed_events == 1000
    session.close()
    newest = sorted((tmp_path / "snapshots").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-9])
    session = fed(tmp_path, events, payloads, 1000)
    assert session.recovery.snapshot_events == 2000
    assert "found other bytes" in session.recovery.skipped[0]
    assert session.state.digest() == undisturbed_digest(events, payloads)
    session.close()


def test_a_torn_tail_is_cut_and_the_lost_events_can_be_fed_again(tmp_path: Path) -> None:
    events, payloads = made_events()
    session = fed(tmp_path, events[:3000], payloads, 1000)
    session.journal.abandon()
    segment = log.segment_path(tmp_path / "journal", 1)
    segment.write_bytes(segment.read_bytes()[:-11])
    session = fed(tmp_path, events, payloads, 1000)
    assert session.recovery.cut is not None
    assert session.recovery.replayed_events == 2000
    assert session.recovery.derived_events == 1000
    assert session.state.digest() == undisturbed_digest(events, payloads)
    session.close()


def test_a_mark_that_the_engine_does_not_reach_is_a_divergence(tmp_path: Path) -> None:
    events, payloads = made_events()
    journal = Journal(tmp_path, META)
    for payload in payloads.values():
        journal.keep_payload(payload)
    journal.append_inputs(events[:500])
    journal.mark(500, 42)
    journal.close()
    with pytest.raises(Diverged, match=r"expected digest 0{14}2a after event 499, found"):
        Session(tmp_path, META)


def test_a_feed_that_the_engine_could_not_take_is_refused_before_it_is_journaled(
    tmp_path: Path,
) -> None:
    events, payloads = made_events()
    session = Session(tmp_path, META)
    with pytest.raises(BadInput, match="found nothing"):
        session.feed(events[:100])
    session.feed(events[:100], payloads)
    with pytest.raises(BadInput, match="event 103: expected a receipt time"):
        session.feed(events[[100, 101, 102, 50]])
    with pytest.raises(BadInput, match="event 100: expected a receipt time"):
        session.feed(events[50:60])
    assert session.journal.events == 100
    session.close()


def test_a_run_of_other_strategies_is_refused(tmp_path: Path) -> None:
    other = Meta(code="test", created_ns=1, source="", strategies=("ELSE",))
    Journal(tmp_path, other).close()
    with pytest.raises(BadInput, match="found one of ELSE; start a new run"):
        Session(tmp_path, META)
    shutil.rmtree(tmp_path)
    Session(tmp_path, META).close()
