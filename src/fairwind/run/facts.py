"""What the engine's state says for a status: its windows, the prices of its assets, its money.

In: a state, between two batches. Out: facts for `health.Watch`. Never here: a change of the
state, a judgement.
"""

from collections.abc import Mapping

from fairwind.core.events import ASSETS
from fairwind.engine import gates
from fairwind.engine.ledger import BROKEN
from fairwind.engine.state import State
from fairwind.run.health import Asset, Engine, Market
from fairwind.views.names import active, slug_of
from fairwind.views.windows import budget_ns, is_valid

UNKNOWN = -1
"""A strike that has not been read."""


def markets(state: State, followed: Mapping[str, int]) -> tuple[Market, ...]:
    """Every window without a result; `followed` gives since when, by slug, else from its start."""
    found = []
    for slot in active(state):
        row = state.record.markets[slot]
        start_ns, name = int(row["start_ns"]), slug_of(row)
        held = state.record.positions[:, slot]
        found.append(
            Market(
                name=name,
                start_ns=start_ns,
                end_ns=int(row["end_ns"]),
                followed_ns=followed.get(name, start_ns),
                valid=is_valid(row),
                book_ns=int(row["book_ts_ns"]),
                book_budget_ns=budget_ns(state, int(row["series"]), gates.BOOK_BUDGET),
                seen_ns=int(state.record.now_ns),
                struck=bool(row["strike_e8"] != UNKNOWN),
                held=bool((held["up_micro"] + held["down_micro"]).any()),
            )
        )
    return tuple(found)


def assets(state: State, now_ns: int) -> tuple[Asset, ...]:
    """The assets that have an open window, with the stream that settles the first of them."""
    found: dict[int, Asset] = {}
    for slot in active(state):
        row = state.record.markets[slot]
        number, series = int(row["asset"]), int(row["series"])
        if number not in found and row["start_ns"] <= now_ns < row["end_ns"]:
            latest = state.record.references[number * 3 + int(row["averaging_s"]) // 30]
            found[number] = Asset(
                name=ASSETS[number],
                spot_ns=int(state.record.assets[number]["spot_ts_ns"]),
                reference_ns=int(latest["ts_ns"]),
                spot_budget_ns=budget_ns(state, series, gates.SPOT_BUDGET),
                reference_budget_ns=budget_ns(state, series, gates.REFERENCE_BUDGET),
            )
    return tuple(found.values())


def engine(state: State, now_ns: int, *, trades: int) -> Engine:
    """Where the engine is; of its journal it knows nothing."""
    record = state.record
    held = record.positions[:, active(state)]
    drawdown = "the day's trailing stop" if record["drawdown"] else ""
    broken = int(state.broken[0])
    return Engine(
        events=state.events(),
        lag_ns=max(now_ns - int(record["now_ns"]), 0),
        equity_micro=int(record["equity_micro"]),
        trades=trades,
        open_positions=int((held["up_micro"] > 0).sum() + (held["down_micro"] > 0).sum()),
        halted="by a control" if record["halted"] else drawdown,
        broken=BROKEN.get(broken, "time went backwards") if broken else "",
    )
