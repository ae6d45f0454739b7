"""The job that every program of the bench does: its data, its constants and its answer.

In: a data set's name. Out: its records, and one JSON line per result on standard output.
Never here: anything but numpy, because the peers' environments have nothing else in common.
"""

import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).resolve().parent.parent / "bench_data"
RECORD = np.dtype(
    [
        ("ts", "<i8"),  # ns, strictly increasing
        ("kind", "u1"),
        ("side", "u1"),  # 0 bid, 1 ask; of a trade 0 buyer
        ("token", "<u2"),  # 2 x window = Up, 2 x window + 1 = Down, 65535 = spot
        ("px", "<i4"),  # cents
        ("size", "<i8"),  # micro shares; of spot 1e-8 coins
    ]
)
OPEN, CLEAR, DELTA, TRADE, SPOT, RESOLVE = 1, 2, 3, 4, 5, 6
NO_TOKEN = 65_535
WINDOW_NS = 300_000_000_000
START_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z

SHARES = 10
EDGE = 0.05  # needed after the fee
FEE = 0.07  # taker fee = shares x 0.07 x p x (1 - p)
FIRST_VARIANCE = 0.25 / (365.0 * 86_400.0)  # of log returns, per second
WEIGHT = 0.002  # of one spot tick in the variance
LEFT_MIN_S, LEFT_MAX_S = 5.0, 290.0
HALF_ROOT = 0.7071067811865476

ANSWER = {"buys": 20, "pnl": -16.0583, "fair_sum": 1_128_065.301939}
"""On `w20_2m`. `fair_sum` adds up the fair values over all events."""


def load(name: str) -> NDArray[Any]:
    """Records of the data set, shape (n,), dtype RECORD."""
    return np.fromfile(DATA / f"{name}.bin", RECORD)


def timed(repeats: int, once: Callable[[], float]) -> list[float]:
    """Seconds that `once` reports, `repeats` times."""
    return [once() for _ in range(repeats)]


def since(start: float) -> float:
    """Seconds since `start`, a reading of time.perf_counter."""
    return time.perf_counter() - start


def report(engine: str, mode: str, **facts: Any) -> None:
    """Print one result as a JSON line.

    `seconds` (a list) and `events` become `rate`: the median number of events per second.
    """
    if "seconds" in facts:
        facts["rate"] = round(facts["events"] / statistics.median(facts.pop("seconds")))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    print(json.dumps({"engine": engine, "mode": mode, **facts, "rss_mb": round(peak)}), flush=True)
