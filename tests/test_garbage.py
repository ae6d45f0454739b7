"""Events that cannot be: whatever the fields hold, the engine stays in its tables and balanced.

Interpreted runs check every index, compiled ones do not; so both run, and must say the same.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import LONG, ROOT
from engine_events import (
    Session,
    at,
    book,
    listed,
    puppet_spec,
    reference,
    spot,
)

from fairwind.core.events import EVENT, Events

COUNT = 300
ODD = [0, 1, 7, 60, 100, 255, 4_995, 5_000, 9_999, 10_000, 10_005, 65_535, 10**8, 10**12]
ODD += [2**31, 2**62, 2**63 - 1, -1, -5, -100, -(10**9), -(2**63)]
MARKETS = [0, 0, 0, 1, 3, 7, 8, 200, 255, 255, 256, 511, 65_535]
USUAL_KINDS = [1, 3, 3, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 6, 8, 8, 9, 9, 10, 11, 13]
LATE_KINDS = [*USUAL_KINDS, 0, 2, 7, 255]
"""Results and fee schedules end what can be traded, so they come late."""


def garbage(seed: int) -> Events:
    """COUNT events from two seconds after the start on, half of their fields nonsense."""
    random = np.random.default_rng(seed)
    events = np.zeros(COUNT, EVENT)
    steps = random.choice([0, 0, 1_000, 10**7, 10**8, 3 * 10**9], COUNT)
    events["ts_ns"] = at(2) + np.cumsum(steps)
    sources = [at(0), at(300), 0, -1, 2**63 - 1]
    whole = events["ts_ns"] // 10**9 * 10**9
    events["ts_source_ns"] = np.where(
        random.random(COUNT) < 0.5, whole, random.choice(sources, COUNT)
    )
    kinds = np.where(
        np.arange(COUNT) < COUNT * 0.7,
        random.choice(USUAL_KINDS, COUNT),
        random.choice(LATE_KINDS, COUNT),
    )
    events["kind"] = kinds
    events["market"] = random.choice(MARKETS, COUNT)
    events["ref"] = random.choice([0, 1, 30, 31, 32, 45, 60, 999, 65_535], COUNT)
    odd = random.choice(ODD, (2, COUNT))
    sound = random.random((2, COUNT)) < 0.5
    events["price"] = np.where(sound[0], random.integers(1, 2_000, COUNT) * 5, odd[0])
    events["size"] = np.where(sound[1], random.integers(0, 10**8, COUNT), odd[1])
    events["side"] = random.choice([0, 1, 0, 1, 2, 7, 255], COUNT)
    events["flags"] = random.choice([0, 0, 0, 1, 4, 255], COUNT)
    return events


def digest_after(seed: int) -> int:
    """The digest of a session whose two puppets trade while garbage comes in."""
    session = Session(puppet_spec("A"), puppet_spec("B"), latency_ms=75.0, taker_delay=True)
    session.feed(listed(at(-20), 0, 0), listed(at(-10), 255, 1), listed(at(-9), 3, 31))
    session.feed(spot(at(-1), 100_000), reference(at(0), 100_000), reference(at(0), 3_000, 7))
    session.feed(*(book(at(1), {4_900: 100}, {5_100: 100}, market) for market in (0, 3, 255)))
    for name, market in (("A", 0), ("B", 255)):
        session.buy(at(1.5), 50, 0.52, strategy=name, market=market)
    random = np.random.default_rng(seed + 1)
    for event in garbage(seed).reshape(-1, 1):
        session.feed(event)
        if random.random() < 0.3:
            wanted = {
                "strategy": str(random.choice(["A", "B"])),
                "market": int(random.choice([0, 3, 255])),
                "side": int(random.integers(3)),
                "type": int(random.integers(4)),
            }
            limit = float(random.choice([0.0, 0.01, 0.3, 0.49, 0.51, 0.7, 0.99, 1.0]))
            act(session, int(event["ts_ns"][0]), limit, wanted, int(random.integers(4)))
    assert int(session.record.accounts.sum()) == 0
    return session.state.digest()


def act(session: Session, now: int, limit: float, wanted: dict[str, object], turn: int) -> None:
    """Three purchases to one sale."""
    if turn:
        session.buy(now, [2, 10, 500][turn - 1], limit, **wanted)
    else:
        session.sell(now, limit, **wanted)


@pytest.mark.parametrize("first", range(0, 300 if LONG else 30, 10))
def test_garbage_neither_breaks_the_engine_nor_unbalances_it(first: int) -> None:
    assert len({digest_after(seed) for seed in range(first, first + 10)}) == 10


def test_garbage_reaches_out_of_no_table_and_means_the_same_interpreted() -> None:
    seeds = range(60 if LONG else 8)
    code = "import sys; sys.path.insert(0, 'tests'); from test_garbage import digest_after; "
    code += f"print(*map(digest_after, range({len(seeds)})))"
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [int(digest) for digest in done.stdout.split()] == list(map(digest_after, seeds))
