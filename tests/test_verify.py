"""The proof of a run: a whole one is proved; of any other the first difference is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_loop import META, fed, journaled, made_events, undisturbed_digest

from fairwind.core.errors import BadInput, Corrupt
from fairwind.core.events import EVENT, Events
from fairwind.core.outputs import TABLES
from fairwind.journal import file, log, record
from fairwind.journal.file import Journal
from fairwind.research.verify import verify
from fairwind.run.loop import Session

STEP = 1000


@pytest.fixture(scope="module")
def made() -> tuple[Events, dict[int, bytes]]:
    return made_events()


@pytest.fixture
def run(tmp_path: Path, made: tuple[Events, dict[int, bytes]]) -> Path:
    fed(tmp_path / "run", *made, STEP).close()
    return tmp_path / "run"


def test_a_whole_run_is_proved_for_every_batch_size(
    run: Path, made: tuple[Events, dict[int, bytes]]
) -> None:
    verdict = verify(run)
    assert verdict.proved
    assert verdict.events == verdict.proved_events == len(made[0])
    assert verdict.digest == undisturbed_digest(*made)
    assert verdict.batch_sizes == (1, 16, 256, 65_536)
    held = dict(journaled(run))
    assert verdict.rows == sum(len(held[name]) // TABLES[name].itemsize for name in TABLES)
    assert verdict.marks == -(-len(made[0]) // STEP)


def test_inputs_that_lost_their_outputs_are_not_counted_as_proved(
    tmp_path: Path, made: tuple[Events, dict[int, bytes]]
) -> None:
    events, payloads = made
    fed(tmp_path, events[:3000], payloads, STEP).journal.abandon()
    verdict = verify(tmp_path)
    assert verdict.proved
    assert (verdict.events, verdict.proved_events) == (3000, 2000)


def test_an_unfinished_last_commit_is_not_called_proved(
    tmp_path: Path, made: tuple[Events, dict[int, bytes]]
) -> None:
    events, payloads = made
    fed(tmp_path, events[:3000], payloads, STEP).journal.abandon()
    path = log.segment_path(tmp_path / "journal", 1)
    path.write_bytes(path.read_bytes()[:-1])
    divergence = verify(tmp_path).divergence
    assert divergence is not None
    assert "the next start cuts its" in str(divergence)
    fed(tmp_path, events, payloads, STEP).close()
    assert verify(tmp_path).proved


def _frame_at(run: Path, kind: record.Kind, number: int) -> tuple[Path, int, record.Frame]:
    """Segment, payload offset and the `number`-th frame of that kind."""
    path = log.segment_path(run / "journal", 1)
    data = memoryview(path.read_bytes())
    offset, seen = record.SEGMENT_HEADER.size, 0
    while frame := record.decode(data, offset):
        if frame.kind == kind:
            if seen == number:
                return path, offset + record.FRAME_HEADER.size, frame
            seen += 1
        offset = frame.stop
    raise AssertionError("no such frame")


def _flip(path: Path, offset: int) -> None:
    whole = bytearray(path.read_bytes())
    whole[offset] ^= 4
    path.write_bytes(whole)


@pytest.mark.parametrize(("event", "field"), [(0, "ts_ns"), (2345, "price"), (6000, "kind")])
def test_after_a_flipped_byte_of_an_input_its_event_and_field_are_named(
    run: Path, event: int, field: str
) -> None:
    path, body, _ = _frame_at(run, record.Kind.INPUT, event // STEP)
    assert EVENT.fields is not None
    offset = body + event % STEP * EVENT.itemsize + EVENT.fields[field][1]
    _flip(path, offset)
    divergence = verify(run).divergence
    assert divergence is not None
    assert (divergence.event, divergence.last_event) == (event, event)
    assert divergence.field == field
    assert f"byte {offset} was changed" in str(divergence)
    assert str(divergence).startswith(f"event {event}, field {field}: expected the bytes")


@pytest.mark.parametrize("kind", [record.Kind.OUTPUT, record.Kind.MARK])
def test_after_a_flipped_byte_of_an_output_its_batch_is_named(run: Path, kind: record.Kind) -> None:
    path, body, _ = _frame_at(run, kind, 0)
    _flip(path, body + 9)
    divergence = verify(run).divergence
    assert divergence is not None
    assert (divergence.event, divergence.last_event) == (0, STEP - 1)


def test_a_flipped_bit_or_a_lost_file_of_a_snapshot_is_named(
    tmp_path: Path, made: tuple[Events, dict[int, bytes]]
) -> None:
    events, payloads = made
    fed(tmp_path, events[:5000], payloads, STEP, snapshot_events=2000).close()
    (_, path) = sorted((tmp_path / "snapshots").iterdir())
    whole = path.read_bytes()
    assert verify(tmp_path, batch_sizes=(256,)).proved
    _flip(path, len(whole) // 2)
    number = int(path.stem)
    divergence = verify(tmp_path, batch_sizes=(256,)).divergence
    assert divergence is not None
    assert (divergence.event, divergence.last_event) == (number - 1, number - 1)
    assert f"names after {number} events, found other bytes in {path}" in str(divergence)
    path.unlink()
    assert f"found no file {path}" in str(verify(tmp_path, batch_sizes=(256,)).divergence)


def _rewritten(
    run: Path, to: Path, change: Callable[[str, NDArray[Any]], NDArray[Any]], digest: int = 0
) -> None:
    """A run again whose checksums are right but whose rows or digests are changed."""
    journal = Journal(to, META)
    for path in (run / "payloads").iterdir():
        journal.keep_payload(path.read_bytes())
    for frame in file.frames(run):
        if frame.kind == record.Kind.INPUT:
            journal.append_inputs(change("inputs", record.events_of(frame).copy()))
        elif frame.kind == record.Kind.OUTPUT:
            name, rows = record.rows_of(frame)
            journal.append_outputs({name: change(name, rows.copy())})
        elif frame.kind == record.Kind.MARK:
            mark = record.mark_of(frame)
            journal.mark(mark.events, mark.digest ^ digest)
    journal.close()


def test_a_changed_output_row_is_named_with_its_event_row_and_field(
    run: Path, tmp_path: Path
) -> None:
    scans = np.concatenate(list(file.outputs(run, "scans")))
    place = len(scans) // 2
    seen = 0

    def change(name: str, rows: NDArray[Any]) -> NDArray[Any]:
        nonlocal seen
        if name == "scans":
            if seen <= place < seen + len(rows):
                rows["price_e4"][place - seen] += 1
            seen += len(rows)
        return rows

    _rewritten(run, tmp_path / "changed", change)
    divergence = verify(tmp_path / "changed").divergence
    assert divergence is not None
    assert divergence.event == divergence.last_event == scans["feature_row"][place]
    assert (divergence.table, divergence.row) == ("scans", place)
    assert divergence.field == "price_e4"
    assert divergence.expected == str(scans["price_e4"][place] + 1)
    assert divergence.found == str(scans["price_e4"][place])
    assert divergence.ts_ns == scans["ts_ns"][place]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda rows: rows[:-1], "expected no row, found one"),
        (lambda rows: np.concatenate([rows, rows[-1:]]), "expected the recorded row, found none"),
    ],
)
def test_a_row_too_few_or_too_many_is_named(
    run: Path, tmp_path: Path, change: Callable[[NDArray[Any]], NDArray[Any]], found: str
) -> None:
    last = np.concatenate(list(file.outputs(run, "windows")))[-1]

    def only_last(name: str, rows: NDArray[Any]) -> NDArray[Any]:
        return change(rows) if name == "windows" and rows[-1] == last else rows

    _rewritten(run, tmp_path / "changed", only_last)
    divergence = verify(tmp_path / "changed").divergence
    assert divergence is not None
    assert divergence.table == "windows"
    assert found in str(divergence)


def test_a_changed_input_with_right_checksums_is_a_divergence_of_its_batch(
    run: Path, tmp_path: Path
) -> None:
    seen = 0

    def change(name: str, rows: NDArray[Any]) -> NDArray[Any]:
        nonlocal seen
        if name == "inputs":
            if seen == 3 * STEP:
                rows["ts_source_ns"][10] ^= 1
            seen += len(rows)
        return rows

    _rewritten(run, tmp_path / "changed", change)
    divergence = verify(tmp_path / "changed").divergence
    assert divergence is not None
    assert 3 * STEP <= divergence.event <= divergence.last_event < 4 * STEP


def test_another_digest_with_the_same_rows_is_a_divergence(run: Path, tmp_path: Path) -> None:
    _rewritten(run, tmp_path / "changed", lambda _name, rows: rows, digest=1)
    verdict = verify(tmp_path / "changed")
    assert verdict.divergence is not None
    assert "expected digest" in str(verdict.divergence)
    assert verdict.proved_events == 0


def test_a_folder_that_is_no_run_and_a_lost_payload_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected a run directory"):
        verify(tmp_path)
    for path in (run / "payloads").iterdir():
        path.write_bytes(b"{}")
    with pytest.raises(Corrupt, match="restore this file"):
        verify(run)


def test_a_verified_run_is_left_as_it_was(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    verify(run, batch_sizes=(256,))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    Session(run, META).close()
