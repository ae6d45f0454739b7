"""The one clock of the built-in market: it runs at a speed, stands, or moves only when told.

In: a start, a speed, the machine's monotonic clock. Out: market time. Never here: the time of day,
so that a session does not depend on when it is run.
"""

import time


class MarketClock:
    """Market time in ns: start + monotonic time passed x speed; a stepped clock stands."""

    def __init__(self, start_ns: int, speed: float = 1.0, *, stepped: bool = False) -> None:
        self.speed = speed
        self.stepped = stepped
        self._at_ns = start_ns
        self._since_ns = None if stepped else time.monotonic_ns()

    @property
    def paused(self) -> bool:
        """Whether a running clock was told to stand."""
        return not self.stepped and self._since_ns is None

    def now_ns(self) -> int:
        """Market time."""
        if self._since_ns is None:
            return self._at_ns
        return self._at_ns + round((time.monotonic_ns() - self._since_ns) * self.speed)

    def move(self, to_ns: int) -> None:
        """Be at a time, forwards or backwards; running or standing as before."""
        self._at_ns = to_ns
        if self._since_ns is not None:
            self._since_ns = time.monotonic_ns()

    def pause(self) -> None:
        """Stand still."""
        self._at_ns, self._since_ns = self.now_ns(), None

    def resume(self) -> None:
        """Run on from where it stands; a stepped clock goes on standing."""
        if self.paused:
            self._since_ns = time.monotonic_ns()
