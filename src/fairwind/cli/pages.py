"""Commands of the operator's pages: serve those of a run, make another link to them.

In: a run. Out: one line of JSON that says where the pages are, then pages until they are ended.
Never here: what the pages show.
"""

import os
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import typer

from fairwind.cli.screen import app, said, shown
from fairwind.core import config as settings
from fairwind.core.errors import BadInput, Fault

NICE = 5
"""Pages that are begun by a session give way to it."""
TIMEOUT_S = 10.0
Run = Annotated[Path, typer.Argument(help="run directory, of a session that trades or is over")]


@app.command("pages")
def pages_command(
    run: Run,
    *,
    port: Annotated[int, typer.Option(help="port of loopback; 0: any free one")] = 0,
    config: Annotated[
        Path | None, typer.Option(help="settings, a TOML file: who is told of alerts")
    ] = None,
    attached: Annotated[bool, typer.Option("--attached", help="end with standard input")] = False,
) -> None:
    """Serve the pages of a run, also while it trades; the first line says where, as JSON."""
    from fairwind.api.app import Announcement, Settings, serve  # other commands do not wait for it

    def announce(found: Announcement) -> None:
        print(msgspec.json.encode(found).decode(), flush=True)
        if not attached:
            said.print(f"pages    {found.link}", markup=False, soft_wrap=True)

    if attached:
        os.nice(NICE)
    chosen = Settings(targets=settings.load(config).alerts.targets)
    serve(run, port, announce, settings=chosen, attached=attached)


@app.command("login")
def login_command(run: Run) -> None:
    """Make a new link to the pages of a run; it lets one browser in, within ten minutes."""
    shown.print(link_of(run), markup=False, soft_wrap=True)


def link_of(run: Path) -> str:
    """A new link. BadInput when nobody serves the pages of the run, Fault without an answer."""
    from fairwind.api.app import place_of
    from fairwind.api.routes import Link

    place = place_of(run)
    if place is None:
        raise BadInput(
            f"{run}: expected a run whose pages are served, found none; `fairwind pages {run}`"
        )
    headers = {"Authorization": f"Bearer {place.token}"}
    try:
        with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as client:
            answer = client.post(f"{place.address}/api/links", headers=headers).raise_for_status()
    except httpx.HTTPError as error:
        raise Fault(
            f"{run}: expected its pages at {place.address}, found no answer "
            f"({type(error).__name__}); `fairwind pages {run}`"
        ) from error
    return msgspec.json.decode(answer.content, type=Link).link
