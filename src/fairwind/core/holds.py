"""Why a strategy does not trade: the closed set of hold codes, each in one category.

The numeric value is the bit in a gate mask and the order of precedence: the lowest set bit of a
mask is the code that a scan reports.
"""

from enum import Enum, IntEnum

NO_HOLD = 255
"""`hold` of a scan that may trade."""


class Category(Enum):
    """Who has to act on a hold."""

    FEED = "feed"
    BOOK = "book"
    WINDOW = "window"
    PRICE = "price"
    EDGE = "edge"
    MODEL = "model"
    RISK = "risk"
    CAPITAL = "capital"
    OPERATOR = "operator"


class Hold(IntEnum):
    """One reason not to trade; the value is its bit in the gate mask."""

    HALTED = 0
    DISABLED = 1
    FEED_DOWN = 2
    SEQUENCE_GAP = 3
    BOOK_INVALID = 4
    BOOK_STALE = 5
    SPOT_STALE = 6
    REFERENCE_STALE = 7
    STRIKE_UNKNOWN = 8
    EXPIRY_CUTOFF = 9
    PARITY = 10
    DIVERGENCE = 11
    PRICE_BAND = 12
    SPREAD = 13
    DEPTH = 14
    COINFLIP_BAND = 15
    EDGE_BELOW_THRESHOLD = 16
    UNCERTAINTY = 17
    EDGE_TO_SPREAD = 18
    TREND_FILTER = 19
    STREAK = 20
    VOL_BREAKER = 21
    MODEL_STALE = 22
    MODEL_BLOCK = 23
    REGIME_BLOCK = 24
    ENTRY_COOLDOWN = 25
    MAX_POSITIONS = 26
    TRADES_PER_WINDOW = 27
    CONSECUTIVE_LOSSES = 28
    RISK_GUARD_COOLDOWN = 29
    DRAWDOWN = 30
    ANOMALY_CAP = 31
    CAP_STRATEGY = 32
    CAP_FAMILY = 33
    CAP_UNDERLYING = 34
    CAP_CORRELATED = 35
    CAP_UTILIZATION = 36
    CASH = 37
    MIN_SIZE = 38


CATEGORY: dict[Hold, Category] = {
    Hold.HALTED: Category.OPERATOR,
    Hold.DISABLED: Category.OPERATOR,
    Hold.FEED_DOWN: Category.FEED,
    Hold.SEQUENCE_GAP: Category.FEED,
    Hold.BOOK_INVALID: Category.BOOK,
    Hold.BOOK_STALE: Category.BOOK,
    Hold.SPOT_STALE: Category.FEED,
    Hold.REFERENCE_STALE: Category.FEED,
    Hold.STRIKE_UNKNOWN: Category.WINDOW,
    Hold.EXPIRY_CUTOFF: Category.WINDOW,
    Hold.PARITY: Category.BOOK,
    Hold.DIVERGENCE: Category.FEED,
    Hold.PRICE_BAND: Category.PRICE,
    Hold.SPREAD: Category.PRICE,
    Hold.DEPTH: Category.BOOK,
    Hold.COINFLIP_BAND: Category.PRICE,
    Hold.EDGE_BELOW_THRESHOLD: Category.EDGE,
    Hold.UNCERTAINTY: Category.EDGE,
    Hold.EDGE_TO_SPREAD: Category.EDGE,
    Hold.TREND_FILTER: Category.MODEL,
    Hold.STREAK: Category.MODEL,
    Hold.VOL_BREAKER: Category.RISK,
    Hold.MODEL_STALE: Category.MODEL,
    Hold.MODEL_BLOCK: Category.MODEL,
    Hold.REGIME_BLOCK: Category.MODEL,
    Hold.ENTRY_COOLDOWN: Category.RISK,
    Hold.MAX_POSITIONS: Category.RISK,
    Hold.TRADES_PER_WINDOW: Category.RISK,
    Hold.CONSECUTIVE_LOSSES: Category.RISK,
    Hold.RISK_GUARD_COOLDOWN: Category.RISK,
    Hold.DRAWDOWN: Category.RISK,
    Hold.ANOMALY_CAP: Category.RISK,
    Hold.CAP_STRATEGY: Category.CAPITAL,
    Hold.CAP_FAMILY: Category.CAPITAL,
    Hold.CAP_UNDERLYING: Category.CAPITAL,
    Hold.CAP_CORRELATED: Category.CAPITAL,
    Hold.CAP_UTILIZATION: Category.CAPITAL,
    Hold.CASH: Category.CAPITAL,
    Hold.MIN_SIZE: Category.CAPITAL,
}
