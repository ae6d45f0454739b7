"""A generated world as the built-in market plays it: with every window's result on the tape.

In: a world. Out: its events and, for each window that the venue has not resolved by itself, a
RESOLVED event. Never here: a result before its window's end.
"""

import numpy as np

from fairwind.core.events import Events, Kind, Side, Source, empty, in_order
from fairwind.core.units import SECOND_NS
from fairwind.world.generator import World

RESULT_AFTER_NS = 21 * SECOND_NS
"""From a window's end to its result: the measured median (venue facts 6.3)."""


def tape(world: World) -> Events:
    """The world's events and results in receipt order."""
    told = set(world.events["market"][world.events["kind"] == Kind.RESOLVED].tolist())
    untold = [window for window in world.truth if window.market not in told]
    results = empty(len(untold))
    results["ts_ns"] = [window.end_ns + RESULT_AFTER_NS for window in untold]
    results["ts_source_ns"] = results["ts_ns"]
    results["kind"] = Kind.RESOLVED
    results["source"] = Source.POLYMARKET
    results["side"] = Side.NONE
    results["market"] = [window.market for window in untold]
    results["price"] = [window.payout_e4 for window in untold]
    return in_order(np.concatenate((world.events, results)))
