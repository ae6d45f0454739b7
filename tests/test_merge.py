"""The merge of several connections: one order, whatever the batches are cut into."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from fairwind.core.events import Events, Flag, Kind, Source
from fairwind.feeds.frames import Row, as_events, row
from fairwind.feeds.kpis import Count, Kpis, health
from fairwind.feeds.merge import Merge


def event(ts_ns: int, source: Source = Source.POLYMARKET, price: int = 1, flags: int = 0) -> Row:
    return row(Kind.LEVEL, ts_ns, source, price=price, flags=flags)


def stream(source: Source, price: int) -> st.SearchStrategy[list[Row]]:
    """A connection's rows by receipt, each with a number that says which one it is."""
    gaps = st.lists(st.integers(0, 3), max_size=20)
    return gaps.map(
        lambda steps: [event(sum(steps[: at + 1]), source, price + at) for at in range(len(steps))]
    )


STREAMS = st.tuples(
    stream(Source.COINBASE, 100), stream(Source.POLYMARKET, 200), stream(Source.REFERENCE, 300)
)


def drained(streams: tuple[list[Row], ...], until_ns: int, after_ns: int) -> list[list[Row]]:
    """What each connection received in a stretch of time."""
    return [[one for one in rows if after_ns < one[0] <= until_ns] for rows in streams]


def batches_of(streams: Iterable[list[Row]]) -> list[Events]:
    return [as_events(rows) for rows in streams]


@given(STREAMS, st.lists(st.integers(0, 60), max_size=5))
def test_the_order_does_not_depend_on_when_the_queues_are_drained(
    streams: tuple[list[Row], ...], cuts: list[int]
) -> None:
    whole, parts = Merge(), Merge()
    expected = whole.take(batches_of(streams)).tolist()
    found, after = [], -1
    for until in [*sorted(cuts), 1000]:
        found += parts.take(batches_of(drained(streams, until, after))).tolist()
        after = until
    assert found == expected
    assert found == sorted(found, key=lambda one: (one[0], one[7]))
    assert len(found) == sum(map(len, streams)) and parts.late == 0


@given(st.lists(STREAMS, max_size=4))
def test_time_never_steps_back_and_nothing_is_lost(
    batches: list[tuple[list[Row], ...]],
) -> None:
    merge, last, number = Merge(), 0, 0
    for streams in batches:
        for one in merge.take(batches_of(streams)):
            assert one["ts_ns"] >= last
            last, number = one["ts_ns"], number + 1
    assert number == sum(len(rows) for streams in batches for rows in streams)


def test_a_clock_that_is_set_back_is_counted() -> None:
    merge = Merge()
    merge.take(batches_of([[event(100)]]))
    assert merge.take(batches_of([[event(90), event(105)]]))["ts_ns"].tolist() == [100, 105]
    assert (merge.late, merge.latest_by_ns) == (1, 10)


def test_atomic_groups_of_two_connections_stay_whole() -> None:
    first = [event(5, price=1, flags=Flag.MORE), event(5, price=2)]
    second = [event(5, price=3, flags=Flag.MORE), event(5, price=4)]
    assert Merge().take(batches_of([first, second]))["price"].tolist() == [1, 2, 3, 4]


def test_no_rows_are_no_events_and_change_no_time() -> None:
    merge = Merge(last_ns=7)
    assert len(merge.take(batches_of([[], []]))) == 0 and merge.last_ns == 7


def test_ages_are_percentiles_at_most_an_eighth_too_high() -> None:
    kpis = Kpis()
    assert kpis.age_percentile_ns(50) == 0
    for age in range(1, 1001):
        kpis.age(age * 1_000_000)
    for percent in (1, 50, 95, 99, 100):
        exact = percent * 10_000_000
        assert exact <= kpis.age_percentile_ns(percent) <= exact * 9 / 8


@given(st.lists(st.integers(-5, 2**62), min_size=1))
def test_every_age_has_its_place(ages: list[int]) -> None:
    kpis = Kpis()
    for age in ages:
        kpis.age(age)
    greatest = max(*ages, 0)
    assert greatest <= kpis.age_percentile_ns(100) <= greatest * 9 / 8


def test_a_feeds_health_names_each_count() -> None:
    kpis = Kpis()
    kpis.add(Count.MESSAGES, 5)
    kpis.add(Count.CHECKSUM_FAILURES)
    kpis.add("NOT_JSON", 2)
    kpis.age(3)
    kpis.invalid_book_ns = 9
    found = health("coinbase", kpis)
    assert (found.feed, found.messages, found.gaps, found.refused) == (
        "coinbase",
        5,
        0,
        {"NOT_JSON": 2},
    )
    assert (found.checksum_failures, found.age_p99_ns, found.invalid_book_ns) == (1, 3, 9)
