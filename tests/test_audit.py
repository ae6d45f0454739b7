"""The auditor finds nothing in what the engine does, and each thing that a broken one would do."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_events as make
import numpy as np
import pytest
from conftest import LONG, ROOT
from engine_events import at, join
from numpy.typing import NDArray
from test_freshness import BUDGETS, GREEDY, TIGHT, silences, window

from fairwind.core import controls
from fairwind.core.config import Config
from fairwind.core.errors import BadInput, Corrupt
from fairwind.core.events import ALL_MARKETS, Events, Kind, Side, in_order
from fairwind.core.outputs import Action, OrderState
from fairwind.core.units import SECOND_NS
from fairwind.engine.contract import StrategySpec
from fairwind.journal import file, log
from fairwind.journal.file import Journal, Meta
from fairwind.research import replay, synthetic
from fairwind.research.audit import Verdict, audit
from fairwind.run.loop import Session

Tables = dict[str, NDArray[Any]]
WINDOWS = 200 if LONG else 10


def patient(market, position, parameter, memory, signal):  # type: ignore[no-untyped-def]
    """Rest five shares of either side between the quotes, and take now and then."""
    memory[0] += 1.0
    signal.wish = 1
    signal.side = int(memory[0]) % 2
    signal.type = 2 + int(memory[0] / 2.0) % 2
    signal.net_edge, signal.price = 0.4, 0.5
    signal.limit, signal.shares = 0.50, 5.0
    if int(memory[0]) % 7 == 0:
        signal.wish, signal.limit, signal.shares, signal.type = 2, 0.01, 3.0, 0
    return np.uint64(0)


PATIENT = StrategySpec(
    id="PATIENT",
    family=GREEDY.family,
    unit=GREEDY.unit,
    series=-1,
    subscriptions=GREEDY.subscriptions,
    parameters=GREEDY.parameters,
    scan=patient,
)


CAPS: dict[str, Any] = make.OPEN_CAPS


def opening(strategy: str, budgets: dict[str, float]) -> list[controls.AnyControl]:
    settings = budgets | {"entry_cooldown": 0.2, "depth_ticks": 2}
    return [
        controls.Configure(latency_ms=75.0, **CAPS),
        controls.Deposit(amount_micro=10**12),
        *(
            controls.SetParameter(strategy=strategy, name=name, value=value)
            for name, value in settings.items()
        ),
    ]


def journaled(
    run: Path,
    events: Events,
    budgets: dict[str, float] = BUDGETS,
    spec: StrategySpec = GREEDY,
    step: int = 5000,
    later: tuple[tuple[int, controls.AnyControl], ...] = (),
) -> Path:
    """The run directory of one strategy over the events, journaled in batches of `step`."""
    asked = [controls.encode(at(-60), control) for control in opening(spec.id, budgets)]
    asked += [controls.encode(ts_ns, control) for ts_ns, control in later]
    events = in_order(np.concatenate([*(event for event, _ in asked), events]))
    meta = Meta(code="test", created_ns=1, source="made here", strategies=(spec.id,))
    session = Session(run, meta, specs=[spec])
    payloads = {int(event["price"][0]): payload for event, payload in asked}
    for start in range(0, len(events), step):
        session.feed(events[start : start + step], payloads)
    session.close()
    return run


def tampered(run: Path, to: Path, change: Callable[[Tables], None]) -> Verdict:
    """The verdict on a journal of the same inputs whose output rows are others."""
    tables = {name: np.concatenate(list(file.outputs(run, name))) for name in ("orders", "fills")}
    change(tables)
    journal = Journal(to, file.meta_of(run))
    for part in file.inputs(run):
        if isinstance(part, np.ndarray):
            journal.append_inputs(part)
            for number in part["price"][part["kind"] == Kind.CONTROL].tolist():
                journal.keep_payload(file.payload_of(run, number))
    journal.append_outputs(tables)
    journal.mark(journal.events, 0)
    journal.close()
    return audit(to)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journaled(tmp_path_factory.mktemp("quiet") / "run", silences())


def troubled(windows: int) -> Events:
    """Windows of random trouble in which trades are printed as well."""
    events = [window(11, market) for market in range(windows)]
    seconds = [s for s in range(3, 300 * windows) if s % 3 == 0]
    sold = [make.trade(at(s + 0.7), Side.ASK, 4_900, 400.0, s // 300) for s in seconds]
    bought = [make.trade(at(s + 0.9), Side.BID, 5_100, 400.0, s // 300) for s in seconds]
    return join(*events, *sold, *bought)


@pytest.mark.parametrize("spec", [GREEDY, PATIENT], ids=lambda spec: spec.id)
@pytest.mark.parametrize("budgets", [BUDGETS, TIGHT], ids=["default", "tight"])
def test_what_the_engine_does_under_random_trouble_is_proved(
    tmp_path: Path, spec: StrategySpec, budgets: dict[str, float]
) -> None:
    events = troubled(WINDOWS)
    verdict = audit(journaled(tmp_path, events, budgets, spec))
    assert verdict.proved, str(verdict)
    assert verdict.orders > 100 and verdict.fills > 100
    assert verdict.events == len(events) + len(opening(spec.id, budgets))
    assert verdict.budgets_ms == {name: round(value * 1e3) for name, value in budgets.items()}
    assert verdict.refused["SPOT_STALE"] > 0 and verdict.killed
    assert (verdict.exits > 0) == (spec is PATIENT)


def test_fills_of_makers_and_exits_are_among_what_is_proved(tmp_path: Path) -> None:
    fills = np.concatenate(
        list(file.outputs(journaled(tmp_path, troubled(2), spec=PATIENT), "fills"))
    )
    for maker, action in ((1, Action.BUY), (0, Action.SELL)):
        assert ((fills["maker"] == maker) & (fills["action"] == action)).sum() > 20


def test_a_run_that_was_killed_is_audited_as_far_as_its_journal_goes(tmp_path: Path) -> None:
    run = journaled(tmp_path / "whole", silences(), step=50)
    inputs = np.concatenate([p for p in file.inputs(run) if isinstance(p, np.ndarray)])
    killed = Journal(tmp_path / "killed", file.meta_of(run))
    for number in inputs["price"][inputs["kind"] == Kind.CONTROL].tolist():
        killed.keep_payload(file.payload_of(run, number))
    killed.append_inputs(inputs)
    killed.commit()
    killed.abandon()
    verdict = audit(tmp_path / "killed")
    assert verdict.unmarked == verdict.events == audit(run).events
    assert not verdict.proved and audit(run).unmarked == 0
    Session(tmp_path / "killed", file.meta_of(run), specs=[GREEDY]).close()
    assert audit(tmp_path / "killed") == audit(run)


def test_a_damaged_journal_is_not_audited(tmp_path: Path) -> None:
    run = journaled(tmp_path, silences(), step=50)
    segment = log.segment_path(run / "journal", 1)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    with pytest.raises(Corrupt, match="expected a whole frame"):
        audit(run)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_verdict_does_not_depend_on_how_the_run_was_cut(
    tmp_path: Path, quiet: Path, step: int
) -> None:
    assert audit(journaled(tmp_path, silences(), step=step)) == audit(quiet)


def test_small_chunks_give_the_same_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = np.concatenate([window(5, market) for market in range(3)])
    run = journaled(tmp_path, events, TIGHT, step=100)
    whole = audit(run)
    monkeypatch.setattr("fairwind.research.audit.CHUNK_EVENTS", 100)
    assert audit(run) == whole and whole.proved


def test_a_run_without_orders_is_not_called_proved(tmp_path: Path) -> None:
    verdict = audit(journaled(tmp_path, make.timer(at(5))))
    assert not verdict.proved and verdict.first is None
    assert str(verdict) == f"NOTHING TO AUDIT: no order was sent in {verdict.events} events"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected a run directory"):
        audit(tmp_path)


def test_a_loss_of_everything_concerns_every_open_window(tmp_path: Path) -> None:
    lost = make.event(at(5.55), Kind.GAP, market=ALL_MARKETS)
    run = journaled(tmp_path, join(silences(), lost))
    verdict = audit(run)
    assert verdict.proved and verdict.refused.get("SEQUENCE_GAP", 0) > 0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"book_sequence": 10**6}, ", and there is none"),
        ({"book_sequence": -1}, "was known and not looked at"),
        ({"book_ts_ns": 1}, "the times"),
        ({"book_ts_source_ns": 1}, "the times"),
        ({"spot_ts_ns": -7}, "a spot price of"),
        ({"reference_ts_ns": -7}, "an oracle print of"),
        ({"spot_ts_ns": -3 * SECOND_NS}, "the spot was"),
        ({"reference_ts_ns": -6 * SECOND_NS}, "the reference was"),
        ({"book_budget_ms": 5}, "its book_budget was 1005 ms, expected 1000 ms"),
        ({"spot_budget_ms": -1}, "its spot_budget was 1999 ms, expected 2000 ms"),
        ({"ts_ns": 2 * SECOND_NS}, "was known and not looked at"),
        ({"ts_ns": -2 * SECOND_NS}, "the times"),
    ],
    ids=lambda given: (
        "" if isinstance(given, str) else "-".join(f"{k} {v}" for k, v in given.items())
    ),
)
def test_an_untrue_certificate_is_found_and_the_first_order_named(
    quiet: Path, tmp_path: Path, change: dict[str, int], what: str
) -> None:
    named: list[int] = []

    def one_order(tables: Tables) -> None:
        orders = tables["orders"]
        sent = np.flatnonzero(orders["state"] == OrderState.SENT)
        named.append(int(orders["order"][sent[3]]))
        for name, by in change.items():
            orders[name][orders["order"] == named[0]] += by

    verdict = tampered(quiet, tmp_path, one_order)
    assert not verdict.proved and verdict.offences >= 1
    assert verdict.first is not None and what in verdict.first.what
    assert verdict.first.order == named[0] and f"order {named[0]} " in str(verdict)


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("order", 99, "it has no certificate"),
        ("ts_ns", at(14.9), "filled, but the book was 3000.000 ms old"),
        ("maker", 1, "neither the book changed nor a trade"),
        ("market", 7, "was not listed"),
    ],
)
def test_a_fill_that_should_not_be_is_found(
    quiet: Path, tmp_path: Path, name: str, value: int, what: str
) -> None:
    def first_fill(tables: Tables) -> None:
        tables["fills"][name][0] = value

    verdict = tampered(quiet, tmp_path, first_fill)
    assert verdict.first is not None and what in verdict.first.what, str(verdict)


def test_an_order_that_changes_its_certificate_or_is_sent_twice_is_found(
    quiet: Path, tmp_path: Path
) -> None:
    def another(tables: Tables) -> None:
        delayed = tables["orders"]["state"] == OrderState.DELAYED
        tables["orders"]["book_sequence"][np.flatnonzero(delayed)[2]] += 1

    def twice(tables: Tables) -> None:
        orders = tables["orders"]
        first = np.flatnonzero(orders["state"] == OrderState.SENT)[0]
        tables["orders"] = np.insert(orders, first, orders[first])

    assert "another certificate" in str(tampered(quiet, tmp_path / "a", another))
    assert "sent twice" in str(tampered(quiet, tmp_path / "b", twice))


def test_a_budget_may_be_changed_by_a_control_and_by_nothing_else(
    quiet: Path, tmp_path: Path
) -> None:
    tighter = controls.SetParameter(strategy="GREEDY", name="book_budget", value=0.2)
    changed = journaled(tmp_path / "a", silences(), later=((at(9), tighter),))
    assert audit(changed).proved, str(audit(changed))

    def widened(tables: Tables) -> None:
        late = tables["orders"]["ts_ns"] >= at(9)
        tables["orders"]["book_budget_ms"][late] = 1000

    assert "its book_budget was 1000 ms" in str(tampered(changed, tmp_path / "b", widened))
    forced = controls.Reset(force_defaults=True)
    own = journaled(tmp_path / "c", silences(), later=((at(9), forced),))
    assert audit(own).orders > 0 and "budget" not in str(audit(own))


MUTANTS = """
import sys
from pathlib import Path
import engine_events as make
import numpy as np
import test_audit as here
from engine_events import at, join
from fairwind.core.events import Kind
from fairwind.core.holds import Hold
from fairwind.engine import exchange, gates, orders

folder = Path(sys.argv[1])
gate, submit_check, met = gates.integrity, orders.admissible, exchange.unusable

def look(name, events):
    print(name + ":", here.audit(here.journaled(folder / name.replace(" ", "-"), events)))

def gates_off():
    book = np.uint64(1 << Hold.SEQUENCE_GAP | 1 << Hold.BOOK_INVALID | 1 << Hold.BOOK_STALE)
    gates.integrity = lambda market, parameter: gate(market, parameter) & ~book

def submit_off():
    orders.admissible = lambda state, number: orders.NO_HOLD

def exchange_off():
    exchange.unusable = lambda market, order, now_ns: exchange.NO_HOLD

gaps = [make.event(at(tenth / 10 + 0.05), Kind.GAP, market=0) for tenth in range(20, 40)]
spots = [make.spot(at(tenth / 10 + 0.07), 100_000) for tenth in range(20, 40)]
lost = join(here.silences(), *gaps, *spots)
crossing = make.level(at(3.05), 0, 5_200, 10), make.level(at(4.05), 0, 5_200, 10)
crossed = join(here.silences(), *crossing)
gates_off()
look("gates off", here.silences())
submit_off()
look("gates and submit check off", here.silences())
look("both off after a gap", lost)
look("both off and crossed", crossed)
gates.integrity, orders.admissible = gate, submit_check
exchange_off()
look("exchange check off", here.silences())
look("exchange check off after a gap", lost)
exchange.unusable = met
look("all on", join(lost, *crossing))
"""
EXPECTED = {
    "gates off": "PROVED",
    "gates and submit check off": "the book was ",
    "both off after a gap": "lost data after the certificate's event",
    "both off and crossed": "the book was crossed: bid 5200, ask 5100 e4",
    "exchange check off": "filled, but the book was ",
    "exchange check off after a gap": "but the book had lost data",
    "all on": "PROVED",
}


def test_an_engine_without_its_checks_is_found_guilty(tmp_path: Path) -> None:
    """Interpreted, so that a check can be replaced: gates, the submit check, the exchange's."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", MUTANTS, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stderr == ""
    found = dict(line.split(":", 1) for line in done.stdout.splitlines())
    assert list(found) == list(EXPECTED)
    for name, what in EXPECTED.items():
        assert what in found[name], f"{name}: {found[name]}"


def test_a_generated_world_is_proved_with_the_shipped_strategies(tmp_path: Path) -> None:
    knobs = synthetic.knobs({"seed": "5", "windows": "4", "planted_edge": "0.1"}, ())
    inputs = replay.inputs_of(synthetic.recording_of(knobs), Config())
    job = replay.Journaled(tmp_path / "run", "made here", inputs)
    for _ in job.steps(4096):
        pass
    job.close()
    verdict = audit(tmp_path / "run")
    assert verdict.proved and verdict.fills > 0, str(verdict)
