"""The user channel: an order's story, and our own part of a trade, in whatever order they come."""

import json
from typing import Any

import msgspec
import pytest
from conftest import needs_shared
from wire_messages import CONDITION, DOWN, MS, SAMPLES, UP, dump

from fairwind.core.events import Side
from fairwind.feeds import account
from fairwind.feeds.account import Fill, OrderChange, OrderUpdate
from fairwind.feeds.frames import BadFrame

ME, OTHER = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"


def order(**more: Any) -> dict[str, Any]:
    return {
        "event_type": "order",
        "id": "0x1",
        "owner": ME,
        "market": CONDITION,
        "asset_id": UP,
        "side": "BUY",
        "original_size": "12.5",
        "size_matched": "5",
        "price": "0.513",
        "associate_trades": None,
        "type": "UPDATE",
        "created_at": str(MS // 1000),
        "status": "LIVE",
        "timestamp": str(MS),
        **more,
    }


def maker(number: int, owner: str, asset_id: str = UP, **more: Any) -> dict[str, Any]:
    one = {"order_id": f"0x{number}", "owner": owner, "asset_id": asset_id}
    return {**one, "matched_amount": "4", "price": "0.4", **more}


def trade(*makers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "event_type": "trade",
        "type": "TRADE",
        "id": "t1",
        "taker_order_id": "0x9",
        "market": CONDITION,
        "asset_id": UP,
        "side": "SELL",
        "size": "8",
        "price": "0.4",
        "status": "MATCHED",
        "owner": OTHER,
        "maker_orders": [*makers],
        "timestamp": str(MS // 1000),
        **more,
    }


def decoded(message: Any) -> list[OrderUpdate | Fill]:
    return account.decode(dump(message), ME)


def fills(message: Any) -> list[tuple[Any, ...]]:
    """(order, token, side, price, size, maker) of our parts."""
    found = decoded(message)
    assert all(isinstance(one, Fill) for one in found)
    return [
        (one.order_id, one.asset_id, one.side, one.price_e4, one.size_micro, one.maker)
        for one in found
        if isinstance(one, Fill)
    ]


def test_an_order_has_cumulative_sizes_and_a_time() -> None:
    (found,) = decoded(order())
    assert found == OrderUpdate(
        order_id="0x1",
        condition_id=CONDITION,
        asset_id=UP,
        side=Side.BID,
        price_e4=5130,
        original_micro=12_500_000,
        matched_micro=5_000_000,
        change=OrderChange.UPDATE,
        status="LIVE",
        detail="",
        at_ns=MS * 1_000_000,
    )


@pytest.mark.parametrize(
    ("sent", "status", "detail"),
    [
        ("CANCELED_order couldn't be filled.", "CANCELED", "order couldn't be filled."),
        ("CANCELED_MARKET_RESOLVED", "CANCELED_MARKET_RESOLVED", ""),
        ("INVALID", "INVALID", ""),
    ],
)
def test_a_status_may_carry_a_sentence(sent: str, status: str, detail: str) -> None:
    (found,) = decoded(order(status=sent, size_matched="", type="CANCELLATION"))
    assert isinstance(found, OrderUpdate)
    assert (found.status, found.detail, found.matched_micro) == (status, detail, 0)


@pytest.mark.parametrize("stamp", [str(MS // 1000), str(MS), str(MS * 1000), MS])
def test_a_time_is_read_by_its_magnitude(stamp: str | int) -> None:
    (found,) = decoded(order(timestamp=stamp))
    assert found.at_ns == MS * 1_000_000


def test_as_the_taker_the_top_level_is_ours() -> None:
    mine = trade(maker(1, OTHER), owner=ME)
    assert fills(mine) == [("0x9", UP, Side.ASK, 4000, 8_000_000, False)]


def test_as_a_maker_only_our_own_orders_are_ours_maybe_on_the_other_token() -> None:
    makers = (maker(1, ME), maker(2, OTHER), maker(3, ME, DOWN, price="0.6"))
    assert fills(trade(*makers)) == [
        ("0x1", UP, Side.BID, 4000, 4_000_000, True),
        ("0x3", DOWN, Side.ASK, 6000, 4_000_000, True),
    ]


def test_a_side_that_is_sent_is_believed() -> None:
    assert fills(trade(maker(1, ME, DOWN, side="BUY")))[0][2] == Side.BID


def test_a_trade_between_others_is_nothing() -> None:
    assert fills(trade(maker(1, OTHER))) == []


def test_several_messages_may_come_in_one_frame_and_a_pong_is_none() -> None:
    assert len(decoded([order(), trade(maker(1, ME))])) == 2
    assert account.decode(b"PONG", ME) == []


def test_a_rest_status_loses_its_prefix() -> None:
    (found,) = decoded(trade(maker(1, ME), status="TRADE_STATUS_CONFIRMED", bucket_index=2))
    assert isinstance(found, Fill)
    assert (found.status, found.bucket) == ("CONFIRMED", 2)


def test_a_trade_without_a_time_uses_its_last_update_and_else_is_refused() -> None:
    (found,) = decoded(trade(maker(1, ME), timestamp=None, last_update=str(MS)))
    assert found.at_ns == MS * 1_000_000
    with pytest.raises(BadFrame, match="timestamp"):
        decoded(trade(maker(1, ME), timestamp=None))


@pytest.mark.parametrize(
    "wrong",
    [
        order(side="HOLD"),
        order(price="1.5"),
        order(original_size="-1"),
        order(type="NEWS"),
        order(timestamp="soon"),
        trade(maker(1, ME, matched_amount="NaN")),
        {"event_type": "order"},
        [1],
    ],
)
def test_what_is_malformed_is_refused(wrong: Any) -> None:
    with pytest.raises(BadFrame):
        decoded(wrong)


def test_the_first_frame_asks_for_all_markets() -> None:
    found = msgspec.json.decode(account.subscribe_first("k", "s", "p"))
    auth = {"apiKey": "k", "secret": "s", "passphrase": "p"}
    assert found == {"type": "user", "auth": auth}


@needs_shared
@pytest.mark.parametrize("name", [one.name for one in sorted(SAMPLES.glob("pm_ws_user_*_*al*"))])
def test_every_sample_of_the_user_channel_parses(name: str) -> None:
    frame = json.loads((SAMPLES / name).read_text())
    owner = frame["maker_orders"][-1]["owner"] if "maker_orders" in frame else frame["owner"]
    assert account.decode(dump(frame), owner)
    if "we_are_maker" in name:
        # The taker buys No at 0.49; we buy Yes at 0.513.
        assert fills_of(frame, owner) == [(Side.BID, 5130, 5_000_000)]


def fills_of(frame: Any, owner: str) -> list[tuple[Side, int, int]]:
    found = account.decode(dump(frame), owner)
    return [(one.side, one.price_e4, one.size_micro) for one in found if isinstance(one, Fill)]
