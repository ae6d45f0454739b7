"""Orders, key requests and private requests are signed as the venue's own clients sign them."""

import base64
import json
from functools import cache
from typing import Any

import pytest
from conftest import SHARED, needs_shared
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from polymarket._internal.actions.orders import typed_data
from polymarket._internal.actions.orders.types import UnsignedOrder
from polymarket._internal.hmac import build_hmac_signature
from polymarket._internal.l1_auth import sign_api_key_auth
from polymarket.types import EvmAddress, HexString

from fairwind.world.server import signing
from fairwind.world.server.signing import SignedFields

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""The first key of every development chain: public, and worth nothing."""
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
ZERO = "0x" + "00" * 32
ORDER = SignedFields(
    salt=123_456_789,
    maker=ADDRESS,
    signer=ADDRESS,
    token_id=2**255 + 1,
    maker_amount=5_000_000,
    taker_amount=10_000_000,
    side=0,
    signature_type=0,
    timestamp_ms=1_790_994_600_123,
    metadata=ZERO,
    builder=ZERO,
)


def sdk_order(order: SignedFields) -> UnsignedOrder:
    """The same order as the official SDK holds it."""
    fields: dict[str, Any] = order._asdict()
    fields["side"] = "SELL" if order.side else "BUY"
    fields["timestamp"] = fields.pop("timestamp_ms")
    fields["token_id"] = str(order.token_id)
    return UnsignedOrder(
        chain_id=signing.CHAIN_ID,
        exchange_address=EvmAddress(signing.EXCHANGE),
        expiration=0,
        order_type="GTC",
        **fields,
    )


def sdk_signature(order: SignedFields) -> str:
    """The signature that the official SDK puts on the order with KEY."""
    held = sdk_order(order)
    data = typed_data.build_order_typed_data(held)
    signed = Account.from_key(KEY).sign_typed_data(full_message=data)
    return str(typed_data.build_order_signature(held, HexString("0x" + signed.signature.hex())))


@cache
def vectors() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (SHARED / "wire_samples" / "pm_signing_vectors.json").read_text()
    )
    return found


def vector_order(**changes: Any) -> SignedFields:
    message = vectors()["typed_data"]["message"]
    order = SignedFields(
        salt=int(message["salt"]),
        maker=message["maker"],
        signer=message["signer"],
        token_id=int(message["tokenId"]),
        maker_amount=int(message["makerAmount"]),
        taker_amount=int(message["takerAmount"]),
        side=int(message["side"]),
        signature_type=int(message["signatureType"]),
        timestamp_ms=int(message["timestamp"]),
        metadata=message["metadata"],
        builder=message["builder"],
    )
    return order._replace(**changes)


@needs_shared
def test_the_recorded_order_has_the_recorded_hash_and_signer() -> None:
    order = vector_order()
    assert signing.order_hash(order) == vectors()["order_hash"]
    assert signing.order_signer(order, vectors()["signature"]) == ADDRESS.lower()


@needs_shared
def test_the_recorded_deposit_wallet_signature_is_the_owners() -> None:
    recorded = vectors()["poly_1271"]
    wallet = recorded["maker_and_signer"]
    order = vector_order(maker=wallet, signer=wallet, signature_type=3)
    assert signing.order_signer(order, recorded["signature"]) == ADDRESS.lower()


@needs_shared
def test_the_recorded_key_request_and_private_request_fit() -> None:
    l1, l2 = vectors()["l1"], vectors()["l2"]
    signer = signing.key_request_signer(ADDRESS, str(l1["timestamp"]), l1["nonce"], l1["signature"])
    assert signer == ADDRESS.lower()
    code = signing.request_code(l2["secret"], l2["timestamp"], "POST", l2["path"], l2["body"])
    assert code == l2["signature"]


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 2**53),
    st.integers(0, 2**256 - 1),
    st.integers(1, 10**12),
    st.sampled_from([0, 1]),
    st.sampled_from([0, 3]),
)
def test_the_official_sdks_signatures_are_read(
    salt: int, token: int, amount: int, side: int, kind: int
) -> None:
    order = ORDER._replace(
        salt=salt, token_id=token, maker_amount=amount, side=side, signature_type=kind
    )
    assert signing.order_signer(order, sdk_signature(order)) == ADDRESS.lower()


@pytest.mark.parametrize("field", [f for f in SignedFields._fields if f != "signature_type"])
@pytest.mark.parametrize("kind", [0, 3])
def test_a_change_of_any_field_gives_another_signer(field: str, kind: int) -> None:
    order = ORDER._replace(signature_type=kind)
    signature = sdk_signature(order)
    was = getattr(order, field)
    other = was + 1 if isinstance(was, int) else was[:-1] + ("7" if was[-1] != "7" else "8")
    changes: dict[str, Any] = {field: other}
    changed = order._replace(**changes)
    assert signing.order_signer(changed, signature) != ADDRESS.lower()
    assert signing.order_hash(changed) != signing.order_hash(order)


def test_what_follows_a_wrapped_signature_must_be_the_orders_own() -> None:
    order = ORDER._replace(signature_type=3)
    signature = sdk_signature(order)
    assert signing.order_signer(order, signature[:-4] + "0000") is None
    assert signing.order_signer(order, signature[:132]) is None


BROKEN = ["", "0x", "0xzz", "0x" + "00" * 65, "0x" + "ff" * 64 + "1b", "0x" + "11" * 64 + "1f"]


@pytest.mark.parametrize("signature", BROKEN)
@pytest.mark.parametrize("kind", [0, 3])
def test_an_unreadable_signature_has_no_signer(signature: str, kind: int) -> None:
    assert signing.order_signer(ORDER._replace(signature_type=kind), signature) is None


@pytest.mark.parametrize(
    "changes", [{"salt": -1}, {"token_id": 2**256}, {"maker": "0x12"}, {"builder": "0x00"}]
)
def test_fields_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        signing.order_hash(ORDER._replace(**changes))


def test_the_official_sdks_key_request_is_read() -> None:
    signed = sign_api_key_auth(Account.from_key(KEY), chain_id=137, timestamp=1790994600, nonce=7)
    signer = signing.key_request_signer(ADDRESS, "1790994600", 7, signed.signature)
    assert signer == ADDRESS.lower()
    assert signing.key_request_signer(ADDRESS, "1790994600", 8, signed.signature) != signer
    assert signing.key_request_signer(ADDRESS, "1790994601", 7, signed.signature) != signer


@given(st.binary(min_size=1, max_size=40), st.text(max_size=50))
def test_the_official_sdks_request_codes_fit(secret: bytes, body: str) -> None:
    text = base64.urlsafe_b64encode(secret).decode().rstrip("=")
    theirs = build_hmac_signature(
        secret=text, timestamp=1790994600, method="POST", path="/order", body=body
    )
    assert signing.request_code(text, "1790994600", "POST", "/order", body) == theirs
