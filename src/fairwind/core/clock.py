"""The only place that reads the wall clock, so that nothing else can depend on it.

Out: nanoseconds since the epoch. Never used by core or engine code: there, time is an event's.
"""

import time


def now_ns() -> int:
    """Wall-clock time in nanoseconds since the epoch."""
    return time.time_ns()
