"""API keys of the built-in market: who a request is from, by wallet signature or by secret.

In: addresses, nonces, headers. Out: keys, the account of a request. Never here: chance; the same
address and nonce give the same key in every run, so that a restarted market knows its clients.
"""

import base64
import hmac
from collections.abc import Mapping

import msgspec

from fairwind.world.server import signing
from fairwind.world.server.listing import derived


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One API key. `account` is its address in lower case."""

    account: str
    api_key: str
    secret: str
    passphrase: str


class Keys:
    """Active keys by id."""

    def __init__(self) -> None:
        self.active: dict[str, Key] = {}

    def of(self, address: str, nonce: int) -> Key:
        """The key of an address and a nonce, active or not."""
        account = address.lower()
        source = f"{account} {nonce}"
        text = derived(source, "key").hex()
        return Key(
            account=account,
            api_key=f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:32]}",
            secret=base64.urlsafe_b64encode(derived(source, "secret")).decode(),
            passphrase=derived(source, "passphrase").hex(),
        )

    def by_signature(self, headers: Mapping[str, str]) -> Key | None:
        """L1: the key that a wallet's signature asks for; None unless it is the wallet's own."""
        address = headers.get("POLY_ADDRESS", "")
        nonce = headers.get("POLY_NONCE", "0")
        try:
            signer = signing.key_request_signer(
                address,
                headers.get("POLY_TIMESTAMP", ""),
                int(nonce),
                headers.get("POLY_SIGNATURE", ""),
            )
        except ValueError:
            return None
        return self.of(address, int(nonce)) if signer == address.lower() else None

    def by_secret(
        self, headers: Mapping[str, str], method: str, path: str, body: str
    ) -> Key | None:
        """L2: the active key whose secret coded the request and whose address it names."""
        key = self.active.get(headers.get("POLY_API_KEY", ""))
        if key is None or headers.get("POLY_ADDRESS", "").lower() != key.account:
            return None
        timestamp = headers.get("POLY_TIMESTAMP", "")
        code = signing.request_code(key.secret, timestamp, method, path, body)
        sent = headers.get("POLY_SIGNATURE", "").encode()
        if not hmac.compare_digest(sent, code.encode()):
            return None
        return key if _same(headers.get("POLY_PASSPHRASE", ""), key.passphrase) else None

    def by_words(self, api_key: str, secret: str, passphrase: str) -> Key | None:
        """The active key that a socket names with its secret and passphrase."""
        key = self.active.get(api_key)
        if key is None or not _same(secret, key.secret):
            return None
        return key if _same(passphrase, key.passphrase) else None


def _same(sent: str, known: str) -> bool:
    return hmac.compare_digest(sent.encode(), known.encode())
