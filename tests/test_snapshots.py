"""Snapshots: opening a run reads what stands behind the newest one that the journal names."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_journal import EXAMPLES, META, contents, write_batches

from fairwind.core.errors import Corrupt
from fairwind.journal import log
from fairwind.journal.file import Journal


def with_snapshots(run: Path, count: int) -> list[Path]:
    """A run of 50 events between snapshots, and 50 behind the last; returns the files kept."""
    journal = Journal(run, META)
    for number in range(count):
        write_batches(journal, 1)
        journal.snapshot(b"state %d" % number * 100)
    write_batches(journal, 1)
    journal.commit()
    journal.abandon()
    return sorted((run / "snapshots").iterdir())


def _opened(run: Path) -> tuple[int, bytes, tuple[str, ...]]:
    """Events and state of the snapshot that opening a run finds, and what it says of others."""
    journal = Journal(run, META)
    journal.abandon()
    events, state = 0, b""
    if journal.newest is not None:
        events, state = journal.newest.position.events, journal.newest.state
    return events, state, journal.skipped


def test_a_damaged_snapshot_is_skipped_in_favour_of_an_older_one(tmp_path: Path) -> None:
    kept = with_snapshots(tmp_path, 6)
    assert [path.name for path in kept] == [f"{n * 50:012d}.snap" for n in (3, 4, 5, 6)]
    assert _opened(tmp_path) == (300, b"state 5" * 100, ())
    kept[3].write_bytes(kept[3].read_bytes()[:-1] + b"?")
    kept[2].unlink()
    events, state, skipped = _opened(tmp_path)
    assert (events, state) == (200, b"state 3" * 100)
    assert "found other bytes in" in skipped[0]
    assert "found no file" in skipped[1]
    kept[1].write_bytes(b"")
    kept[0].unlink()
    events, state, skipped = _opened(tmp_path)
    assert (events, state, len(skipped)) == (0, b"", 4)


@EXAMPLES
@given(data=st.data())
def test_a_snapshot_with_a_changed_byte_is_never_believed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Its place in the journal least of all: a wrong one must not cut what is durable."""
    run = tmp_path_factory.mktemp("run")
    newest = with_snapshots(run, 2)[-1]
    before, packed = contents(run), bytearray(newest.read_bytes())
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    newest.write_bytes(packed)
    events, state, skipped = _opened(run)
    assert (events, state, len(skipped)) == (50, b"state 0" * 100, 1)
    assert contents(run) == before


def test_a_snapshot_that_the_journal_does_not_name_is_not_used(tmp_path: Path) -> None:
    """As after a crash between the two writes."""
    newest = with_snapshots(tmp_path, 1)[-1]
    journal = Journal(tmp_path, META)
    packed, events = newest.read_bytes(), journal.events
    journal.snapshot(b"later" * 100)
    journal.abandon()
    segment = log.segment_path(tmp_path / "journal", 1)
    segment.write_bytes(segment.read_bytes()[:-1])
    assert (tmp_path / "snapshots" / f"{events:012d}.snap").exists()
    assert newest.read_bytes() == packed
    assert _opened(tmp_path) == (50, b"state 0" * 100, ())


def test_a_snapshot_that_a_crash_kept_from_being_named_does_not_oust_one_that_is(
    tmp_path: Path,
) -> None:
    kept = with_snapshots(tmp_path, 4)
    kept[-1].with_name(f"{250:012d}.snap").write_bytes(kept[-1].read_bytes())
    assert _opened(tmp_path) == (200, b"state 3" * 100, ())
    assert sorted((tmp_path / "snapshots").iterdir()) == kept


def test_opening_reads_what_stands_behind_the_newest_snapshot_and_the_seams_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SEGMENT_MAX", 8_000)
    with_snapshots(tmp_path, 10)
    first, second, *_, last = sorted((tmp_path / "journal").iterdir())
    whole = first.read_bytes()
    first.write_bytes(whole[:2000] + b"?" + whole[2001:])
    assert _opened(tmp_path)[0] == 500  # verify would find it
    for damaged in (whole[:-40], whole[:-1] + b"x", whole + b"x" * 8, b""):
        first.write_bytes(damaged)
        with pytest.raises(Corrupt, match=f"{first}: expected a seal that {second.name} goes on"):
            Journal(tmp_path, META)
    first.write_bytes(whole)
    begun = second.read_bytes()
    second.write_bytes(begun[:40] + b"?" + begun[41:])
    with pytest.raises(Corrupt, match="at the beginning of"):
        Journal(tmp_path, META)
    second.write_bytes(begun)
    tail = last.read_bytes()
    last.write_bytes(tail[:-1000] + b"?" + tail[-999:])
    with pytest.raises(Corrupt, match=f"{last}: expected a whole frame"):
        Journal(tmp_path, META)
    last.write_bytes(tail)
    second.unlink()
    with pytest.raises(Corrupt, match="expected segment 2"):
        Journal(tmp_path, META)
