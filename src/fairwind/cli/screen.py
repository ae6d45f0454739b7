"""What all commands share: the app that they belong to, two consoles, a sign that work goes on.

In: what a command wants to show. Out: text on stdout (results) or stderr (progress). Never here: a
command.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console

from fairwind.research import replay

INTERRUPTED = 130
WIDE = 160
"""Columns of a table that is not read on a terminal."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Trade short prediction-market windows, on paper first: live, replay, proof, report.",
)
shown = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)
said = Console(stderr=True, highlight=False)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something goes on: a spinner on a terminal, else one line."""
    if said.is_terminal:
        with said.status(what):
            yield
    else:
        said.print(f"{what} ...", soft_wrap=True)
        yield


def prepare_engine() -> None:
    """Load the engine, or compile it the first time."""
    compiled = replay.is_compiled()
    with working("loading the engine" if compiled else "compiling the engine (once, about 20 s)"):
        replay.warm_up()


def say(head: str, lines: Sequence[str]) -> None:
    """Print each line behind the same head."""
    for line in lines:
        shown.print(f"{head:<8} {line}", markup=False, soft_wrap=True)
