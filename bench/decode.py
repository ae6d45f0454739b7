"""Frame to decision, against the official SDK's parse of the same frames in the same process.

In: the real capture of the market channel; `--rounds N`. Out: a JSON line for the SDK and for each
batch size of ours. Times are the process's own: other programs on the machine disturb them least.
Never here: less work for us (book, features, scans, gates, every row) or more for the SDK.
"""

import argparse
import json
import statistics
import time

from adapter import CASH_MICRO
from capture import Frames, captured, markets
from job import report
from polymarket._internal.streams.clob.heartbeat import ClobWebSocketHeartbeat
from polymarket._internal.streams.clob.market_protocol import parse_events

from fairwind.core import controls
from fairwind.core.events import Events, Kind, Source
from fairwind.core.units import MILLISECOND_NS, SECOND_NS
from fairwind.engine.run import Out, roster, run
from fairwind.engine.state import fresh
from fairwind.feeds.frames import as_events, row
from fairwind.feeds.polymarket import MarketChannel

BATCHES = (1, 16, 256, 4096)
BACKLOG = 256
"""Frames that wait when 5,000 come in a second and the loop was busy for 51 ms; the bound of
run.py is for these. A loop that is further behind finds more."""
SDK = "polymarket-client 0.14.0"
STRIKE_E8 = 7_600_000_000_000
AGE_NS = 3 * MILLISECOND_NS
"""From the venue's stamp to our receipt."""


class Reader:
    """A channel and an engine with every shipped strategy switched on, before the first frame."""

    def __init__(self, frames: Frames) -> None:
        self.channel, self.out, self.specs = MarketChannel(), Out.fresh(), roster()
        self.state = fresh(self.specs)
        self.decisions = self._second = 0
        self._payloads: dict[int, bytes] = {}
        begins_ns = frames[0][0]
        wanted: list[controls.AnyControl] = [
            controls.Configure(),
            controls.Deposit(amount_micro=CASH_MICRO),
            *(controls.Enable(strategy=spec.id, enabled=True) for spec in self.specs),
        ]
        for control in wanted:
            event, payload = controls.encode(begins_ns, control)
            self._payloads[int(event["price"][0])] = payload
            self._run(event)
        for market in markets(frames):
            self._run(as_events(self.channel.watch(market, begins_ns)))
            self._run(self._strike(begins_ns, market.start_ns))

    def read(self, frames: Frames, batch: int, later_ns: int) -> float:
        """Seconds from all frames to the decisions that they lead to.

        A batch's payloads are made just before it is read, as a socket makes them; before the first
        batch of each second come prices, so that there is something to decide.
        """
        seconds = 0.0
        for at in range(0, len(frames), batch):
            part = frames[at : at + batch]
            received = [(ts_ns + later_ns, bytes(bytearray(one))) for ts_ns, one in part]
            prices = self._prices(received[0][0])
            start = time.process_time()
            self._run(prices)
            self._run(self.channel.take_batch(received))
            seconds += time.process_time() - start
        return seconds

    def _run(self, events: Events) -> None:
        done = 0
        while done < len(events):
            done += run(self.state, events[done:], self.out, self._payloads.__getitem__, self.specs)
            self.decisions += len(self.out.rows()["scans"])
            self.out.clear()

    def _strike(self, ts_ns: int, start_ns: int) -> Events:
        return as_events(
            [row(Kind.REFERENCE, ts_ns, Source.REFERENCE, ts_source_ns=start_ns, price=STRIKE_E8)]
        )

    def _prices(self, ts_ns: int) -> Events:
        """A spot and a reference price that move a little, once a second."""
        if ts_ns // SECOND_NS == self._second:
            return as_events([])
        self._second = ts_ns // SECOND_NS
        price = STRIKE_E8 + self._second % 7 * 1_000_000_000
        reference = row(Kind.REFERENCE, ts_ns, Source.REFERENCE, ts_source_ns=ts_ns, price=price)
        return as_events([reference, row(Kind.SPOT, ts_ns, Source.COINBASE, price=price)])


def sdk_seconds(frames: Frames) -> float:
    """What the SDK's reader does with each text message, up to its typed events.

    Its texts are made just before as well, and not counted: its socket decodes them.
    """
    heartbeat = ClobWebSocketHeartbeat()
    seconds = 0.0
    for at in range(0, len(frames), BACKLOG):
        texts = [one.decode() for _, one in frames[at : at + BACKLOG]]
        start = time.process_time()
        for text in texts:
            if heartbeat.handle(text):
                continue
            _, dropped = parse_events(json.loads(text))
            assert dropped == 0, text
        seconds += time.process_time() - start
    return seconds


def publish(
    sdk: list[float], ours: dict[int, list[float]], readers: dict[int, Reader], frames: int
) -> None:
    """Print a line for each. A ratio is one of the same round, the median of the rounds counts."""
    microseconds = round(statistics.median(sdk) / frames * 1e6, 3)
    report(SDK, "parse", us_per_frame=microseconds, seconds=sdk, events=frames)
    for batch, seconds in ours.items():
        ratios = [theirs / mine for theirs, mine in zip(sdk, seconds, strict=True)]
        report(
            "Fairwind",
            f"frames of {batch}",
            us_per_frame=round(statistics.median(seconds) / frames * 1e6, 3),
            times_sdk=round(statistics.median(ratios), 2),
            scans=readers[batch].decisions,
            seconds=seconds,
            events=frames,
        )


def main() -> None:
    """Interleaved rounds over the capture: the same frames, received later each time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    frames = [(stamp + AGE_NS, payload) for stamp, payload in captured()]
    lasting_ns = frames[-1][0] - frames[0][0] + AGE_NS
    readers = {batch: Reader(frames) for batch in BATCHES}
    seconds: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    sdk: list[float] = []
    for number in range(1 + rounds):  # the first one compiles, and begins the connection
        sdk.append(sdk_seconds(frames))
        for batch, reader in readers.items():
            seconds[batch].append(reader.read(frames, batch, number * lasting_ns))
    publish(sdk[1:], {b: found[1:] for b, found in seconds.items()}, readers, len(frames))


if __name__ == "__main__":
    main()
