"""What a synthetic market may be told: one frozen struct of knobs, checked once.

In: numbers as a user writes them. Out: the same, known to be usable, and one independent random
stream per purpose. Never here: a default that plants an edge.
"""

from datetime import datetime

import msgspec
import numpy as np

from fairwind.core import rules
from fairwind.core.errors import BadConfig
from fairwind.core.events import ASSETS, HORIZON_NAMES, HORIZONS_S
from fairwind.core.ids import series
from fairwind.core.units import SECOND_NS


class Regime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One state of the market: multipliers of the knobs' own figures."""

    name: str
    volatility: float = 1.0
    drift: float = 0.0  # times `trend`, with a sign drawn at each entry
    bounce: float = 1.0
    liquidity: float = 1.0


REGIMES = (
    Regime(name="trend", drift=1.0),
    Regime(name="mean-revert", bounce=5.0),
    Regime(name="high-vol", volatility=1.8),
    Regime(name="thin-liquidity", liquidity=0.25),
    Regime(name="chop", volatility=0.7, bounce=3.0),
)
TRANSITIONS = (
    (0.0, 0.3, 0.2, 0.1, 0.4),
    (0.3, 0.0, 0.1, 0.1, 0.5),
    (0.4, 0.2, 0.0, 0.2, 0.2),
    (0.2, 0.2, 0.2, 0.0, 0.4),
    (0.4, 0.4, 0.1, 0.1, 0.0),
)


class Knobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A synthetic session. The same knobs give the same bytes.

    `windows` counts windows of the shortest series; longer series get those that start within.
    """

    seed: int = 0
    start: str = "2026-10-05T00:00:00Z"
    windows: int = 12
    series: tuple[str, ...] = ("BTC_5M",)
    history_s: int = 240  # spot and oracle before the first window, to learn volatility from
    # price
    spot: float = 100_000.0  # of every asset
    volatility: float = 0.45  # per root year
    volatility_of_volatility: float = 0.3  # stationary deviation of its logarithm
    volatility_half_life_s: float = 600.0
    regimes: tuple[Regime, ...] = REGIMES
    transitions: tuple[tuple[float, ...], ...] = TRANSITIONS
    regime_dwell_s: float = 120.0
    trend: float = 0.0  # drift of a trend over 300 s, in deviations of a 300 s move
    jumps_per_hour: float = 2.0
    jump_bp: float = 4.0
    bounce_bp: float = 0.03  # scatter of a spot print around the efficient price
    spot_rate: float = 10.0  # prints per second
    # oracle
    reference_lag_s: float = 1.64  # median from observation to receipt
    reference_lag_p95_s: float = 2.23
    missing_print_rate: float = 0.02
    lost_boundaries: tuple[int, ...] = ()  # k: the prints `k` shortest horizons after the start
    # makers
    quote_rate: float = 0.1  # 1.0 is the measured rate, about 200 Up level changes per second
    quote_noise: float = 0.003  # deviation of the makers' error, dollars per share
    maker_delay_ms: float = 50.0
    planted_lag_ms: float = 0.0  # further delay of the makers
    planted_edge: float = 0.0  # how far quotes are off for stretches, dollars per share
    stretch_s: float = 30.0  # mean length of such a stretch
    zero_edge: bool = False  # makers quote the exact fair value at once, at least a tick away
    tick_flip_s: float = 10.0  # how long a price must stay extreme before the tick flips


def start_ns(knobs: Knobs) -> int:
    """Start of the first window. BadConfig unless it is a time with a zone, whole seconds."""
    try:
        start = datetime.fromisoformat(knobs.start)
    except ValueError as error:
        raise BadConfig(f"start: expected a time like 2026-10-05T00:00:00Z: {error}") from error
    if start.tzinfo is None or start.microsecond:
        raise BadConfig(f"start: expected whole seconds and a zone (Z), found {knobs.start!r}")
    return int(start.timestamp()) * SECOND_NS


def series_numbers(knobs: Knobs) -> list[int]:
    """Series numbers of the names in `series`. BadConfig names the first unknown one."""
    known = {
        f"{asset}_{name.upper()}": series(asset_number, horizon)
        for asset_number, asset in enumerate(ASSETS)
        for horizon, name in enumerate(HORIZON_NAMES)
    }
    for name in knobs.series:
        if name not in known:
            raise BadConfig(f"series: expected names like BTC_5M or ETH_15M, found {name!r}")
    if not knobs.series or len(set(knobs.series)) < len(knobs.series):
        raise BadConfig(f"series: expected distinct names, found {list(knobs.series)}")
    return [known[name] for name in knobs.series]


def check(knobs: Knobs) -> None:
    """BadConfig for the first knob that cannot be used, with its bounds."""
    longest_ns = max(HORIZONS_S[n % len(HORIZONS_S)] for n in series_numbers(knobs)) * SECOND_NS
    for name, number in zip(knobs.series, series_numbers(knobs), strict=True):
        horizon = number % len(HORIZONS_S)
        if rules.in_force(rules.RuleKind.SETTLEMENT, horizon, start_ns(knobs)).a < 0:
            raise BadConfig(f"series: {name} settles on a source that is not generated; leave it")
    if start_ns(knobs) % longest_ns:
        raise BadConfig(f"start: expected a multiple of the longest window, found {knobs.start}")
    bounds = {
        "seed": (0, 2**63 - 1),
        "windows": (1, 10_000),
        "history_s": (120, 3600),
        "spot": (0.01, 1e6),
        "volatility": (0.01, 10.0),
        "volatility_of_volatility": (0.0, 2.0),
        "volatility_half_life_s": (1.0, 1e6),
        "regime_dwell_s": (1.0, 1e6),
        "trend": (0.0, 5.0),
        "jumps_per_hour": (0.0, 3600.0),
        "jump_bp": (0.0, 500.0),
        "bounce_bp": (0.0, 50.0),
        "spot_rate": (0.1, 1000.0),
        "reference_lag_s": (0.01, 60.0),
        "reference_lag_p95_s": (knobs.reference_lag_s, 600.0),
        "missing_print_rate": (0.0, 0.9),
        "quote_rate": (0.001, 100.0),
        "quote_noise": (0.0, 0.1),
        "maker_delay_ms": (0.0, 10_000.0),
        "planted_lag_ms": (0.0, 10_000.0),
        "planted_edge": (0.0, 0.3),
        "stretch_s": (0.1, 1e6),
        "tick_flip_s": (0.0, 1e6),
    }
    for name, (low, high) in bounds.items():
        if not low <= getattr(knobs, name) <= high:
            raise BadConfig(f"{name}: expected {low} to {high}, found {getattr(knobs, name)}")
    if knobs.zero_edge and (knobs.planted_edge or knobs.planted_lag_ms):
        raise BadConfig("zero_edge excludes planted_edge and planted_lag_ms; set one or the other")
    count = len(knobs.regimes)
    rows = [len(row) == count and abs(sum(row) - 1.0) < 1e-9 for row in knobs.transitions]
    if not count or len(rows) != count or not all(rows):
        raise BadConfig(f"transitions: expected {count} rows of {count} chances that sum to 1")


def stream(knobs: Knobs, purpose: str, *key: int) -> np.random.Generator:
    """The random stream of one purpose; another window or asset does not change it."""
    words = [knobs.seed, *purpose.encode(), *key]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
