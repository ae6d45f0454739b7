"""The engine's whole state: one record of flat tables, nothing else.

In: the roster. Out: a fresh State, its snapshot as bytes, and a State restored from one.
Never here: an object per market or order, a pointer that a snapshot could not hold.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fairwind.core import rules
from fairwind.core.compiled import INTERPRETED, compiled
from fairwind.core.errors import Corrupt
from fairwind.core.events import ASSETS
from fairwind.core.outputs import TABLES, Family

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
RULES = 64
CAPACITY = 16_384  # rows per output table
ROOM = CAPACITY - 4_096  # rows in all tables from which on the engine asks to be drained

_I = "<i8"
_F = "<f8"


def _table(integers: str, floats: str) -> np.dtype[np.void]:
    """A dtype of 8-byte fields, so that every table is a plain block of words."""
    return np.dtype([(n, _I) for n in integers.split()] + [(n, _F) for n in floats.split()])


MARKET = _table(
    # identity and rules
    "number series asset start_ns end_ns active priced tick_e4 step min_size_micro min_buy_micro "
    "fee_rate_e6 fee_form averaging_s exact_boundary "
    # book; bid and ask are levels, 0 and TOP_LEVEL when that side is empty
    "bid ask valid gap parity book_ts_ns book_ts_source_ns book_sequence consumed resting changed "
    # last trade
    "trade_price_e4 trade_size_micro trade_side "
    # settlement
    "window_state strike_e8 strike_remainder final_e8 final_remainder payout_e4 settled_by "
    "anomaly published confirmed settling_second settling_count "
    # the moment
    "now_ns valued_event valued_ns near reach "
    "bid_e4 ask_e4 bid_size_micro ask_size_micro spread_e4 mid_half_e4 "
    "spot_ts_ns reference_ts_ns depth_up_micro depth_down_micro",
    # dollars, seconds, probabilities
    "left_s spot reference strike settling_sum expected variance "
    "level level_variance variance_per_s volatility_ratio "
    "fair_up fair_stderr fair_delta divergence eff_up eff_down fee_up fee_down",
)
"""All that is known of one window market: what feeds said, and what follows from it."""

ASSET = _table(
    "spot_ts_ns spot_source second samples prints",
    "spot last_sample variance_fast variance_slow basis basis_variance",
)

REFERENCE = _table("value_e8 remainder observed_ns ts_ns", "value")

POSITION = _table(
    "market up_micro down_micro up_cost_micro down_cost_micro fees_micro realised_micro traded "
    "selling_micro entries open_orders last_entry_ns orders "
    "settled_up_micro settled_down_micro scan_own scan_hold scan_side scan_second",
    "",
)
"""One strategy's holdings and order book-keeping in one market."""

STRATEGY = _table(
    "enabled series family subscriptions unit address losses cooldown_until_ns",
    "multiplier",
)

ORDER_ROW = _table(
    "order sequence strategy slot market outcome action type state book_side level limit_e4 "
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
SCANS, ORDER_ROWS, FILLS, POSTINGS, WINDOWS = range(5)
"""Positions of the output tables in `Out.counts`."""
OVERFLOW = 6
"""`broken` code: one event made more outputs than the tables have room for."""


_SCALARS = _table(
    # progress and clock; the simulated exchange; kill switch; what could not be used
    "events now_ns second_ns strategies_used active_used orders_used orders_end "
    "next_due_ns dirty broken "
    "latency_ns taker_delay own_consumption queue "
    "halted drawdown day peak_micro equity_micro "
    "orphans bad_levels duplicates refused_listings refused_controls invalid_scans "
    "anomalies submitted",
    "cap_strategy cap_family cap_underlying cap_direction cap_utilization drawdown_stop",
)

STATE = np.dtype(
    [
        *_SCALARS.descr,
        ("digest", "<u8"),
        ("accounts", _I, (7,)),
        ("used", _I, (BUCKETS,)),
        ("active", _I, (ACTIVE,)),
        ("markets", MARKET, (MARKETS,)),
        ("assets", ASSET, (len(ASSETS),)),
        ("ring", _F, (len(ASSETS), RING)),
        ("references", REFERENCE, (len(ASSETS) * 3,)),
        ("strategies", STRATEGY, (STRATEGIES,)),
        ("parameters", _F, (STRATEGIES, VECTOR)),
        ("memory", _F, (STRATEGIES, VECTOR)),
        ("positions", POSITION, (STRATEGIES, MARKETS)),
        ("orders", ORDER_ROW, (ORDERS,)),
        ("signal", SIGNAL),
        ("rules", rules.RULE, (RULES,)),
        ("books", _I, (MARKETS * 2 * LEVELS,)),
        ("consumed", _I, (MARKETS * 2 * LEVELS,)),
    ]
)
"""The whole engine as one record: compiled code gets one pointer, a snapshot is its bytes."""


def _record(dtype: np.dtype[np.void]) -> tuple[NDArray[Any], Any]:
    """One zeroed record: as the array that compiled code takes, and for access by attribute.

    Interpreted code reaches fields by attribute too, so there both are of the same kind.
    """
    array = np.zeros(1, dtype)
    by_attribute = array.view(np.recarray)
    return (by_attribute if INTERPRETED else array), by_attribute[0]


_UNUSED = {
    "orphans": "events of unknown markets or with impossible values, ignored",
    "bad_levels": "book levels of unknown markets or off the price grid, ignored",
    "duplicates": "listings, prints or results repeated or late",
    "refused_listings": "listings refused",
    "refused_controls": "controls refused",
    "invalid_scans": "scans that broke the contract, held",
    "anomalies": "contradictions of the venue",
}


class State:
    """The engine's state as Python holds it; `record` is what the engine's functions take."""

    def __init__(self) -> None:
        self.array, self.record = _record(STATE)
        self.broken = self.array["broken"]

    def digest(self) -> int:
        """The 64-bit digest over every input and output so far."""
        return int(self.record.digest)

    def events(self) -> int:
        """How many events were consumed so far."""
        return int(self.record.events)

    def unused(self) -> tuple[str, ...]:
        """What could not be used so far and how often, one sentence each."""
        counts = [(int(self.record[name]), what) for name, what in _UNUSED.items()]
        return tuple(f"engine: {count} {what}" for count, what in counts if count)


OUT = np.dtype(
    [
        *((name, table, (CAPACITY,)) for name, table in TABLES.items()),
        ("counts", "<i8", (len(TABLES),)),
        ("rows", "<i8"),
    ]
)
"""Room for outputs as one record; `counts[i]` rows of the i-th table are filled, `rows` in all."""


class Out:
    """Room for outputs as Python holds it; `record` is what the engine's functions take."""

    def __init__(self) -> None:
        self.array, self.record = _record(OUT)
        self._counts = self.array["counts"]
        self._rows = self.array["rows"]

    @classmethod
    def fresh(cls) -> "Out":
        """Empty tables of `CAPACITY` rows."""
        return cls()

    def rows(self) -> dict[str, NDArray[Any]]:
        """The filled rows of every table, as views."""
        plain = self.array.view(np.ndarray)
        counts = self._counts[0]
        return {name: plain[name][0, : counts[at]] for at, name in enumerate(TABLES)}

    def filled(self) -> int:
        """How many rows are filled in all tables."""
        return int(self._rows[0])

    def clear(self) -> None:
        """Forget all rows."""
        self._counts[:] = 0
        self._rows[:] = 0


@compiled
def claim(state, out, table):  # type: ignore[no-untyped-def]
    """Index of the next free row of an output table. A full table halts the engine."""
    at = out.counts[table]
    if at >= CAPACITY - 1:
        state.broken = OVERFLOW
        return at
    out.counts[table] = at + 1
    out.rows += 1
    return at


def fresh(specs: "Sequence[StrategySpec] | None" = None) -> State:
    """An engine that has seen nothing, with the strategies of `specs` (default: the roster)."""
    specs = _roster(specs)
    state = State()
    record = state.record
    record.digest = 0x6A09E667F3BCC908
    record.next_due_ns = np.iinfo(np.int64).max
    record.strategies_used = len(specs)
    record.markets["number"] = -1
    record.rules["kind"] = -1
    table = rules.table()
    record.rules[: len(table)] = table
    defaults(state, specs)
    bind(state, specs)
    return state


def defaults(state: State, specs: "Sequence[StrategySpec]") -> None:
    """Set every strategy's switch, parameters and multiplier to its defaults."""
    for number, spec in enumerate(specs):
        row = state.record.strategies[number]
        row.enabled = spec.enabled
        row.series, row.family, row.unit = spec.series, spec.family, spec.unit
        row.subscriptions = int(spec.subscriptions)
        row.multiplier = 1.0
        for position, parameter in enumerate(spec.parameters):
            state.record.parameters[number, position] = parameter.default


def bind(state: State, specs: "Sequence[StrategySpec]") -> None:
    """Put the strategies' native addresses into the state; they differ in every process."""
    from fairwind.engine.contract import address

    for number, spec in enumerate(specs):
        state.record.strategies[number].address = address(spec.scan)


def _roster(specs: "Sequence[StrategySpec] | None") -> "Sequence[StrategySpec]":
    if specs is None:
        from fairwind.engine.strategies import ROSTER

        specs = ROSTER
    assert len(specs) <= STRATEGIES and len(Family) <= 8
    return specs


def _mark(specs: "Sequence[StrategySpec]") -> bytes:
    text = repr((STATE.descr, [(spec.id, [p.name for p in spec.parameters]) for spec in specs]))
    return hashlib.sha256(text.encode()).digest()[:16]


def snapshot(state: State, specs: "Sequence[StrategySpec] | None" = None) -> bytes:
    """The whole state as bytes: a 16-byte mark of layout and roster, then the record.

    Addresses of strategies are left out: they mean nothing in another process.
    """
    addresses = state.record.strategies["address"].copy()
    state.record.strategies["address"] = 0
    data = _mark(_roster(specs)) + state.array.tobytes()
    state.record.strategies["address"] = addresses
    return data


def restore(data: bytes, specs: "Sequence[StrategySpec] | None" = None) -> State:
    """The State that `snapshot` wrote; Corrupt when it is cut, of another version or of
    another roster."""
    if data[:16] != _mark(_roster(specs)) or len(data) != 16 + STATE.itemsize:
        raise Corrupt(
            f"snapshot: expected {16 + STATE.itemsize} bytes of this version and roster, "
            f"found {len(data)} bytes; delete it, the journal rebuilds it"
        )
    state = State()
    state.array.view(np.uint8)[:] = np.frombuffer(data, np.uint8, offset=16)
    bind(state, _roster(specs))
    return state
