"""The built-in market without a server: turned by a test, read through its connections."""

import json
from typing import Any

from test_server_clock import EVENTS, FIRST_NS, LISTED_NS

from fairwind.core.units import SECOND_NS
from fairwind.world.clock import MarketClock
from fairwind.world.faults import Fault, Faults, Kind, LineName, schedule
from fairwind.world.server.app import Market
from fairwind.world.server.sockets import Connection
from fairwind.world.server.venue import Venue

LINES = (LineName.MARKET, LineName.RTDS, LineName.COINBASE)


def told(faults: list[Fault], step_ns: int) -> dict[LineName, list[bytes]]:
    """What three connections are told in a minute that is cut into steps."""
    market = Market(Venue(EVENTS, Faults(faults)), MarketClock(FIRST_NS, stepped=True))
    market.turn(LISTED_NS)
    frames: dict[LineName, list[bytes]] = {line: [] for line in LINES}
    open_now: dict[LineName, Connection] = {}
    for now_ns in range(LISTED_NS, LISTED_NS + 60 * SECOND_NS, step_ns):
        for line in LINES:
            if line not in open_now or open_now[line].closed:
                open_now[line] = subscribed(market, line)
        market.turn(now_ns + step_ns)
        for line, connection in open_now.items():
            frames[line] += connection.take()
    return frames


def subscribed(market: Market, line: LineName) -> Connection:
    connection = market.connect(line)
    tokens = [token for shown in market.venue.shown.values() for token in shown.listing.tokens]
    wanted = {"topic": "crypto_prices_twap_sixty"}
    asked: dict[LineName, list[dict[str, Any]]] = {
        LineName.MARKET: [{"type": "market", "assets_ids": tokens}],
        LineName.RTDS: [{"action": "subscribe", "subscriptions": [wanted]}],
        LineName.COINBASE: [
            {"type": "subscribe", "channel": "heartbeats"},
            {"type": "subscribe", "channel": "ticker", "product_ids": ["BTC-USD"]},
        ],
    }
    for frame in asked[line]:
        assert connection.hear(json.dumps(frame)) is None
    return connection


def test_a_market_is_told_without_a_server_however_time_is_cut() -> None:
    second = told([], SECOND_NS)
    assert second == told([], 60 * SECOND_NS) == told([], SECOND_NS // 20)
    assert all(len(frames) > 50 for frames in second.values())


def test_a_venue_that_nobody_has_heard_goes_on_like_one_that_was_heard() -> None:
    heard, unheard = Venue(EVENTS), Venue(EVENTS)
    end_ns = int(EVENTS["ts_ns"][-1])
    for now_ns in range(LISTED_NS, end_ns, 45 * SECOND_NS):
        assert heard.advance(now_ns)[0]
        assert unheard.advance(now_ns, heard=False)[0] == []
        assert unheard.prints == heard.prints
        later_ns = now_ns + 10 * SECOND_NS
        assert unheard.advance(later_ns) == heard.advance(later_ns)


def test_a_new_connection_to_coinbase_first_hears_the_last_ticker_as_it_was() -> None:
    market = Market(Venue(EVENTS), MarketClock(FIRST_NS, stepped=True))
    before = subscribed(market, LineName.COINBASE)
    market.turn(LISTED_NS)
    *_, last = (one for one in map(json.loads, before.take()) if one["channel"] == "ticker")
    after = subscribed(market, LineName.COINBASE)
    (first,) = (one for one in map(json.loads, after.take()) if one["channel"] == "ticker")
    assert first["timestamp"] == last["timestamp"]
    assert first["events"][0]["tickers"] == last["events"][0]["tickers"]
    assert [one["events"][0]["type"] for one in (last, first)] == ["update", "snapshot"]


def test_random_faults_change_what_is_told_and_nothing_else() -> None:
    well = told([], 2 * SECOND_NS)
    changed = 0
    for seed in range(30):
        span_ns = (LISTED_NS, LISTED_NS + 60 * SECOND_NS)
        faults = schedule(seed, *span_ns, set(Kind) - {Kind.STATUS, Kind.STALE}, LINES)
        found = told(faults, 2 * SECOND_NS)
        assert found == told(faults, 2 * SECOND_NS)
        touched = {fault.line for fault in faults}
        assert all(found[line] == well[line] for line in LINES if line not in touched)
        changed += any(found[line] != well[line] for line in touched)
    assert changed > 10
