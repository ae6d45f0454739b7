"""What the user channel says of our orders under faults: never more than the exchange knows, and
all of it when nothing is lost."""

import random
from collections import Counter
from typing import Any, NamedTuple

import msgspec
from conftest import LONG
from fault_sessions import ADDRESS
from fault_stages import stage

from fairwind.core.events import Outcome
from fairwind.core.units import SECOND_NS, SHARE_MICRO
from fairwind.feeds import account
from fairwind.feeds.frames import BadFrame
from fairwind.world.clock import MarketClock
from fairwind.world.exchange.accounts import Trade, TradeStatus
from fairwind.world.exchange.orders import Order, OrderType
from fairwind.world.faults import Fault, Faults, LineName, schedule
from fairwind.world.faults import Kind as Trouble
from fairwind.world.server.account_wire import Identity
from fairwind.world.server.app import Market
from fairwind.world.server.venue import Venue

SEEDS = 1_000 if LONG else 30
TRADED_S, SETTLED_S = 30, 240
"""Orders are placed so long; then everything settles, and what was late comes."""
LOSSLESS = (Trouble.DUPLICATE, Trouble.REORDER, Trouble.DELAY, Trouble.FAILED)
LOSING = (Trouble.DROP, Trouble.CLOSE, Trouble.FREEZE, Trouble.CUT, Trouble.HTML)
FLIPPING = (Trouble.FLIP,)
RANKS = ("MATCHED", "MINED", "CONFIRMED", "FAILED")
LINES = (LineName.USER, LineName.ORDERS)

Part = tuple[str, str]
"""Trade, order."""
State = tuple[str, int]
"""Status, size in micro shares."""


class Story(NamedTuple):
    """What was heard, and what is true."""

    heard: dict[Part, State]
    true: dict[Part, State]
    bad_frames: int
    answers: Counter[str]
    acted: int


def story(seed: int, faults: list[Fault]) -> Story:
    """Random orders for half a minute, and the user channel until all is settled."""
    scene, chance = stage(seed % 8), random.Random(seed)
    start_ns = scene.windows[0].start_ns
    venue = Venue(scene.tape, Faults(faults))
    market = Market(venue, MarketClock(start_ns, stepped=True))
    market.turn(start_ns)
    keys = market._streams.keys
    key = keys.of(ADDRESS, 0)
    keys.active[key.api_key] = key
    venue.known(key.account, Identity(key.api_key, ADDRESS))
    user = market.connect(LineName.USER)
    words = account.subscribe_first(key.api_key, key.secret, key.passphrase)
    assert user.hear(words.decode()) is None
    heard: dict[Part, State] = {}
    answers: Counter[str] = Counter()
    bad_frames = 0
    for second in range(SETTLED_S):
        market.turn(start_ns + second * SECOND_NS)
        if second < TRADED_S:
            frames, answer = venue.submit(an_order(second, key.account, venue, chance))
            market._streams.publish(frames)
            answers[answer.status or "refused"] += 1
        for frame in user.take():
            try:
                fold(heard, account.decode(frame, key.api_key))
            except BadFrame:
                bad_frames += 1
    acted = sum(one.fired for one in venue.faults.fired())
    return Story(heard, truth(venue, key.account), bad_frames, answers, acted)


def an_order(number: int, who: str, venue: Venue, chance: random.Random) -> Order:
    """A buy of either outcome that takes, or rests near the best price."""
    (shown,) = venue.shown.values()
    outcome = chance.choice((Outcome.UP, Outcome.DOWN))
    bid, ask = (round(float(price) * 100) * 100 for price in shown.best(outcome))
    kind = chance.choice((OrderType.FAK, OrderType.GTC))
    price_e4 = ask if kind is OrderType.FAK else chance.choice((bid, ask))
    size = chance.randint(20, 60) * SHARE_MICRO
    market = shown.listing.condition_id
    return Order(f"0x{number}", who, market, outcome, True, price_e4, size, kind)


def fold(heard: dict[Part, State], updates: list[Any]) -> None:
    """Keep the last status of each part of a trade, in whatever order they come."""
    for one in updates:
        if not isinstance(one, account.Fill) or one.status not in RANKS:
            continue
        part = one.trade_id, one.order_id
        before = heard.get(part, ("MATCHED", 0))[0]
        heard[part] = max(before, one.status, key=RANKS.index), one.size_micro


def truth(venue: Venue, who: str) -> dict[Part, State]:
    """Our parts of all trades, as the exchange keeps them."""

    def parts(trade: Trade) -> list[tuple[str, int]]:
        made = [(f.maker.id, f.size_micro) for f in trade.fills if f.maker.account == who]
        taken = [(trade.taker.id, trade.size_micro)] if trade.taker.account == who else []
        return taken + made

    return {
        (trade.id, order): (trade.status.name, size)
        for trade in venue.trades_of(who)
        for order, size in parts(trade)
    }


def stories(kinds: tuple[Trouble, ...]) -> list[Story]:
    """One story for each seed."""
    found = []
    for seed in range(SEEDS):
        start_ns = stage(seed % 8).windows[0].start_ns
        drawn = schedule(seed, start_ns, start_ns + TRADED_S * SECOND_NS, kinds, LINES)
        # A frame that waits for the next one waits for ever when every one does.
        limited = [msgspec.structs.replace(one, times=one.times or 3) for one in drawn]
        found.append(story(seed, limited))
    assert sum(len(one.true) for one in found) > 5 * SEEDS
    assert sum(one.answers["delayed"] for one in found) > 2 * SEEDS
    assert sum(one.acted > 0 for one in found) > SEEDS // 3
    return found


def test_without_losses_all_that_was_heard_is_all_that_is_true() -> None:
    found = stories(LOSSLESS)
    assert all(one.heard == one.true and one.bad_frames == 0 for one in found)
    final = Counter(status for one in found for status, _ in one.true.values())
    assert set(final) == {TradeStatus.CONFIRMED.name, TradeStatus.FAILED.name}


def test_with_losses_nothing_is_heard_that_is_not_true() -> None:
    found = stories(LOSING)
    assert any(one.heard != one.true for one in found)
    assert any(one.bad_frames for one in found)
    for one in found:
        assert one.heard.keys() <= one.true.keys()
        for part, (status, size) in one.heard.items():
            assert size == one.true[part][1]
            assert RANKS.index(status) <= RANKS.index(one.true[part][0])


def test_a_turned_bit_is_a_bad_frame_or_a_frame_and_nothing_worse() -> None:
    assert sum(one.bad_frames for one in stories(FLIPPING)) > 0
