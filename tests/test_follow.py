"""The pages' reader of a journal: on through crashes and new segments, and where it gives up."""

import os
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from hand_engine import begun, finished, made

from fairwind import __version__
from fairwind.api.app import application
from fairwind.api.board import Board
from fairwind.api.deliver import FILE
from fairwind.api.follow import Follower
from fairwind.api.wire import Refusal
from fairwind.core.errors import BadInput
from fairwind.core.events import Events
from fairwind.engine.run import roster
from fairwind.journal import file, log
from fairwind.run.loop import Session
from fairwind.views.names import Names

KILL_SHARE = 0.02
"""Of all writes, how many end in the middle, and their process with them."""
LIVES_MAX = 100


def meta(*strategies: str) -> file.Meta:
    return file.Meta(code=__version__, created_ns=1, source="hand", strategies=strategies)


def life(run: Path, events: Events, opening: int, seed: int) -> int:
    """A process that goes on with a run where it was left; its exit code."""
    child = os.fork()
    if child:
        return child
    chance, write = random.Random(seed), os.write

    def dying(to: int, data: bytes) -> int:
        if len(data) > 200 and chance.random() < KILL_SHARE:
            write(to, bytes(data)[: chance.randrange(len(data))])
            os.kill(os.getpid(), signal.SIGKILL)
        return write(to, data)

    try:
        os.write = dying
        session = Session(run, meta(*(one.id for one in roster())))
        left = events[session.events - opening :]
        for part in np.array_split(left, len(left) // 40 + 1):
            session.feed(part)
        session.close(with_tables=False)
        os._exit(0)
    finally:
        os._exit(1)


def test_it_reads_on_through_kills_in_the_middle_of_writes_and_through_new_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SEGMENT_MAX", 100_000)
    run, events = tmp_path / "run", made(windows=1)
    session = begun(run, int(events["ts_ns"][0]))
    opening = session.events
    session.close(with_tables=False)
    follower = Follower(run)
    kills = 0
    for seed in range(LIVES_MAX):
        child, over = life(run, events, opening, seed), 0
        while not over:
            follower.follow(0.01 if seed % 2 else 1.0)
            over, status = os.waitpid(child, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
    while not follower.follow(0.01):
        pass
    assert kills > 2 and len(log.segment_paths(run / "journal")) > 5
    assert follower.sealed and follower.state.events() == opening + len(events)
    at_once = Follower(run)
    at_once.follow()
    assert (at_once.mark, at_once.told.counts) == (follower.mark, follower.told.counts)


def test_a_run_of_other_strategies_is_refused_before_a_name_is_shown_wrongly(
    tmp_path: Path,
) -> None:
    specs = roster()[:3]
    session = Session(tmp_path, meta(*(one.id for one in specs)), specs=specs)
    session.close(with_tables=False)
    with pytest.raises(BadInput, match=r"expected a run of BTC_5M, .* look at it with Fairwind"):
        Follower(tmp_path)


def test_a_journal_that_is_gone_or_changed_is_said_and_not_shown_as_good(tmp_path: Path) -> None:
    gone = Board(finished(tmp_path / "run", windows=1))
    gone.follow(0.0)
    changed = Path(shutil.copytree(gone.run, tmp_path / "changed"))
    segment = log.segment_path(changed / "journal", 1)
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    board = Board(changed)
    board.follow(60.0)
    assert "found bytes with a wrong checksum" in board.failed
    gone.follow(60.0)
    shutil.rmtree(gone.run)
    gone.follow(60.0)
    assert "found none any more" in gone.failed


def test_a_defect_of_a_view_s_memory_is_said_and_leaves_the_pages_and_their_controls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(finished(tmp_path / "run", windows=1))
    names = board.follower.told.of(Names)
    monkeypatch.setattr(names, "take", lambda _rows, _state: {}["nothing"])
    board.follow(60.0)
    assert board.failed == "a defect (KeyError('nothing')); see the log"
    with pytest.raises(Refusal, match="a defect"):
        board.snapshot("overview")
    assert board.snapshot("engine") and board.beat().engine == "over"


def test_a_note_of_deliveries_that_a_full_disk_has_cut_is_still_read(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", windows=1)
    (run / FILE).write_bytes("1 json\tFEED_DOWN/market/1\n1 json\tFEED_DOWN/mär".encode()[:-2])
    delivery = application(run).state.delivery
    assert ("1 json", "FEED_DOWN/market/1") in delivery._sent
