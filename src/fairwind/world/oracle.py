"""The settlement oracle of one asset: whole-second points and their averages, printed with a lag.

In: the true path. Out: exact values in parts (e8, remainder e18) and REFERENCE events, some lost.
Never here: deciding which stream settles a window (core/rules.py).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairwind.core.events import Events, Kind, Side, Source, empty
from fairwind.core.units import REMAINDER_ONE_E18, SECOND_NS, SPOT_ONE_E8
from fairwind.world.knobs import Knobs, stream
from fairwind.world.spot import STEPS, Path, receipts

P95_Z = 1.6448536269514722


class Print(NamedTuple):
    """One averaging's values at every whole second since `t0_ns`, shape (seconds,) each."""

    t0_ns: int
    averaging_s: int
    value_e8: NDArray[np.int64]
    remainder_e18: NDArray[np.int64]
    kept: NDArray[np.bool_]  # False where the print is lost on its way to us

    def second(self, ts_ns: int) -> int:
        """The row of a whole second."""
        return (ts_ns - self.t0_ns) // SECOND_NS

    def at(self, ts_ns: int) -> tuple[int, int]:
        """The exact value at a whole second; of the point stream, the last print that came."""
        row = self.second(ts_ns)
        while self.averaging_s == 0 and not self.kept[row]:
            row -= 1
        return int(self.value_e8[row]), int(self.remainder_e18[row])


def prints(
    knobs: Knobs, truth: Path, asset: int, averaging_s: int, lost_ns: NDArray[np.int64]
) -> Print:
    """The stream of one averaging length (0: points); prints at `lost_ns` never arrive."""
    rng = stream(knobs, "points", asset)
    points = truth.price[::STEPS]
    value_e8 = np.floor(points * SPOT_ONE_E8).astype(np.int64)
    remainder = rng.integers(0, REMAINDER_ONE_E18, len(points))
    if averaging_s > 0:
        value_e8, remainder = average(value_e8, remainder, averaging_s)
    kept = stream(knobs, "lost", asset, averaging_s).random(len(points)) >= knobs.missing_print_rate
    kept[(lost_ns - truth.t0_ns) // SECOND_NS] = False
    kept[: max(averaging_s, 1)] = averaging_s == 0  # an average needs its points
    return Print(truth.t0_ns, averaging_s, value_e8, remainder, kept)


def average(
    value_e8: NDArray[np.int64], remainder_e18: NDArray[np.int64], length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Mean of the last `length` points at every second, exact to 1e-18, rounded down."""

    def rolling(values: NDArray[np.int64]) -> NDArray[np.int64]:
        sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(values)))
        first = np.maximum(np.arange(1, len(sums)) - length, 0)
        return sums[1:] - sums[first]

    whole, rest = np.divmod(rolling(value_e8), length)
    rest_e18 = (rest * REMAINDER_ONE_E18 + rolling(remainder_e18)) // length
    return whole + rest_e18 // REMAINDER_ONE_E18, rest_e18 % REMAINDER_ONE_E18


def reference_events(knobs: Knobs, printed: Print, asset: int, from_ns: int) -> Events:
    """REFERENCE events of the prints that arrive, observed at or after `from_ns`."""
    rows = np.flatnonzero(printed.kept)
    rows = rows[rows >= printed.second(from_ns)]
    rng = stream(knobs, "oracle lag", asset, printed.averaging_s)
    spread = math.log(knobs.reference_lag_p95_s / knobs.reference_lag_s) / P95_Z
    events = empty(len(rows))
    events["kind"] = Kind.REFERENCE
    events["source"] = Source.REFERENCE
    events["side"] = Side.NONE
    events["market"] = asset
    events["ref"] = printed.averaging_s
    observed = printed.t0_ns + rows * SECOND_NS
    events["ts_source_ns"] = observed
    events["ts_ns"] = receipts(rng, observed, knobs.reference_lag_s * SECOND_NS, spread)
    events["price"] = printed.value_e8[rows]
    events["size"] = printed.remainder_e18[rows]
    return events
