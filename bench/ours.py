"""Fairwind in the job of the bench: through its public `run`, with strategies like any other.

In: what to measure, a data set's name, repeats. Out: JSON lines.
Never here: a shortcut. Outputs are made and counted in every run, events come one to one.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from adapter import beginning, events_of
from job import DATA, load, report, since
from strategies import FAIR_SUM, SOLO, STACK, STACK_ON_EVERY_EVENT

from fairwind.core.events import EVENT, Events
from fairwind.core.outputs import Fact
from fairwind.engine.contract import StrategySpec
from fairwind.engine.run import Out, run
from fairwind.engine.state import State, fresh
from fairwind.feeds.recorded.eventfile import forget

ENGINE = "Fairwind"
BATCHES = (1, 16, 256, 65_536)
CALLS = 200_000


class Replay:
    """One run of the engine: its state, its outputs, and what was counted of them."""

    def __init__(self, specs: Sequence[StrategySpec], *, realism: bool) -> None:
        self.specs = specs
        self.state: State = fresh(specs)
        self.out = Out.fresh()
        self.buys = self.rows = self.pnl_micro = 0
        events, self.payloads = beginning(realism=realism)
        self.feed(events)

    def feed(self, events: Events) -> None:
        """Consume all `events`, draining the outputs whenever the engine asks for it."""
        done = 0
        while done < len(events):
            part = events[done:] if done else events
            done += run(self.state, part, self.out, self.payloads.__getitem__, self.specs)
            if done < len(events):
                self.drain()

    def drain(self) -> None:
        """Count the outputs and make room for more."""
        rows = self.out.rows()
        self.rows += sum(len(table) for table in rows.values())
        self.buys += len(np.unique(rows["fills"]["order"]))
        postings = rows["postings"]
        traded = postings[~np.isin(postings["fact"], (Fact.DEPOSIT, Fact.WITHDRAW))]
        result = traded["realised_micro"].sum() + traded["fees_micro"].sum()
        self.pnl_micro -= int(result)
        self.out.clear()

    def answer(self) -> dict[str, Any]:
        """What the run came to."""
        self.drain()
        return {
            "buys": self.buys,
            "pnl": round(self.pnl_micro / 1e6, 6),
            "rows": self.rows,
            "digest": f"{self.state.digest():016x}",
        }


def whole_set(
    name: str, repeats: int, specs: Sequence[StrategySpec], *, realism: bool
) -> tuple[list[float], dict[str, Any], Replay]:
    """Seconds per replay of the set, and the answer of the last one."""
    events = np.fromfile(DATA / f"{name}.events", EVENT)
    Replay(specs, realism=realism).feed(events[:1_000])
    seconds = []
    for _ in range(repeats):
        replay = Replay(specs, realism=realism)
        start = time.perf_counter()
        replay.feed(events)
        seconds.append(since(start))
    return seconds, {"events": len(events)} | replay.answer(), replay


def like(name: str, repeats: int) -> None:
    """Like for like: one strategy on every event, nothing that the others do not do."""
    seconds, answer, replay = whole_set(name, repeats, SOLO, realism=False)
    fair_sum = float(replay.state.record.memory[0, FAIR_SUM])
    report(ENGINE, "1", seconds=seconds, fair_sum=round(fair_sum, 6), **answer)


def whole(name: str, repeats: int) -> None:
    """The whole job: four strategies, default realism; on change, and on every event."""
    stacks = (("whole", STACK), ("whole, every event", STACK_ON_EVERY_EVENT))
    for mode, specs in stacks:
        seconds, answer, _ = whole_set(name, repeats, specs, realism=True)
        report(ENGINE, mode, seconds=seconds, **answer)


def live(name: str, _repeats: int) -> None:
    """Time per event for each batch size, then the distribution for one event per call."""
    events = np.fromfile(DATA / f"{name}.events", EVENT)
    digests = set()
    for batch in BATCHES:
        n = CALLS if batch == 1 else len(events)
        replay = Replay(STACK, realism=True)
        start = time.perf_counter()
        for at in range(0, n, batch):
            replay.feed(events[at : at + batch])
        seconds = since(start)
        microseconds = round(seconds / n * 1e6, 3)
        report(ENGINE, f"batch {batch}", events=n, seconds=[seconds], us_per_event=microseconds)
        digests |= {replay.state.digest()} if batch > 1 else set()
    assert len(digests) == 1, "the digest depends on the batch size"
    one_per_call(events)


def one_per_call(events: Events) -> None:
    """Latency of `run` with a single event, as a live loop calls it."""
    replay = Replay(STACK, realism=True)
    spent = np.zeros(CALLS, np.int64)
    clock: Callable[[], int] = time.perf_counter_ns
    state, out, payload, specs = replay.state, replay.out, replay.payloads.__getitem__, STACK
    for at in range(CALLS):
        event = events[at : at + 1]
        start = clock()
        done = run(state, event, out, payload, specs)
        spent[at] = clock() - start
        if done == 0:
            replay.drain()
            run(state, event, out, payload, specs)
    p50, p99, p999 = (round(float(q) / 1e3, 2) for q in np.percentile(spent, (50, 99, 99.9)))
    report(ENGINE, "one event per call", events=CALLS, p50_us=p50, p99_us=p99, p999_us=p999)


def start(name: str, _repeats: int) -> None:
    """A process from its start to its first decision; `bench/run.py` times it from outside."""
    events = np.fromfile(DATA / f"{name}.events", EVENT, count=1_000)
    replay = Replay(STACK, realism=True)
    replay.feed(events)
    report(ENGINE, "start", events=len(events), **replay.answer())


def memory(name: str, _repeats: int) -> None:
    """Peak memory of a replay from a memory-mapped file."""
    events = np.memmap(DATA / f"{name}.events", EVENT, "c")
    replay = Replay(STACK, realism=True)
    begun = time.perf_counter()
    for at in range(0, len(events), BATCHES[-1]):
        replay.feed(events[at : at + BATCHES[-1]])
        forget(events)
    seconds = since(begun)
    report(ENGINE, "memory", events=len(events), seconds=[seconds], **replay.answer())


def convert(name: str, _repeats: int) -> None:
    """Write the set as events; this is an importer's work, so it is reported apart."""
    begun = time.perf_counter()
    events = events_of(load(name))
    events.tofile(DATA / f"{name}.events")
    report(ENGINE, "convert", events=len(events), seconds=[since(begun)])


def main() -> None:
    """Measure one thing."""
    parser = argparse.ArgumentParser(description=__doc__)
    measures = {m.__name__: m for m in (like, whole, live, start, memory, convert)}
    parser.add_argument("measure", choices=measures)
    parser.add_argument("name")
    parser.add_argument("repeats", type=int, nargs="?", default=1)
    options = parser.parse_args()
    measures[options.measure](options.name, options.repeats)


if __name__ == "__main__":
    main()
