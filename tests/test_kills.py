"""Kill -9 of live paper sessions: the run that comes back is the run that its journal says.

Against a market that stands while nobody steps it, it is also the run of an undisturbed twin.
"""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import live_sessions as live
import msgspec
import numpy as np
from conftest import LONG, ROOT
from live_sessions import Ending, Replayed
from numpy.typing import NDArray

from fairwind.core.events import ALL_MARKETS, Kind
from fairwind.core.outputs import Fact, OrderState, WindowState
from fairwind.core.units import SECOND_NS
from fairwind.research.audit import audit
from fairwind.research.verify import verify
from fairwind.run import trading
from fairwind.run.discovery import RESULT_LATE_NS
from fairwind.world.serve import Announcement

SEED = 1
STEPPED_KILLS, KILLS_PER_TWIN = (150, 30) if LONG else (6, 6)
RUNNING_KILLS = 150 if LONG else 6
RUNNING_WINDOWS, SPEED = (12, 20) if LONG else (1, 60)
HISTORY_S = 240 if LONG else 75
"""Of the market before the first window."""
STEP_NS = SECOND_NS // 4 if LONG else SECOND_NS
SYNCS_MAX = 120
LIFE_MAX_S = 1.6
HANGS_S = 1800 if LONG else 120
SETTLED_WITHIN_NS = RESULT_LATE_NS + 30 * SECOND_NS


def options(windows: int, *more: str) -> tuple[str, ...]:
    """Of a thin market, as `fairwind venue` takes them."""
    return (f"--windows={windows}", "--series=BTC_5M", "--knob=quote_rate=0.02", *more)


def kill_stepped(folder: Path) -> None:
    """Sessions of a market that stands while nobody steps it, killed again and again."""
    live.load()
    chance = random.Random(SEED)
    step = patch.object(trading, "TIMER_NS", STEP_NS)
    with step, live.market(*options(1, "--stepped")) as place:
        twin = _anew(folder / "twin", place)
        assert not live.finish(twin, _told(twin, 0)).killed
        kills = runs = 0
        while kills < STEPPED_KILLS:
            runs += 1
            plan = _anew(folder / f"killed{runs}", place)
            kills += _killed(plan, chance, KILLS_PER_TWIN, _goes_on)
            assert kills, "every life ended before it was killed"


def stop_late(folder: Path) -> None:
    """A session that is stopped and continued again and again once its window has ended."""
    live.load()
    step = patch.object(trading, "TIMER_NS", STEP_NS)
    with step, live.market(*options(1, "--stepped")) as place:
        twin = _anew(folder / "twin", place)
        live.finish(twin, _told(twin, 0))
        plan = _anew(folder / "killed", place)
        end_ns = int(live.replayed(twin.run).events["ts_ns"][-1])
        for life, left_s in enumerate((30, 20, 17, 14, 11, 8, 5, 2, 0)):
            now_ns = live.now_ns(place.address)
            for_ns = end_ns - left_s * SECOND_NS - now_ns
            part = msgspec.structs.replace(plan, for_ns=for_ns)
            live.finish(part, _told(plan, life))


def kill_running(folder: Path) -> None:
    """Sessions of a market that goes on while they are dead."""
    live.load()
    chance = random.Random(SEED)
    with live.market(*options(RUNNING_WINDOWS, f"--speed={SPEED}")) as place:
        kills = runs = 0
        while kills < RUNNING_KILLS:
            runs += 1
            plan = _anew(folder / f"killed{runs}", place)
            kills += _killed(plan, chance, RUNNING_KILLS - kills, _begins_with_a_gap)
            assert kills, "every life ended before it was killed"


def _anew(run: Path, place: Announcement) -> trading.Plan:
    """A run that begins `HISTORY_S` before the market's first window."""
    window_ns = 300 * SECOND_NS
    first_window_ns = -(-place.clock.first_ns // window_ns) * window_ns
    live.seek(place.address, max(place.clock.first_ns, first_window_ns - HISTORY_S * SECOND_NS))
    return live.eager_plan(run, place.address)


def _told(plan: trading.Plan, life: int) -> Path:
    return plan.run.parent / "told" / plan.run.name / str(life)


Resumes = Callable[[Replayed, Replayed], None]
"""Checks what a life has added to what was there."""


def _killed(plan: trading.Plan, chance: random.Random, kills: int, resumes: Resumes) -> int:
    """Kill a run so often at most, and let it finish. Returns how often."""
    before = live.replayed(plan.run)
    for life in range(kills):
        ending = _a_life(plan, _told(plan, life), chance)
        before = _checked(plan, before, ending, _told(plan, life), resumes)
        if not ending.killed:
            return life
    _checked(plan, before, live.finish(plan, _told(plan, kills)), _told(plan, kills), resumes)
    return kills


def _a_life(plan: trading.Plan, told: Path, chance: random.Random) -> Ending:
    """Half of the lives end at a moment, half while the journal is made durable."""
    if chance.random() < 0.5:
        return live.kill_at_sync(plan, told, chance.randint(1, SYNCS_MAX), chance.random() < 0.5)
    from_start = chance.random() < 0.25
    return live.kill_later(plan, told, chance.uniform(0, LIFE_MAX_S), from_start)


def _checked(
    plan: trading.Plan, before: Replayed, ending: Ending, told: Path, resumes: Resumes
) -> Replayed:
    """What the journal holds after a life, if everything about it is right."""
    now = live.replayed(plan.run)
    if ending.opened is not None:
        assert ending.opened == (len(before.events), before.digest)
    assert now.events[: len(before.events)].tobytes() == before.events.tobytes()
    if len(now.events) > len(before.events):
        resumes(before, now)
    for name, rows in live.told_rows(told).items():
        made = now.rows[name][len(before.rows[name]) :]
        assert rows.tobytes() == made[: len(rows)].tobytes(), f"{name} were told and are not so"
        assert ending.killed or len(rows) == len(made)
    if len(now.events):
        verdict = verify(plan.run, batch_sizes=())
        assert verdict.proved, str(verdict.divergence)
    _no_reserve_without_an_open_order(now)
    _each_position_is_settled_once(now)
    return now


def _goes_on(_before: Replayed, now: Replayed) -> None:
    gaps = (now.events["kind"] == Kind.GAP) & (now.events["market"] == ALL_MARKETS)
    assert not gaps.any(), "nothing was missed, and a gap says so"


def _begins_with_a_gap(before: Replayed, now: Replayed) -> None:
    if len(before.events):
        first = now.events[len(before.events)]
        assert (first["kind"], first["market"]) == (Kind.GAP, ALL_MARKETS)
        assert first["ts_ns"] > before.events["ts_ns"][-1]


def _no_reserve_without_an_open_order(run: Replayed) -> None:
    orders, postings = run.rows["orders"], run.rows["postings"]
    states = dict(zip(orders["order"].tolist(), orders["state"].tolist(), strict=True))
    for order in np.unique(postings["order"]).tolist():
        reserved = int(postings["reserved_micro"][postings["order"] == order].sum())
        is_open = order in states and states[order] < OrderState.FILLED
        assert reserved > 0 if is_open else reserved == 0, f"order {order} has {reserved} reserved"


def _each_position_is_settled_once(run: Replayed) -> None:
    """As soon as its window is final; and it is final soon after its end."""
    postings, windows = run.rows["postings"], run.rows["windows"]
    final = windows[windows["state"] == WindowState.FINAL]["market"].tolist()
    assert len(set(final)) == len(final), "a window became final twice"
    traded = postings[np.isin(postings["fact"], (Fact.FILL, Fact.SETTLE))]
    for key in np.unique(traded[["strategy", "market", "outcome"]]):
        of_one = traded[traded[["strategy", "market", "outcome"]] == key]
        settled = of_one[of_one["fact"] == Fact.SETTLE]
        assert len(settled) == (int(key["market"]) in final), f"{key}: settled {len(settled)} times"
        assert len(settled) == 0 or of_one["shares_micro"].sum() == 0
    if len(run.events):
        long_ago_ns = int(run.events["ts_ns"][-1]) - SETTLED_WITHIN_NS - 300 * SECOND_NS
        over = windows[windows["start_ns"] < long_ago_ns]["market"].tolist()
        assert set(over) <= set(final), "a window that ended long ago has no result"


def _run(function: Callable[[Path], None], folder: Path) -> None:
    """In a process of its own, without threads, so that forking is safe; and never without end."""
    live.compile_all()  # outside of the limit
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    script = f"import sys, pathlib, test_kills; test_kills.{function.__name__}"
    limited = ["timeout", "-s", "KILL", str(HANGS_S)]
    subprocess.run(
        [*limited, sys.executable, "-c", f"{script}(pathlib.Path(sys.argv[1]))", str(folder)],
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
    )


def fills(run: Path) -> NDArray[Any]:
    """The fills of a run."""
    return live.replayed(run).rows["fills"]


def runs(folder: Path) -> list[Path]:
    """All that were killed."""
    return sorted(folder.glob("killed*"))


def test_a_session_that_was_killed_is_that_of_its_undisturbed_twin(tmp_path: Path) -> None:
    _run(kill_stepped, tmp_path)
    twin = live.replayed(tmp_path / "twin")
    assert len(twin.rows["fills"]) > 10
    for run in runs(tmp_path):
        verdict = verify(run, batch_sizes=(256,))
        assert verdict.proved, str(verdict.divergence)
        assert (verdict.digest, verdict.events) == (twin.digest, len(twin.events))
        assert audit(run).offences == 0


def test_a_session_that_stops_between_a_result_and_the_venues_word_on_it_hears_that(
    tmp_path: Path,
) -> None:
    _run(stop_late, tmp_path)
    twin, stopped = live.replayed(tmp_path / "twin"), live.replayed(tmp_path / "killed")
    last = twin.rows["windows"][-1]
    word_ns = int(twin.events["ts_ns"][twin.events["kind"] == Kind.RESOLVED][-1])
    assert last["state"] == WindowState.FINAL and last["ts_ns"] < word_ns - 10 * SECOND_NS
    assert (stopped.digest, len(stopped.events)) == (twin.digest, len(twin.events))


def test_a_session_that_was_killed_while_its_market_went_on_has_gaps_and_nothing_else_wrong(
    tmp_path: Path,
) -> None:
    _run(kill_running, tmp_path)
    assert sum(len(fills(run)) for run in runs(tmp_path)) > 0
    for run in runs(tmp_path):
        assert verify(run, batch_sizes=(256,)).proved
        assert audit(run).offences == 0
