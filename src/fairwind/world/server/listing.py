"""What identifies a window market on the wire: ids and titles, all derived from its slug.

In: a series, a start, a number. Out: the listing, the same in every run. Never here: prices.
"""

import hashlib
from datetime import UTC, datetime

import msgspec

from fairwind.core import ids
from fairwind.core.events import ASSETS, HORIZON_NAMES, HORIZONS_S, Outcome
from fairwind.core.units import SECOND_NS

NAMES = {"BTC": "Bitcoin", "ETH": "Ethereum", "SOL": "Solana", "XRP": "XRP", "DOGE": "Dogecoin"}
OUTCOMES = ("Up", "Down")
SERIES_IDS = {"BTC_5M": "10684", "BTC_15M": "10192", "ETH_5M": "10683", "ETH_15M": "10191"}


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One window market."""

    number: int  # the event's market number
    series: int
    slug: str
    listed_ns: int
    start_ns: int
    end_ns: int
    averaging_s: int  # of the settlement stream
    condition_id: str
    question_id: str
    tokens: tuple[str, str]  # Up, Down

    @property
    def id(self) -> str:
        """Gamma's id of the market."""
        return str(5_000_000 + self.number)

    @property
    def event_id(self) -> str:
        """Gamma's id of the event that holds the market."""
        return str(1_000_000 + self.number)

    @property
    def asset(self) -> str:
        """BTC and so on."""
        return ASSETS[self.series // len(HORIZONS_S)]

    @property
    def horizon(self) -> str:
        """5m and so on."""
        return HORIZON_NAMES[self.series % len(HORIZONS_S)]

    @property
    def series_id(self) -> str:
        """Gamma's id of the series; one of our own where the venue's is not known."""
        return SERIES_IDS.get(ids.series_name(self.series), str(20_000 + self.series))

    @property
    def series_slug(self) -> str:
        """Gamma's slug of the series."""
        return f"{self.asset.lower()}-up-or-down-{self.horizon}"

    @property
    def title(self) -> str:
        """`Bitcoin Up or Down - October 5, 12:00AM-12:05AM UTC`; the venue says it in ET."""
        start, end = (datetime.fromtimestamp(ns // SECOND_NS, UTC) for ns in self.span)
        hours = f"{start:%I:%M%p}-{end:%I:%M%p}".replace("-0", "-").removeprefix("0")
        name = NAMES.get(self.asset, self.asset)
        return f"{name} Up or Down - {start:%B} {start.day}, {hours} UTC"

    @property
    def span(self) -> tuple[int, int]:
        """Window start and end, ns."""
        return self.start_ns, self.end_ns

    def outcome(self, token: str) -> Outcome:
        """What the token pays on. ValueError for another market's token."""
        return Outcome(self.tokens.index(token))


def listing(number: int, series: int, start_ns: int, listed_ns: int, averaging_s: int) -> Listing:
    """The window market of a series and a start."""
    slug = ids.slug(series, start_ns)
    return Listing(
        number=number,
        series=series,
        slug=slug,
        listed_ns=listed_ns,
        start_ns=start_ns,
        end_ns=start_ns + HORIZONS_S[series % len(HORIZONS_S)] * SECOND_NS,
        averaging_s=averaging_s,
        condition_id="0x" + derived(slug, "condition").hex(),
        question_id="0x" + derived(slug, "question").hex(),
        tokens=(
            str(int.from_bytes(derived(slug, "Up"), "big")),
            str(int.from_bytes(derived(slug, "Down"), "big")),
        ),
    )


def derived(text: str, purpose: str) -> bytes:
    """32 bytes that look like chance and are the same in every run."""
    return hashlib.sha256(f"{purpose} of {text}".encode()).digest()
