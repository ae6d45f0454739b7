"""A window to be traded under faults, and a strategy that would trade it at any moment.

In: a seed. Out: a tape with generated prices and a book that costs little to play; what trades on
it, and its settings. Never here: a fault.
"""

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from fairwind.core.controls import AnyControl, Configure, Deposit, SetParameter
from fairwind.core.events import Events, Flag, Kind, Side, Source
from fairwind.core.outputs import Family, Unit
from fairwind.core.units import SECOND_NS, SHARE_MICRO
from fairwind.engine.contract import On, StrategySpec
from fairwind.engine.strategies import ROSTER
from fairwind.feeds.frames import Row, as_events, row
from fairwind.world.generator import LISTED_BEFORE_S, Window, generate
from fairwind.world.knobs import Knobs
from fairwind.world.server.tape import tape

BEFORE_NS, LISTED_BEFORE_NS = 20 * SECOND_NS, 16 * SECOND_NS
"""How long before the first window a session begins, and before each window it is listed: after a
session's first look for it, which may not fail."""
WORLDS = 8
QUOTE_NS = SECOND_NS // 2
QUOTES = 16
"""Changes of one level between two moves of the whole book."""


def eager(market, position, parameter, memory, signal):  # type: ignore[no-untyped-def]
    """Wish for something whenever anything changes: takers, makers, exits, cancels, in turn."""
    memory[0] += 1.0
    turn = int(memory[0]) % 32
    signal.side, signal.type = turn % 2, turn // 2 % 4
    signal.wish = 3 if turn == 31 else 2 if turn >= 26 else 1
    signal.net_edge, signal.price = 0.4, 0.5
    signal.shares = 5.0
    bid = (market.mid_half_e4 - market.spread_e4) / 20_000.0
    ask = (market.mid_half_e4 + market.spread_e4) / 20_000.0
    best = bid if signal.side == 0 else 1.0 - ask
    signal.limit = best if signal.type == 3 else 0.01 if signal.wish == 2 else 0.99
    return np.uint64(0)


EAGER = StrategySpec(
    id="EAGER",
    family=Family.ORDER_FLOW,
    unit=Unit.EDGE_E4,
    series=-1,
    subscriptions=On.SPOT | On.REFERENCE | On.TOP | On.TRADE | On.TIMER | On.FAIR,
    parameters=ROSTER[0].parameters,
    scan=eager,
)
SPECS = (ROSTER[0], EAGER)
"""BTC_5M as it is, and one that would trade at any moment if it were allowed to."""
_WIDE = {
    "price_low": 0,
    "price_high": 10_000,
    "coinflip_edge": 0,
    "entry_cutoff": 0,
    "entry_cooldown": 0.5,
    "divergence_max": 10_000,
    "volatility_ratio_max": 1_000,
    "max_positions": 1e6,
    "trades_per_window": 1e6,
    "order_min": 0,
}
CONTROLS: tuple[AnyControl, ...] = (
    Configure(cap_strategy=1, cap_family=1, cap_underlying=1, cap_direction=1, drawdown_stop=1),
    Deposit(amount_micro=10**10),
    *(SetParameter(strategy="EAGER", name=name, value=value) for name, value in _WIDE.items()),
)


class Stage(NamedTuple):
    """A world to play."""

    tape: Events
    windows: Sequence[Window]

    @property
    def begin_ns(self) -> int:
        """When sessions begin."""
        return self.windows[0].start_ns - BEFORE_NS

    @property
    def end_ns(self) -> int:
        """When the last window ends."""
        return self.windows[-1].end_ns

    def wanted(self, now_ns: int) -> list[str]:
        """Slugs of the windows that begin soon and are not over."""
        return [one.slug for one in self.windows if one.start_ns - BEFORE_NS <= now_ns < one.end_ns]


@lru_cache(WORLDS)
def stage(seed: int, windows: int = 1) -> Stage:
    """Generated prices and oracle, and a book that is shallow, off, and costs little to play."""
    knobs = Knobs(seed=seed, windows=windows, history_s=120, spot_rate=2.0, missing_print_rate=0)
    world = generate(knobs)
    kinds, refs = world.events["kind"], world.events["ref"]
    kept = np.isin(kinds, (Kind.LISTED, Kind.FEES, Kind.SPOT))
    kept |= (kinds == Kind.REFERENCE) & (refs == world.truth[0].averaging_s)
    of_listing = np.isin(kinds, (Kind.LISTED, Kind.FEES))
    world.events["ts_ns"][of_listing] += LISTED_BEFORE_S * SECOND_NS - LISTED_BEFORE_NS
    chance = random.Random(seed)
    books = as_events([one for window in world.truth for one in quotes(window, chance)])
    events = np.concatenate([world.events[kept], books])
    return Stage(tape(world._replace(events=events)), world.truth)


def quotes(window: Window, chance: random.Random) -> Iterator[Row]:
    """Three levels a side, moved every eight seconds to somewhere near the fair value."""
    said = partial(row, source=Source.POLYMARKET, market=window.market)
    begin_ns = window.start_ns - LISTED_BEFORE_NS
    middle = 0
    for number, at_ns in enumerate(range(begin_ns, window.end_ns, QUOTE_NS)):
        size = chance.randint(30, 300) * SHARE_MICRO
        side = chance.choice((Side.BID, Side.ASK))
        best = middle + (100 if side == Side.ASK else -100)
        if number % QUOTES == 0:
            fair = window.fair_at(max(at_ns - SECOND_NS, begin_ns))
            middle = min(max(round(fair * 100 + chance.choice((-6, 0, 6))), 5), 95) * 100
            yield said(Kind.CLEAR, at_ns, flags=Flag.MORE)
            prices = [(s, middle + (100 if s else -100) * k) for s in (0, 1) for k in (3, 2, 1)]
            for s, price in prices:
                more = 0 if (s, price) == prices[-1] else Flag.MORE
                yield said(Kind.LEVEL, at_ns, side=s, price=price, size=size, flags=more)
        elif number % 9 == 0:
            yield said(Kind.TRADE, at_ns, side=1 - side, price=best, size=size // 4)
        else:
            yield said(Kind.LEVEL, at_ns, side=side, price=best, size=size)
