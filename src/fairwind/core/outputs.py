"""What the engine says: five fixed-width records, the second half of every journal.

In: nothing. Out: the dtypes of scans, orders, fills, postings and windows, and their closed enums.
Everything that people or programs read about a run is a fold of these and of the events.
"""

from enum import IntEnum

import numpy as np

SCAN_VERSION = 1

SCAN = np.dtype(
    [
        ("ts_ns", "<i8"),
        ("feature_row", "<i8"),  # number of the event, counted from 0, that the scan was made on
        ("mask", "<u8"),  # every failing gate, bit = Hold value
        ("score", "<f8"),  # in `unit`
        ("threshold", "<f8"),  # in `unit`
        ("probability", "<f8"),  # calibrated P(Up); nan when unknown
        ("net_edge_e4", "<i4"),  # expected profit per share after fee, spread and slippage
        ("edge_stderr_e4", "<i4"),
        ("required_edge_e4", "<i4"),  # margin = net_edge - required_edge
        ("price_e4", "<i4"),  # expected average price of the chosen outcome; 0 when none
        ("book_age_ms", "<i4"),  # receipt age of each input; -1 when never received
        ("spot_age_ms", "<i4"),
        ("reference_age_ms", "<i4"),
        ("left_ms", "<i4"),  # to window end
        ("market", "<u2"),
        ("strategy", "u1"),
        ("version", "u1"),
        ("side", "u1"),  # Outcome, or 2 for none
        ("hold", "u1"),  # Hold, or NO_HOLD
        ("family", "u1"),
        ("unit", "u1"),  # Unit
    ]
)

ORDER = np.dtype(
    [
        ("ts_ns", "<i8"),
        ("order", "<i8"),  # strategy << 40 | market << 16 | n-th order of that strategy there
        ("size_micro", "<i8"),
        ("filled_micro", "<i8"),
        ("reserved_micro", "<i8"),
        ("mask", "<u8"),  # gates that refused it; 0 otherwise
        ("book_ts_ns", "<i8"),  # freshness certificate: receipt and source time and number of the
        ("book_ts_source_ns", "<i8"),  # book update, of the spot and of the reference decided on
        ("book_sequence", "<i8"),
        ("spot_ts_ns", "<i8"),
        ("reference_ts_ns", "<i8"),
        ("book_budget_ms", "<i4"),
        ("spot_budget_ms", "<i4"),
        ("reference_budget_ms", "<i4"),
        ("limit_e4", "<i4"),  # in terms of the outcome that is bought or sold
        ("mid_half_e4", "<i4"),  # Up bid + Up ask at decision: twice the mid, so an integer
        ("net_edge_e4", "<i4"),  # what the scan promised per share
        ("probability_e6", "<i4"),  # P(Up) at decision
        ("market", "<u2"),
        ("strategy", "u1"),
        ("state", "u1"),  # OrderState
        ("outcome", "u1"),
        ("action", "u1"),  # Action
        ("type", "u1"),  # OrderType
        ("code", "u1"),  # Hold of a refusal or kill, else NO_HOLD
        ("pad", "<u4"),
    ]
)

FILL = np.dtype(
    [
        ("ts_ns", "<i8"),
        ("order", "<i8"),
        ("size_micro", "<i8"),
        ("fee_micro", "<i8"),
        ("price_e4", "<i4"),  # in terms of the outcome
        ("decision_mid_half_e4", "<i4"),  # Up bid + ask when decided, when it reached the venue,
        ("arrival_mid_half_e4", "<i4"),  # and when it matched; of the outcome, so costs are
        ("match_mid_half_e4", "<i4"),  # price x 2 - mid_half
        ("best_e4", "<i4"),  # best opposite price when it matched (own price for a maker fill)
        ("probability_e6", "<i4"),  # P(outcome) at decision
        ("net_edge_e4", "<i4"),
        ("market", "<u2"),
        ("strategy", "u1"),
        ("outcome", "u1"),
        ("action", "u1"),
        ("maker", "u1"),
        ("pad", "<u2"),
        ("pad2", "<u4"),
    ]
)

POSTING = np.dtype(
    [
        ("ts_ns", "<i8"),
        ("order", "<i8"),  # 0 when the fact has none
        ("cash_micro", "<i8"),
        ("reserved_micro", "<i8"),
        ("position_micro", "<i8"),  # at cost
        ("receivable_micro", "<i8"),
        ("fees_micro", "<i8"),
        ("realised_micro", "<i8"),  # income is negative, as in any double-entry ledger
        ("deposits_micro", "<i8"),
        ("shares_micro", "<i8"),  # shares that moved; not part of the sum
        ("market", "<u2"),
        ("strategy", "u1"),
        ("fact", "u1"),  # Fact
        ("outcome", "u1"),
        ("pad", "u1"),
        ("payout_e4", "<u2"),
    ]
)
"""One posting set: the seven accounts sum to zero in every row."""

WINDOW = np.dtype(
    [
        ("ts_ns", "<i8"),  # when the state was reached
        ("start_ns", "<i8"),
        ("strike_e8", "<i8"),  # -1 when unknown
        ("strike_remainder_e18", "<i8"),
        ("final_e8", "<i8"),  # -1 when unknown
        ("final_remainder_e18", "<i8"),
        ("payout_e4", "<i4"),  # of one Up share; -1 when pending
        ("market", "<u2"),
        ("series", "<u2"),
        ("state", "u1"),  # WindowState
        ("by", "u1"),  # Source of the result: REFERENCE or POLYMARKET; CLOCK when none yet
        ("anomaly", "u1"),  # 1 when the venue contradicted our own reading
        ("averaging_s", "u1"),
        ("pad", "<u4"),
    ]
)


class Unit(IntEnum):
    """Unit of a scan's score and threshold."""

    EDGE_E4 = 0
    PROBABILITY = 1
    RATIO = 2
    TICKS = 3


class OrderState(IntEnum):
    """Life cycle of an order; the last five are final."""

    DECIDED = 0
    SENT = 1
    DELAYED = 2  # inside the venue's taker delay
    RESTING = 3
    PARTIAL = 4
    FILLED = 5
    CANCELLED = 6
    KILLED = 7  # FAK or FOK without (further) match, post-only that would cross
    EXPIRED = 8  # its window ended
    REFUSED = 9  # a gate or the submit check said no


class Action(IntEnum):
    """Buying opens or adds; selling closes."""

    BUY = 0
    SELL = 1


class OrderType(IntEnum):
    """Venue order types."""

    FAK = 0
    FOK = 1
    GTC = 2
    POST_ONLY = 3


class Fact(IntEnum):
    """What a posting set records."""

    DEPOSIT = 0
    WITHDRAW = 1
    RESERVE = 2
    RELEASE = 3
    FILL = 4
    FEE = 5
    SETTLE = 6
    REDEEM = 7
    CORRECT = 8  # the venue's result replaced our own reading


class WindowState(IntEnum):
    """What is known of a window."""

    LISTED = 0
    STRUCK = 1
    STRIKE_MISSED = 2
    FINAL = 3  # settled
    FINAL_MISSED = 4  # the closing print was missed: pending until the venue says


class Family(IntEnum):
    """Strategy families for caps and comparison."""

    FAIR_VALUE = 0
    ARBITRAGE = 1
    CEX_MICROSTRUCTURE = 2
    ORDER_FLOW = 3
    FLOW_PRESSURE = 4
    CARRY_PARITY = 5
    MARKET_MAKING = 6
    BIAS_EXPLOITATION = 7


TABLES = {
    "scans": SCAN,
    "orders": ORDER,
    "fills": FILL,
    "postings": POSTING,
    "windows": WINDOW,
}
"""Name and dtype of every output table, in journal order."""
