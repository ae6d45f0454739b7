"""Opening recorded files: plain or gzip text, JSON, CSV, Parquet.

In: a path. Out: bytes, lines, rows or columns. A file that cannot be read as what it claims to be
is BadInput with the file, what was expected and what was found; never a half-read file.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from fairwind.core.errors import BadInput
from fairwind.feeds.recorded.recording import Problems

_GZIP = b"\x1f\x8b"
_HEAD = 4096


def content(path: Path, limit: int = -1) -> bytes:
    """The file's bytes (the first `limit` when given), unpacked when it is a gzip file."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            return gzip.GzipFile(fileobj=raw).read(limit) if packed else raw.read(limit)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(
            f"{path}: expected a whole gzip file, found a damaged one ({error}); fetch it again"
        ) from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error})") from error


def text(path: Path, limit: int = -1) -> str:
    """The file's text without a byte order mark; BadInput when it is not UTF-8."""
    try:
        return content(path, limit).decode("utf-8-sig", "ignore" if limit > 0 else "strict")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: expected UTF-8 text, found binary data ({error})") from error


def head(path: Path) -> str:
    """The first 4096 bytes of text, for recognising a format."""
    return text(path, _HEAD)


def document(path: Path, expected: str) -> dict[str, Any]:
    """A file that holds one JSON object; `expected` names it in the message."""
    try:
        found = msgspec.json.decode(text(path))
    except msgspec.DecodeError as error:
        cut = "truncated" in str(error)
        said = "truncated JSON" if cut else "text that is not JSON"
        advice = "fetch it again" if cut else "repair it; JSON has no NaN or Infinity"
        raise BadInput(
            f"{path}: expected {expected} as one JSON object, found {said} ({error}); {advice}"
        ) from error
    if not isinstance(found, dict):
        raise BadInput(f"{path}: expected {expected} as one JSON object, found a {type(found)}")
    return found


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text) of each line that is not blank."""
    for number, line in enumerate(text(path).splitlines(), 1):
        if line.strip():
            yield number, line


def need(path: Path, columns: Sequence[str], found: Sequence[str]) -> None:
    """BadInput naming the columns that are missing and those that were found."""
    missing = [name for name in columns if name not in found]
    if missing:
        raise BadInput(
            f"{path}: expected column {', '.join(missing)}, found {', '.join(found) or 'none'}"
        )


def csv_rows(
    path: Path, columns: Sequence[str], problems: Problems
) -> Iterator[tuple[str, list[str]]]:
    """(place, the wanted columns' text) of each row below the header.

    A row with another number of fields than the header goes to `problems.reject`.
    """
    reader = csv.reader(io.StringIO(text(path)))
    header = next(reader, [])
    need(path, columns, header)
    at = [header.index(name) for name in columns]
    for row, fields in enumerate(reader, 1):
        where = f"{path} row {row} (line {reader.line_num})"
        if len(fields) == len(header):
            yield where, [fields[index] for index in at]
        elif fields:
            problems.reject(where, ",".join(fields), f"{len(header)} fields")


def parquet_columns(path: Path) -> list[str]:
    """The column names of a Parquet file."""
    return list(_schema(path).names)


def table(path: Path, columns: Sequence[str]) -> pa.Table:
    """The wanted columns of a Parquet file."""
    need(path, columns, parquet_columns(path))
    try:
        return pq.read_table(path, columns=list(columns), partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: expected this file, found none") from error
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> BadInput:
    return BadInput(
        f"{path}: expected a whole Parquet file, found a damaged or truncated one"
        f" ({str(error).splitlines()[0]}); fetch it again"
    )
