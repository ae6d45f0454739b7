"""A synthetic market with known truth: seeded, in process, the same bytes for the same knobs.

In: knobs. Out: a world = its events in receipt order, what is true of every window, and what was
assumed. Never here: the engine, a clock, sockets.
"""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fairwind.core import ids, rules
from fairwind.core.events import ASSETS, HORIZONS_S, Events, Kind, Side, Source, empty, in_order
from fairwind.core.units import MILLISECOND_NS, PRICE_ONE_E4, SECOND_NS, SHARE_MICRO
from fairwind.world import makers, market, oracle, spot
from fairwind.world.knobs import Knobs, check, series_numbers, start_ns, stream

LISTED_BEFORE_S = 60
TAIL_S = 10
LATE_RESULT_S = 21.0
CHANGES_PER_S = 200.0
TRADES_PER_S = 5.0
MIN_SHARES = 5
TICK_E4 = 100
AVERAGE_NEEDS_S = 60

ASSUMPTIONS = (
    "prices, books and trades are generated, not recorded; volatility is the knob's",
    "makers know the true variance to come, so the fair value of a window is exact",
    "the oracle reads the true price at whole seconds; its averages are exact",
    "the book stops when its window ends; no resting order is ever matched by the generator",
    "one receipt lag (9 ms median) for book and spot; one connection each, so order is kept",
)


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of one window."""

    slug: str
    market: int
    series: int
    start_ns: int
    end_ns: int
    averaging_s: int
    strike: tuple[int, int]  # value_e8, remainder_e18
    final: tuple[int, int]
    payout_e4: int  # of one Up share
    fair: NDArray[np.float64]  # true P(Up) at every second from 60 s before the start to the end

    def fair_at(self, ts_ns: int) -> float:
        """True P(Up) at the last whole second at or before a time within the window's life."""
        return float(self.fair[(ts_ns - self.start_ns) // SECOND_NS + LISTED_BEFORE_S])


class World(NamedTuple):
    """A generated session."""

    knobs: Knobs
    events: Events
    truth: tuple[Window, ...]
    regimes: dict[str, NDArray[np.uint8]]  # per asset: regime number at every second of history
    slugs: tuple[str, ...]
    assumptions: tuple[str, ...]


class Asset(NamedTuple):
    """One asset's truth and its oracle streams by averaging seconds."""

    path: spot.Path
    prints: dict[int, oracle.Print]


def generate(knobs: Knobs) -> World:
    """The world of the knobs. BadConfig when a knob is out of bounds."""
    check(knobs)
    numbers = series_numbers(knobs)
    listed = listing(knobs, numbers)
    first_ns = start_ns(knobs) - knobs.history_s * SECOND_NS
    end_ns = max(start + horizon_ns(number) for number, start in listed)
    boundaries = {(number, start): averaging(number, start) for number, start in listed}
    assets: dict[int, Asset] = {}
    parts: list[Events] = []
    for asset in sorted({number // len(HORIZONS_S) for number in numbers}):
        lengths = {a for (number, _), a in boundaries.items() if number // len(HORIZONS_S) == asset}
        assets[asset] = asset_truth(knobs, asset, lengths, (first_ns, end_ns))
        parts.append(spot.spot_events(knobs, assets[asset].path, asset, first_ns))
        parts += [
            oracle.reference_events(knobs, printed, asset, first_ns)
            for printed in assets[asset].prints.values()
        ]
    truth = []
    for market_number, (number, start) in enumerate(listed):
        window, events = window_of(knobs, assets, market_number, number, start)
        truth.append(window)
        parts += events
    since = AVERAGE_NEEDS_S * spot.STEPS
    return World(
        knobs,
        in_order(np.concatenate(parts)),
        tuple(truth),
        {ASSETS[a]: assets[a].path.regime[since :: spot.STEPS] for a in assets},
        tuple(window.slug for window in truth),
        ASSUMPTIONS,
    )


def horizon_ns(number: int) -> int:
    """Length of a window of the series."""
    return HORIZONS_S[number % len(HORIZONS_S)] * SECOND_NS


def listing(knobs: Knobs, numbers: list[int]) -> list[tuple[int, int]]:
    """(series, start) of every window, in the order in which they are listed."""
    start = start_ns(knobs)
    stop = start + knobs.windows * min(horizon_ns(number) for number in numbers)
    windows = [
        (begin, place, number)
        for place, number in enumerate(numbers)
        for begin in range(start, stop, horizon_ns(number))
    ]
    return [(number, begin) for begin, _, number in sorted(windows)]


def asset_truth(knobs: Knobs, asset: int, lengths: set[int], span_ns: tuple[int, int]) -> Asset:
    """The asset's path and its oracle streams (points, and the averages that settle windows)."""
    first_ns, end_ns = span_ns
    t0_ns = first_ns - AVERAGE_NEEDS_S * SECOND_NS
    steps = (end_ns - t0_ns) // spot.STEP_NS + TAIL_S * spot.STEPS
    path = spot.path(knobs, asset, t0_ns, steps)
    shortest_ns = min(horizon_ns(number) for number in series_numbers(knobs))
    lost_ns = start_ns(knobs) + np.array(knobs.lost_boundaries, np.int64) * shortest_ns
    prints = {
        length: oracle.prints(knobs, path, asset, length, lost_ns[lost_ns <= end_ns])
        for length in sorted({0} | lengths)
    }
    return Asset(path, prints)


def window_of(
    knobs: Knobs, assets: dict[int, Asset], market_number: int, number: int, start: int
) -> tuple[Window, list[Events]]:
    """One window's truth and its market events, listing first."""
    asset = number // len(HORIZONS_S)
    path, all_prints = assets[asset]
    end = start + horizon_ns(number)
    printed = all_prints[averaging(number, start)]
    strike, final = printed.at(start), printed.at(end)
    fair = makers.fair(path, path.step(start), path.step(end), printed.averaging_s)
    window = Window(
        slug=ids.slug(number, start),
        market=market_number,
        series=number,
        start_ns=start,
        end_ns=end,
        averaging_s=printed.averaging_s,
        strike=strike,
        final=final,
        payout_e4=PRICE_ONE_E4 if final >= strike else 0,
        fair=fair[:: spot.STEPS],
    )
    first = path.step(start) - LISTED_BEFORE_S * spot.STEPS
    regime = path.regime[first : first + len(fair)]
    delay_ms = 0.0 if knobs.zero_edge else knobs.maker_delay_ms + knobs.planted_lag_ms
    changes = CHANGES_PER_S * knobs.quote_rate / spot.STEPS
    plan = market.Plan(
        market=market_number,
        open_ns=start - LISTED_BEFORE_S * SECOND_NS + round(delay_ms * MILLISECOND_NS),
        changes=changes,
        trade_share=TRADES_PER_S / CHANGES_PER_S,
        flip_steps=round(knobs.tick_flip_s * spot.STEPS),
        wide=knobs.zero_edge,
    )
    book = market.tape(
        plan,
        makers.quoted(knobs, fair, number, start // SECOND_NS),
        np.array([r.liquidity for r in knobs.regimes])[regime],
        stream(knobs, "book", number, start // SECOND_NS),
    )
    return window, [opening(window), book, late_result(knobs, window, printed)]


def opening(window: Window) -> Events:
    """LISTED and the market's own fee schedule, a minute before the window starts."""
    horizon = window.series % len(HORIZONS_S)
    fee = rules.in_force(rules.RuleKind.FEE, horizon, window.start_ns)
    events = empty(2)
    events["ts_ns"] = window.start_ns - LISTED_BEFORE_S * SECOND_NS
    events["source"] = Source.POLYMARKET
    events["market"] = window.market
    events["side"] = Side.NONE
    events["kind"] = (Kind.LISTED, Kind.FEES)
    events["ref"] = (window.series, 0)
    events["ts_source_ns"] = (window.start_ns, window.start_ns)
    events["price"] = (TICK_E4, fee.a)
    events["size"] = (MIN_SHARES * SHARE_MICRO, fee.b)
    return events


def late_result(knobs: Knobs, window: Window, printed: oracle.Print) -> Events:
    """RESOLVED by the venue, only where a print that settles the window was lost to us."""
    boundaries = [printed.second(window.start_ns), printed.second(window.end_ns)]
    if printed.averaging_s == 0 or bool(printed.kept[boundaries].all()):
        return empty(0)
    lag_s = LATE_RESULT_S * float(stream(knobs, "result", window.market).uniform(0.75, 4.0))
    events = empty(1)
    events["ts_ns"] = events["ts_source_ns"] = window.end_ns + round(lag_s * SECOND_NS)
    events["kind"] = Kind.RESOLVED
    events["source"] = Source.POLYMARKET
    events["market"] = window.market
    events["side"] = Side.NONE
    events["price"] = window.payout_e4
    return events


def averaging(number: int, start: int) -> int:
    """Averaging seconds of the stream that settles a window of the series, by its start."""
    return rules.in_force(rules.RuleKind.SETTLEMENT, number % len(HORIZONS_S), start).a
