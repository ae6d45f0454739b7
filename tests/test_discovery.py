"""Which windows are followed when, and what a market object says about its result."""

from typing import Any

import msgspec
import pytest
from conftest import needs_shared
from hypothesis import given
from hypothesis import strategies as st
from test_wire_discovery import MARKET, SLUG, START_S, gamma
from wire_messages import SAMPLES, dump

from fairwind.core.errors import BadInput
from fairwind.core.ids import parse_slug
from fairwind.core.units import SECOND_NS
from fairwind.feeds import discovery
from fairwind.feeds.frames import BadFrame

BTC_5M, BTC_15M, ETH_5M = 0, 1, 4
MINUTE_NS = 60 * SECOND_NS
START_NS = START_S * SECOND_NS


def test_the_running_window_and_the_next_two_are_wanted() -> None:
    names = [f"btc-updown-5m-{START_S + 300 * ahead}" for ahead in range(3)]
    assert discovery.wanted([BTC_5M], START_NS) == names
    assert discovery.wanted([BTC_5M], START_NS + 5 * MINUTE_NS - 1) == names
    assert discovery.wanted([BTC_5M], START_NS - 1)[1:] == names[:2]


def test_what_starts_first_is_wanted_first() -> None:
    quarter_ns = START_NS // (15 * MINUTE_NS) * 15 * MINUTE_NS
    found = [parse_slug(one) for one in discovery.wanted([BTC_15M, ETH_5M], quarter_ns, 1)]
    assert found == [
        (BTC_15M, quarter_ns),
        (ETH_5M, quarter_ns),
        (ETH_5M, quarter_ns + 5 * MINUTE_NS),
        (BTC_15M, quarter_ns + 15 * MINUTE_NS),
    ]


@given(now_ns=st.integers(START_NS, START_NS + 10**15), step_ns=st.integers(1, 10**12))
def test_windows_roll_without_a_gap(now_ns: int, step_ns: int) -> None:
    """Whatever runs at a later moment, up to two windows on, was wanted before."""
    later_ns = now_ns + min(step_ns, 2 * 5 * MINUTE_NS)
    running = discovery.wanted([BTC_5M], later_ns, 0)
    assert len(running) == 1
    assert set(running) <= set(discovery.wanted([BTC_5M], now_ns))
    start_ns = parse_slug(running[0])[1]
    assert start_ns <= later_ns < start_ns + 5 * MINUTE_NS


@pytest.mark.parametrize("series", [2, 3], ids=["BTC_1H", "BTC_4H"])
def test_series_of_another_calendar_are_refused(series: int) -> None:
    with pytest.raises(BadInput, match="5- or 15-minute windows, found BTC_"):
        discovery.wanted([series], START_NS)


def test_a_window_is_over_a_minute_after_its_result_or_half_an_hour_without_one() -> None:
    end_ns = discovery.end_ns(MARKET)
    assert end_ns == START_NS + 5 * MINUTE_NS
    for resolved, patience_ns in ((True, MINUTE_NS), (False, 30 * MINUTE_NS)):
        assert not discovery.is_over(end_ns, resolved, end_ns + patience_ns - 1)
        assert discovery.is_over(end_ns, resolved, end_ns + patience_ns)


def closed(prices: str, status: str = "resolved", **more: Any) -> discovery.GammaMarket:
    fields = {"closed": True, "outcomePrices": prices, "umaResolutionStatus": status, **more}
    return discovery.gamma_market(dump(gamma(**fields)))


@pytest.mark.parametrize(
    ("found", "result_e4"),
    [
        (closed('["1", "0"]'), 10_000),
        (closed('["0", "1"]'), 0),
        (closed('["0.5", "0.5"]'), 5_000),
        (closed('["1", "0"]', "proposed"), None),
        (closed('["0.9995", "0.0005"]', closed=False), None),
        (discovery.gamma_market(dump(gamma())), None),
    ],
)
def test_a_result_counts_when_it_is_final(
    found: discovery.GammaMarket, result_e4: int | None
) -> None:
    assert discovery.result_e4(found) == result_e4


@pytest.mark.parametrize("prices", ["", "[]", '["1"]', '["1", "1"]', '["1", "NaN"]', '["0", "0"]'])
def test_a_final_result_that_is_none_is_refused(prices: str) -> None:
    with pytest.raises(BadFrame):
        discovery.result_e4(closed(prices))


@needs_shared
def test_the_recorded_market_has_its_result() -> None:
    path = SAMPLES / "pm_gamma_market_btc5m_resolved_2026-07-24.json"
    prices = msgspec.json.decode(path.read_bytes())["outcomePrices"]
    found = discovery.gamma_market(path.read_bytes())
    assert discovery.result_e4(found) == {'["1", "0"]': 10_000, '["0", "1"]': 0}[prices]


def test_a_page_keeps_its_markets_as_they_came() -> None:
    market = dump(gamma())
    last = discovery.events_page(
        b'{"events":[{"slug":"%b","markets":[%b]}]}' % (SLUG.encode(), market)
    )
    assert bytes(last.events[0].markets[0]) == market
    assert (last.events[0].slug, last.next_cursor) == (SLUG, None)
    assert discovery.events_page(b'{"events":[],"next_cursor":"x"}').next_cursor == "x"
