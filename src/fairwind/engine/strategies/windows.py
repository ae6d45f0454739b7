"""Fair value against the book, in one window market: BTC_5M, ETH_5M, SOL_5M and the 15m sisters.

Hypothesis: short windows are priced by people and slow makers; the settlement stream's own
distribution, given spot, volatility and how much of the average is already known, is sometimes
worth more than the book asks after fee and spread.
Signal: P(Up) less the average price of the depth we would take less the fee, for either side;
the better side, if it clears the required edge and one standard error.
Exits: hold to resolution, where redemption is free.
Must not trade: without a strike, on stale or contradictory inputs, outside the price band, near
0.5 without a double edge, in the last seconds, twice in a window (all of these are gates).
"""

import numpy as np

from fairwind.core.events import ASSETS, HORIZONS_S
from fairwind.core.holds import Hold
from fairwind.core.ids import series, series_name
from fairwind.core.outputs import Family, Unit
from fairwind.engine import gates
from fairwind.engine.contract import On, Parameter, StrategySpec

_NO_EDGE = np.uint64(1 << Hold.EDGE_BELOW_THRESHOLD)
_UNCERTAIN = np.uint64(1 << Hold.UNCERTAINTY)
_EDGE_MIN, _STDERRS = gates.EDGE_MIN, gates.EDGE_STDERRS
_BUY, _UP, _DOWN = 1, 0, 1


def scan(market, position, parameter, memory, signal):  # type: ignore[no-untyped-def]
    """The better side of fair value against the price of the depth, after fee."""
    fair = market.fair_up
    signal.required = parameter[_EDGE_MIN] * 1e-4
    signal.threshold = parameter[_EDGE_MIN]
    if not 0.0 <= fair <= 1.0:
        return _UNCERTAIN  # no strike or no volatility yet
    up = fair - market.eff_up - market.fee_up if market.depth_up_micro > 0 else -1.0
    down = 1.0 - fair - market.eff_down - market.fee_down if market.depth_down_micro > 0 else -1.0
    signal.side = _UP if up >= down else _DOWN
    signal.net_edge = max(up, down)
    signal.stderr = market.fair_stderr
    signal.price = market.eff_up if up >= down else market.eff_down
    uncertain = parameter[_STDERRS] * market.fair_stderr
    signal.required = max(parameter[_EDGE_MIN] * 1e-4, uncertain)
    signal.score = signal.net_edge * 1e4
    signal.threshold = signal.required * 1e4
    # The worst acceptable price keeps the required edge: fair value less fee less that edge.
    signal.limit = signal.price + signal.net_edge - signal.required
    if signal.net_edge < parameter[_EDGE_MIN] * 1e-4:
        return _NO_EDGE
    if signal.net_edge < uncertain:
        return _UNCERTAIN
    signal.wish = _BUY
    return np.uint64(0)


_FIFTEEN_MINUTES = {
    "spread_max": 700.0,
    "entry_cutoff": 45.0,
    "book_budget": 1.5,
    "max_positions": 2.0,
    "trades_per_window": 2.0,
}


def _spec(asset: int, horizon: int) -> StrategySpec:
    changed = _FIFTEEN_MINUTES if HORIZONS_S[horizon] == 900 else {}
    number = series(asset, horizon)
    return StrategySpec(
        id=series_name(number),
        family=Family.FAIR_VALUE,
        unit=Unit.EDGE_E4,
        series=number,
        subscriptions=On.SPOT | On.REFERENCE | On.TOP | On.TIMER | On.FAIR,
        parameters=tuple(
            Parameter(p.name, p.unit, changed.get(p.name, p.default), p.low, p.high)
            for p in gates.COMMON
        ),
        scan=scan,
        enabled=series_name(number) != "SOL_15M",
    )


SPECS = tuple(
    _spec(asset, horizon) for horizon in (0, 1) for asset in range(ASSETS.index("SOL") + 1)
)
