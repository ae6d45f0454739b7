"""Commands for recorded and generated data: replay, import, generate, inspect, verify, progress.

In: arguments. Out: tables on stdout, progress on stderr. Never here: anything but reading options,
calling one module and showing what it says.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from fairwind.cli.screen import INTERRUPTED, app, prepare_engine, said, say, shown, working
from fairwind.core import config as settings
from fairwind.core.errors import BadInput, Diverged
from fairwind.feeds.recorded import eventfile
from fairwind.feeds.recorded.recording import Recording
from fairwind.feeds.recorded.source import open_source
from fairwind.research import (
    audit,
    doctor,
    inspect,
    journaled,
    progress,
    replay,
    summary,
    synthetic,
    verify,
)
from fairwind.research.document import build
from fairwind.research.report import write_report
from fairwind.run.loop import Recovery
from fairwind.run.recorded import recording_of

EVENTS_PER_PROGRESS = 65_536


@app.command("replay")
def replay_command(
    source: Annotated[str, typer.Argument(help="a file, a folder, or the name of a sample")],
    *,
    config: Annotated[Path | None, typer.Option(help="settings, a TOML file")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="STRATEGY.parameter=value or STRATEGY.enabled=true; repeatable"),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="folder for report.html and report.json; else the run's")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="run directory; else one in run.directory, by content")
    ] = None,
    no_journal: Annotated[bool, typer.Option("--no-journal", help="keep no journal")] = False,
    batch: Annotated[int | None, typer.Option(min=1, help="events given at once")] = None,
    tolerate: Annotated[bool, typer.Option("--tolerate", help="count bad rows, read on")] = False,
) -> None:
    """Run the engine over recorded or generated data; journal and report what it does."""
    if journal and no_journal:
        raise typer.BadParameter("give --journal or --no-journal, not both")
    chosen = replay.overridden(settings.load(config), set_ or [])
    depth = chosen.realism.quote_depth_shares
    with working(f"reading {source}"):
        recording = open_source(
            source, quote_depth_shares=depth, tolerate=tolerate, decode=recording_of
        )
    inputs = replay.inputs_of(recording, chosen)
    run = journal or Path(chosen.run.directory) / replay.run_name(source, inputs)
    prepare_engine()
    with working("opening the run"):
        job = replay.Unjournaled(inputs) if no_journal else replay.Journaled(run, source, inputs)
        if not (journal or no_journal):
            replay.point_latest(run)
    _say_recovery(job.recovery)
    end = _feed(job, batch or chosen.run.batch, inputs.total)
    if end.events < inputs.total:
        said.print(f"stopped after event {end.events:,} of {inputs.total:,}")
        if not no_journal:
            said.print(f"the same command goes on from there; the run is {run}")
        raise typer.Exit(INTERRUPTED)
    with working("writing the report"):
        result = replay.result_of(source, recording, chosen, end, job.tables())
        document = build(result)
        folder = report or (None if no_journal else run)
        page = write_report(result, folder) if folder else None
        summary.show(document, shown)
        say("check", replay.checks_of(recording))
    if not no_journal:
        shown.print(f"run      {run}", soft_wrap=True)
    if page:
        shown.print(f"report   {page}", soft_wrap=True)
    if not no_journal and document.windows:
        shown.print(f"inspect  {summary.next_command(document, run)}", soft_wrap=True)


@app.command("import")
def import_command(
    source: Annotated[str, typer.Argument(help="a file, a folder, or the name of a sample")],
    output: Annotated[Path, typer.Option("--output", "-o", help="a path ending in .events.npy")],
    tolerate: Annotated[bool, typer.Option("--tolerate", help="count bad rows, read on")] = False,
    quote_depth: Annotated[
        float, typer.Option(help="shares assumed at quotes recorded without a size")
    ] = settings.Realism().quote_depth_shares,
) -> None:
    """Turn recorded data into an event file; count and name the rows that cannot be used."""
    with working(f"reading {source}"):
        recording = open_source(
            source, quote_depth_shares=quote_depth, tolerate=tolerate, decode=recording_of
        )
        eventfile.save(output, recording)
    _say_recording(recording)
    shown.print(f"events   {output}", soft_wrap=True)


@app.command("generate")
def generate_command(
    output: Annotated[Path, typer.Option("--output", "-o", help="a path ending in .events.npy")],
    seed: Annotated[int, typer.Option(help="the same seed gives the same bytes")] = 0,
    windows: Annotated[int, typer.Option(help="windows of the shortest series")] = 12,
    edge: Annotated[float, typer.Option(help="planted edge, dollars per share")] = 0.0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="another knob, name=value; repeatable")
    ] = None,
) -> None:
    """Make a synthetic market with known truth."""
    asked = {"seed": str(seed), "windows": str(windows), "planted_edge": str(edge)}
    with working("generating"):
        recording = synthetic.recording_of(synthetic.knobs(asked, set_ or []))
        eventfile.save(output, recording)
    _say_recording(recording)
    shown.print(f"events   {output}", soft_wrap=True)


@app.command("inspect")
def inspect_command(
    source: Annotated[str, typer.Argument(help="a run directory, or what replay takes")],
    window: Annotated[str | None, typer.Option(help="a window's slug")] = None,
    order: Annotated[int | None, typer.Option(help="an order's number, from a window")] = None,
) -> None:
    """Show one window or one decision, from its inputs to its result."""
    if (window is None) == (order is None):
        raise typer.BadParameter("give --window SLUG or --order NUMBER")
    with working(f"reading {source}"):
        is_run = (Path(source) / "journal").is_dir()
        story = inspect.story_of(Path(source)) if is_run else _replayed(source)
    if window is not None:
        sections = inspect.window_life(story, window)
    else:
        assert order is not None
        sections = inspect.order_life(story, order)
    for section in sections:
        table = Table(*section.columns, title=section.title, title_justify="left")
        for row in section.rows:
            table.add_row(*row)
        shown.print(table if section.rows else f"{section.title}: none")


@app.command("verify")
def verify_command(
    run: Annotated[Path, typer.Argument(help="a run directory")],
    whole: Annotated[bool, typer.Option("--whole", help="all events one by one, too")] = False,
) -> None:
    """Check a run's journal, replay it, and name the first difference if there is one."""
    prepare_engine()
    with working("checking every byte, then replaying in several batch sizes"):
        verdict = verify.verify(run, whole=whole)
    if verdict.divergence is not None:
        raise Diverged(f"{run}: {verdict.divergence}")
    shown.print(
        f"proved: {verdict.proved_events:,} of {verdict.events:,} events, {verdict.rows:,} rows of "
        f"outputs, {verdict.marks:,} marks; the same in batches of "
        f"{', '.join(str(size) for size in verdict.batch_sizes)}"
    )
    shown.print(f"digest   {verdict.digest:016x}")


def _replayed(source: str) -> inspect.Story:
    """A replay of a source with default settings, without a journal."""
    chosen = settings.Config()
    inputs = replay.inputs_of(open_source(source, decode=recording_of), chosen)
    job = replay.Unjournaled(inputs)
    for _ in job.steps(chosen.run.batch):
        pass
    return inspect.Story(inputs.between(0, inputs.total), job.tables(), replay.strategies())


@app.command("audit")
def audit_command(
    run: Annotated[Path, typer.Argument(help="a run directory")],
) -> None:
    """Prove from a run's journal alone that no order was sent or filled on a stale book."""
    with working("folding the journal anew"):
        verdict = audit.audit(run)
    shown.print(str(verdict), soft_wrap=True)
    for head, counts in (("refused", verdict.refused), ("killed", verdict.killed)):
        say(head, [f"{count:,} {hold}" for hold, count in sorted(counts.items())])
    if not verdict.proved:
        raise typer.Exit(1)


@app.command("report")
def report_command(
    run: Annotated[Path, typer.Argument(help="a run directory, also of a run that is going on")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="folder for both files; else the run's")
    ] = None,
) -> None:
    """Report what a run's journal says: report.html and report.json."""
    with working("reading the journal"):
        result = journaled.result_of_run(run)
        document = build(result)
        page = write_report(result, output or run)
    summary.show(document, shown)
    shown.print(f"report   {page}", soft_wrap=True)


@app.command("doctor")
def doctor_command() -> None:
    """Check the installation, the disk and the data that are at hand."""
    with working("looking around (compiles the engine if need be, about 20 s)"):
        findings = doctor.examine(Path(settings.Run().directory))
    table = Table("", "looked at", "found", "what to do")
    for one in findings:
        verdict = "ok" if one.fine else "BAD" if one.needed else "note"
        table.add_row(verdict, one.what, one.found, "" if one.fine else one.fix)
    shown.print(table)
    bad = [one for one in findings if one.needed and not one.fine]
    if bad:
        raise BadInput("; ".join(f"{one.what}: {one.found}; {one.fix}" for one in bad))


@app.command("progress")
def progress_command(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, nothing else")] = False,
) -> None:
    """Run one check per point of the project's checklist and count what passes."""
    with working("running the checks"):
        held = dict(progress.run_checks())
    found = progress.counted({point.id: fine for point, fine in held.items()})
    progress.keep(found, Path(settings.Config().run.directory))
    if as_json:
        print(msgspec.json.encode(found).decode())
        return
    table = Table("point", "phase", "holds", "what")
    for point, fine in held.items():
        table.add_row(point.id, point.phase, "yes" if fine else "no", point.title)
    shown.print(table)
    for phase, count in found.phases.items():
        shown.print(f"{phase:<3} {count.passed} of {count.total}")


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """A list that is not empty once the user pressed ctrl-C; a second time ends at once."""
    pressed: list[int] = []

    def on_interrupt(number: int, _frame: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _feed(job: replay.Journaled | replay.Unjournaled, batch: int, count: int) -> replay.Step:
    """Run a replay to its end or to the first ctrl-C; close it either way."""
    started, first, reached = time.monotonic(), job.at.events, 0
    with _interruptible() as pressed, _progress() as bar:
        task = bar.add_task("replaying", total=count)
        for step in job.steps(batch):
            if step.events - reached >= EVENTS_PER_PROGRESS:
                bar.update(task, completed=step.events)
                reached = step.events
            if pressed:
                break
    job.close()
    seconds = time.monotonic() - started
    rate = (job.at.events - first) / seconds
    said.print(f"replayed {job.at.events - first:,} events in {seconds:.2f} s ({rate:,.0f} per s)")
    return job.at


def _progress() -> Progress:
    """A bar that vanishes when it is done; nothing where nobody watches."""
    return Progress(
        TextColumn("replaying"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} events"),
        console=said,
        transient=True,
        disable=not said.is_terminal,
    )


def _say_recovery(recovery: Recovery | None) -> None:
    """Say what an existing run held, when there was one."""
    if recovery is None or not recovery.replayed_events + recovery.snapshot_events:
        return
    events = recovery.snapshot_events + recovery.replayed_events
    said.print(f"this run exists: its {events:,} events were replayed and proved, going on there")
    if recovery.cut is not None:
        said.print(f"cut {recovery.cut.cut:,} bytes of an unfinished last commit")
    for text in recovery.skipped:
        said.print(f"snapshot skipped: {text}", soft_wrap=True)


def _say_recording(recording: Recording) -> None:
    """Say what a recording holds, what was wrong with it and what was assumed."""
    shown.print(f"{len(recording.events):,} events, {len(recording.slugs)} windows")
    say("data", replay.problems_of(recording))
    say("assumed", recording.assumptions)
    say("check", replay.checks_of(recording))
