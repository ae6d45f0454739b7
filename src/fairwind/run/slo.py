"""The stale-book objective: how much of the open windows' time had a fresh book, and what is left.

In: once a second, for each open window, whether its book was usable. Out: share, error budget and
burn rates over a rolling hour. Never here: a clock, more than an hour of samples, one per order.
"""

from collections import deque
from collections.abc import Iterable

import msgspec
import numpy as np

from fairwind.core.units import SECOND_NS

HOUR_S = 3600
SHORT_S = 300
"""The short window is a twelfth of the long one, so that a burn that ended resets soon."""
OBJECTIVE = 0.99
HOLD_S = 10
"""A sample stands for the seconds until the next one, but not for longer than this."""
MARKETS_MAX = 1024
"""Markets whose stale seconds are kept apart; those that were stale longest ago go first."""


class Slo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The objective's state. A burn rate of 1 over an hour spends exactly the hour's budget."""

    objective: float
    share: float  # of open window x time in the last hour with a fresh book; 1 when none was open
    budget_left: float  # of the hour's budget; negative when it is overspent
    burn_5m: float
    burn_1h: float
    burning: bool
    worst: str  # the market with most stale seconds in the last hour; empty when there is none


class StaleBooks:
    """Samples of the last hour of market time, second by second."""

    def __init__(self, objective: float = OBJECTIVE) -> None:
        self._objective = objective
        self._fresh = np.zeros(HOUR_S, np.int64)
        self._open = np.zeros(HOUR_S, np.int64)
        self._second = 0
        self._stale: dict[str, deque[int]] = {}

    def sample(self, now_ns: int, markets: Iterable[tuple[str, bool]]) -> None:
        """Whether each open market's book is valid and within its budget now.

        A second may be sampled several times; a time before the last sample's counts as that one.
        """
        self._advance(now_ns // SECOND_NS)
        at = self._second % HOUR_S
        for market, fresh in markets:
            self._open[at] += 1
            self._fresh[at] += fresh
            if not fresh:
                self._note(market)

    def report(self) -> Slo:
        """The figures as of the last sample.

        Burn rate = share of bad time over the allowed share (Site Reliability Workbook, ch. 5:
        alerting on SLOs), where seconds without an open window are good. It burns when the hour's
        budget is spent and the short window says that it is still being spent.
        """
        hour, short = self._burn(HOUR_S), self._burn(SHORT_S)
        total = int(self._open.sum())
        return Slo(
            objective=self._objective,
            share=float(self._fresh.sum() / total) if total else 1.0,
            budget_left=1.0 - hour,
            burn_5m=short,
            burn_1h=hour,
            burning=hour >= 1.0 and short >= 1.0,
            worst=max(self._stale, key=lambda market: len(self._stale[market]), default=""),
        )

    def _burn(self, seconds: int) -> float:
        last = np.arange(self._second - seconds + 1, self._second + 1) % HOUR_S
        opened = self._open[last]
        bad = (opened - self._fresh[last]) / np.maximum(opened, 1)
        return float(bad.sum() / seconds / (1.0 - self._objective))

    def _advance(self, second: int) -> None:
        """Let the last sample stand for the seconds that passed, and forget what is an hour old."""
        passed = min(second - self._second, HOUR_S)
        if passed <= 0:
            return
        before = self._second % HOUR_S
        fresh, opened = int(self._fresh[before]), int(self._open[before])
        skipped = np.arange(second - passed + 1, second) % HOUR_S
        held = passed <= HOLD_S
        self._open[skipped], self._fresh[skipped] = held * opened, held * fresh
        self._open[second % HOUR_S] = self._fresh[second % HOUR_S] = 0
        self._second = second
        for seconds in self._stale.values():
            while seconds and seconds[0] <= second - HOUR_S:
                seconds.popleft()
        self._stale = {market: seconds for market, seconds in self._stale.items() if seconds}

    def _note(self, market: str) -> None:
        seconds = self._stale.setdefault(market, deque())
        if not seconds or seconds[-1] != self._second:
            seconds.append(self._second)
        if len(self._stale) > MARKETS_MAX:
            del self._stale[min(self._stale, key=lambda one: self._stale[one][-1])]
