"""Run every program of the bench, one at a time, in rounds; check answers and bounds.

In: `--rounds N` (default 3) or `--quick` (one round). Out: a table on the terminal and in
bench/README.md, raw lines in bench_data/results.jsonl; exit code 1 when a bound does not hold.
Never here: a ratio between numbers of different rounds. The machine drifts; rounds cancel it.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job import ANSWER, DATA

HERE = Path(__file__).resolve().parent
SET, LARGE_SET = "w20_2m", "w100_10m"
MARKS = ("<!-- results -->", "<!-- end of results -->")
HFTBACKTEST, NAUTILUS, OURS, LIMIT = "hftbacktest", "NautilusTrader", "Fairwind", "C loop"
# At a window's opening and end, programs evaluate one or two events more or less.
FAIR_SUM_SLACK = 20.5
CENT = 0.0001


@dataclass(frozen=True, slots=True)
class Peer:
    """Another engine: its environment, the Python it needs, its programs."""

    environment: str
    python: str
    requirements: str
    programs: tuple[str, ...]
    repeats: int


PEERS = (
    Peer("hftbacktest", "3.11", "requirements-hftbacktest.txt", ("peer_hftbacktest.py",), 5),
    Peer("nautilus311", "3.11", "requirements-nautilus.txt", ("peer_nautilus.py",), 1),
    Peer(
        "nautilus312",
        "3.12",
        "requirements-nautilus-312.txt",
        ("peer_nautilus.py", "peer_nautilus_core.py"),
        1,
    ),
)


@dataclass(frozen=True, slots=True)
class Bound:
    """One promise: what was found, and whether it is kept."""

    name: str
    found: str
    kept: bool


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def lines_of(
    command: list[str | Path], environment: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """JSON lines that the program prints; none, and a word why, when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        env=dict(os.environ, PYTHONWARNINGS="ignore", **(environment or {})),
        cwd=DATA,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        say(f"skipped {command[1]}: exit code {done.returncode}: {last}")
        return []
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def ours(measure: str, name: str = SET, *rest: str) -> list[dict[str, Any]]:
    """Lines of one measurement of our engine."""
    return lines_of([sys.executable, HERE / "ours.py", measure, name, *rest])


def interpreter(version: str) -> str | None:
    """A Python of that version: on the path, or one that pyenv keeps beside it."""
    name = f"python{version}"
    candidates = [shutil.which(name)]
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates += [str(path) for path in sorted(kept.glob(f"{version}.*/bin/{name}"))]
    for candidate in filter(None, candidates):
        works = subprocess.run([candidate, "-c", ""], capture_output=True, check=False)
        if works.returncode == 0:
            return candidate
    return None


def installed(peer: Peer) -> Path | None:
    """The peer's interpreter, its packages installed; None when they cannot be had here."""
    folder = DATA / "venvs" / peer.environment
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = (HERE / peer.requirements).read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    base = interpreter(peer.python)
    if base is None:
        say(f"skipped {peer.environment}: no Python {peer.python} here")
        return None
    say(f"installing {peer.environment} (once)")
    install = ["-m", "pip", "install", "--quiet", "--require-hashes", "-r"]
    for command in ([base, "-m", "venv", folder], [python, *install, HERE / peer.requirements]):
        parts = [str(part) for part in command]
        done = subprocess.run(parts, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            say(f"skipped {peer.environment}: {last}")
            return None
    stamp.write_text(wanted)
    return python


def built() -> Path | None:
    """The C loop's program; None without a compiler."""
    compiler, program = shutil.which("cc") or shutil.which("gcc"), DATA / "reference"
    if compiler is None:
        say("skipped the C loop: no C compiler here")
        return None
    flags = ["-O3", "-march=native", "-o", str(program), str(HERE / "reference.c"), "-lm"]
    subprocess.run([compiler, *flags], check=True)
    return program


def prepare() -> list[dict[str, Any]]:
    """Make the data sets and convert them; lines of the conversion, if it had to be done."""
    lines = []
    for name in (SET, LARGE_SET):
        if not (DATA / f"{name}.bin").exists():
            subprocess.run([sys.executable, str(HERE / "data.py"), name], check=True)
        lines += ours("convert", name)
    return lines


def one_round() -> Iterator[dict[str, Any]]:
    """Everything that is compared by its rate, one program after the other."""
    program = built()
    for mode in ("0", "1") if program else ():
        yield from lines_of([program, DATA / f"{SET}.bin", mode, "9"])
    for reference in ("reference_numba.py", "reference_whole.py"):
        yield from lines_of([sys.executable, HERE / reference, SET, "5"])
    yield from ours("like", SET, "7")
    yield from ours("whole", SET, "7")
    for peer in PEERS:
        python = installed(peer)
        for name in peer.programs if python else ():
            yield from lines_of([python, HERE / name, SET, str(peer.repeats)])


def starts() -> Iterator[dict[str, Any]]:
    """Seconds from the start of a process to the end of its first 1,000 events, cold and warm."""
    with tempfile.TemporaryDirectory() as folder:
        for mode in ("cold start", "warm start", "warm start", "warm start"):
            begun = time.perf_counter()
            command: list[str | Path] = [sys.executable, HERE / "ours.py", "start", SET]
            lines = lines_of(command, {"NUMBA_CACHE_DIR": folder})
            if lines:
                seconds = round(time.perf_counter() - begun, 3)
                yield lines[0] | {"mode": mode, "start_s": seconds}


def all_results(rounds: int) -> list[dict[str, Any]]:
    """Lines of everything, each with the number of its round."""
    DATA.mkdir(exist_ok=True)
    results = []
    for line in prepare():
        results.append(line | {"round": 0})
    for number in range(1, rounds + 1):
        say(f"round {number} of {rounds}")
        results += [line | {"round": number} for line in one_round()]
    say("live calls, starts, memory, frames")
    frames = lines_of([sys.executable, HERE / "decode.py"])
    for line in (*ours("live"), *starts(), *ours("memory", LARGE_SET), *frames):
        results.append(line | {"round": 0})
    text = "".join(json.dumps(line) + "\n" for line in results)
    (DATA / "results.jsonl").write_text(text)
    return results


class Results:
    """Lookups in the lines of a run."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self.lines = lines

    def of(self, engine: str, mode: str) -> list[dict[str, Any]]:
        """Lines of the engines whose name begins so."""
        return [x for x in self.lines if x["engine"].startswith(engine) and x["mode"] == mode]

    def median(self, engine: str, mode: str, key: str) -> float:
        """Median of one fact; nan when nothing was measured."""
        found = [line[key] for line in self.of(engine, mode)]
        return statistics.median(found) if found else float("nan")

    def ratio(self, mode: str, engine: str, other_mode: str) -> float:
        """Median over rounds of our rate by the other's best rate in the same round."""
        ratios = []
        for mine in self.of(OURS, mode):
            others = [x for x in self.of(engine, other_mode) if x["round"] == mine["round"]]
            if others:
                ratios.append(mine["rate"] / max(x["rate"] for x in others))
        return statistics.median(ratios) if ratios else float("nan")


def same_answer(line: Mapping[str, Any]) -> bool:
    """Whether the program did the same job: buys, profit and the sum of fair values."""
    slack = CENT if line["engine"] == OURS else FAIR_SUM_SLACK
    return (
        line["buys"] == ANSWER["buys"]
        and abs(line["pnl"] - ANSWER["pnl"]) < CENT
        and abs(line["fair_sum"] - ANSWER["fair_sum"]) < slack
    )


def bounds(results: Results) -> list[Bound]:
    """Every promise of the engine's speed and size. Nothing measured is a promise not kept."""
    like = results.ratio("1", HFTBACKTEST, "1")
    whole = results.ratio("whole", HFTBACKTEST, "1")
    nautilus = results.ratio("whole", NAUTILUS, "1")
    call = results.median(OURS, "one event per call", "p50_us")
    warm = results.median(OURS, "warm start", "start_s")
    memory = results.median(OURS, "memory", "rss_mb")
    mine, theirs = results.of(OURS, "1"), results.of(HFTBACKTEST, "1")
    decoded = results.median(OURS, "frames of 256", "times_sdk")
    same = bool(mine) and bool(theirs) and all(map(same_answer, (*mine, *theirs)))
    return [
        Bound("like for like, at least 2 × hftbacktest", f"{like:.2f} ×", like >= 2.0),
        Bound("20 buys and PnL −16.0583, as hftbacktest", "same" if same else "differs", same),
        Bound(
            "whole job on change, at least 1 × hftbacktest's mode 1", f"{whole:.2f} ×", whole >= 1.0
        ),
        Bound(
            "whole job on change, at least 20 × NautilusTrader",
            f"{nautilus:.1f} ×",
            nautilus >= 20.0,
        ),
        Bound(
            "frame to decision, at least 20 × the SDK's parse", f"{decoded:.1f} ×", decoded >= 20.0
        ),
        Bound("one event per call, at most 5 µs (median)", f"{call:.2f} µs", call <= 5.0),
        Bound("warm start, at most 2 s", f"{warm:.2f} s", warm <= 2.0),
        Bound("memory for 10 M events, at most 600 MB", f"{memory:.0f} MB", memory <= 600.0),
    ]


def rate_rows(results: Results) -> Iterator[str]:
    """Table rows of all rates; the distance is to the C loop in the same mode (whole: mode 1)."""
    wanted = [(x["engine"], x["mode"]) for x in results.lines if "rate" in x and x["round"]]
    for engine, mode in dict.fromkeys(wanted):
        lines = [x for x in results.of(engine, mode) if x["engine"] == engine]
        rate = statistics.median(x["rate"] for x in lines)
        limit = results.median(LIMIT, "0" if mode == "0" else "1", "rate")
        last = lines[-1]
        answer = f"{last['buys']} buys, {last['pnl']:.4f}" if last.get("buys") else ""
        cells = (engine, mode, f"{rate / 1e6:.2f}", f"{1e9 / rate:.1f}", f"{limit / rate:.1f}")
        yield f"| {' | '.join(cells)} | {answer} |"


def live_rows(results: Results) -> Iterator[str]:
    """Table rows of single figures."""
    for line in results.lines:
        mode = line["mode"]
        if mode.startswith("batch"):
            yield f"| {mode} | {line['us_per_event']} µs per event |"
        elif mode == "parse":
            yield f"| {line['engine']}, parse | {line['us_per_frame']} µs per frame |"
        elif mode.startswith("frames of"):
            facts = f"{line['us_per_frame']} µs per frame, {line['times_sdk']} × the SDK"
            yield f"| frame to decision, {mode} | {facts} |"
        elif mode == "one event per call":
            yield f"| {mode} | p50 {line['p50_us']} µs, p99 {line['p99_us']} µs |"
        elif mode == "cold start":
            yield f"| {mode} | {line['start_s']:.1f} s |"
        elif mode == "memory":
            rate = line["rate"] / 1e6
            yield f"| memory, {line['events']:,} events | {line['rss_mb']} MB at {rate:.1f} M/s |"
    yield f"| warm start | {results.median(OURS, 'warm start', 'start_s'):.2f} s |"
    every = results.ratio("whole, every event", HFTBACKTEST, "1")
    yield f"| whole job on every event, by hftbacktest's mode 1 | {every:.2f} × (no bound) |"
    yield f"| conversion | {results.median(OURS, 'convert', 'rate') / 1e6:.1f} M events/s |"


def page(results: Results, kept: list[Bound], rounds: int) -> str:
    """The results as Markdown."""
    heading = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    parts = [
        f"{heading}, {rounds} rounds, {time.strftime('%Y-%m-%d', time.gmtime())}.",
        "",
        "| engine | mode | M events/s | ns/event | × slower than the C loop | answer |",
        "| --- | --- | --- | --- | --- | --- |",
        *rate_rows(results),
        "",
        "| Fairwind, whole job | |",
        "| --- | --- |",
        *live_rows(results),
        "",
        "| bound | found | |",
        "| --- | --- | --- |",
        *(f"| {b.name} | {b.found} | {'PASS' if b.kept else 'FAIL'} |" for b in kept),
    ]
    return "\n".join(parts)


def publish(text: str) -> None:
    """Put the results between the marks of the README."""
    readme = HERE / "README.md"
    before, rest = readme.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    readme.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


def main() -> int:
    """Run, publish, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round, README left alone")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    results = Results(all_results(rounds))
    kept = bounds(results)
    text = page(results, kept, rounds)
    print(text)
    if not options.quick:
        publish(text)
    return 0 if all(bound.kept for bound in kept) else 1


if __name__ == "__main__":
    sys.exit(main())
