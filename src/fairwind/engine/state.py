"""The engine's whole state: a handful of flat tables, nothing else.

In: the roster. Out: a fresh State, its snapshot as bytes, and a State restored from one.
Never here: an object per market or order, a pointer that a snapshot could not hold.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairwind.core import rules
from fairwind.core.errors import Corrupt
from fairwind.core.events import ASSETS
from fairwind.core.outputs import Family

if TYPE_CHECKING:
    from fairwind.engine.contract import StrategySpec

MARKETS = 256  # slots; a market's slot is its number modulo this
ACTIVE = 64  # markets that can be open or pending at one time
LEVELS = 2048  # per book side; index = price_e4 / GRID_E4
GRID_E4 = 5
TOP_LEVEL = 10_000 // GRID_E4  # "no ask"; 0 is "no bid"
STRATEGIES = 32
ORDERS = 256
VECTOR = 64  # parameters and memory per strategy
RING = 256  # seconds of spot kept per asset
BUCKETS = 128

_I = "<i8"
_F = "<f8"


def _table(integers: str, floats: str) -> np.dtype[np.void]:
    """A dtype of 8-byte fields, so that every table is a plain block of words."""
    return np.dtype([(n, _I) for n in integers.split()] + [(n, _F) for n in floats.split()])


ENGINE = _table(
    # progress and clock; the simulated exchange; kill switch; what could not be used
    "events now_ns second_ns strategies active orders next_due_ns dirty broken "
    "latency_ns taker_delay own_consumption queue "
    "halted drawdown day peak_micro equity_micro "
    "orphans bad_levels duplicates refused_listings anomalies order_table_full",
    "cap_strategy cap_family cap_underlying cap_direction cap_utilization drawdown_stop",
)

MARKET = _table(
    # identity and rules
    "number series asset start_ns end_ns active tick_e4 step min_size_micro min_buy_micro "
    "fee_rate_e6 fee_form averaging_s exact_boundary "
    # book; bid and ask are levels, 0 and TOP_LEVEL when that side is empty
    "bid ask valid gap parity book_ts_ns book_ts_source_ns book_sequence consumed resting changed "
    # last trade
    "trade_price_e4 trade_size_micro trade_side "
    # settlement
    "window_state strike_e8 strike_remainder final_e8 final_remainder payout_e4 settled_by "
    "anomaly settling_second settling_count "
    # the moment
    "now_ns bid_e4 ask_e4 bid_size_micro ask_size_micro spread_e4 mid_half_e4 "
    "spot_ts_ns reference_ts_ns depth_up_micro depth_down_micro",
    # dollars, seconds, probabilities
    "left_s spot reference strike settling_sum mean variance volatility volatility_ratio "
    "fair_up fair_stderr fair_delta divergence eff_up eff_down fee_up fee_down",
)
"""All that is known of one window market: what feeds said, and what follows from it."""

ASSET = _table(
    "spot_ts_ns spot_source second samples prints",
    "spot last_sample last_return variance_fast variance_slow basis basis_variance",
)

REFERENCE = _table("value_e8 remainder observed_ns ts_ns", "value")

POSITION = _table(
    "market up_micro down_micro up_cost_micro down_cost_micro fees_micro selling_micro "
    "entries open_orders last_entry_ns orders "
    "settled_up_micro settled_down_micro scan_own scan_hold scan_side scan_second",
    "",
)
"""One strategy's holdings and order book-keeping in one market."""

STRATEGY = _table(
    "enabled default_enabled series family subscriptions unit address losses cooldown_until_ns",
    "multiplier",
)

ORDER_ROW = _table(
    "order strategy slot market outcome action type state book_side level limit_e4 "
    "size_micro filled_micro reserved_micro due_ns cancel_ns ahead_micro "
    "decision_mid_half_e4 arrival_mid_half_e4 probability_e6 net_edge_e4 "
    "book_ts_ns book_ts_source_ns book_sequence spot_ts_ns reference_ts_ns "
    "book_budget_ns spot_budget_ns reference_budget_ns",
    "",
)

SIGNAL = _table(
    "wish side type unit", "score threshold net_edge stderr required price limit shares"
)
"""What a strategy says: prices and edges in dollars per share, `side` an Outcome.

`limit` is the worst price that it accepts, `shares` the most that it wants (0: sizing decides).
"""

CASH, RESERVED, POSITIONS, RECEIVABLE, FEES, REALISED, DEPOSITS = range(7)


class State(NamedTuple):
    """Tables of the engine; shapes in `fresh`."""

    engine: NDArray[Any]
    chain: NDArray[np.uint64]
    accounts: NDArray[np.int64]
    markets: NDArray[Any]
    active: NDArray[np.int64]
    books: NDArray[np.int64]
    consumed: NDArray[np.int64]
    assets: NDArray[Any]
    ring: NDArray[np.float64]
    references: NDArray[Any]
    strategies: NDArray[Any]
    positions: NDArray[Any]
    parameters: NDArray[np.float64]
    memory: NDArray[np.float64]
    signal: NDArray[Any]
    orders: NDArray[Any]
    used: NDArray[np.int64]
    rules: NDArray[Any]

    def digest(self) -> int:
        """The 64-bit digest over every input and output so far."""
        return int(self.chain[0])

    def events(self) -> int:
        """How many events were consumed so far."""
        return int(self.engine["events"][0])


def _rows(shape: int | tuple[int, int], dtype: np.dtype[np.void]) -> NDArray[Any]:
    # A recarray, because interpreted runs reach fields by attribute as compiled ones do.
    return np.zeros(shape, dtype).view(np.recarray)


def fresh(specs: "Sequence[StrategySpec] | None" = None) -> State:
    """An engine that has seen nothing, with the strategies of `specs` (default: the roster)."""
    specs = _roster(specs)
    state = State(
        engine=_rows(1, ENGINE),
        chain=np.full(1, 0x6A09E667F3BCC908, np.uint64),
        accounts=np.zeros(7, np.int64),
        markets=_rows(MARKETS, MARKET),
        active=np.zeros(ACTIVE, np.int64),
        books=np.zeros(MARKETS * 2 * LEVELS, np.int64),
        consumed=np.zeros(MARKETS * 2 * LEVELS, np.int64),
        assets=_rows(len(ASSETS), ASSET),
        ring=np.zeros((len(ASSETS), RING), np.float64),
        references=_rows(len(ASSETS) * 3, REFERENCE),
        strategies=_rows(STRATEGIES, STRATEGY),
        positions=_rows((STRATEGIES, MARKETS), POSITION),
        parameters=np.zeros((STRATEGIES, VECTOR), np.float64),
        memory=np.zeros((STRATEGIES, VECTOR), np.float64),
        signal=_rows(1, SIGNAL),
        orders=_rows(ORDERS, ORDER_ROW),
        used=np.zeros(BUCKETS, np.int64),
        rules=rules.table().view(np.recarray),
    )
    state.engine["next_due_ns"] = np.iinfo(np.int64).max
    state.engine["strategies"] = len(specs)
    state.markets["number"] = -1
    defaults(state, specs, keep_toggles=False)
    bind(state, specs)
    return state


def defaults(state: State, specs: "Sequence[StrategySpec]", *, keep_toggles: bool) -> None:
    """Set every strategy's parameters, multiplier and (unless kept) switch to its defaults."""
    for number, spec in enumerate(specs):
        row = state.strategies[number]
        row["default_enabled"] = spec.enabled
        if not keep_toggles:
            row["enabled"] = spec.enabled
        row["series"], row["family"], row["unit"] = spec.series, spec.family, spec.unit
        row["subscriptions"] = int(spec.subscriptions)
        row["multiplier"] = 1.0
        for position, parameter in enumerate(spec.parameters):
            state.parameters[number, position] = parameter.default


def bind(state: State, specs: "Sequence[StrategySpec]") -> None:
    """Put the strategies' native addresses into the state; they differ in every process."""
    from fairwind.engine.contract import address

    for number, spec in enumerate(specs):
        state.strategies["address"][number] = address(spec.scan)


def _roster(specs: "Sequence[StrategySpec] | None") -> "Sequence[StrategySpec]":
    if specs is None:
        from fairwind.engine.strategies import ROSTER

        specs = ROSTER
    assert len(specs) <= STRATEGIES and len(Family) <= 8
    return specs


def _layout(state: State) -> bytes:
    text = repr([(name, t.dtype.descr, t.shape) for name, t in state._asdict().items()])
    return hashlib.sha256(text.encode()).digest()[:16]


def snapshot(state: State) -> bytes:
    """The whole state as bytes: a 16-byte mark of the layout, then every table in order.

    Addresses of strategies are left out: they mean nothing in another process.
    """
    strategies = state.strategies.copy()
    strategies["address"] = 0
    tables = state._replace(strategies=strategies)
    return _layout(state) + b"".join(table.tobytes() for table in tables)


def restore(data: bytes, specs: "Sequence[StrategySpec] | None" = None) -> State:
    """The State that `snapshot` wrote; Corrupt when the layout is another one."""
    state = fresh(specs)
    if data[:16] != _layout(state):
        raise Corrupt("snapshot: written by another version; delete it, the journal rebuilds it")
    at = 16
    for table in state:
        end = at + table.nbytes
        table.view(np.ndarray).reshape(-1).view(np.uint8)[:] = np.frombuffer(data[at:end], np.uint8)
        at = end
    if at != len(data):
        raise Corrupt(f"snapshot: expected {at} bytes, found {len(data)}; delete it")
    bind(state, _roster(specs))
    return state
