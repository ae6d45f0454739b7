"""Whatever fails, alone or in pairs: nothing is traded on a stale book, and every run proves it.

Each schedule is a whole paper session on a market with its faults; its journal is then audited,
verified and read by itself.
"""

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import LONG, ROOT
from fault_sessions import LINES, Plan, Played, faults_of, played
from fault_stages import LISTED_BEFORE_NS, SPECS, WORLDS, Stage, stage
from numpy.typing import NDArray

from fairwind.core.events import Kind
from fairwind.core.holds import CATEGORY, NO_HOLD, Hold
from fairwind.core.outputs import Fact, OrderState, WindowState
from fairwind.core.units import SECOND_NS
from fairwind.feeds.kpis import Count
from fairwind.journal import file
from fairwind.journal.record import Mark
from fairwind.research.audit import audit
from fairwind.research.replay import tables_of
from fairwind.research.verify import verify
from fairwind.world import faults
from fairwind.world.faults import Fault, LineName
from fairwind.world.faults import Kind as Trouble

SCHEDULES = 10_000 if LONG else 20
LIVE_EVERY = 20
"""Every twentieth schedule is journaled with a commit each turn, and run again in other batches."""
PROCESSES = 2
CHUNK = 25
SUBMIT_CODES = {Hold.BOOK_STALE, Hold.SPOT_STALE, Hold.REFERENCE_STALE, Hold.CASH}
BY_NS = 5 * SECOND_NS
ALONE = [(kind, line) for kind in Trouble for line in faults.LINES[kind] if line in LINES]


def alone(kind: Trouble, line: LineName, stage: Stage) -> Fault:
    """One fault of a kind that is sure to act."""
    from_ns, until_ns, times = stage.windows[0].start_ns + 60 * SECOND_NS, 0, 3
    if line is LineName.GAMMA:
        from_ns = stage.windows[0].start_ns - LISTED_BEFORE_NS
    if kind is Trouble.MISSING_PRINT or kind.endswith("-result"):
        from_ns, until_ns, times = stage.begin_ns, faults.NEVER_NS, 0
    code = {Trouble.CLOSE: 1012, Trouble.STATUS: 503}.get(kind, 0)
    return Fault(
        kind=kind,
        line=line,
        from_ns=from_ns,
        until_ns=until_ns or from_ns + 20 * SECOND_NS,
        times=times,
        by_ns=BY_NS,
        code=code,
    )


def checked(number: int) -> Counter[str]:
    """Play a schedule, assert what must hold, and count what was seen.

    Numbers below 0 are the faults alone, those from 0 on are random schedules.
    """
    scene = stage(number % WORLDS)
    drawn = [alone(*ALONE[number], scene)] if number < 0 else faults_of(number, scene)
    live = number % LIVE_EVERY == 0
    folder = Path(tempfile.mkdtemp(prefix="faults"))
    try:
        plan = Plan(run=folder / "run", seed=number, faults=drawn, live=live)
        return proved(plan.run, played(plan), live=live)
    except Exception as error:
        error.add_note(f"schedule {number}: {drawn}")
        raise
    finally:
        shutil.rmtree(folder)


def proved(run: Path, session: Played, *, live: bool) -> Counter[str]:
    """What the journal of a run shows; AssertionError for what it must not show."""
    verdict = audit(run)
    assert verdict.first is None, str(verdict)
    again = verify(run, specs=SPECS, batch_sizes=(1, 256) if live else ())
    assert again.proved, str(again.divergence)
    assert session.paper.inbox.late == (0, 0)
    tables = tables_of(run)
    seen = counted(session)
    seen.update(orders=verdict.orders, fills=verdict.fills, schedules=1, live=int(live))
    seen += refusals(tables["orders"])
    seen += holds(tables["scans"], run, session)
    seen += settlement(tables, run)
    return seen


def counted(session: Played) -> Counter[str]:
    """Faults that acted, and what the feeds counted of them."""
    seen: Counter[str] = Counter()
    for one in session.faults.fired():
        seen[f"fault {one.fault.kind}"] += bool(one.fired)
    for line, channel in session.paper.inbox.channels.items():
        for what in (Count.GAPS, Count.RECONNECTS):
            seen[f"{what} of {line}"] += channel.kpis.counts[what]
    return seen


def refusals(orders: NDArray[Any]) -> Counter[str]:
    """Orders that were not sent, or were killed for a reason, by code."""
    refused = orders[orders["state"] == OrderState.REFUSED]
    by_gates = refused["mask"] != 0
    assert (refused["code"][by_gates] == lowest(refused["mask"][by_gates])).all()
    assert set(refused["code"][~by_gates].tolist()) <= SUBMIT_CODES
    killed = orders[(orders["state"] == OrderState.KILLED) & (orders["code"] != NO_HOLD)]
    seen = Counter(f"refused {Hold(code).name}" for code in refused["code"].tolist())
    return seen + Counter(f"killed {Hold(code).name}" for code in killed["code"].tolist())


def holds(scans: NDArray[Any], run: Path, session: Played) -> Counter[str]:
    """Scans by category. From its listing to its end a window is scanned each second by all."""
    free = scans["mask"] == 0
    assert (scans["hold"][free] == NO_HOLD).all()
    assert (scans["hold"][~free] == lowest(scans["mask"][~free])).all()
    (window,) = session.stage.windows
    listed = [one for one in inputs(run) if one["kind"] == Kind.LISTED]
    begin_ns = max(window.start_ns, int(listed[0]["ts_ns"])) if listed else window.end_ns
    for strategy in range(len(SPECS)) if listed else ():
        times = scans["ts_ns"][scans["strategy"] == strategy]
        ends = np.concatenate(([begin_ns], times, [window.end_ns]))
        assert np.diff(ends).max() <= 2 * SECOND_NS, "a strategy was silent"
    codes = scans["hold"][~free].tolist()
    return Counter(f"hold {CATEGORY[Hold(code)].value}" for code in codes)


def settlement(tables: dict[str, NDArray[Any]], run: Path) -> Counter[str]:
    """A window with a result is settled by it and owes nothing; each share is redeemed once."""
    postings, windows = tables["postings"], tables["windows"]
    results = [one for one in inputs(run) if one["kind"] == Kind.RESOLVED]
    final = windows[windows["state"] == WindowState.FINAL]
    if results:
        assert final["payout_e4"][-1] == results[0]["price"]
        accounts = ("reserved_micro", "position_micro", "receivable_micro")
        assert [int(postings[name].sum()) for name in accounts] == [0, 0, 0]
    redeemed = postings[postings["fact"] == Fact.REDEEM]
    keys = redeemed[["strategy", "market", "outcome"]]
    assert len(np.unique(keys)) == len(keys)
    return Counter(results=len(results[:1]), repeated=len(results[1:]), final=len(final[:1]))


def inputs(run: Path) -> NDArray[Any]:
    parts = [part for part in file.inputs(run) if not isinstance(part, Mark)]
    return np.concatenate(parts)


def lowest(masks: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The lowest set bit of each mask."""
    return np.array([(int(one) & -int(one)).bit_length() - 1 for one in masks], np.int64)


def of_chunk(numbers: Iterable[int]) -> Counter[str]:
    """Schedules one after the other; sessions are cycles of objects, and large."""
    seen = sum(map(checked, numbers), Counter[str]())
    gc.collect()
    return seen


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Processes that find the engine compiled."""
    checked(0)
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as found:
        yield found


def of_all(pool: ProcessPoolExecutor, numbers: range) -> Counter[str]:
    """The schedules of all numbers."""
    chunk = min(CHUNK, -(-len(numbers) // PROCESSES))
    chunks = [numbers[at : at + chunk] for at in range(0, len(numbers), chunk)]
    return sum(pool.map(of_chunk, chunks), Counter[str]())


def test_no_fault_alone_makes_a_trade_on_something_stale(pool: ProcessPoolExecutor) -> None:
    seen = of_all(pool, range(-len(ALONE), 0))
    assert seen["schedules"] == len(ALONE)
    acted = {name.removeprefix("fault "): n for name, n in seen.items() if name[:5] == "fault"}
    assert acted == Counter(kind for kind, _ in ALONE)
    assert seen["orders"] > 10_000 and seen["fills"] > 10_000
    assert all(seen[f"hold {name}"] > 0 for name in ("feed", "book", "window", "edge", "risk"))


def test_no_random_schedule_makes_a_trade_on_something_stale(pool: ProcessPoolExecutor) -> None:
    seen = of_all(pool, range(SCHEDULES))
    print(*(f"{name}: {times}" for name, times in sorted(seen.items())), sep="\n")
    assert seen["schedules"] == SCHEDULES and seen["live"] >= SCHEDULES // LIVE_EVERY
    assert seen["orders"] > 300 * SCHEDULES and seen["fills"] > 200 * SCHEDULES
    assert seen["results"] > 0.9 * SCHEDULES
    assert seen["refused BOOK_STALE"] > 0 and seen["killed BOOK_STALE"] > 0


MUTANTS = """
import sys
from pathlib import Path

import numpy as np
import test_fault_matrix as here
from fault_sessions import opened
from fairwind.engine import exchange, gates, orders

source, until_ns = Path(sys.argv[1]), int(sys.argv[2])
heard = here.inputs(source)
heard = heard[(heard["ts_ns"] < until_ns) & (heard["kind"] != here.Kind.CONTROL)]

def offences(name):
    session = opened(source.parent / name, int(heard["ts_ns"][0]))
    session.feed(heard)
    session.close()
    verdict = here.audit(source.parent / name)
    print(f"without {name}: {verdict.orders > 20}, {verdict.offences > 0}")

gate, submit_check, match_check = gates.integrity, orders.admissible, exchange.unusable
offences("nothing")
gates.integrity = lambda market, parameter: np.uint64(0)
offences("gates")
orders.admissible = lambda state, number: orders.NO_HOLD
offences("gates and submit check")
gates.integrity, orders.admissible = gate, submit_check
exchange.unusable = lambda market, order, now_ns: exchange.NO_HOLD
offences("match check")
"""


def test_each_check_is_needed_and_an_audit_notices_when_it_is_gone(tmp_path: Path) -> None:
    """Interpreted, so that a check can be replaced, on what a session with faults has heard.

    Each line says whether orders were sent, and whether any of it was an offence. Without the
    gates the check at submit is left, so there is none.
    """
    scene = stage(0)
    start_ns = scene.windows[0].start_ns
    frozen = [
        Fault(
            kind=Trouble.FREEZE,
            line=line,
            from_ns=start_ns + second * SECOND_NS,
            until_ns=start_ns + (second + 9) * SECOND_NS,
        )
        for line, second in ((LineName.MARKET, 20), (LineName.COINBASE, 40))
    ]
    played(Plan(run=tmp_path / "run", faults=frozen))
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", MUTANTS, str(tmp_path / "run"), str(start_ns + 60 * SECOND_NS)],
        env=os.environ | {"PYTHONPATH": paths, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "without nothing: True, False",
        "without gates: True, False",
        "without gates and submit check: True, True",
        "without match check: True, True",
    ]
