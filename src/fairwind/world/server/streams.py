"""The CLOB's market and user WebSocket channels.

In: subscriptions of readers, frames of the venue. Out: to each reader what it asked for, in one
order. Never here: another account's events.
"""

from collections.abc import Callable, Iterable

import msgspec
from starlette.websockets import WebSocket

from fairwind.world.server import wire
from fairwind.world.server.keys import Keys
from fairwind.world.server.sockets import POLICY, Close, Connection, Sockets
from fairwind.world.server.venue import Frame, MarketFrame, Venue


class Words(msgspec.Struct, frozen=True):
    """Credentials as a socket sends them."""

    apiKey: str
    secret: str
    passphrase: str


class Request(msgspec.Struct, frozen=True):
    """Any client frame of either channel."""

    type: str = ""
    operation: str = ""
    assets_ids: list[str] = []
    markets: list[str] | None = None
    custom_feature_enabled: bool | None = None
    initial_dump: bool = True
    level: int = 2
    auth: Words | None = None


class Reader(Connection):
    """One connection and what it asked for."""

    def __init__(self, sockets: Sockets) -> None:
        super().__init__(sockets)
        self.tokens: set[str] = set()
        self.custom = False
        self.account = ""
        self.markets: set[str] | None = None  # None: all

    def wants(self, frame: Frame) -> bool:
        """Whether the frame is for this reader."""
        if isinstance(frame, MarketFrame):
            reached = not frame.tokens or not self.tokens.isdisjoint(frame.tokens)
            return not self.account and reached and (self.custom or not frame.custom)
        everything = self.markets is None or frame.market in self.markets
        return frame.account == self.account and everything


Ask = Callable[[Reader, Request], bool]
"""How a channel takes a client frame: False when it is not one."""


class Streams:
    """All readers of both channels."""

    def __init__(self, venue: Venue, keys: Keys, sockets: Sockets) -> None:
        self.venue = venue
        self.keys = keys
        self.sockets = sockets
        self.readers: dict[Reader, None] = {}

    def publish(self, frames: Iterable[Frame]) -> None:
        """Hand each frame to the readers that want it."""
        for frame in frames:
            wanting = [reader for reader in self.readers if reader.wants(frame)]
            text = frame.data.decode() if wanting else ""
            for reader in wanting:
                reader.put(text)

    async def market(self, socket: WebSocket) -> None:
        """`/ws/market`."""
        await self._serve(socket, self._ask_market)

    async def user(self, socket: WebSocket) -> None:
        """`/ws/user`."""
        await self._serve(socket, self._ask_user)

    async def _serve(self, socket: WebSocket, ask: Ask) -> None:
        await socket.accept()
        reader = Reader(self.sockets)
        try:
            await reader.serve(socket, lambda text: self._hear(reader, ask, text))
        finally:
            self.readers.pop(reader, None)

    def _hear(self, reader: Reader, ask: Ask, text: str) -> Close | None:
        """Act on one client frame. A ping before any subscription is no good frame."""
        if text == "PING" and reader.subscribed:
            reader.put("PONG")
            return None
        try:
            taken = ask(reader, msgspec.json.decode(text, type=Request))
        except msgspec.DecodeError:
            taken = False
        if not taken:
            return POLICY
        reader.subscribed = True
        self.readers[reader] = None
        return None

    def _ask_market(self, reader: Reader, request: Request) -> bool:
        if request.operation == "unsubscribe":
            reader.tokens.difference_update(request.assets_ids)
            return True
        if request.type != "market" and request.operation != "subscribe":
            return False
        if request.custom_feature_enabled is not None:
            reader.custom = request.custom_feature_enabled
        new = [token for token in request.assets_ids if token not in reader.tokens]
        reader.tokens.update(new)
        if request.initial_dump and (new or not request.assets_ids):
            reader.put(wire.encode(self._books(new)).decode())
        return True

    def _books(self, tokens: list[str]) -> list[dict[str, object]]:
        """First books of the tokens that trade; others have none."""
        found = [
            (token, self.venue.tokens[token]) for token in tokens if token in self.venue.tokens
        ]
        return [
            wire.first_book(shown, shown.listing.outcome(token))
            for token, shown in found
            if self.venue.exchange.markets[shown.listing.condition_id].payout_e4 is None
        ]

    def _ask_user(self, reader: Reader, request: Request) -> bool:
        if request.auth is not None:
            words = request.auth
            key = self.keys.by_words(words.apiKey, words.secret, words.passphrase)
            if key is None:
                return False
            reader.account = key.account
            reader.markets = None if request.markets is None else set(request.markets)
            return request.type == "user"
        if not reader.account or request.operation not in ("subscribe", "unsubscribe"):
            return False
        named = set(request.markets or ())
        if request.operation == "subscribe":
            reader.markets = named | (reader.markets or set())
        elif reader.markets is not None:
            reader.markets -= named
        return True
