"""Names of windows and series, and their numbers. Pure functions, both ways.

A series is an asset and a horizon (BTC, 5m); a window is a series and a start; its slug is
Polymarket's own (`btc-updown-5m-1787236800`).
"""

import re

from fairwind.core.errors import BadInput
from fairwind.core.events import ASSETS, HORIZON_NAMES, HORIZONS_S
from fairwind.core.units import SECOND_NS

_ALIGNED = ("5m", "15m")
"""Horizons whose windows start on multiples of themselves; the others follow US Eastern time."""
_SLUG = re.compile(r"(?P<asset>[a-z]+)-updown-(?P<horizon>5m|15m|1h|4h)-(?P<start>\d{9,11})")


def series(asset: int, horizon: int) -> int:
    """The series number of an asset number and a horizon number."""
    return asset * len(HORIZONS_S) + horizon


def series_name(number: int) -> str:
    """`BTC_5M` for the series number."""
    asset, horizon = divmod(number, len(HORIZONS_S))
    return f"{ASSETS[asset]}_{HORIZON_NAMES[horizon].upper()}"


def slug(number: int, start_ns: int) -> str:
    """The venue's slug of the window of series `number` that starts at `start_ns`."""
    asset, horizon = divmod(number, len(HORIZONS_S))
    return f"{ASSETS[asset].lower()}-updown-{HORIZON_NAMES[horizon]}-{start_ns // SECOND_NS}"


def parse_slug(text: str) -> tuple[int, int]:
    """(series number, window start in ns) of a slug; BadInput when it is not a window's slug.

    A 5m or 15m window whose start is not a multiple of its horizon is none.
    """
    match = _SLUG.fullmatch(text)
    if match is None or match["asset"].upper() not in ASSETS:
        raise BadInput(f"expected a window slug like btc-updown-5m-1787236800, found {text!r}")
    asset = ASSETS.index(match["asset"].upper())
    horizon = HORIZON_NAMES.index(match["horizon"])
    start_s = int(match["start"])
    if match["horizon"] in _ALIGNED and start_s % HORIZONS_S[horizon]:
        raise BadInput(
            f"expected a window slug whose start is a multiple of {HORIZONS_S[horizon]} s,"
            f" found {text!r}"
        )
    return series(asset, horizon), start_s * SECOND_NS
