"""The CLOB's REST reads: time, books, prices, market parameters, keys, an account's own data.

In: requests. Out: the venue's answers. Never here: orders and cancels, see `trading`.
"""

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from fairwind.core.events import Outcome
from fairwind.core.units import PRICE_ONE_E4, SECOND_NS
from fairwind.world.exchange.accounts import CASH, Asset
from fairwind.world.exchange.orders import decimal
from fairwind.world.faults import LineName
from fairwind.world.server import account_wire
from fairwind.world.server.account_wire import Identity
from fairwind.world.server.answers import json_answer, page, refused, unauthorized, whole
from fairwind.world.server.keys import Key, Keys
from fairwind.world.server.listing import OUTCOMES
from fairwind.world.server.signing import EXCHANGE
from fairwind.world.server.venue import Venue

NO_BOOK = "No orderbook exists for the requested token id"
NO_MARKET = "market not found"
ALLOWANCE = str(2**256 - 1)
Private = Callable[[Request, Key], Awaitable[Response]]


class TokenId(msgspec.Struct, frozen=True):
    """One entry of a request for several books."""

    token_id: str
    side: str = ""


class Clob:
    """The read routes of one venue."""

    def __init__(self, venue: Venue, keys: Keys) -> None:
        self.venue = venue
        self.keys = keys

    def routes(self) -> list[BaseRoute]:
        """Paths as the real API has them."""
        private = self.private
        return [
            Route("/ok", self.ok),
            Route("/time", self.time),
            Route("/version", self.version),
            Route("/book", self.book),
            Route("/books", self.books, methods=["POST"]),
            Route("/midpoint", self.midpoint),
            Route("/price", self.price),
            Route("/spread", self.spread),
            Route("/last-trade-price", self.last_trade_price),
            Route("/midpoints", self.midpoints, methods=["POST"]),
            Route("/spreads", self.spreads, methods=["POST"]),
            Route("/prices", self.prices, methods=["POST"]),
            Route("/tick-size", self.tick_size),
            Route("/neg-risk", self.neg_risk),
            Route("/fee-rate", self.fee_rate),
            Route("/markets-by-token/{token}", self.by_token),
            Route("/clob-markets/{condition}", self.parameters),
            Route("/markets/{condition}", self.market),
            Route("/auth/api-key", self.create_key, methods=["POST"]),
            Route("/auth/derive-api-key", self.derive_key),
            Route("/auth/api-keys", private(self.list_keys)),
            Route("/auth/api-key", private(self.delete_key), methods=["DELETE"]),
            Route("/auth/ban-status/closed-only", private(self.closed_only)),
            Route("/data/order/{id}", private(self.order)),
            Route("/data/orders", private(self.orders)),
            Route("/data/trades", private(self.trades)),
            Route("/balance-allowance", private(self.balance)),
            Route("/balance-allowance/update", private(self.balance)),
        ]

    def private(self, serve: Private) -> Callable[[Request], Awaitable[Response]]:
        """The route only for requests that carry a key's code (L2)."""

        async def guarded(request: Request) -> Response:
            body = (await request.body()).decode(errors="replace")
            key = self.keys.by_secret(request.headers, request.method, request.url.path, body)
            return unauthorized() if key is None else await serve(request, key)

        return guarded

    async def ok(self, request: Request) -> Response:
        """Alive."""
        return json_answer("OK")

    async def time(self, request: Request) -> Response:
        """The market's clock, seconds."""
        now_ns = self.venue.now_ns
        off_ns = self.venue.faults.off_ns(LineName.CLOB, now_ns)
        return PlainTextResponse(str((now_ns + off_ns) // SECOND_NS))

    async def version(self, request: Request) -> Response:
        """The generation of the CLOB."""
        return json_answer({"version": 2})

    async def book(self, request: Request) -> Response:
        """One token's book."""
        token = request.query_params.get("token_id", "")
        shown = self.venue.tokens.get(token)
        if shown is None:
            return refused(NO_BOOK, 404)
        return json_answer(shown.book(shown.listing.outcome(token)))

    async def books(self, request: Request) -> Response:
        """Several tokens' books; unknown tokens are left out."""
        found = [
            (one.token_id, self.venue.tokens[one.token_id]) for one in await self._known(request)
        ]
        return json_answer([shown.book(shown.listing.outcome(token)) for token, shown in found])

    async def midpoint(self, request: Request) -> Response:
        """Half way between the best prices."""
        best = self._best(request.query_params.get("token_id", ""))
        return refused(NO_BOOK, 404) if best is None else json_answer({"mid": _middle(best)})

    async def spread(self, request: Request) -> Response:
        """Between the best prices."""
        best = self._best(request.query_params.get("token_id", ""))
        return refused(NO_BOOK, 404) if best is None else json_answer({"spread": _width(best)})

    async def price(self, request: Request) -> Response:
        """The best price of a side of the book: bids for BUY."""
        best = self._best(request.query_params.get("token_id", ""))
        if best is None:
            return refused(NO_BOOK, 404)
        return json_answer({"price": _of_side(best, request.query_params.get("side", "BUY"))})

    async def midpoints(self, request: Request) -> Response:
        """By token; unknown ones are left out, here and below."""
        known = await self._known(request)
        return json_answer({one.token_id: _middle(self._sure(one)) for one in known})

    async def spreads(self, request: Request) -> Response:
        """By token."""
        known = await self._known(request)
        return json_answer({one.token_id: _width(self._sure(one)) for one in known})

    async def prices(self, request: Request) -> Response:
        """By token and side."""
        prices: dict[str, dict[str, str]] = {}
        for one in await self._known(request):
            price = _of_side(self._sure(one), one.side)
            prices.setdefault(one.token_id, {})[one.side] = price
        return json_answer(prices)

    async def last_trade_price(self, request: Request) -> Response:
        """The last print; half a dollar and no side before the first."""
        shown = self.venue.tokens.get(request.query_params.get("token_id", ""))
        if shown is None:
            return refused(NO_BOOK, 404)
        price = shown.last_price or "0.5"
        return json_answer({"price": price, "side": "BUY" if shown.last_price else ""})

    async def tick_size(self, request: Request) -> Response:
        """The tick, a number."""
        shown = self.venue.tokens.get(request.query_params.get("token_id", ""))
        if shown is None:
            return refused(NO_MARKET, 404)
        return json_answer({"minimum_tick_size": shown.tick_e4 / PRICE_ONE_E4})

    async def neg_risk(self, request: Request) -> Response:
        """Window markets are not of that kind."""
        return json_answer({"neg_risk": False})

    async def fee_rate(self, request: Request) -> Response:
        """The venue's misleading legacy figure, not the fee that is charged."""
        return json_answer({"base_fee": 1000})

    async def by_token(self, request: Request) -> Response:
        """The market of a token."""
        shown = self.venue.tokens.get(request.path_params["token"])
        if shown is None:
            return refused(NO_MARKET, 404)
        up, down = shown.listing.tokens
        ids = {"primary_token_id": up, "secondary_token_id": down}
        return json_answer({"condition_id": shown.listing.condition_id, **ids})

    async def parameters(self, request: Request) -> Response:
        """The compact parameters of a market."""
        shown = self.venue.shown.get(request.path_params["condition"])
        if shown is None:
            return refused(NO_MARKET, 404)
        terms = self.venue.exchange.markets[shown.listing.condition_id].terms
        named = zip(shown.listing.tokens, OUTCOMES, strict=True)
        return json_answer(
            {
                "t": [{"t": token, "o": outcome} for token, outcome in named],
                "mts": shown.tick_e4 / PRICE_ONE_E4,
                "mos": shown.least_micro / 1_000_000,
                "mbf": 1000,
                "tbf": 1000,
                "nr": False,
                "fd": {"r": terms.fee_rate_e6 / 1_000_000, "e": int(terms.fee_form), "to": True},
                "itode": terms.taker_delay_ns > 0,
                "oas": 0,
            }
        )

    async def market(self, request: Request) -> Response:
        """The long form of a market, with its winner."""
        shown = self.venue.shown.get(request.path_params["condition"])
        if shown is None:
            return refused(NO_MARKET, 404)
        listing = shown.listing
        place = self.venue.exchange.markets[listing.condition_id]
        closed = place.payout_e4 is not None
        up_e4 = place.payout_e4 if place.payout_e4 is not None else place.last_e4
        tokens = [
            {
                "token_id": listing.tokens[outcome],
                "outcome": OUTCOMES[outcome],
                "price": (up_e4 if outcome == Outcome.UP else PRICE_ONE_E4 - up_e4) / PRICE_ONE_E4,
                "winner": place.payout_e4 == (PRICE_ONE_E4 if outcome == Outcome.UP else 0),
            }
            for outcome in Outcome
        ]
        return json_answer(
            {
                "condition_id": listing.condition_id,
                "question_id": listing.question_id,
                "question": listing.title,
                "market_slug": listing.slug,
                "active": True,
                "closed": closed,
                "archived": False,
                "accepting_orders": not closed,
                "enable_order_book": not closed,
                "minimum_order_size": shown.least_micro / 1_000_000,
                "minimum_tick_size": shown.tick_e4 / PRICE_ONE_E4,
                "maker_base_fee": 1000,
                "taker_base_fee": 1000,
                "neg_risk": False,
                "is_50_50_outcome": place.payout_e4 == PRICE_ONE_E4 // 2,
                "seconds_delay": 0,
                "tokens": tokens,
                "tags": ["Up or Down"],
            }
        )

    async def create_key(self, request: Request) -> Response:
        """A new key for a wallet's signature (L1); refused when the nonce has one."""
        key = self.keys.by_signature(request.headers)
        if key is None:
            return refused("Invalid L1 Request headers", 401)
        if key.api_key in self.keys.active:
            return refused("Could not create api key")
        return self._activate(key, request)

    async def derive_key(self, request: Request) -> Response:
        """The key that a wallet's signature has."""
        key = self.keys.by_signature(request.headers)
        if key is None:
            return refused("Invalid L1 Request headers", 401)
        return self._activate(key, request)

    async def list_keys(self, request: Request, key: Key) -> Response:
        """The account's active keys."""
        own = [one.api_key for one in self.keys.active.values() if one.account == key.account]
        return json_answer({"apiKeys": own})

    async def delete_key(self, request: Request, key: Key) -> Response:
        """End the key that asks."""
        del self.keys.active[key.api_key]
        return json_answer("OK")

    async def closed_only(self, request: Request, key: Key) -> Response:
        """Nobody is banned here."""
        return json_answer({"closed_only": False})

    async def order(self, request: Request, key: Key) -> Response:
        """An open order; null for every other, filled ones too, as the venue does."""
        order = self.venue.exchange.open.get(request.path_params["id"])
        if order is None or order.account != key.account:
            return json_answer(None)
        listing = self.venue.shown[order.market].listing
        return json_answer(account_wire.open_order(order, listing, self.venue.who[key.account]))

    async def orders(self, request: Request, key: Key) -> Response:
        """The account's open orders that pass the filters."""
        query = request.query_params
        found = []
        for order in self.venue.exchange.open.values():
            listing = self.venue.shown[order.market].listing
            token = listing.tokens[order.outcome]
            if (
                order.account == key.account
                and query.get("id", order.id) == order.id
                and query.get("market", order.market) == order.market
                and query.get("asset_id", token) == token
            ):
                identity = self.venue.who[key.account]
                found.append(account_wire.open_order(order, listing, identity))
        return page(found, query.get("next_cursor", ""))

    async def trades(self, request: Request, key: Key) -> Response:
        """The account's trades that pass the filters, newest first. Times are seconds."""
        query = request.query_params
        found = []
        for trade in self.venue.trades_of(key.account):
            second = trade.matched_ns // SECOND_NS
            listing = self.venue.shown[trade.taker.market].listing
            token = listing.tokens[trade.taker.outcome]
            if (
                query.get("id", trade.id) == trade.id
                and query.get("market", listing.condition_id) == listing.condition_id
                and query.get("asset_id", token) == token
                and whole(query.get("after", ""), 0) <= second
                and second <= whole(query.get("before", ""), second)
            ):
                who = self.venue.who
                found.append(account_wire.data_trade(trade, listing, who, key.account))
        return page(found, query.get("next_cursor", ""))

    async def balance(self, request: Request, key: Key) -> Response:
        """What the account can spend of an asset, micro units as text."""
        token = request.query_params.get("token_id", "")
        asset = CASH
        if request.query_params.get("asset_type") != "COLLATERAL":
            shown = self.venue.tokens.get(token)
            if shown is None:
                return refused("invalid token id")
            asset = Asset(shown.listing.condition_id, shown.listing.outcome(token))
        balance = self.venue.exchange.accounts.balance(key.account, asset)
        return json_answer({"balance": str(balance), "allowances": {EXCHANGE: ALLOWANCE}})

    def _activate(self, key: Key, request: Request) -> Response:
        self.keys.active[key.api_key] = key
        self.venue.known(key.account, Identity(key.api_key, request.headers["POLY_ADDRESS"]))
        words = {"secret": key.secret, "passphrase": key.passphrase}
        return json_answer({"apiKey": key.api_key, **words})

    async def _known(self, request: Request) -> list[TokenId]:
        """The entries of the body whose tokens trade here; none for a body that is no list."""
        try:
            wanted = msgspec.json.decode(await request.body(), type=list[TokenId])
        except msgspec.DecodeError:
            return []
        return [one for one in wanted if one.token_id in self.venue.tokens]

    def _sure(self, one: TokenId) -> tuple[int, int]:
        best = self._best(one.token_id)
        assert best is not None, "known tokens only"
        return best

    def _best(self, token: str) -> tuple[int, int] | None:
        """(best bid, best ask), e4; the ends of the scale for empty sides."""
        shown = self.venue.tokens.get(token)
        if shown is None:
            return None
        bid, ask = shown.best_e4(shown.listing.outcome(token))
        return (0 if bid is None else bid, PRICE_ONE_E4 if ask is None else ask)


def _middle(best: tuple[int, int]) -> str:
    return decimal(sum(best) * 5, 5)


def _width(best: tuple[int, int]) -> str:
    return decimal(best[1] - best[0], 4)


def _of_side(best: tuple[int, int], side: str) -> str:
    return decimal(best[side == "SELL"], 4)
