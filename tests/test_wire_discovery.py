"""Finding a window's market: what is taken from the venue's metadata, and what is refused."""

import gzip
import json
from typing import Any

import msgspec
import pytest
from conftest import SHARED, needs_shared
from wire_messages import CONDITION, DOWN, MS, SAMPLES, UP, dump

from fairwind.core.ids import parse_slug
from fairwind.feeds import discovery
from fairwind.feeds.books import Market
from fairwind.feeds.frames import BadFrame

START_S = MS // 1000 // 300 * 300
SLUG = f"btc-updown-5m-{START_S}"
MARKET = Market(
    number=4,
    series=0,
    start_ns=START_S * 10**9,
    condition_id=CONDITION,
    up=UP,
    down=DOWN,
    fee_rate_e6=70_000,
)


def gamma(**more: Any) -> dict[str, Any]:
    return {
        "slug": SLUG,
        "conditionId": CONDITION,
        "clobTokenIds": json.dumps([UP, DOWN]),
        "outcomes": '["Up", "Down"]',
        "startDate": "2026-09-20T14:10:00Z",
        "eventStartTime": "2026-09-21T14:10:00Z",
        "endDate": "2026-09-21T14:15:00Z",
        "orderPriceMinTickSize": 0.01,
        "orderMinSize": 5,
        "negRisk": False,
        "acceptingOrders": True,
        "feesEnabled": True,
        "feeSchedule": {"rate": 0.07, "exponent": 1, "takerOnly": True},
        "takerBaseFee": 1000,
        **more,
    }


def test_a_market_object_and_its_event_give_the_same_market() -> None:
    for found in (gamma(), {"id": "1", "markets": [gamma()]}):
        assert discovery.from_gamma(discovery.gamma_market(dump(found)), 4) == MARKET


def test_fees_count_only_where_they_are_enabled() -> None:
    off = discovery.gamma_market(dump(gamma(feesEnabled=False)))
    assert discovery.from_gamma(off, 4).fee_rate_e6 is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"slug": "btc-updown-5m"},
        {"eventStartTime": "2026-09-20T14:10:00Z"},
        {"endDate": "2026-09-21T14:25:00Z"},
        {"outcomes": '["Down", "Up"]'},
        {"outcomes": "Up, Down"},
        {"clobTokenIds": json.dumps([UP])},
        {"clobTokenIds": json.dumps([UP, UP])},
        {"version": "v2"},
        {"negRisk": True},
        {"orderPriceMinTickSize": 0.0001},
        {"orderPriceMinTickSize": 0.11},  # one digit that changed on its way
        {"conditionId": None},
        {"orderMinSize": -5},
        {"feeSchedule": {"rate": "free", "exponent": 1}},
    ],
    ids=str,
)
def test_an_object_that_contradicts_its_slug_or_our_rules_is_refused(wrong: Any) -> None:
    with pytest.raises(BadFrame):
        discovery.from_gamma(discovery.gamma_market(dump(gamma(**wrong))), 4)


@pytest.mark.parametrize("payload", [b"<html>", b"[]", b'{"markets":[]}', b"{}"])
def test_an_answer_of_another_shape_is_refused(payload: bytes) -> None:
    with pytest.raises(BadFrame):
        discovery.gamma_market(payload)


def test_slugs_are_computed_on_the_series_grid() -> None:
    start = START_S * 10**9
    assert discovery.slugs(0, start, start + 1) == [SLUG]
    assert discovery.slugs(0, start + 1, start + 600 * 10**9 + 1) == [
        f"btc-updown-5m-{START_S + 300}",
        f"btc-updown-5m-{START_S + 600}",
    ]
    quarters = [parse_slug(one)[1] for one in discovery.slugs(1, start, start + 3600 * 10**9)]
    assert len(quarters) == 4 and all(one % (900 * 10**9) == 0 for one in quarters)


@needs_shared
def test_the_sample_is_a_window() -> None:
    market = discovery.gamma_market(
        (SAMPLES / "pm_gamma_market_btc5m_resolved_2026-07-24.json").read_bytes()
    )
    found = discovery.from_gamma(market, 0)
    assert (found.tick_e4, found.fee_rate_e6, market.closed) == (10, 70_000, True)


@needs_shared
def test_every_window_of_a_recorded_day_is_verified() -> None:
    path = SHARED / "data" / "chainlink_btc" / "BTC-5m-markets-2026-06-08.jsonl.gz"
    with gzip.open(path) as file:
        for line in file:
            one = msgspec.json.decode(line)
            found = discovery.from_gamma(discovery.gamma_market(dump(one["raw"])), 0)
            assert found.start_ns == one["start_sec"] * 10**9
            assert [found.up, found.down] == one["token_ids"]
