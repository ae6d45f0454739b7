"""A run to be looked at, with trades that won, that lost, that were refused and that came too late.

In: a folder. Out: the run, closed: an hour of a generated market, with what two operators did.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from fairwind import __version__
from fairwind.core.config import Capital, Config, configure
from fairwind.core.controls import AnyControl, Deposit, Enable, SetMultiplier, encode
from fairwind.core.events import Events, Kind
from fairwind.core.units import SECOND_NS
from fairwind.engine.run import roster
from fairwind.journal import file
from fairwind.run.loop import Session
from fairwind.world.generator import generate
from fairwind.world.knobs import Knobs
from fairwind.world.server.tape import tape

TRADED = ("BTC_5M", "ETH_5M", "BTC_15M")
LATE = "SOL_5M"
"""It may trade towards the end of some windows only, and then no order arrives in time."""
WINDOWS = 13
WINDOW_NS = 300 * SECOND_NS
LATE_FROM_NS, LATE_UNTIL_NS = 55 * SECOND_NS, 20 * SECOND_NS
"""Before the end of such a window."""
SLOW_MS = 60_000.0
EAGER: dict[str, float | bool] = {
    "entry_cooldown": 20.0,
    "max_positions": 2.0,
    "trades_per_window": 2.0,
    "edge_min": -100.0,
    "coinflip_band": 0.0,
    "edge_stderrs": 0.0,
    "streak_losses": 1000.0,
    "loss_cooldown": 0.0,
    "order_min": 1.0,
    "price_low": 500.0,
    "price_high": 9_500.0,
    "kelly_fraction": 0.5,
}
"""So that it trades often, at good prices and at bad ones."""
TARDY = EAGER | {"trades_per_window": 1.0, "edge_min": -500.0, "enabled": False}


def traded(run: Path, seed: int = 11) -> Path:
    """The same run for the same seed."""
    knobs = Knobs(
        seed=seed,
        windows=WINDOWS,
        series=(*TRADED, LATE),
        history_s=120,
        quote_rate=0.03,
        planted_edge=0.04,
        spot_rate=4.0,
    )
    events = tape(generate(knobs))
    payloads: dict[int, bytes] = {}
    given = []
    for at_ns, control in _asked(events):
        event, payload = encode(at_ns, control)
        payloads[int(event["price"][0])] = payload
        given.append(event)
    joined = np.concatenate([*given, events])
    ordered = joined[np.argsort(joined["ts_ns"], kind="stable")]
    names = tuple(spec.id for spec in roster())
    meta = file.Meta(
        code=__version__, created_ns=int(events["ts_ns"][0]), source="traded", strategies=names
    )
    session = Session(run, meta)
    for part in np.array_split(ordered, 200):
        session.feed(part, payloads)
    session.close()
    return run


def _asked(events: Events) -> Iterator[tuple[int, AnyControl]]:
    """The settings, then what operators asked for, with times."""
    begin_ns = int(events["ts_ns"][0])
    config = Config(
        capital=Capital(deposit=2_000.0, drawdown_stop=1.0),
        strategies=dict.fromkeys(TRADED, EAGER) | {LATE: TARDY},
    )
    settled = configure(config)
    for control in settled:
        yield begin_ns, control
    first_ns = int(events["ts_source_ns"][events["kind"] == Kind.LISTED].min())
    for window in (3, 6, 9):
        end_ns = first_ns + window * WINDOW_NS
        for at_ns, late in ((end_ns - LATE_FROM_NS, True), (end_ns - LATE_UNTIL_NS, False)):
            latency_ms = SLOW_MS if late else config.realism.latency_ms
            yield at_ns, replace(settled[0], latency_ms=latency_ms, operator="anna")
            yield at_ns, Enable(strategy=LATE, enabled=late, operator="anna")
    middle_ns = first_ns + WINDOW_NS * WINDOWS // 2
    yield middle_ns, SetMultiplier(strategy="ETH_5M", value=0.5, operator="ben")
    yield middle_ns, Deposit(amount_micro=250_000_000, operator="ben")
