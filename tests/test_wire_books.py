"""The book that is assembled from the market channel: what it becomes, and when it is doubted."""

import pytest
from wire_messages import (
    BIDS,
    CONDITION,
    DOWN,
    NS,
    UP,
    book,
    change,
    fed,
    levels,
    market,
    summary,
    watching,
)

from fairwind.core.events import Flag, Kind, Side
from fairwind.feeds.books import Market
from fairwind.feeds.kpis import Count

BID, ASK, NONE, MORE = int(Side.BID), int(Side.ASK), int(Side.NONE), int(Flag.MORE)
LEVEL, GAP = int(Kind.LEVEL), (int(Kind.GAP), NONE, 0, 0, 0)


def alive():
    """A channel whose book is live and whose recipe of the checksum is trusted."""
    channel = watching()
    fed(channel, book())
    assert channel.live(CONDITION)
    return channel


def test_a_listing_and_its_fees_come_first() -> None:
    one = Market(
        number=3,
        series=0,
        start_ns=NS,
        condition_id=CONDITION,
        up=UP,
        down=DOWN,
        fee_rate_e6=70_000,
    )
    rows = summary(watching().watch(one, NS))
    assert rows == [
        (Kind.LISTED, NONE, 100, 5_000_000, 0),
        (Kind.FEES, NONE, 70_000, 1, 0),
    ]


def test_a_snapshot_is_one_atomic_group_behind_a_clear() -> None:
    assert summary(fed(watching(), book())) == [
        (Kind.CLEAR, NONE, 0, 0, MORE),
        (LEVEL, BID, 4700, 10_000_000, MORE),
        (LEVEL, BID, 4800, 20_500_000, MORE),
        (LEVEL, ASK, 5000, 40_000_000, MORE),
        (LEVEL, ASK, 5200, 30_000_000, 0),
    ]


def test_an_empty_book_is_a_lone_clear() -> None:
    rows = fed(watching(), book(bids=(), asks=()))
    assert summary(rows) == [(Kind.CLEAR, NONE, 0, 0, 0)]


def test_nothing_is_taken_before_the_first_snapshot_of_up() -> None:
    channel = watching()
    down = book(bids=(("0.5", "40"),), asks=(("0.52", "20.5"),), token=DOWN)
    assert fed(channel, change("BUY", "0.47", "1"), down, change("BUY", "0.47", "1")) == []


def test_a_change_and_its_mirror_are_fed_once() -> None:
    assert summary(fed(alive(), change("BUY", "0.47", "12"))) == [(LEVEL, BID, 4700, 12_000_000, 0)]


def test_a_change_of_down_alone_is_fed_as_its_mirror() -> None:
    one = change("BUY", "0.47", "12")
    one["price_changes"] = one["price_changes"][1:]
    assert summary(fed(alive(), one)) == [(LEVEL, BID, 4700, 12_000_000, 0)]


def test_the_old_format_names_one_token_in_one_of_two_forms() -> None:
    old = {"event_type": "price_change", "market": CONDITION, "timestamp": "1790000000001"}
    single = {**old, "asset_id": DOWN, "price": "0.53", "size": "9", "side": "SELL", "hash": "x"}
    several = {**old, "asset_id": UP, "changes": [{"price": "0.46", "size": "3", "side": "BUY"}]}
    assert summary(fed(alive(), single, several)) == [
        (LEVEL, BID, 4700, 9_000_000, 0),
        (LEVEL, BID, 4600, 3_000_000, 0),
    ]


def test_an_old_change_of_nothing_is_refused() -> None:
    channel = alive()
    old = {"event_type": "price_change", "market": CONDITION, "timestamp": "1790000000001"}
    assert summary(fed(channel, {**old, "asset_id": UP})) == [GAP]
    assert channel.kpis.counts["SHAPE"] == 1


def test_an_older_change_never_overwrites_a_newer_one() -> None:
    channel = alive()
    newer, older = change("BUY", "0.47", "12", at_ms=3), change("BUY", "0.47", "11", at_ms=2)
    assert len(fed(channel, newer, older)) == 1
    assert channel.kpis.counts[Count.OUT_OF_ORDER] == 1
    assert fed(channel, change("BUY", "0.46", "1", at_ms=-1)) == []


def test_a_snapshot_replaces_even_what_was_newer() -> None:
    channel = alive()
    fed(channel, change("BUY", "0.47", "12", at_ms=9), book(at_ms=5))
    assert len(fed(channel, change("BUY", "0.47", "13", at_ms=6))) == 1


def test_a_book_sent_again_reports_only_what_differs_and_else_its_best_levels() -> None:
    channel = alive()
    again = book(bids=(("0.48", "20"),), at_ms=2)
    assert summary(fed(channel, again)) == [
        (LEVEL, BID, 4700, 0, MORE),
        (LEVEL, BID, 4800, 20_000_000, 0),
    ]
    assert summary(fed(channel, again)) == [
        (LEVEL, BID, 4800, 20_000_000, MORE),
        (LEVEL, ASK, 5000, 40_000_000, 0),
    ]
    assert channel.kpis.counts[Count.DUPLICATES] == 1


def test_best_prices_that_differ_end_the_book_until_a_new_snapshot() -> None:
    channel = alive()
    assert summary(fed(channel, change("BUY", "0.47", "1", best=("0.49", "0.5")))) == [GAP]
    (wish,) = channel.resyncs(NS)
    assert wish.market.up == UP and "best prices" in wish.why
    assert channel.resyncs(NS) == []
    assert fed(channel, change("BUY", "0.47", "1", at_ms=2)) == []
    assert summary(fed(channel, book(at_ms=3)))[0] == (Kind.CLEAR, NONE, 0, 0, MORE)
    assert channel.live(CONDITION) and channel.resyncs(NS) == []
    assert channel.kpis.counts[Count.GAPS] == 1


def test_a_change_without_best_prices_may_not_cross_the_book() -> None:
    old = {"event_type": "price_change", "market": CONDITION, "timestamp": "1790000000001"}
    crossing = {**old, "asset_id": UP, "price": "0.5", "size": "9", "side": "BUY"}
    channel = alive()
    assert summary(fed(channel, crossing)) == [GAP]
    assert "crossed" in channel.resyncs(NS)[0].why


def test_a_snapshot_that_does_not_come_is_asked_for_again() -> None:
    channel = watching()
    later = [channel.resyncs(NS + seconds * 10**9) for seconds in (4, 5, 9, 10)]
    assert [[one.why for one in found] for found in later] == [
        [],
        ["no snapshot came"],
        [],
        ["no snapshot came"],
    ]


def test_the_time_without_a_book_is_counted() -> None:
    channel = alive()
    fed(channel, change("BUY", "0.47", "1", best=("0.49", "0.5")), at_ms=100)
    fed(channel, book(at_ms=3), at_ms=350)
    assert channel.kpis.invalid_book_ns == 250_000_000


def test_removing_the_best_level_moves_the_best_price() -> None:
    rows = fed(alive(), change("BUY", "0.48", "0", best=("0.47", "0.5")))
    assert summary(rows) == [(LEVEL, BID, 4800, 0, 0)]


def test_down_that_contradicts_up_marks_the_book_until_it_agrees() -> None:
    channel = alive()
    apart = change("BUY", "0.47", "12")
    apart["price_changes"][1] |= {"best_bid": "0.46"}
    assert summary(fed(channel, apart)) == [(LEVEL, BID, 4700, 12_000_000, int(Flag.PARITY))]
    assert channel.kpis.counts[Count.PARITY] == 1
    assert summary(fed(channel, change("BUY", "0.47", "13", at_ms=2)))[0][4] == 0


def test_a_new_tick_ends_the_book_once_although_it_is_sent_four_times() -> None:
    channel = alive()
    tick = {"event_type": "tick_size_change", "market": CONDITION, "timestamp": "1790000000001"}
    tick |= {"old_tick_size": "0.01", "new_tick_size": "0.001"}
    sent = [{**tick, "asset_id": token} for token in (UP, DOWN, UP, DOWN)]
    assert summary(fed(channel, *sent[:2])) == [GAP, (Kind.TICK, NONE, 10, 0, 0)]
    assert [one.why for one in channel.resyncs(NS)] == ["the tick changed"]
    fed(channel, book(at_ms=2, tick_size="0.001"))
    assert fed(channel, *sent[2:]) == [] and channel.live(CONDITION)
    assert channel.kpis.counts[Count.GAPS] == 0


def test_a_snapshot_with_another_tick_says_so_before_its_levels() -> None:
    kinds = [one[0] for one in summary(fed(alive(), book(tick_size="0.001", at_ms=1)))]
    assert kinds[:3] == [Kind.GAP, Kind.TICK, Kind.CLEAR]


def test_an_open_window_that_goes_silent_is_doubted_and_one_to_come_is_not() -> None:
    channel, second = alive(), 10**9
    assert channel.silent(NS + 3 * second, 3 * second) == []
    assert channel.silent(NS - second, -10 * second) == []
    assert summary(channel.silent(NS + 4 * second, 3 * second)) == [GAP]
    assert [one.why for one in channel.resyncs(NS)] == ["its data went silent"]
    assert channel.silent(NS + 5 * second, 3 * second) == []


def test_a_lost_connection_ends_every_live_book_once() -> None:
    channel = alive()
    assert summary(channel.disconnected(NS)) == [GAP]
    assert channel.disconnected(NS) == []
    assert channel.resyncs(NS) == []


def test_a_trade_of_down_is_the_opposite_trade_of_up() -> None:
    trade = {"event_type": "last_trade_price", "market": CONDITION, "timestamp": "1790000000001"}
    trade |= {"price": "0.3", "size": "7.1", "side": "BUY"}
    rows = fed(watching(), {**trade, "asset_id": UP}, {**trade, "asset_id": DOWN})
    assert summary(rows) == [
        (Kind.TRADE, BID, 3000, 7_100_000, 0),
        (Kind.TRADE, ASK, 7000, 7_100_000, 0),
    ]


@pytest.mark.parametrize(("winner", "payout"), [(UP, 10_000), (DOWN, 0)])
def test_the_result_is_what_one_up_share_pays(winner: str, payout: int) -> None:
    end = {"event_type": "market_resolved", "market": CONDITION, "timestamp": "1790000000001"}
    assert summary(fed(watching(), {**end, "winning_asset_id": winner})) == [
        (Kind.RESOLVED, NONE, payout, 0, 0)
    ]
    assert fed(watching(), {**end, "winning_asset_id": "9"}) == []


def wrong_hashes(channel, seconds: float):
    """Changes with a wrong checksum, when one is due, received over that time."""
    return [
        row
        for at in range(5)
        for row in fed(
            channel,
            change("BUY", "0.47", str(at + 1), at_ms=2000 + at),
            at_ms=int(at * seconds * 1000 / 5),
        )
    ]


def test_a_checksum_that_keeps_failing_puts_the_book_in_doubt() -> None:
    channel = alive()
    assert summary(wrong_hashes(channel, seconds=2))[-1] == GAP
    assert channel.kpis.counts[Count.CHECKSUM_FAILURES] >= 3
    assert [one.why for one in channel.resyncs(NS)] == ["its checksum keeps failing"]


def test_a_burst_of_failures_within_a_second_is_no_proof() -> None:
    channel = alive()
    assert GAP not in summary(wrong_hashes(channel, seconds=0.5))
    assert channel.kpis.counts[Count.CHECKSUM_FAILURES] >= 3


def test_a_recipe_that_fails_on_a_fresh_snapshot_is_not_trusted() -> None:
    channel = watching()
    fed(channel, book(hash="0" * 40))
    assert GAP not in summary(wrong_hashes(channel, seconds=2))
    assert channel.kpis.counts[Count.CHECKSUMS] == 1


def test_a_checksum_is_compared_every_two_seconds_while_it_fits() -> None:
    channel = alive()
    for at_ms in (1999, 2000, 2001, 3999, 4000):
        size = str(at_ms)
        one = change("BUY", "0.47", size, at_ms=at_ms)
        one["price_changes"][0]["hash"] = book((("0.47", size), BIDS[1]), at_ms=at_ms)["hash"]
        fed(channel, one)
    assert channel.kpis.counts[Count.CHECKSUMS] == 1 + 2
    assert channel.kpis.counts[Count.CHECKSUM_FAILURES] == 0


BAD_BOOKS = {
    "crossed": ("CROSSED", {"asks": levels(("0.48", "1"))}),
    "a negative size": ("NUMBER", {"bids": levels(("0.4", "-1"))}),
    "no number": ("NUMBER", {"bids": levels(("cheap", "1"))}),
    "not a number": ("NUMBER", {"bids": levels(("0.4", "NaN"))}),
    "infinite": ("NUMBER", {"bids": levels(("0.4", "Infinity"))}),
    "an exponent": ("NUMBER", {"bids": levels(("4e-1", "1"))}),
    "another script's digits": ("NUMBER", {"bids": levels(("0.٤", "1"))}),
    "an underscore": ("NUMBER", {"bids": levels(("0.4", "1_0"))}),
    "too large": ("NUMBER", {"bids": levels(("0.4", "1" * 30))}),
    "a size of zero": ("SIZE", {"bids": levels(("0.4", "0"))}),
    "a price of zero": ("PRICE", {"bids": levels(("0", "1"))}),
    "a price of one": ("PRICE", {"asks": levels(("1", "1"))}),
    "a price above one": ("PRICE", {"asks": levels(("1.2", "1"))}),
    "a price off the grid": ("PRICE", {"bids": levels(("0.4801", "1"))}),
    "a price with a tail": ("PRICE", {"bids": levels(("0.40000001", "1"))}),
    "a level twice": ("DUPLICATE_LEVEL", {"bids": levels(("0.4", "1"), ("0.40", "2"))}),
    "another market's token": ("ASSET", {"asset_id": "9"}),
    "no time": ("TIME", {"timestamp": "soon"}),
    "a time of another century": ("TIME", {"timestamp": "99"}),
    "a number as text": ("SHAPE", {"bids": [{"price": 0.4, "size": "1"}]}),
    "no levels": ("SHAPE", {"bids": None}),
}


@pytest.mark.parametrize("name", BAD_BOOKS)
def test_a_malformed_book_is_refused_with_its_reason_and_ends_the_book(name: str) -> None:
    reason, wrong = BAD_BOOKS[name]
    channel = alive()
    assert summary(fed(channel, {**book(at_ms=1), **wrong})) == [GAP]
    assert channel.kpis.counts[reason] == 1
    assert not channel.live(CONDITION) and len(channel.resyncs(NS)) == 1


BAD_CHANGES = {
    "crossed": ("CROSSED", {"best_bid": "0.6"}),
    "a negative size": ("NUMBER", {"size": "-1"}),
    "a price of one": ("PRICE", {"price": "1"}),
    "an unknown side": ("SIDE", {"side": "HOLD"}),
    "contradicting its mirror": ("MIRROR", {"size": "13"}),
    "another market's token": ("ASSET", {"asset_id": "9"}),
    "best prices that are no numbers": ("NUMBER", {"best_ask": "high"}),
    "a number as text": ("SHAPE", {"size": 12}),
    "no best price": ("SHAPE", {"best_bid": None}),
}


@pytest.mark.parametrize("name", BAD_CHANGES)
@pytest.mark.parametrize("entry", [0, 1])
def test_a_malformed_change_is_refused_with_its_reason_and_ends_the_book(
    name: str, entry: int
) -> None:
    reason, wrong = BAD_CHANGES[name]
    channel = alive()
    one = change("BUY", "0.47", "12")
    one["price_changes"][entry] |= wrong
    assert summary(fed(channel, one)) == [GAP]
    assert channel.kpis.counts[reason] == 1


def test_a_frame_that_is_no_json_may_have_been_any_markets() -> None:
    channel = alive()
    assert summary(channel.take(b'{"event_type":"price_chan', NS)) == [GAP]
    assert channel.kpis.counts["NOT_JSON"] == 1


def test_an_object_without_a_kind_is_that_markets_or_nobodys() -> None:
    channel = alive()
    assert fed(channel, {"error": "invalid subscription"}) == []
    assert channel.kpis.counts["SHAPE"] == 1 and channel.live(CONDITION)
    assert summary(fed(channel, {"market": CONDITION, "price_changes": []})) == [GAP]
    fed(channel, book(at_ms=1))
    assert summary(fed(channel, {"event_type": "price_change"})) == [GAP]


def test_an_unknown_kind_of_message_is_counted_and_harms_nothing() -> None:
    channel = alive()
    assert fed(channel, {"event_type": "news", "market": CONDITION}) == []
    assert channel.kpis.counts["SHAPE"] == 1 and channel.live(CONDITION)


def test_a_key_twice_is_found_although_decoders_keep_the_last_one() -> None:
    channel = alive()
    text = '{"price":"0.47","size":"10"}'
    frame = str(book(at_ms=1)).replace("'", '"').replace(": ", ":").replace(", ", ",")
    assert frame.count(text) == 1
    twice = frame.replace(text, '{"price":"0.46","size":"10","price" :"0.47"}')
    assert summary(channel.take(twice.encode(), NS)) == [GAP]
    assert channel.kpis.counts["DUPLICATE_KEY"] == 1


def test_another_markets_frames_are_ignored_and_counted() -> None:
    channel = alive()
    assert fed(channel, {**book(), "market": "0x1"}) == []
    assert channel.kpis.counts[Count.IGNORED] == 1


def test_a_market_that_is_forgotten_is_not_subscribed_to() -> None:
    channel = watching()
    assert channel.asset_ids() == [UP, DOWN]
    channel.forget(market().condition_id)
    assert channel.asset_ids() == [] and not channel.live(CONDITION)
