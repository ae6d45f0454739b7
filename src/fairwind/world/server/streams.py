"""The CLOB's market and user WebSocket channels.

In: subscriptions of readers, frames of the venue. Out: to each reader what it asked for, in one
order. Never here: another account's events.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from fairwind.world.faults import Close, LineName
from fairwind.world.server import wire
from fairwind.world.server.keys import Keys
from fairwind.world.server.sockets import POLICY, Connection, Sockets
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

    def __init__(self, sockets: Sockets, name: LineName, hear: Any) -> None:
        super().__init__(sockets, name, hear)
        self.tokens: set[str] = set()
        self.custom = False
        self.account = ""
        self.markets: set[str] | None = None  # None: all

    def wants(self, frame: Frame) -> bool:
        """Whether the frame is for this reader."""
        if isinstance(frame, MarketFrame):
            reached = not frame.tokens or not self.tokens.isdisjoint(frame.tokens)
            return reached and (self.custom or not frame.custom)
        everything = self.markets is None or frame.market in self.markets
        return frame.account == self.account and everything


class Streams:
    """All readers of both channels."""

    def __init__(self, venue: Venue, keys: Keys, sockets: Sockets) -> None:
        self.venue = venue
        self.keys = keys
        self.sockets = sockets

    def join(self, name: LineName) -> Reader:
        """A new reader of the market or the user channel."""
        return Reader(self.sockets, name, self._hear)

    def publish(self, frames: Iterable[Frame]) -> None:
        """Hand each frame to the readers that want it."""
        of_market = self.sockets.of(Reader, LineName.MARKET)
        of_user = self.sockets.of(Reader, LineName.USER)
        for frame in frames:
            for reader in of_market if isinstance(frame, MarketFrame) else of_user:
                if reader.wants(frame):
                    reader.put(frame.data, frame.ts_ns)

    def _hear(self, reader: Reader, text: str) -> Close | None:
        """Act on one client frame. A ping before any subscription is no good frame."""
        if text == "PING" and reader.subscribed:
            reader.put(b"PONG", self.venue.now_ns)
            return None
        ask = self._ask_market if reader.name is LineName.MARKET else self._ask_user
        try:
            taken = ask(reader, msgspec.json.decode(text, type=Request))
        except msgspec.DecodeError:
            taken = False
        if not taken:
            return POLICY
        reader.subscribed = True
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
            reader.put(wire.encode(self._books(new)), self.venue.now_ns)
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
