"""The journal: what is written comes back; what is torn is cut; what is changed is found."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from conftest import LONG, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from fairwind.core.controls import Halt, encode
from fairwind.core.errors import BadInput, Corrupt, DiskFault
from fairwind.core.events import EVENT, Events
from fairwind.core.outputs import SCAN
from fairwind.journal import file, log, record, tables
from fairwind.journal.file import Journal, Meta

META = Meta(code="test", created_ns=1, source="test", strategies=("BTC_5M", "ETH_5M"))
EXAMPLES = settings(max_examples=1000 if LONG else 100, deadline=None)


def some_events(count: int, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    events = np.frombuffer(rng.bytes(count * EVENT.itemsize), EVENT).copy()
    events["kind"] = rng.integers(1, 13, count)
    return events


def write_batches(journal: Journal, batches: int, size: int = 50) -> None:
    for number in range(batches):
        scans = np.zeros(number % 3, SCAN)
        scans["ts_ns"] = number
        journal.append_inputs(some_events(size, number))
        journal.commit()
        journal.append_outputs({"scans": scans})
        journal.mark(journal.events, number)


def written(run: Path, batches: int = 6, close: bool = False) -> Path:
    """A run of that many batches; returns its first segment."""
    journal = Journal(run, META)
    write_batches(journal, batches)
    if close:
        journal.close()
    else:
        journal.commit()
        journal.abandon()
    return log.segment_path(run / "journal", 1)


def contents(run: Path) -> list[tuple[int, bytes]]:
    return [(frame.kind, bytes(frame.payload)) for frame in file.frames(run)]


def with_bytes(original: Path, run: Path, data: bytes) -> Path:
    """The run of segment `original` again, with other bytes in that segment."""
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(original.parent.parent, run)
    segment = run / "journal" / original.name
    segment.write_bytes(data)
    return segment


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("journal") / "run")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "run"


def test_what_is_written_comes_back_in_order(tmp_path: Path) -> None:
    written(tmp_path, batches=3, close=True)
    found = list(file.inputs(tmp_path))
    for number in range(3):
        assert np.array_equal(found[2 * number], some_events(50, number))
        assert found[2 * number + 1] == record.Mark(50 * (number + 1), number)
    scans = np.concatenate(list(file.outputs(tmp_path, "scans")))
    assert scans["ts_ns"].tolist() == [1, 2, 2]
    assert file.meta_of(tmp_path) == META


def test_inputs_come_as_batches_that_end_at_marks(tmp_path: Path) -> None:
    journal = Journal(tmp_path, META)
    write_batches(journal, 5)
    journal.append_inputs(some_events(7, 5))
    journal.commit()
    journal.abandon()
    every = np.concatenate([some_events(50, number) for number in range(5)] + [some_events(7, 5)])
    for least, ends in ((1, [50, 100, 150, 200, 250]), (120, [150, 250]), (1000, [250])):
        batches = list(file.batches(tmp_path, None, least))
        assert np.array_equal(np.concatenate([batch.events for batch in batches]), every)
        marks = [record.Mark(end, end // 50 - 1) for end in ends]
        assert [batch.mark for batch in batches] == [*marks, None]
        assert len(batches[-1].events) == 7


def test_a_closed_journal_goes_on_in_a_new_segment(tmp_path: Path) -> None:
    written(tmp_path, batches=2, close=True)
    written(tmp_path, batches=2, close=True)
    Journal(tmp_path, META).close()
    assert len(list((tmp_path / "journal").iterdir())) == 2
    assert sum(len(part) for part in file.inputs(tmp_path) if isinstance(part, np.ndarray)) == 200


def test_a_full_segment_is_sealed_and_all_its_frames_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SEGMENT_MAX", 10_000)
    written(tmp_path, batches=20, close=True)
    segments = sorted((tmp_path / "journal").iterdir())
    assert len(segments) > 3
    assert max(segment.stat().st_size for segment in segments) <= 10_000
    rows = tables.query(tmp_path, "SELECT count(*) AS n FROM scans").to_pylist()
    assert rows == [{"n": sum(number % 3 for number in range(20))}]
    assert len(list((tmp_path / "tables" / "scans").iterdir())) == len(segments)
    segments[1].unlink()
    with pytest.raises(Corrupt, match="expected segment 2, found 00000003"):
        contents(tmp_path)


@EXAMPLES
@given(st.data())
def test_a_cut_at_any_point_leaves_whole_commits_and_the_journal_goes_on(
    original: Path, scratch: Path, data: st.DataObject
) -> None:
    whole = original.read_bytes()
    cut = data.draw(st.integers(record.SEGMENT_HEADER.size, len(whole)))
    with_bytes(original, scratch, whole[:cut])
    journal = Journal(scratch, META)
    kept = contents(scratch)
    write_batches(journal, 1)
    journal.commit()
    journal.abandon()
    before = contents(original.parent.parent)
    assert kept == before[: len(kept)]
    damage = journal.damage
    assert (damage.cut if damage else 0) + _end_of_commit(whole, cut) == cut
    assert contents(scratch)[: len(kept)] == kept
    assert len(contents(scratch)) == len(kept) + 2


def _end_of_commit(whole: bytes, cut: int) -> int:
    end = offset = record.SEGMENT_HEADER.size
    while (frame := record.decode(memoryview(whole), offset)) and frame.stop <= cut:
        offset = frame.stop
        end = offset if frame.end else end
    return end


@EXAMPLES
@given(st.data())
def test_any_changed_byte_is_found_and_what_stands_before_it_is_intact(
    original: Path, scratch: Path, data: st.DataObject
) -> None:
    whole = bytearray(original.read_bytes())
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    with_bytes(original, scratch, bytes(whole))
    found = list(log.walk(scratch / "journal"))
    damage = found.pop()
    assert isinstance(damage, log.Damage)
    assert damage.offset <= position
    kept = [(f.kind, bytes(f.payload)) for f in found if isinstance(f, record.Frame)]
    assert kept == contents(original.parent.parent)[: len(kept)]
    assert damage.torn == (position >= _end_of_commit(original.read_bytes(), len(whole) - 1))


@EXAMPLES
@given(st.data())
def test_the_place_of_a_changed_byte_is_found_from_the_checksum(
    original: Path, data: st.DataObject
) -> None:
    whole = bytearray(original.read_bytes())
    offset, chain = record.SEGMENT_HEADER.size, record.GENESIS
    frames = []
    while frame := record.decode(memoryview(bytes(whole)), offset):
        frames.append((offset, chain, frame.stop))
        offset, chain = frame.stop, frame.chain
    offset, chain, stop = data.draw(st.sampled_from(frames))
    # A changed length moves the frame's end, so that its checksum says nothing any more.
    position = data.draw(st.integers(offset + 8, stop - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    assert record.flipped_byte(memoryview(whole), offset, chain) == position


def test_a_recomputed_checksum_does_not_hide_a_change(original: Path, scratch: Path) -> None:
    whole = bytearray(original.read_bytes())
    first = record.decode(memoryview(bytes(whole)), record.SEGMENT_HEADER.size)
    assert first is not None
    offset = first.stop
    second = record.decode(memoryview(bytes(whole)), offset)
    assert second is not None
    whole[offset + record.FRAME_HEADER.size + 5] ^= 1
    crc = google_crc32c.value(bytes(whole[offset : offset + 4] + whole[offset + 8 : second.stop]))
    whole[offset + 4 : offset + 8] = crc.to_bytes(4, "little")
    segment = with_bytes(original, scratch, bytes(whole))
    assert record.decode(memoryview(whole), offset) is not None
    with pytest.raises(Corrupt, match=rf"{segment}.*offset {offset} \(frame 1 .*hash chain"):
        Journal(scratch, META)


def test_damage_before_a_later_commit_is_never_cut(original: Path, scratch: Path) -> None:
    whole = bytearray(original.read_bytes())
    whole[2000] ^= 1
    segment = with_bytes(original, scratch, bytes(whole))
    with pytest.raises(Corrupt, match="wrong checksum; restore this file"):
        Journal(scratch, META)
    assert segment.read_bytes() == whole


def test_a_hole_in_the_last_commit_is_a_torn_tail(original: Path, scratch: Path) -> None:
    """A power cut can keep the later pages of one write and lose the earlier ones."""
    whole = bytearray(original.read_bytes())
    end = _end_of_commit(bytes(whole), len(whole) - 1)
    whole[end : end + record.FRAME_HEADER.size] = bytes(record.FRAME_HEADER.size)
    with_bytes(original, scratch, bytes(whole))
    journal = Journal(scratch, META)
    journal.abandon()
    assert journal.damage is not None
    assert journal.damage.cut == len(whole) - end


def test_who_reads_a_journal_outlives_the_cut_of_its_torn_tail(tmp_path: Path) -> None:
    segment = written(tmp_path)
    whole = segment.stat().st_size
    with segment.open("ab") as out:
        out.write(bytes(1 << 20))
    reader = os.fork()
    if reader == 0:
        way = log.walk(tmp_path / "journal")
        next(way)
        os.truncate(segment, whole)
        os._exit(int(not all(isinstance(one, record.Frame) for one in [*way][:-1])))
    assert os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]) == 0
    assert len(contents(tmp_path)) > 6


def test_a_reader_that_comes_again_and_again_reads_only_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SEGMENT_MAX", 8_000)
    written(tmp_path, batches=20)
    folder, position = tmp_path / "journal", record.Position()
    before = len(list(log.walk(folder, position, walked=True)))
    assert before > 40 and position.segment > 5
    opened: list[Path] = []
    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *a, **k: opened.append(path) or real(path, *a, **k)
    )
    assert list(log.walk(folder, position, walked=True)) == []
    assert len(opened) <= 1


def test_damage_in_a_sealed_segment_is_never_taken_for_a_torn_tail(tmp_path: Path) -> None:
    segment = written(tmp_path, close=True)
    written(tmp_path, batches=1)
    whole = bytearray(segment.read_bytes())
    for changed in (bytes(whole[:-40]), bytes(whole[:-1] + b"x"), bytes(whole) + b"x" * 8, b""):
        segment.write_bytes(changed)
        with pytest.raises(Corrupt, match=str(segment)):
            Journal(tmp_path, META)


def _fill(run: Path) -> None:
    """Write batches until the disk does not take more, as a process of its own."""
    journal = Journal(run, META)
    try:
        write_batches(journal, 10_000, size=1000)
    except DiskFault as fault:
        print(fault)


def _readable_after_a_fault(run: Path) -> None:
    kept = [part for part in file.inputs(run) if isinstance(part, np.ndarray)]
    assert len(kept) > 3
    for number, part in enumerate(kept):
        assert np.array_equal(part, some_events(1000, number))
    journal = Journal(run, META)
    journal.abandon()
    assert journal.damage is None


def _python(script: str, run: Path) -> str:
    """A shell command: a Python of its own that knows this module as `t` and the run as `run`."""
    names = "import pathlib, resource, sys, test_journal as t; run = pathlib.Path(sys.argv[1])"
    return shlex.join([sys.executable, "-c", f"{names}; {script}", str(run)])


def _shell(command: list[str]) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_file_size_limit_is_a_disk_fault_and_the_journal_stays_readable(tmp_path: Path) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))"
    done = _shell(["sh", "-c", _python(f"{limit}; t._fill(run)", tmp_path)])
    assert "File too large" in done.stdout, done.stderr
    assert "raise the file size limit" in done.stdout
    _readable_after_a_fault(tmp_path)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare for a disk of its own")
def test_a_full_disk_is_a_disk_fault_and_the_journal_stays_readable(tmp_path: Path) -> None:
    small = f"mount -t tmpfs -o size=2m tmpfs {shlex.quote(str(tmp_path))}"
    if _shell(["unshare", "--mount", "sh", "-c", small]).returncode:
        pytest.skip("needs the right to mount a small disk")
    fill, read = (_python(s, tmp_path) for s in ("t._fill(run)", "t._readable_after_a_fault(run)"))
    done = _shell(["unshare", "--mount", "sh", "-c", f"{small} && {fill} && {read}"])
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stdout
    assert "free some space" in done.stdout


def test_a_read_only_folder_is_a_fault_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, META)
    journal.append_inputs(some_events(3))

    def refuse(_file: int, _data: bytes) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(DiskFault, match=r"Read-only file system.*mount this disk writable"):
        journal.commit()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path, META)
    with pytest.raises(BadInput, match="another process writes this run"):
        Journal(tmp_path, META)
    journal.close()
    Journal(tmp_path, META).close()


def test_a_folder_without_a_journal_and_a_journal_of_another_layout_are_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(BadInput, match="expected a run directory"):
        file.meta_of(tmp_path)
    other = Meta(code="9.9", created_ns=1, source="", strategies=(), layout="0" * 16)
    journal = Journal(tmp_path / "run", other)
    journal.close()
    with pytest.raises(BadInput, match=r"read this run with Fairwind 9\.9"):
        Journal(tmp_path / "run", META)


def test_a_control_payload_is_kept_by_its_content_hash(tmp_path: Path) -> None:
    journal = Journal(tmp_path, META)
    event, payload = encode(1, Halt(reason="test"))
    number = journal.keep_payload(payload)
    journal.close()
    assert number == event["price"][0]
    assert file.payload_of(tmp_path, number) == payload
    (tmp_path / "payloads" / f"{number:016x}").write_bytes(payload + b" ")
    with pytest.raises(Corrupt, match="restore this file"):
        file.payload_of(tmp_path, number)
    with pytest.raises(BadInput, match="found nothing"):
        file.payload_of(tmp_path, 1)


def test_a_half_written_file_never_takes_the_name_of_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Callable[[int, bytes], int] = os.write

    def half(handle: int, data: bytes) -> int:
        if len(data) < 600:
            raise OSError(28, "No space left on device")
        return write(handle, data[:500])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(DiskFault, match=r"No space left.*free some space"):
        log.write_whole(tmp_path / "file", b"x" * 1000)
    assert list(tmp_path.iterdir()) == []
