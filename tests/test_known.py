"""What a restarted session knows: numbers of windows are never used twice."""

import numpy as np
import pytest

from fairwind.core.events import ALL_MARKETS
from fairwind.core.units import SECOND_NS
from fairwind.engine.state import MARKETS
from fairwind.run.inbox import Inbox
from fairwind.run.known import Known, next_number

WINDOW_NS = 300 * SECOND_NS


def table(numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers in the engine's slots, given in turn to windows that follow each other."""
    held = np.full(MARKETS, -1, np.int64)
    starts = np.zeros(MARKETS, np.int64)
    for turn, number in enumerate(numbers):
        held[number % MARKETS], starts[number % MARKETS] = number, (turn + 1) * WINDOW_NS
    return held, starts


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], 0),
        ([0, 1, 2], 3),
        ([1, 3], 4),  # the engine refused one in between
        ([*range(1000)], 1000),
        ([300, *range(65_400, ALL_MARKETS)], 0),  # an old window is still held
        ([ALL_MARKETS - 1, 0, 1], 2),
    ],
)
def test_the_next_number_follows_the_last_one_given(given: list[int], expected: int) -> None:
    assert next_number(*table(given)) == expected


def test_windows_that_start_together_may_have_been_numbered_in_any_order() -> None:
    held, starts = table([4, 5, 6])
    starts[4:7] = WINDOW_NS, 3 * WINDOW_NS, 2 * WINDOW_NS
    assert next_number(held, starts) == 7


def test_a_number_whose_place_is_still_held_is_passed_over() -> None:
    old = {(0, 1): 3, (0, 2): 300}
    inbox = Inbox([0], Known(1, 3 + MARKETS, old, (), {}, {}, {}, ()), 2)
    assert inbox.number(0, 3) == 4 + MARKETS
    assert inbox.number(0, 3) == 4 + MARKETS
    assert inbox.number(0, 2) == 300
