"""The real capture of the market channel, as the bench's frames.

In: ../shared. Out: frames in the venue's order, and their markets. Never here: an invented frame.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from fairwind.core.units import MILLISECOND_NS, SECOND_NS
from fairwind.feeds.books import Market

CAPTURE = Path(__file__).resolve().parents[2] / (
    "shared/data/raw_frames/clob_market_20260421.jsonl.gz"
)
WINDOW_NS = 300 * SECOND_NS

Frames = Sequence[tuple[int, bytes]]


def captured() -> Iterator[tuple[int, bytes]]:
    """(venue's time in ns, frame) in that order, books first as after a subscription."""
    with gzip.open(CAPTURE, "rt") as file:
        found = [json.loads(line)["payload"] for line in file]
    found.sort(key=lambda one: (int(one["timestamp"]), one["event_type"] != "book"))
    for one in found:
        payload = json.dumps(one, separators=(",", ":")).encode()
        yield int(one["timestamp"]) * MILLISECOND_NS, payload


def markets(frames: Frames) -> list[Market]:
    """The capture's markets: the first token that a change names is taken for Up."""
    found: dict[str, Market] = {}
    for ts_ns, payload in frames:
        one = json.loads(payload)
        changes = one.get("price_changes")
        if changes and one["market"] not in found:
            up, down = (change["asset_id"] for change in changes)
            found[one["market"]] = Market(
                number=len(found),
                series=len(found),
                start_ns=ts_ns // WINDOW_NS * WINDOW_NS,
                condition_id=one["market"],
                up=up,
                down=down,
                fee_rate_e6=70_000,
            )
    return list(found.values())
