"""Gamma: events and markets by slug, in pages and by tag, with strings that contain JSON.

In: the venue's listings. Out: the fields of the real API that name, time, price and settle a
window. Never here: trading.
"""

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from fairwind.core.events import HORIZONS_S, Outcome
from fairwind.core.units import PRICE_ONE_E4, SECOND_NS
from fairwind.world.exchange.orders import decimal
from fairwind.world.server.answers import json_answer, refused, whole
from fairwind.world.server.listing import OUTCOMES
from fairwind.world.server.venue import Venue
from fairwind.world.server.wire import Shown, encode

PAGE = 100
TAG = {"id": "102127", "slug": "up-or-down", "label": "Up or Down"}


class Gamma:
    """The routes of one venue."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue

    def routes(self) -> list[BaseRoute]:
        """Paths as the real API has them."""
        return [
            Route("/events/slug/{slug}", self.event_by_slug),
            Route("/markets/slug/{slug}", self.market_by_slug),
            Route("/events/keyset", self.events_page),
            Route("/markets/keyset", self.markets_page),
            Route("/events", self.events),
            Route("/markets", self.markets),
        ]

    async def event_by_slug(self, request: Request) -> Response:
        """One event with its market."""
        shown = self.venue.slugs.get(request.path_params["slug"])
        return _missing() if shown is None else json_answer(self._event(shown))

    async def market_by_slug(self, request: Request) -> Response:
        """One market with its event's name."""
        shown = self.venue.slugs.get(request.path_params["slug"])
        return _missing() if shown is None else json_answer(self._market_with_event(shown))

    async def events_page(self, request: Request) -> Response:
        """Events after a cursor; the last page has no `next_cursor`."""
        found, cursor = self._page(request)
        return json_answer({"events": [self._event(shown) for shown in found], **cursor})

    async def markets_page(self, request: Request) -> Response:
        """Markets after a cursor; the last page has no `next_cursor`."""
        found, cursor = self._page(request)
        return json_answer(
            {"markets": [self._market_with_event(shown) for shown in found], **cursor}
        )

    async def events(self, request: Request) -> Response:
        """The old list: first events that pass the filters."""
        return json_answer([self._event(shown) for shown in self._page(request)[0]])

    async def markets(self, request: Request) -> Response:
        """The old list: first markets that pass the filters."""
        return json_answer([self._market_with_event(shown) for shown in self._page(request)[0]])

    def _page(self, request: Request) -> tuple[list[Shown], dict[str, str]]:
        """Listings that pass the query's filters, a page of them, and the cursor that follows."""
        query = request.query_params
        closed = query.get("closed", "false").lower() == "true"
        slugs = set(query.getlist("slug"))
        conditions = set(query.getlist("condition_ids"))
        least, most = (query.get(f"end_date_{bound}", "") for bound in ("min", "max"))
        passing = [
            shown
            for shown in self.venue.shown.values()
            if self._closed(shown) == closed
            and (not slugs or shown.listing.slug in slugs)
            and (not conditions or shown.listing.condition_id in conditions)
            and query.get("tag_slug", TAG["slug"]) == TAG["slug"]
            and query.get("series_id", shown.listing.series_id) == shown.listing.series_id
            and (not least or _time(shown.listing.end_ns) >= least)
            and (not most or _time(shown.listing.end_ns) <= most)
        ]
        limit = min(whole(query.get("limit", ""), 20), PAGE)
        first = whole(query.get("after_cursor", ""), 0)
        more = first + limit < len(passing)
        return passing[first : first + limit], {"next_cursor": str(first + limit)} if more else {}

    def _closed(self, shown: Shown) -> bool:
        return self._payout_e4(shown) is not None

    def _payout_e4(self, shown: Shown) -> int | None:
        return self.venue.exchange.markets[shown.listing.condition_id].payout_e4

    def _event(self, shown: Shown) -> dict[str, Any]:
        listing = shown.listing
        closed = self._closed(shown)
        series = {
            "id": listing.series_id,
            "ticker": listing.series_slug,
            "slug": listing.series_slug,
            "title": listing.series_slug.replace("-", " "),
        }
        return {
            "id": listing.event_id,
            "ticker": listing.slug,
            "slug": listing.slug,
            "title": listing.title,
            "description": _description(shown),
            "resolutionSource": _source(shown),
            "startDate": _time(listing.listed_ns),
            "creationDate": _time(listing.listed_ns),
            "endDate": _time(listing.end_ns),
            "startTime": _time(listing.start_ns),
            "active": True,
            "closed": closed,
            "archived": False,
            "restricted": True,
            "enableOrderBook": True,
            "negRisk": False,
            "automaticallyResolved": True,
            "seriesSlug": listing.series_slug,
            "series": [series],
            "tags": [TAG],
            "markets": [self._market(shown)],
        }

    def _market_with_event(self, shown: Shown) -> dict[str, Any]:
        listing = shown.listing
        event = {"id": listing.event_id, "slug": listing.slug, "title": listing.title}
        return {**self._market(shown), "events": [event], "tags": [TAG]}

    def _market(self, shown: Shown) -> dict[str, Any]:
        listing = shown.listing
        place = self.venue.exchange.markets[listing.condition_id]
        payout_e4 = place.payout_e4
        closed = payout_e4 is not None
        bid, ask = shown.best(Outcome.UP)
        last_e4 = place.last_e4 or PRICE_ONE_E4 // 2
        up_e4 = last_e4 if payout_e4 is None else payout_e4
        prices = [decimal(up_e4, 4), decimal(PRICE_ONE_E4 - up_e4, 4)]
        market = {
            "id": listing.id,
            "question": listing.title,
            "conditionId": listing.condition_id,
            "slug": listing.slug,
            "description": _description(shown),
            "resolutionSource": _source(shown),
            "startDate": _time(listing.listed_ns),
            "endDate": _time(listing.end_ns),
            "endDateIso": _time(listing.end_ns)[:10],
            "eventStartTime": _time(listing.start_ns),
            "acceptingOrdersTimestamp": _time(listing.listed_ns),
            "outcomes": encode(OUTCOMES).decode(),
            "outcomePrices": encode(prices).decode(),
            "clobTokenIds": encode(listing.tokens).decode(),
            "questionID": listing.question_id,
            "version": "v1",
            "active": True,
            "closed": closed,
            "archived": False,
            "acceptingOrders": not closed,
            "enableOrderBook": True,
            "restricted": True,
            "negRisk": False,
            "orderPriceMinTickSize": shown.tick_e4 / PRICE_ONE_E4,
            "orderMinSize": shown.least_micro / 1_000_000,
            "bestBid": float(bid or 0),
            "bestAsk": float(ask or 1),
            "lastTradePrice": last_e4 / PRICE_ONE_E4,
            "makerBaseFee": 1000,
            "takerBaseFee": 1000,
            "feesEnabled": True,
            "feeType": "crypto_fees_v2",
            "feeSchedule": {
                "rate": place.terms.fee_rate_e6 / 1_000_000,
                "exponent": int(place.terms.fee_form),
                "takerOnly": True,
                "rebateRate": 0.2,
            },
            "automaticallyResolved": True,
            "umaResolutionStatuses": "[]",
            **_settlement(shown),
        }
        if closed:
            ended = datetime.fromtimestamp(shown.changed_ns // SECOND_NS, UTC)
            market["closedTime"] = f"{ended:%Y-%m-%d %H:%M:%S}+00"
            market["umaResolutionStatus"] = "resolved"
        return market


def _settlement(shown: Shown) -> dict[str, Any]:
    """The undocumented object that tells the averaging; absent in the era of point values."""
    listing = shown.listing
    if listing.averaging_s <= 0:
        return {}
    name = f"{listing.asset.lower()}-{listing.horizon}-twap-{listing.averaging_s}"
    config = {"id": name, "asset": listing.asset.lower(), "duration": listing.horizon}
    twap = {"twapEnabled": True, "twapLookbackSeconds": listing.averaging_s}
    return {"cryptoMarketConfig": {**config, **twap}}


def _source(shown: Shown) -> str:
    listing = shown.listing
    average = f"-twap-{listing.averaging_s}s-streams" if listing.averaging_s > 0 else ""
    return f"https://data.chain.link/streams/{listing.asset.lower()}-usd{average}"


def _description(shown: Shown) -> str:
    seconds = HORIZONS_S[shown.listing.series % len(HORIZONS_S)]
    return (
        f"Built-in market. Up if the {shown.listing.asset} reference price after {seconds} s is at "
        "or above the one at the start, else Down."
    )


def _time(ts_ns: int) -> str:
    return f"{datetime.fromtimestamp(ts_ns // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _missing() -> Response:
    return refused("slug not found", 404, type="not found error")
