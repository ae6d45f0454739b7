"""From what the venue says about a market to the Market that its frames need, verified.

In: Gamma's market or event object, or a `new_market` message. Out: a Market. Never here: a request;
a market whose metadata contradicts its slug, or whose rules are of another generation.
"""

import msgspec

from fairwind.core.errors import BadInput
from fairwind.core.events import HORIZONS_S
from fairwind.core.ids import parse_slug, slug
from fairwind.core.units import SECOND_NS
from fairwind.feeds.books import Market
from fairwind.feeds.frames import (
    BadFrame,
    Reason,
    contract_price,
    decimal,
    decoded,
    rfc3339_ns,
    shares,
)
from fairwind.feeds.recorded.clob_wire import NewMarket, Schedule

OUTCOMES = ["Up", "Down"]
GENERATION = "v1"
"""Markets of a later generation have other contracts and another order format."""


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


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    markets: list[GammaMarket]


_gamma = msgspec.json.Decoder(GammaMarket)
_events = msgspec.json.Decoder(_Event)
_texts = msgspec.json.Decoder(list[str])


def slugs(series: int, from_ns: int, until_ns: int) -> list[str]:
    """The slugs of the windows of a series that start from `from_ns` on and before `until_ns`.

    For windows of 5 and 15 minutes: longer ones follow another calendar (venue facts 1.1).
    """
    step_ns = HORIZONS_S[series % len(HORIZONS_S)] * SECOND_NS
    first_ns = -(-from_ns // step_ns) * step_ns
    return [slug(series, start_ns) for start_ns in range(first_ns, until_ns, step_ns)]


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
    end_ns = start_ns + HORIZONS_S[series % len(HORIZONS_S)] * SECOND_NS
    _expect(rfc3339_ns(found.eventStartTime) == start_ns, "a start as in the slug", found)
    _expect(rfc3339_ns(found.endDate) == end_ns, "an end one horizon after the start", found)
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
        tick_e4=contract_price(str(found.orderPriceMinTickSize)),
        min_size_micro=shares(str(found.orderMinSize)),
        fee_rate_e6=None if fees is None else decimal(str(fees.rate), 6),
        fee_exponent=1 if fees is None else decimal(str(fees.exponent), 0),
    )


def from_new_market(found: NewMarket, number: int) -> Market | None:
    """The Market of a `new_market` message; None when it is of another kind. Raises BadFrame."""
    try:
        series, start_ns = parse_slug(found.slug)
    except BadInput:
        return None
    _expect(found.outcomes == OUTCOMES, "the outcomes Up, Down", found)
    up, down = _tokens(found.clob_token_ids)
    fees = found.fee_schedule if found.fees_enabled else None
    return Market(
        number=number,
        series=series,
        start_ns=start_ns,
        condition_id=found.market,
        up=up,
        down=down,
        tick_e4=contract_price(found.order_price_min_tick_size),
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
