"""The strategy of the bench in plain Python, for engines whose users write strategies so.

In: spot ticks, and a call for every event. Out: at most one buy per window, through `buy`.
Never here: anything of an engine; subclasses say how to read an ask and how to send an order.
"""

import math

from job import (
    EDGE,
    FEE,
    FIRST_VARIANCE,
    HALF_ROOT,
    LEFT_MAX_S,
    LEFT_MIN_S,
    WEIGHT,
    WINDOW_NS,
)


class FairTaker:
    """Mix into an engine's strategy class; call `begin` once."""

    def begin(self) -> None:
        """Nothing known, nothing bought."""
        self.variance, self.last, self.last_ns = FIRST_VARIANCE, 0.0, 0
        self.strike, self.close_ns, self.distance = 0.0, 0, 0.0
        self.window, self.bought, self.fair_sum = -1, False, 0.0

    def ask(self, outcome: int) -> float | None:
        """Best ask of Up (0) or Down (1) in dollars."""
        raise NotImplementedError

    def buy(self, outcome: int) -> None:
        """Buy job.SHARES at the best ask."""
        raise NotImplementedError

    def opened(self) -> None:
        """A new window began: `self.window` is its number."""

    def spot_at(self, ts: int, spot: float) -> None:
        """Take a spot tick; the first one of a window is its strike."""
        if self.last > 0.0:
            seconds = (ts - self.last_ns) * 1e-9
            if seconds > 1e-6:
                move = math.log(spot / self.last)
                self.variance += WEIGHT * (move * move / seconds - self.variance)
        self.last, self.last_ns = spot, ts
        if ts >= self.close_ns:
            self.window += 1
            self.close_ns = ts // WINDOW_NS * WINDOW_NS + WINDOW_NS
            self.strike, self.distance, self.bought = spot, 0.0, False
            self.opened()
            return
        self.distance = math.log(spot / self.strike)
        self.value_at(ts)

    def value_at(self, ts: int) -> None:
        """Fair value, and a buy when it is worth it."""
        if self.window < 0:
            return
        left_s = (self.close_ns - ts) * 1e-9
        if left_s < 1e-3:
            left_s = 1e-3
        deviation = math.sqrt(self.variance * left_s)
        fair = 0.5 * (1.0 + math.erf(self.distance / deviation * HALF_ROOT))
        self.fair_sum += fair
        if self.bought or left_s <= LEFT_MIN_S or left_s >= LEFT_MAX_S:
            return
        for outcome in (0, 1):
            price = self.ask(outcome)
            if price is None:
                continue
            worth = 1.0 - fair if outcome else fair
            if worth - price - FEE * price * (1.0 - price) > EDGE:
                self.bought = True
                self.buy(outcome)
                return
