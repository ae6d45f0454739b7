"""How much of the project's checklist holds: one executable check per point, counted per phase.

In: the points, and the checks that exist. Out: which points hold. A point without a check has
failed, and so has one whose check ends with anything but success or in time.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from fairwind.journal import log
from fairwind.research import checks

CHECK_SECONDS_MAX = 300
FILE = "progress.json"
"""What was counted last, beside the runs, where the pages find it."""


class Point(NamedTuple):
    """One point of the checklist."""

    id: str
    phase: str
    title: str


_TITLES = {
    "P1": """
N01 completion of phase 1, computed from checks, on the command line and on the page
N04 every hold has a code of a closed set, and a category
N05 exact integrity counters, alerts by elapsed time
N06 integrity alerts and hold rates on the page
N07 gap and staleness figures per feed, and an objective for fresh books
N08 no order was ever filled on a stale book, proved three ways
N09 one typed scan for every strategy
N10 margins in one comparable unit, in the interface too
N11 a change of the scan's schema is caught
N12 walk-forward, overfitting and bootstrap statistics that are right on known data
N13 each trade's costs add up, and missing fields are counted
N14 records of costs that old files still load into, safe against crashes
N15 a run's outputs are derived again, byte for byte, on any machine
N16 live, paper and replay are one engine over one journal
N17 a dated report per regime, on schedule
N18 governance cycle with walk-forward and sample gates
N19 every decision of governance in a chained audit log
N20 governance page with who did what
N21 thresholds from a study of false promotion and power
N22 guardrails before anything is switched automatically
N23 strategy multipliers that learn, and last
N24 a poor strategy loses size and keeps it lost
N25 caps on every bucket and on correlated exposure
N26 kill-switch by drawdown and volatility
N27 orders reach the venue in one allowed state only
N28 gates before reserves, and settlement in every case
N29 one command for the checks of paper trading
N30 five-minute windows settle as the venue does, and live orders can be tried dry
N31 a reset keeps what the operator set
N32 a ledger exact to the last unit, and what happens when it is not
N33 reserve, release and settle in order on every path of every strategy
N34 health of each module, derived from what it does
N35 blocks, allocation, quality and governance on pages
N36 cost drag and integrity alerts, live
N37 the page of the five-minute engine
N38 alerts counted by severity, each with its playbook
N39 each decision from scan to profit on one page
""",
    "P2": """
N02 completion of phase 2, computed from checks, on the command line and on the page
N40 a registry of features that is the same for the same journal
N41 labels join the row that made the decision, and the rows that made none
N42 leaks are found, counted and stop the build
N43 the feature registry by interface and socket
N44 features and labels survive on disk
N45 exports that are the same byte for byte, with a manifest
N46 a catalogue of features with units and null rules
N47 leak tests on made-up data, in every build
N48 cross-validation with purge and embargo
N49 search, calibration and reports of models
N50 what training waits for, by interface
N51 enough labels for training
N52 scheduled training with lineage
N53 the online probability is the offline one
N54 inference by interface and socket
N55 probabilities and thresholds on the page
N56 a model gate for paper only
N57 training on demand, off the hot path
N58 a versioned policy for the gate
N59 pin and roll back a model at once
N60 calibration and drift measured online
N61 a drifting model loses its influence
N62 drift on the page
N63 drift costs a strategy its step and its size
N64 alerts go further the longer they last
N65 models move through states by evidence and by hand
""",
    "P3": """
N03 completion of phase 3, computed from checks, on the command line and on the page
N66 which families suit the regime, as a documented function
N67 each override with its reason
N68 health of regime engine, router and uncertainty gate
N69 routing that acts only when it may
N70 routing has to show its worth before it acts
N71 regimes inferred from the past only
N72 trades are admitted by the lower bound of their edge
N73 lead and lag between venues
N74 exits chosen by what holding is worth
""",
    "S": """
N75 from data to a registered model in one command
N76 a model in shadow with everything shown
N77 thresholds from long samples, then locked
""",
}
POINTS = tuple(
    Point(line[:3], phase, line[4:])
    for phase, titles in _TITLES.items()
    for line in titles.strip().splitlines()
)
"""All 77 points by phase; S are the priorities across phases."""


class Passed(msgspec.Struct, frozen=True):
    """How many points of a phase hold."""

    passed: int
    total: int


class Progress(msgspec.Struct, frozen=True):
    """Which points hold, as `--json` prints it."""

    phases: dict[str, Passed]
    points: dict[str, bool]


def run_checks() -> Iterator[tuple[Point, bool]]:
    """Each point and whether it holds, in the order of POINTS; runs the checks one by one."""
    for point in POINTS:
        yield point, point.id in checks.CHECKS and _holds(point.id)


def counted(points: Mapping[str, bool]) -> Progress:
    """The result of all points, summed per phase."""
    phases = {
        phase: Passed(
            passed=sum(points[point.id] for point in POINTS if point.phase == phase),
            total=sum(point.phase == phase for point in POINTS),
        )
        for phase in _TITLES
    }
    return Progress(phases=phases, points=dict(sorted(points.items())))


def keep(found: Progress, folder: Path) -> None:
    """Leave it where the pages of the runs in `folder` find it."""
    folder.mkdir(parents=True, exist_ok=True)
    log.write_whole(folder / FILE, msgspec.json.encode(found))


def _holds(point: str) -> bool:
    """Run one check in a process of its own, so that however it fails, it only fails itself."""
    command = [sys.executable, "-m", "fairwind.research.checks", point]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=CHECK_SECONDS_MAX, env=os.environ, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
