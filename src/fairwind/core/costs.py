"""What an execution cost against the mid that it was decided on, in exact integers.

In: rows of the fills' table. Out: the five parts of the cost of each. Never here: a float.
"""

import numpy as np
from numpy.typing import NDArray

from fairwind.core.outputs import Action
from fairwind.core.units import PRICE_ONE_E4

MICRO_UNITS = 2 * PRICE_ONE_E4
"""Money is counted in units of half-e4 x micro (5e-11 dollar): this many to a micro-dollar."""

PARTS = ("latency", "adverse_selection", "spread", "slippage", "fee")

COST = np.dtype([(name, "<i8") for name in PARTS])
"""The cost of one fill or position, in money units; positive is paid, negative is earned."""


def fill_costs(fills: NDArray[np.void]) -> NDArray[np.void]:
    """The cost of each fill against the mid it was decided on, dtype COST, in money units.

    For a buy: latency = arrival mid - decision mid, adverse selection = match mid - arrival mid,
    spread = best - match mid, slippage = price - best, each x shares; signs reverse for a sell.
    """
    decision, arrival, match = (
        fills[f"{when}_mid_half_e4"].astype(np.int64) for when in ("decision", "arrival", "match")
    )
    best = 2 * fills["best_e4"].astype(np.int64)
    signed = signed_micro(fills)
    costs = np.zeros(len(fills), COST)
    costs["latency"] = signed * (arrival - decision)
    costs["adverse_selection"] = signed * (match - arrival)
    costs["spread"] = signed * (best - match)
    costs["slippage"] = signed * (2 * fills["price_e4"].astype(np.int64) - best)
    costs["fee"] = fills["fee_micro"] * MICRO_UNITS
    return costs


def signed_micro(fills: NDArray[np.void]) -> NDArray[np.int64]:
    """Shares bought, or minus the shares sold."""
    signed: NDArray[np.int64] = np.where(fills["action"] == Action.BUY, 1, -1) * fills["size_micro"]
    return signed
