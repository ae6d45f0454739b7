"""Which windows to follow, and from what the venue says about one to its Market, verified.

In: the time; Gamma's market or event object. Out: slugs, a Market, a result. Never here: a request;
a market whose metadata contradicts its slug, or whose rules are of another generation.
"""

from collections.abc import Iterable

import msgspec

from fairwind.core.errors import BadInput
from fairwind.core.events import HORIZONS_S
from fairwind.core.ids import parse_slug, series_name, slug
from fairwind.core.units import PRICE_ONE_E4, SECOND_NS
from fairwind.feeds.books import Market
from fairwind.feeds.frames import (
    BadFrame,
    Reason,
    decimal,
    decoded,
    rfc3339_ns,
    shares,
    tick_size,
)
from fairwind.feeds.recorded.clob_wire import Schedule

OUTCOMES = ["Up", "Down"]
GENERATION = "v1"
"""Markets of a later generation have other contracts and another order format."""
UTC_HORIZONS_S = (300, 900)
"""Longer windows start by the clock of New York (venue facts 1.1)."""
WINDOWS_AHEAD = 2
"""Windows that are followed before they start, so that a book stands when one begins."""
AFTER_RESULT_NS = 60 * SECOND_NS
"""Results are repeated for a while."""
WITHOUT_RESULT_NS = 1800 * SECOND_NS
"""After so long a result comes on no stream any more (venue facts, hazard 34)."""


class GammaMarket(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a market object that matter. Lists come as text that contains JSON."""

    slug: str
    conditionId: str
    clobTokenIds: str
    outcomes: str
    eventStartTime: str
    endDate: str
    orderPriceMinTickSize: float
    orderMinSize: float
    negRisk: bool = False
    version: str = GENERATION
    acceptingOrders: bool = False
    closed: bool = False
    feesEnabled: bool = False
    feeSchedule: Schedule | None = None
    outcomePrices: str = ""
    umaResolutionStatus: str = ""


class EventsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list; the last one has no cursor."""

    class Listed(msgspec.Struct, frozen=True, kw_only=True):
        """An event and its markets, as they came."""

        slug: str
        markets: list[msgspec.Raw] = []

    events: list[Listed]
    next_cursor: str | None = None


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    markets: list[GammaMarket]


_gamma = msgspec.json.Decoder(GammaMarket)
_events = msgspec.json.Decoder(_Event)
_pages = msgspec.json.Decoder(EventsPage)
_texts = msgspec.json.Decoder(list[str])


def slugs(series: int, from_ns: int, until_ns: int) -> list[str]:
    """The slugs of the windows of a series that start from `from_ns` on and before `until_ns`.

    BadInput for a series of longer windows than 15 minutes: they follow another calendar.
    """
    horizon_s = HORIZONS_S[series % len(HORIZONS_S)]
    if horizon_s not in UTC_HORIZONS_S:
        raise BadInput(
            f"expected a series of 5- or 15-minute windows, found {series_name(series)};"
            " leave it out"
        )
    step_ns = horizon_s * SECOND_NS
    first_ns = -(-from_ns // step_ns) * step_ns
    return [slug(series, start_ns) for start_ns in range(first_ns, until_ns, step_ns)]


def wanted(series: Iterable[int], now_ns: int, ahead: int = WINDOWS_AHEAD) -> list[str]:
    """The slugs to follow: of each series the running window and the next `ahead`, soonest first.

    BadInput as in `slugs`.
    """
    found: list[tuple[int, str]] = []
    for number in series:
        step_ns = HORIZONS_S[number % len(HORIZONS_S)] * SECOND_NS
        for name in slugs(number, now_ns - step_ns + 1, now_ns + ahead * step_ns + 1):
            found.append((parse_slug(name)[1], name))
    return [name for _, name in sorted(found)]


def is_over(ended_ns: int, resolved: bool, now_ns: int) -> bool:
    """Whether nothing more has to be heard of a window that has its result, or will get none."""
    patience_ns = AFTER_RESULT_NS if resolved else WITHOUT_RESULT_NS
    return now_ns >= ended_ns + patience_ns


def end_ns(market: Market) -> int:
    """When the window ends, ns since the epoch."""
    return market.start_ns + HORIZONS_S[market.series % len(HORIZONS_S)] * SECOND_NS


def result_e4(found: GammaMarket) -> int | None:
    """What one Up share pays, in 1/10000 dollar; None before the result is final.

    Raises BadFrame for a final result that is none.
    """
    if not found.closed or found.umaResolutionStatus != "resolved":
        return None
    paid = [decimal(text, 4) for text in decoded(_texts, found.outcomePrices.encode())]
    _expect(len(paid) == 2 and sum(paid) == PRICE_ONE_E4, "two payouts of a dollar", found)
    return paid[0]


def events_page(payload: bytes) -> EventsPage:
    """A page of Gamma's list of events. Raises BadFrame."""
    return decoded(_pages, payload)


def gamma_market(payload: bytes) -> GammaMarket:
    """The market object, or the only market of an event object. Raises BadFrame."""
    try:
        return decoded(_gamma, payload)
    except BadFrame as error:
        if error.reason != Reason.SHAPE:
            raise
        try:
            (market,) = decoded(_events, payload).markets
        except (BadFrame, ValueError):
            raise error from None
        return market


def from_gamma(found: GammaMarket, number: int) -> Market:
    """The Market with this engine number. BadFrame when the object contradicts its own slug."""
    series, start_ns = _window(found.slug)
    length_ns = HORIZONS_S[series % len(HORIZONS_S)] * SECOND_NS
    ended_ns = rfc3339_ns(found.endDate)
    _expect(rfc3339_ns(found.eventStartTime) == start_ns, "a start as in the slug", found)
    _expect(ended_ns == start_ns + length_ns, "an end one horizon after the start", found)
    _expect(decoded(_texts, found.outcomes.encode()) == OUTCOMES, "the outcomes Up, Down", found)
    _expect(found.version == GENERATION and not found.negRisk, "a market of this kind", found)
    up, down = _tokens(decoded(_texts, found.clobTokenIds.encode()))
    fees = found.feeSchedule if found.feesEnabled else None
    return Market(
        number=number,
        series=series,
        start_ns=start_ns,
        condition_id=found.conditionId,
        up=up,
        down=down,
        tick_e4=tick_size(str(found.orderPriceMinTickSize)),
        min_size_micro=shares(str(found.orderMinSize)),
        fee_rate_e6=None if fees is None else decimal(str(fees.rate), 6),
        fee_exponent=1 if fees is None else decimal(str(fees.exponent), 0),
    )


def _window(name: str) -> tuple[int, int]:
    try:
        return parse_slug(name)
    except BadInput as error:
        raise BadFrame(Reason.SHAPE, "a window's slug", name) from error


def _tokens(found: list[str]) -> tuple[str, str]:
    _expect(len(found) == 2 and found[0] != found[1] and all(found), "two tokens", found)
    return found[0], found[1]


def _expect(true: bool, expected: str, found: object) -> None:
    if not true:
        raise BadFrame(Reason.RANGE, expected, found)
