"""A book that the engine knows already when its connection opens, as after a restart."""

import msgspec
import pytest
from test_wire_books import wrong_hashes
from wire_messages import CONDITION, DOWN, NS, UP, book, change, fed, market, summary

from fairwind.core.errors import BadInput
from fairwind.core.events import Kind, Side
from fairwind.feeds.polymarket import MarketChannel

BID, ASK = int(Side.BID), int(Side.ASK)
LEVEL, GAP = int(Kind.LEVEL), (int(Kind.GAP), int(Side.NONE), 0, 0, 0)
KNOWN = ((BID, 4700, 10_000_000), (BID, 4800, 20_500_000), (ASK, 5200, 30_000_000))
KNOWN = (*KNOWN, (ASK, 5000, 40_000_000))


def resumed(stamp_ms: int = 0, **more):
    channel = MarketChannel()
    channel.resume(msgspec.structs.replace(market(), **more), KNOWN, NS, stamp_ns=NS + stamp_ms)
    assert channel.live(CONDITION) and channel.asset_ids() == [UP, DOWN]
    return channel


def test_a_resumed_book_says_nothing_when_its_first_snapshot_brings_nothing_new() -> None:
    channel = resumed()
    assert fed(channel, book()) == []
    assert len(fed(channel, book(at_ms=1))) == 2  # from then on it is as any other book
    assert len(fed(resumed(), book(at_ms=1))) == 2  # seen again, later than the engine knew


def test_a_resumed_book_reports_only_what_differs() -> None:
    again = book(bids=(("0.48", "20.5"),), at_ms=-5)
    assert summary(fed(resumed(), again)) == [(LEVEL, BID, 4700, 0, 0)]
    change_first = fed(resumed(), change("BUY", "0.47", "12"), book(at_ms=2))
    assert summary(change_first) == [
        (LEVEL, BID, 4700, 12_000_000, 0),
        (LEVEL, BID, 4700, 10_000_000, 0),
    ]


def test_a_resumed_book_whose_tick_changed_begins_anew() -> None:
    kinds = [one[0] for one in summary(fed(resumed(tick_e4=10), book()))]
    assert kinds[:3] == [Kind.GAP, Kind.TICK, Kind.CLEAR]


def test_a_resumed_books_checksum_is_trusted_from_its_first_snapshot_on() -> None:
    channel = resumed()
    fed(channel, book())
    assert summary(wrong_hashes(channel, seconds=2))[-1] == GAP


@pytest.mark.parametrize(
    "wrong",
    [(2, 4700, 1), (BID, 0, 1), (BID, 10_000, 1), (ASK, 5200, 0), (BID, 5000, 1), (BID, 4701, 1)],
)
def test_levels_that_cannot_stand_in_one_book_are_not_resumed(wrong: tuple[int, int, int]) -> None:
    channel = MarketChannel()
    with pytest.raises(BadInput, match="watch the market instead"):
        channel.resume(market(), (*KNOWN, wrong), NS, stamp_ns=NS)
    assert channel.asset_ids() == []
