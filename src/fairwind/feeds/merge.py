"""One total order of what several connections brought: by receipt, then source, then arrival.

In: each connection's events since the last call. Out: one batch of events whose time never steps
back, from call to call as well. Never here: an atomic group torn apart, an event lost or repeated.
"""

from collections.abc import Iterable

import numpy as np

from fairwind.core.events import Events, empty, in_order


class Merge:
    """Remembers the last time that it gave out.

    All readers stamp frames with one clock and are drained together, so an event that is older than
    what was given out before means that the clock was set back, or that a connection was drained
    late. It is given the last time instead: its order is that of its arrival here.
    """

    def __init__(self, last_ns: int = 0) -> None:
        self.last_ns = last_ns
        self.late = 0
        """Events that came with a time before the last one."""
        self.latest_by_ns = 0
        """The most by which one was late."""

    def take(self, batches: Iterable[Events]) -> Events:
        """The batches' events in order. Shape (n,). Those of one batch are in order of arrival."""
        parts = [one for one in batches if len(one)]
        if not parts:
            return empty(0)
        events = in_order(np.concatenate(parts) if len(parts) > 1 else parts[0])
        behind = self.last_ns - int(events["ts_ns"][0])
        if behind > 0:
            self.late += int(np.count_nonzero(events["ts_ns"] < self.last_ns))
            self.latest_by_ns = max(self.latest_by_ns, behind)
            np.maximum(events["ts_ns"], self.last_ns, out=events["ts_ns"])
        self.last_ns = int(events["ts_ns"][-1])
        return events
