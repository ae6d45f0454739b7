"""The CLOB's REST for orders: place, cancel, keep alive.

In: requests with a key's code, orders with a wallet's signature. Out: the venue's answers and
refusals. Never here: an order whose signature, owner or signer was not checked.
"""

import asyncio
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from fairwind.core.units import PRICE_ONE_E4, SECOND_NS
from fairwind.world.exchange import orders
from fairwind.world.exchange.facts import Answer
from fairwind.world.exchange.orders import Order, OrderType, decimal
from fairwind.world.faults import Kind as Fate
from fairwind.world.faults import LineName
from fairwind.world.server import account_wire, signing
from fairwind.world.server.account_wire import Identity
from fairwind.world.server.answers import json_answer, refused
from fairwind.world.server.clob import Clob
from fairwind.world.server.keys import Key
from fairwind.world.server.signing import SignedFields
from fairwind.world.server.venue import Frame, Venue

BATCH = 15
CANCELS = 1_000
BAD_PAYLOAD = "Invalid order payload"
BAD_SIGNATURE = "invalid signature"
WRONG_SIGNER = "the order signer address has to be the address of the API KEY"
WRONG_OWNER = "the order owner has to be the owner of the API KEY"
SIDES = ("BUY", "SELL")
SIGNATURE_TYPES = range(4)


class SentOrder(msgspec.Struct, frozen=True):
    """The signed order as it is posted."""

    salt: int
    maker: str
    signer: str
    tokenId: str
    makerAmount: str
    takerAmount: str
    side: str
    signatureType: int
    timestamp: str
    expiration: str
    metadata: str
    builder: str
    signature: str


class Post(msgspec.Struct, frozen=True):
    """The body of `POST /order`."""

    order: SentOrder
    owner: str
    orderType: OrderType
    deferExec: bool = False
    postOnly: bool = False


class OneId(msgspec.Struct, frozen=True):
    """The body of `DELETE /order`."""

    orderID: str


class Scope(msgspec.Struct, frozen=True):
    """The body of `DELETE /cancel-market-orders`."""

    market: str = ""
    asset_id: str = ""


class Beat(msgspec.Struct, frozen=True):
    """The body of `POST /v1/heartbeats`."""

    heartbeat_id: str | None = ""


class Trading:
    """The order routes of one venue. `waits`: answer an order only after its taker delay."""

    def __init__(self, clob: Clob, publish: Callable[[list[Frame]], None], waits: bool) -> None:
        self.clob = clob
        self.venue: Venue = clob.venue
        self.publish = publish
        self.waits = waits
        self.waiting: dict[str, asyncio.Future[Answer]] = {}

    def routes(self) -> list[BaseRoute]:
        """Paths as the real API has them."""
        private = self.clob.private
        return [
            Route("/order", private(self.place), methods=["POST"]),
            Route("/orders", private(self.place_many), methods=["POST"]),
            Route("/order", private(self.cancel), methods=["DELETE"]),
            Route("/orders", private(self.cancel_many), methods=["DELETE"]),
            Route("/cancel-all", private(self.cancel_all), methods=["DELETE"]),
            Route("/cancel-market-orders", private(self.cancel_some), methods=["DELETE"]),
            Route("/v1/heartbeats", private(self.heartbeat), methods=["POST"]),
        ]

    def answered(self, answers: list[Answer]) -> None:
        """Late answers: wake the requests that wait for them."""
        for answer in answers:
            future = self.waiting.pop(answer.order_id, None)
            if future is not None and not future.done():
                future.set_result(answer)

    def abandon(self) -> None:
        """The venue begins anew: requests that wait are refused."""
        self.answered([Answer(order_id, error=orders.NO_BOOK) for order_id in self.waiting])

    async def place(self, request: Request, key: Key) -> Response:
        """One order."""
        try:
            post = msgspec.json.decode(await request.body(), type=Post)
        except msgspec.DecodeError:
            return refused(BAD_PAYLOAD)
        answer = await self._place(post, key)
        if answer.error:
            return refused(answer.error, orderID=answer.order_id)
        return json_answer(account_wire.order_answer(answer))

    async def place_many(self, request: Request, key: Key) -> Response:
        """Up to 15 orders; a refused one is a success with an empty id and its error."""
        try:
            posts = msgspec.json.decode(await request.body(), type=list[Post])
        except msgspec.DecodeError:
            return refused(BAD_PAYLOAD)
        if not 0 < len(posts) <= BATCH:
            return refused(BAD_PAYLOAD)
        answers = await asyncio.gather(*(self._place(post, key) for post in posts))
        shapes = [account_wire.order_answer(answer) for answer in answers]
        for shape in shapes:
            shape.update({"success": True, "orderID": ""} if shape["errorMsg"] else {})
        return json_answer(shapes)

    async def cancel(self, request: Request, key: Key) -> Response:
        """One order by id."""
        try:
            wanted = msgspec.json.decode(await request.body(), type=OneId)
        except msgspec.DecodeError:
            return refused(BAD_PAYLOAD)
        return self._cancel(key, [wanted.orderID])

    async def cancel_many(self, request: Request, key: Key) -> Response:
        """Up to 1000 orders by id."""
        try:
            wanted = msgspec.json.decode(await request.body(), type=list[str])
        except msgspec.DecodeError:
            return refused(BAD_PAYLOAD)
        return refused(BAD_PAYLOAD) if len(wanted) > CANCELS else self._cancel(key, wanted)

    async def cancel_all(self, request: Request, key: Key) -> Response:
        """Every open order of the account."""
        return self._cancel(key, self._open(key, Scope()))

    async def cancel_some(self, request: Request, key: Key) -> Response:
        """The account's open orders of a market or of a token."""
        try:
            scope = msgspec.json.decode(await request.body(), type=Scope)
        except msgspec.DecodeError:
            return refused(BAD_PAYLOAD)
        return self._cancel(key, self._open(key, scope))

    async def heartbeat(self, request: Request, key: Key) -> Response:
        """Keep the account's orders alive for ten more seconds."""
        try:
            beat = msgspec.json.decode(await request.body() or b"{}", type=Beat)
        except msgspec.DecodeError:
            return refused(BAD_PAYLOAD)
        right, following = self.venue.heartbeat(key.account, beat.heartbeat_id or "")
        if not right:
            wrong = {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": following}
            return json_answer(wrong, 400)
        return json_answer({"heartbeat_id": following})

    def _open(self, key: Key, scope: Scope) -> list[str]:
        found = []
        for order in self.venue.exchange.open.values():
            token = self.venue.shown[order.market].listing.tokens[order.outcome]
            in_scope = scope.market in ("", order.market) and scope.asset_id in ("", token)
            if order.account == key.account and in_scope:
                found.append(order.id)
        return found

    def _cancel(self, key: Key, ids: list[str]) -> Response:
        frames, gone, kept = self.venue.cancel(key.account, ids)
        self.publish(frames)
        return json_answer({"canceled": gone, "not_canceled": kept})

    async def _place(self, post: Post, key: Key) -> Answer:
        """Check who signed, translate, hand over; wait for the taker delay if the venue does."""
        sent = post.order
        try:
            fields = signed_fields(sent)
            order_id = signing.order_hash(fields)
        except ValueError:
            return Answer("", error=BAD_PAYLOAD)
        refusal = wrong_hands(fields, sent.signature, post.owner, key)
        if refusal:
            return Answer(order_id, error=refusal)
        order = self._order(post, fields, order_id, key)
        if isinstance(order, str):
            return Answer(order_id, error=order)
        self.venue.known(key.account, Identity(key.api_key, sent.maker))
        frames, answer = self.venue.submit(order)
        self.publish(frames)
        if answer.status == "delayed" and self._waits():
            self.waiting[order_id] = asyncio.get_running_loop().create_future()
            return await self.waiting[order_id]
        return answer

    def _waits(self) -> bool:
        fault = self.venue.faults.acting(Fate.DELAYED, LineName.ORDERS, self.venue.now_ns)
        return self.waits and fault is None

    def _order(self, post: Post, fields: SignedFields, order_id: str, key: Key) -> Order | str:
        """The order in the engine's terms, or the venue's text against it."""
        shown = self.venue.tokens.get(post.order.tokenId)
        if shown is None:
            return orders.NO_BOOK
        if post.postOnly and post.orderType.immediate:
            return "invalid post-only order: only GTC and GTD orders can be post-only"
        buying = fields.side == 0
        dollars, shares = fields.maker_amount, fields.taker_amount
        if not buying:
            dollars, shares = shares, dollars
        if dollars <= 0 or shares <= 0:
            return BAD_PAYLOAD
        tick = shown.tick_e4
        price, rest = divmod(dollars * PRICE_ONE_E4, shares)
        if post.orderType.immediate:  # bounds that rounding of amounts must not cross
            price = price // tick * tick if buying else -(-dollars * PRICE_ONE_E4 // shares)
            price = price if buying else -(-price // tick) * tick
        elif rest:
            terms = self.venue.exchange.markets[shown.listing.condition_id].terms
            return orders.off_grid(order_id, decimal(dollars * 10**6 // shares, 6), terms)
        return Order(
            id=order_id,
            account=key.account,
            market=shown.listing.condition_id,
            outcome=shown.listing.outcome(post.order.tokenId),
            buying=buying,
            price_e4=price,
            size_micro=shares,
            type=post.orderType,
            post_only=post.postOnly,
            expires_ns=int(post.order.expiration) * SECOND_NS,
            budget_micro=dollars if buying and post.orderType.immediate else 0,
        )


def signed_fields(sent: SentOrder) -> SignedFields:
    """The signed part of a posted order. ValueError for numbers that are none."""
    if not sent.expiration.isdecimal() or sent.signatureType not in SIGNATURE_TYPES:
        raise ValueError("expected whole seconds of expiration and a known signature type")
    return SignedFields(
        salt=sent.salt,
        maker=sent.maker,
        signer=sent.signer,
        token_id=int(sent.tokenId),
        maker_amount=int(sent.makerAmount),
        taker_amount=int(sent.takerAmount),
        side=SIDES.index(sent.side),
        signature_type=sent.signatureType,
        timestamp_ms=int(sent.timestamp),
        metadata=sent.metadata,
        builder=sent.builder,
    )


def wrong_hands(fields: SignedFields, signature: str, owner: str, key: Key) -> str:
    """The venue's text against an order of another owner, signer or signature; else empty.

    A deposit wallet signs with its owner's key, so there the key that signed must be the API
    key's, whatever the signer's address.
    """
    if owner != key.api_key:
        return WRONG_OWNER
    wrapped = fields.signature_type == signing.DEPOSIT_WALLET
    if not wrapped and fields.signer.lower() != key.account:
        return WRONG_SIGNER
    alone = fields.signature_type in (0, signing.DEPOSIT_WALLET)
    if alone and fields.maker.lower() != fields.signer.lower():
        return BAD_SIGNATURE
    return "" if signing.order_signer(fields, signature) == key.account else BAD_SIGNATURE
