"""Recorded frames come back as they were put, also from a writer that was killed or ran out."""

import errno
import subprocess
import sys
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairwind.core.errors import BadInput, Corrupt, DiskFault
from fairwind.core.events import empty
from fairwind.core.units import SECOND_NS
from fairwind.feeds.recorded import raw
from fairwind.feeds.recorded.raw import Cut, Mark, Record, Recorder, read
from fairwind.feeds.recorded.recording import Recording
from fairwind.feeds.recorded.source import open_source

NS = 1_790_000_000 * SECOND_NS
FIRST = Record(NS, "market", Mark.FRAME, b'{"event_type":"book"}')
LINES = ("market", "coinbase", raw.GAMMA)
RECORDS = st.builds(
    Record,
    st.integers(0, 2**62),
    st.sampled_from(LINES),
    st.sampled_from(Mark),
    st.binary(max_size=200),
)


def write(folder: Path, *records: Record) -> Path:
    """A file of its own with these records; one block for each second of theirs."""
    recorder = Recorder(folder)
    for one in records:
        put(recorder, one)
    recorder.close()
    return recorder.path


def put(recorder: Recorder, record: Record) -> None:
    match record.mark:
        case Mark.FRAME:
            recorder.put(record.line, record.ts_ns, record.payload)
        case Mark.CONNECTED:
            recorder.connected(record.line, record.ts_ns)
        case Mark.LOST:
            recorder.lost(record.line, record.ts_ns, record.payload.decode())


def seconds(number: int, line: str = "market") -> list[Record]:
    return [Record(NS + at * SECOND_NS, line, Mark.FRAME, b"%d" % at) for at in range(number)]


def test_frames_and_marks_come_back_as_they_were_put(tmp_path: Path) -> None:
    put_in = [
        Record(NS, "market", Mark.CONNECTED, b""),
        FIRST,
        Record(NS - 1, "coinbase", Mark.FRAME, b"\x00\xff" * 70_000),
        Record(NS + 2, "rtds", Mark.FRAME, b""),
        Record(NS + 3, "market", Mark.LOST, "closed by the venue – 1013".encode()),
    ]
    assert list(read(write(tmp_path, *put_in))) == put_in


@given(st.lists(RECORDS, max_size=30))
def test_any_records_come_back(tmp_path_factory: Any, records: list[Record]) -> None:
    recorder = Recorder(tmp_path_factory.mktemp("any"))
    for one in records:
        recorder._add(*one)
    recorder.close()
    assert list(read(recorder.path)) == records


def test_a_recording_without_frames_is_empty(tmp_path: Path) -> None:
    assert list(read(write(tmp_path))) == []


def test_a_second_is_on_the_disk_when_the_next_frame_comes(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    early = Record(NS + SECOND_NS - 1, "market", Mark.FRAME, b"2")
    late = Record(NS + SECOND_NS, "market", Mark.FRAME, b"3")
    for one in (FIRST, early):
        put(recorder, one)
    assert list(read(tmp_path)) == []
    put(recorder, late)
    assert list(read(tmp_path)) == [FIRST, early, late]
    put(recorder, FIRST)
    recorder.flush()
    assert len(list(read(tmp_path))) == 4
    recorder.close()


def test_a_clock_that_is_set_back_holds_nothing_back(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    put(recorder, FIRST)
    put(recorder, Record(NS - SECOND_NS, "market", Mark.FRAME, b"1"))
    assert len(list(read(tmp_path))) == 2
    recorder.close()


def test_no_more_than_a_block_waits_in_memory(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    payload = b"x" * 1000
    for _ in range(5000):
        recorder.put("market", NS, payload)
    written = sum(len(one.payload) for one in read(tmp_path) if isinstance(one, Record))
    assert 5_000_000 - raw.BLOCK_BYTES <= written < 5_000_000
    recorder.close()


def test_each_start_writes_a_file_of_its_own_and_ends_the_lines_of_the_one_before(
    tmp_path: Path,
) -> None:
    market, spot, http = (Record(NS + at, line, Mark.FRAME, b"1") for at, line in enumerate(LINES))
    gone = Record(NS + 9, "coinbase", Mark.LOST, b"silent")
    paths = [write(tmp_path, market, spot, http, gone), write(tmp_path, market)]
    assert [one.name for one in paths] == ["00000001.frames", "00000002.frames"]
    ended = Record(NS, "market", Mark.LOST, raw.INTERRUPTED)
    assert list(read(tmp_path)) == [market, spot, http, gone, ended, market]


def test_a_file_that_ends_anywhere_gives_its_whole_blocks_and_says_where_it_was_cut(
    tmp_path: Path,
) -> None:
    records = seconds(5)
    path = write(tmp_path, *records)
    content = path.read_bytes()
    whole: dict[int, list[Record | Cut]] = {}
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        found = list(read(path))
        if found and isinstance(found[-1], Cut):
            assert found.pop() == Cut(path, max(whole), size - max(whole))
        elif size >= len(raw.MAGIC):
            whole[size] = found
        assert found == records[: len(found)]
    assert [len(found) for found in whole.values()] == [0, 2, 4, 5]


def test_a_changed_byte_never_gives_another_record(tmp_path: Path) -> None:
    records = seconds(5)
    path = write(tmp_path, *records)
    content = path.read_bytes()
    outcomes: set[type] = set()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        found: list[Record | Cut] = []
        try:
            for one in read(path):
                found.append(one)
        except (Corrupt, BadInput) as error:
            outcomes.add(type(error))
        else:
            assert isinstance(found.pop(), Cut)
            outcomes.add(Cut)
        assert found == records[: len(found)] and len(found) < len(records)
    assert outcomes == {BadInput, Corrupt, Cut}


def test_damage_before_other_blocks_says_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path, *seconds(5))
    content = path.read_bytes()
    path.write_bytes(content.replace(raw.HEADER_MARK, b"none", 1))
    with pytest.raises(Corrupt, match=r"damage inside the file; restore this file from a copy"):
        list(read(path))


def test_more_damage_than_one_block_is_not_taken_for_an_unfinished_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, FIRST)
    monkeypatch.setattr(raw, "BLOCK_BYTES_MAX", 1000)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + bytes(1000 + raw.HEADER.size))
    assert list(read(path))[-1] == Cut(path, size, 1000 + raw.HEADER.size)
    path.write_bytes(path.read_bytes() + bytes(1))
    with pytest.raises(Corrupt):
        list(read(path))


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="found none"):
        list(read(tmp_path))
    other = tmp_path / "other.frames"
    other.write_bytes(b"not what a recorder writes")
    with pytest.raises(BadInput, match="none of ours"):
        list(read(other))
    assert raw.is_recording(tmp_path) and raw.is_recording(other)
    assert not raw.is_recording(tmp_path / "absent.frames")
    other.rename(tmp_path / "other.txt")
    assert not raw.is_recording(tmp_path) and not raw.is_recording(tmp_path / "other.txt")


WRITER = """
import sys
from pathlib import Path
from fairwind.feeds.recorded.raw import Recorder
recorder = Recorder(Path(sys.argv[1]))
for at in range(10**9):
    recorder.put("market", at * 10**7, b"%d" % at)
    print(at, flush=True)
"""


def test_a_killed_writer_loses_at_most_a_second(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(2500):
            process.stdout.readline()
        process.kill()
        told = 2500 + len(process.stdout.readlines())
    found = [one for one in read(tmp_path) if isinstance(one, Record)]
    assert [one.payload for one in found] == [b"%d" % at for at in range(len(found))]
    assert told - 101 <= len(found)


class FullDisk:
    """Takes the beginning of what it is given, and then nothing."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._full = False

    def write(self, content: memoryview) -> int:
        if self._full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._full = True
        return self._file.write(content[:30])


def test_after_a_full_disk_the_recorder_takes_nothing_more_and_the_file_is_readable(
    tmp_path: Path,
) -> None:
    recorder = Recorder(tmp_path)
    put(recorder, FIRST)
    recorder.flush()
    file, size = recorder._file, recorder.path.stat().st_size
    recorder._file = FullDisk(file)  # type: ignore[assignment]
    with pytest.raises(DiskFault, match="free some space"):
        recorder.put("market", NS, b"x" * raw.BLOCK_BYTES)
    recorder._file = file
    with pytest.raises(DiskFault, match="free some space"):
        recorder.put("market", NS, b"x" * raw.BLOCK_BYTES)
    recorder.close()
    assert list(read(tmp_path)) == [FIRST, Cut(recorder.path, size, 30)]


def test_a_folder_that_cannot_be_is_a_disk_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskFault, match="expected the disk to work"):
        Recorder(tmp_path / "file" / "frames")


def test_recorded_frames_are_opened_as_a_source_where_they_can_be_decoded(tmp_path: Path) -> None:
    path = write(tmp_path, FIRST)
    decoded = Recording(events=empty(3))
    opened: list[Path] = []

    def decode(found: Path) -> Recording:
        opened.append(found)
        return decoded

    for one in (path, tmp_path):
        assert open_source(str(one), decode=decode) is decoded
        with pytest.raises(BadInput, match="found recorded frames; make an event file"):
            open_source(str(one))
    assert opened == [path, tmp_path]
