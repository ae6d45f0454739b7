"""Who signed: order hashes and signatures (EIP-712), key requests (L1), private requests (L2).

In: the fields and signatures of a request. Out: hashes, the signing address, whether a code fits.
Never here: a private key of anybody.
"""

import base64
import binascii
import hashlib
import hmac
from functools import cache
from typing import NamedTuple

from coincurve import PublicKey
from eth_hash.auto import keccak

CHAIN_ID = 137
EXCHANGE = "0xE111180000d2663C0091e4f400237545B87B996B"
ATTESTATION = "This message attests that I control the given wallet"
DEPOSIT_WALLET = 3
SIGNATURE_BYTES = 65
ORDER_TYPE = (
    b"Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,"
    b"uint256 takerAmount,uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,"
    b"bytes32 builder)"
)
WRAPPED_TYPE = (
    b"TypedDataSign(Order contents,string name,string version,uint256 chainId,"
    b"address verifyingContract,bytes32 salt)" + ORDER_TYPE
)
AUTH_TYPE = b"ClobAuth(address address,string timestamp,uint256 nonce,string message)"
DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId"


class SignedFields(NamedTuple):
    """The fields of a version 2 order that its signature covers. Amounts are micro."""

    salt: int
    maker: str
    signer: str
    token_id: int
    maker_amount: int
    taker_amount: int
    side: int  # 0 buy, 1 sell
    signature_type: int
    timestamp_ms: int
    metadata: str
    builder: str


def order_hash(order: SignedFields) -> str:
    """The order's id: its EIP-712 hash. ValueError for fields that do not fit their types."""
    return "0x" + _digest(_order_domain(), _order_struct(order)).hex()


def order_signer(order: SignedFields, signature: str) -> str | None:
    """The address, lower case, whose key signed the order; None for an unreadable signature.

    A deposit wallet's signature (type 3) is wrapped as ERC-7739 says: the wallet's own domain
    goes into what is signed, and the order's domain, hash and type follow the 65 bytes.
    """
    signed = _bytes(signature)
    if order.signature_type != DEPOSIT_WALLET:
        return _recover(_digest(_order_domain(), _order_struct(order)), signed)
    contents = _order_struct(order)
    trailer = _order_domain() + contents + ORDER_TYPE + len(ORDER_TYPE).to_bytes(2, "big")
    if signed[SIGNATURE_BYTES:] != trailer:
        return None
    wrapped = keccak(
        keccak(WRAPPED_TYPE)
        + contents
        + keccak(b"DepositWallet")
        + keccak(b"1")
        + _word(CHAIN_ID)
        + _address(order.signer)
        + bytes(32)
    )
    return _recover(_digest(_order_domain(), wrapped), signed[:SIGNATURE_BYTES])


def key_request_signer(address: str, timestamp: str, nonce: int, signature: str) -> str | None:
    """The address, lower case, whose key signed a request for API keys (L1); None if unreadable."""
    struct = keccak(
        keccak(AUTH_TYPE)
        + _address(address)
        + keccak(timestamp.encode())
        + _word(nonce)
        + keccak(ATTESTATION.encode())
    )
    return _recover(_digest(_auth_domain(), struct), _bytes(signature))


def request_code(secret: str, timestamp: str, method: str, path: str, body: str) -> str:
    """The code of a private request (L2): HMAC-SHA256, url-safe base64; path without query.

    Compare it with `hmac.compare_digest`.
    """
    key = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    message = f"{timestamp}{method}{path}{body}".encode()
    return base64.urlsafe_b64encode(hmac.digest(key, message, hashlib.sha256)).decode()


def _order_struct(order: SignedFields) -> bytes:
    return keccak(
        keccak(ORDER_TYPE)
        + _word(order.salt)
        + _address(order.maker)
        + _address(order.signer)
        + _word(order.token_id)
        + _word(order.maker_amount)
        + _word(order.taker_amount)
        + _word(order.side)
        + _word(order.signature_type)
        + _word(order.timestamp_ms)
        + _bytes32(order.metadata)
        + _bytes32(order.builder)
    )


@cache
def _order_domain() -> bytes:
    return keccak(
        keccak(DOMAIN_TYPE + b",address verifyingContract)")
        + keccak(b"Polymarket CTF Exchange")
        + keccak(b"2")
        + _word(CHAIN_ID)
        + _address(EXCHANGE)
    )


@cache
def _auth_domain() -> bytes:
    return keccak(
        keccak(DOMAIN_TYPE + b")") + keccak(b"ClobAuthDomain") + keccak(b"1") + _word(CHAIN_ID)
    )


def _digest(domain: bytes, struct: bytes) -> bytes:
    return keccak(b"\x19\x01" + domain + struct)


def _recover(digest: bytes, signature: bytes) -> str | None:
    """The address of a 65 byte signature r, s, v with v of 27 or 28."""
    if len(signature) != SIGNATURE_BYTES or signature[-1] not in (27, 28):
        return None
    recoverable = signature[:-1] + bytes([signature[-1] - 27])
    try:
        key = PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    except ValueError:
        return None
    return "0x" + keccak(key.format(compressed=False)[1:])[-20:].hex()


def _word(value: int) -> bytes:
    """A number as 32 bytes. ValueError when it is negative or too large."""
    if not 0 <= value < 1 << 256:
        raise ValueError(f"expected 0 to 2^256 - 1, found {value}")
    return value.to_bytes(32, "big")


def _bytes(text: str) -> bytes:
    """The bytes of hex text; none for text that is not hex."""
    try:
        return binascii.unhexlify(text.removeprefix("0x"))
    except (binascii.Error, ValueError):
        return b""


def _bytes32(text: str) -> bytes:
    value = _bytes(text)
    if len(value) != 32:
        raise ValueError(f"expected 32 bytes in hex, found {text!r}")
    return value


def _address(text: str) -> bytes:
    value = _bytes(text)
    if len(value) != 20:
        raise ValueError(f"expected an address of 20 bytes in hex, found {text!r}")
    return bytes(12) + value
