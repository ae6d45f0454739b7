"""The rolling digest: one 64-bit number that stands for every input and output so far.

In: events and output rows, in order. Out: the next digest. Never here: anything that depends on
how events were cut into batches.
"""

import numpy as np

from fairwind.core.compiled import compiled

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_TIME = np.uint64(0xBF58476D1CE4E5B9)
_SOURCE_TIME = np.uint64(0x94D049BB133111EB)
_PRICE = np.uint64(0xD6E8FEB86659FD93)
_SIZE = np.uint64(0xA0761D6478BD642F)
_SMALL = np.uint64(0xE7037ED1A0B428DB)


@compiled(forceinline=True)
def fold(state, value):  # type: ignore[no-untyped-def]
    """Fold one uint64 into `state.digest`; odd multipliers keep every bit's change visible."""
    state.digest = (state.digest ^ value) * _PRIME


@compiled(forceinline=True)
def of_event(event):  # type: ignore[no-untyped-def]
    """All 40 bytes of an event as one uint64; one flipped bit always changes it."""
    small = (
        np.uint64(event.market)
        | np.uint64(event.ref) << np.uint64(16)
        | np.uint64(event.kind) << np.uint64(32)
        | np.uint64(event.source) << np.uint64(40)
        | np.uint64(event.side) << np.uint64(48)
        | np.uint64(event["flags"]) << np.uint64(56)
    )
    return (
        np.uint64(event.ts_ns) * _TIME
        + np.uint64(event.ts_source_ns) * _SOURCE_TIME
        + np.uint64(event.price) * _PRICE
        + np.uint64(event["size"]) * _SIZE
        + small * _SMALL
    )


@compiled
def fold_output(state, first, second, third):  # type: ignore[no-untyped-def]
    """Fold the time and three integers that identify an output row."""
    fold(
        state,
        np.uint64(state.now_ns) * _SOURCE_TIME
        + np.uint64(np.int64(first)) * _TIME
        + np.uint64(np.int64(second)) * _PRICE
        + np.uint64(np.int64(third)) * _SIZE,
    )
