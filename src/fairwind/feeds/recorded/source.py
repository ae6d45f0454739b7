"""Opening any recorded source by what is in it: a file, a folder of files, or an installed sample.

In: a path or a sample's name. Out: one Recording. Never here: a guess: a file of no known kind is
refused, and in a folder it is counted.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fairwind.core.errors import BadInput
from fairwind.feeds.recorded import (
    btc5m_events,
    btc5m_window,
    btc15m_bba,
    btc15m_books,
    chainlink,
    clob_frames,
    eventfile,
    raw,
    read,
    samples,
)
from fairwind.feeds.recorded.recording import Problems, Recording, merge, with_problems

QUOTE_DEPTH_SHARES = 50.0
LEAST_DEPTH_SHARES = 0.01
_SUFFIXES = (".npy", ".parquet", ".csv", ".csv.gz", ".json", ".json.gz", ".jsonl", ".jsonl.gz")


class Kind(NamedTuple):
    """A known kind of source. `load(path, quote depth in shares, strict)`."""

    name: str
    about: str
    load: Callable[[Path, float, bool], Recording]


EVENTS = Kind(
    "events",
    "Fairwind's own event file (*.events.npy)",
    lambda path, depth, strict: eventfile.load(path),
)
WINDOW_EVENTS = Kind(
    "window-events",
    "one window, every quote, trade, spot and oracle print (JSON)",
    lambda path, depth, strict: btc5m_events.load(path, depth),
)
BOOKS = Kind(
    "books",
    "book snapshots of several windows with payouts (books.parquet and markets.parquet)",
    lambda path, depth, strict: btc15m_books.load(path),
)
QUOTES = Kind(
    "quotes",
    "best bid and ask with sizes of several windows (Parquet or CSV)",
    lambda path, depth, strict: btc15m_bba.load(path, strict=strict),
)
POLLED = Kind(
    "polled-window",
    "one window polled once a second: five levels, oracle, spot (JSON lines)",
    lambda path, depth, strict: btc5m_window.load(path, strict=strict),
)
ORACLE = Kind(
    "oracle",
    "oracle points of a day (CSV) and its windows' Gamma objects beside them (JSON lines)",
    lambda path, depth, strict: chainlink.load(path, strict=strict),
)
ORACLE_WINDOWS = Kind(
    "oracle-windows",
    "the Gamma objects of an oracle day; opens the whole day",
    lambda path, depth, strict: chainlink.load_markets(path, strict=strict),
)
FRAMES = Kind(
    "frames",
    "raw frames of the venue's market channel (JSON lines)",
    lambda path, depth, strict: clob_frames.load(path, strict=strict),
)
RECORDED = ("recorded-frames", "what `fairwind record` wrote (*.frames, or a folder of them)")
_TABLES: tuple[tuple[Kind, Sequence[str]], ...] = (
    (BOOKS, btc15m_books.COLUMNS),
    (QUOTES, btc15m_bba.COLUMNS),
    (ORACLE, chainlink.COLUMNS),
)
_TEXTS: tuple[tuple[Kind, Callable[[str], bool]], ...] = (
    (FRAMES, clob_frames.recognises),
    (ORACLE_WINDOWS, chainlink.recognises),
    (WINDOW_EVENTS, btc5m_events.recognises),
    (POLLED, btc5m_window.recognises),
)


def sources() -> list[tuple[str, str]]:
    """(name, one-line description) of each kind of file, then of each sample."""
    kinds = (EVENTS, WINDOW_EVENTS, BOOKS, QUOTES, POLLED, ORACLE, ORACLE_WINDOWS, FRAMES)
    named = [(f"sample {name}", f"data in the package {name}") for name in samples.SAMPLES]
    return [(kind.name, kind.about) for kind in kinds] + [
        RECORDED,
        *named,
        (f"sample {samples.ALL}", "all samples, where no window is in two of them"),
    ]


def open_source(
    text: str,
    *,
    quote_depth_shares: float = QUOTE_DEPTH_SHARES,
    tolerate: bool = False,
    decode: Callable[[Path], Recording] | None = None,
) -> Recording:
    """The recording named by `text`: a file, a folder, or a sample's name.

    `quote_depth_shares` stands at quotes that were recorded without a size. With `tolerate`, rows
    that cannot be read are counted instead of refused. `decode` turns frames that were recorded
    live into what they would have been live; without it they are refused. Raises BadInput.
    """
    if not LEAST_DEPTH_SHARES <= quote_depth_shares < 1e9:
        raise BadInput(
            f"expected a depth of at least {LEAST_DEPTH_SHARES} and below 1e9 shares,"
            f" found {quote_depth_shares}"
        )
    path = Path(text)
    if raw.is_recording(path):
        if decode is None:
            raise BadInput(
                f"{path}: expected a source of events, found recorded frames; make an event file "
                "of them with `fairwind import` first"
            )
        return decode(path)
    if path.is_dir():
        return _folder(path, quote_depth_shares, not tolerate)
    if path.is_file():
        kind = kind_of(path)
        if kind is None:
            raise BadInput(f"{path}: expected one of {_known()}, found none of them")
        return kind.load(path, quote_depth_shares, not tolerate)
    if text in (*samples.SAMPLES, samples.ALL):
        found = [_opened(one, quote_depth_shares, not tolerate) for one in samples.files(text)]
        return found[0] if len(found) == 1 else merge(found)
    raise BadInput(
        f"expected a file, a folder or a sample ({', '.join((*samples.SAMPLES, samples.ALL))}),"
        f" found no such thing as {text!r}"
    )


def kind_of(path: Path) -> Kind | None:
    """The kind of file by its content; None when it is none of ours. BadInput when damaged."""
    if path.suffix == ".npy":
        return EVENTS
    if path.name == btc15m_books.MARKETS:
        return BOOKS
    if path.suffix == ".parquet":
        return _table_kind(read.parquet_columns(path))
    head = read.head(path)
    for kind, recognises in _TEXTS:
        if recognises(head):
            return kind
    return _table_kind(head.partition("\n")[0].strip().split(","))


def _table_kind(columns: Sequence[str]) -> Kind | None:
    """The kind whose columns are there, at least half of them: so a missing one can be named."""
    share, index = max(
        (len(set(wanted) & set(columns)) / len(wanted), -index)
        for index, (_, wanted) in enumerate(_TABLES)
    )
    return _TABLES[-index][0] if share >= 0.5 else None


def _folder(folder: Path, depth: float, strict: bool) -> Recording:
    """All files of a folder as one recording; those of no known kind are counted."""
    files = [one for one in sorted(folder.iterdir()) if one.name.endswith(_SUFFIXES)]
    problems = Problems()
    found: list[tuple[Path, Kind]] = []
    for path in files:
        kind = None if path.with_name(path.stem + eventfile.SUFFIX) in files else kind_of(path)
        if kind is not None:
            found.append((path, kind))
        elif path.suffix != ".json":
            problems.note("UNKNOWN_FILE", f"{path} is of no known kind")
    wanted = [
        (path, kind) for path, kind in found if not _companion(path, kind, [k for _, k in found])
    ]
    if not wanted:
        raise BadInput(f"{folder}: expected files of a known kind, found none; known: {_known()}")
    opened = [kind.load(path, depth, strict) for path, kind in wanted]
    return with_problems(opened[0] if len(opened) == 1 else merge(opened), problems)


def _companion(path: Path, kind: Kind, kinds: Sequence[Kind]) -> bool:
    """Whether the file is read together with another one of its folder."""
    beside_books = path.name == btc15m_books.MARKETS and kinds.count(BOOKS) > 1
    return beside_books or (kind is ORACLE_WINDOWS and ORACLE in kinds)


def _opened(path: Path, depth: float, strict: bool) -> Recording:
    kind = kind_of(path)
    if kind is None:
        raise BadInput(f"{path}: expected one of {_known()}, found none of them")
    return kind.load(path, depth, strict)


def _known() -> str:
    return "; ".join(about for _, about in sources()[:9])
