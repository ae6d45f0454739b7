"""The bench's records as Fairwind's events: one event per record, in Up terms.

In: records (dtype job.RECORD). Out: events (dtype EVENT) and the payloads of the controls that
start a run. Never here: a record left out because its mirror image was there already.
"""

import numpy as np
from job import CLEAR, DELTA, OPEN, RESOLVE, SHARES, SPOT, TRADE, WINDOW_NS
from numpy.typing import NDArray

from fairwind.core import controls
from fairwind.core.events import EVENT, Events, Kind, Side, Source
from fairwind.core.ids import series

KINDS = {
    OPEN: Kind.LISTED,
    CLEAR: Kind.CLEAR,
    DELTA: Kind.LEVEL,
    TRADE: Kind.TRADE,
    SPOT: Kind.SPOT,
    RESOLVE: Kind.RESOLVED,
}
EXTRA_PER_WINDOW = 2  # FEES, and the REFERENCE print that the strike is read from
CASH_MICRO = 100_000_000_000


def events_of(records: NDArray[np.void]) -> Events:
    """All records as events, with the two extra events after each listing."""
    kind, token = records["kind"], records["token"]
    down = (token % 2 == 1) & (kind != SPOT)
    events = np.zeros(len(records), EVENT)
    events["ts_ns"] = events["ts_source_ns"] = records["ts"]
    events["kind"] = np.array([KINDS.get(k, 0) for k in range(RESOLVE + 1)], np.uint8)[kind]
    events["source"] = np.where(kind == SPOT, Source.COINBASE, Source.POLYMARKET)
    events["market"] = np.where(kind == SPOT, 0, token // 2)
    events["side"] = np.where(down, 1 - records["side"], records["side"])
    events["price"] = np.where(down, 100 - records["px"], records["px"]).astype(np.int64) * 100
    events["size"] = records["size"]
    spot = kind == SPOT
    events["price"][spot] = records["px"][spot].astype(np.int64) * 1_000_000
    at = np.flatnonzero(kind == OPEN)
    start = records["ts"][at] // WINDOW_NS * WINDOW_NS
    events["ts_source_ns"][at] = start
    events["ref"][at] = series(0, 0)
    events["price"][at] = 100  # the tick
    events["size"][at] = SHARES * 1_000_000
    events["side"][(kind == OPEN) | (kind == CLEAR) | (kind == RESOLVE)] = Side.NONE
    return np.insert(events, np.repeat(at + 1, EXTRA_PER_WINDOW), extras(records[at], start))


def extras(opens: NDArray[np.void], start: NDArray[np.int64]) -> Events:
    """The fee schedule and the strike's print, one pair per window."""
    pairs = np.zeros((len(opens), EXTRA_PER_WINDOW), EVENT)
    pairs["ts_ns"] = opens["ts"][:, None]
    pairs["side"] = Side.NONE
    fees, prints = pairs[:, 0], pairs[:, 1]
    fees["kind"], fees["source"] = Kind.FEES, Source.POLYMARKET
    fees["market"] = opens["token"] // 2
    fees["price"], fees["size"] = 70_000, 1
    prints["kind"], prints["source"] = Kind.REFERENCE, Source.REFERENCE
    prints["ts_source_ns"] = start
    prints["price"] = opens["px"].astype(np.int64) * 1_000_000
    return pairs.reshape(-1)


def beginning(*, realism: bool) -> tuple[Events, dict[int, bytes]]:
    """The controls that start a run, as events at time 0, and their payloads by id."""
    wide = dict.fromkeys(
        ("cap_strategy", "cap_family", "cap_underlying", "cap_direction", "cap_utilization"), 1.0
    )
    plain = {"latency_ms": 0.0, "taker_delay": False, "own_consumption": False, "queue": False}
    configure = controls.Configure(**wide, drawdown_stop=1.0, **({} if realism else plain))
    wanted = (configure, controls.Deposit(amount_micro=CASH_MICRO))
    encoded = [controls.encode(0, control) for control in wanted]
    payloads = {int(event["price"][0]): payload for event, payload in encoded}
    return np.concatenate([event for event, _ in encoded]), payloads
