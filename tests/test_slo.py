"""The stale-book objective, from samples whose figures can be counted by hand."""

import pytest

from fairwind.core.units import SECOND_NS
from fairwind.run.slo import HOUR_S, MARKETS_MAX, SHORT_S, Slo, StaleBooks

START_S = 1_791_201_600


def sampled(seconds: dict[int, list[tuple[str, bool]]]) -> StaleBooks:
    books = StaleBooks()
    for second, markets in sorted(seconds.items()):
        books.sample((START_S + second) * SECOND_NS, markets)
    return books


def hour(stale: set[int], end: int = HOUR_S) -> Slo:
    return sampled({s: [("one", s not in stale)] for s in range(end)}).report()


def test_an_hour_of_fresh_books_spends_nothing() -> None:
    slo = hour(set())
    assert (slo.share, slo.budget_left, slo.burn_1h, slo.burn_5m) == (1.0, 1.0, 0.0, 0.0)
    assert not slo.burning and slo.worst == ""


def test_the_share_is_over_open_windows_and_time() -> None:
    slo = sampled({s: [("a", True), ("b", s % 10 != 0)] for s in range(100)}).report()
    assert slo.share == pytest.approx(190 / 200)
    assert slo.worst == "b"


def test_one_per_cent_of_an_hour_is_the_whole_budget() -> None:
    slo = hour(set(range(1000, 1018)))
    assert slo.budget_left == pytest.approx(0.5)
    slo = hour(set(range(1000, 1036)))
    assert slo.burn_1h == pytest.approx(1.0)
    assert slo.budget_left == pytest.approx(0.0)


def test_a_burn_needs_both_windows() -> None:
    early, late = set(range(0, 60)), set(range(HOUR_S - 60, HOUR_S))
    assert hour(early).burn_1h == hour(late).burn_1h > 1
    assert not hour(early).burning, "it is over"
    assert hour(late).burning
    few = set(range(HOUR_S - 10, HOUR_S))
    assert hour(few).burn_5m > 1 and not hour(few).burning, "too little to spend the budget"


def test_a_slow_start_is_no_burn_but_a_start_that_never_succeeds_is() -> None:
    assert not hour(set(range(3)), end=5).burning
    assert hour(set(range(60)), end=60).burning


def test_what_is_older_than_an_hour_does_not_count() -> None:
    books = sampled({s: [("one", False)] for s in range(100)})
    for second in range(100, HOUR_S + 100):
        books.sample((START_S + second) * SECOND_NS, [("one", True)])
    assert books.report() == hour(set())


def test_a_burn_ends_five_minutes_after_its_cause() -> None:
    ends = [s for s in range(100, 500) if not hour(set(range(100)), end=s).burning]
    assert SHORT_S < ends[0] <= SHORT_S + 100


def test_time_without_an_open_window_is_neither_fresh_nor_stale() -> None:
    slo = sampled({s: [] for s in range(100)} | {100: [("one", True)]}).report()
    assert slo.share == 1.0
    assert sampled({}).report().share == 1.0


def test_a_sample_stands_for_skipped_seconds_but_not_for_a_long_silence() -> None:
    every_second = sampled({s: [("one", s >= 50)] for s in range(101)}).report()
    every_other = sampled({s: [("one", s >= 50)] for s in range(0, 101, 2)}).report()
    assert every_other.burn_1h == pytest.approx(every_second.burn_1h)
    silent = sampled({0: [("one", False)], 200: [("one", True)]}).report()
    assert silent.burn_1h == pytest.approx(1 / HOUR_S / 0.01)


def test_the_number_of_stale_markets_that_are_named_is_bounded() -> None:
    books = sampled({s: [(f"market {s}", False)] for s in range(MARKETS_MAX + 50)})
    assert len(books._stale) == MARKETS_MAX
    assert "market 0" not in books._stale and f"market {MARKETS_MAX + 49}" in books._stale
