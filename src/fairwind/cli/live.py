"""Commands that run: paper trading, and the built-in market by itself.

In: arguments. Out: a session until its end or ctrl-C, its run directory and what came of it. Never
here: anything but reading options, calling one module and showing what it says.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fairwind.cli.beside import Pages
from fairwind.cli.screen import app, prepare_engine, said, shown, working
from fairwind.cli.watch import watch
from fairwind.core import clock
from fairwind.core import config as settings
from fairwind.core.errors import BadInput
from fairwind.core.units import SECOND_NS
from fairwind.journal import file
from fairwind.research import replay, synthetic
from fairwind.run import trading
from fairwind.run.loop import Session
from fairwind.run.paper import Credentials, warm_up
from fairwind.run.status import Looking
from fairwind.world.knobs import series_numbers
from fairwind.world.serve import Announcement, serve

COMPILE_REST = "from fairwind.run import built_in, paper; paper.warm_up(); built_in.warm_up()"
SERIES = "BTC_5M,ETH_5M,SOL_5M,BTC_15M,ETH_15M"
"""What the shipped strategies trade."""
Where = Annotated[trading.Venue, typer.Option(help="whose market data")]
Speed = Annotated[float, typer.Option(help="market seconds per second, built-in only")]
Length = Annotated[
    str | None, typer.Option("--for", help="market time, like 90s, 10m or 2h; else to ctrl-C")
]
Address = Annotated[
    str, typer.Option(help="of a built-in market that runs already (`fairwind venue`)")
]
Seed = Annotated[int, typer.Option(help="of the built-in market")]
Windows = Annotated[int, typer.Option(help="windows of the built-in market's shortest series")]
Series = Annotated[str, typer.Option(help="series of the built-in market")]
Port = Annotated[int, typer.Option(help="of /status and /metrics; 0: any free one")]
Knob = Annotated[
    list[str] | None, typer.Option("--knob", help="a knob of its world, name=value; repeatable")
]


@app.command("venue")
def venue_command(
    *,
    port: Annotated[int, typer.Option(help="port of loopback; 0: any free one")] = 0,
    seed: Annotated[int, typer.Option(help="the same seed gives the same market")] = 0,
    windows: Annotated[int, typer.Option(help="windows of the shortest series")] = 288,
    series: Series = SERIES,
    knob: Knob = None,
    speed: Annotated[float, typer.Option(help="market seconds per second")] = 1.0,
    stepped: Annotated[bool, typer.Option("--stepped", help="stand until told to step")] = False,
    start: Annotated[float, typer.Option(help="where to begin, seconds into the tape")] = 0.0,
    attached: Annotated[bool, typer.Option("--attached", help="end with standard input")] = False,
) -> None:
    """Run the built-in market by itself; the first line on stdout says where it is, as JSON."""
    asked = {"seed": str(seed), "windows": str(windows)}
    wanted = synthetic.knobs(asked, [f"series={series}", *(knob or [])])

    def announce(found: Announcement) -> None:
        print(msgspec.json.encode(found).decode(), flush=True)

    serve(
        wanted,
        announce,
        port=port,
        speed=speed,
        stepped=stepped,
        start_s=start,
        attached=attached,
    )


@app.command("paper")
def paper_command(
    *,
    venue: Where = trading.Venue.BUILT_IN,
    speed: Speed = 1.0,
    for_: Length = None,
    run: Annotated[
        Path | None, typer.Option(help="run directory; one that exists is continued")
    ] = None,
    address: Address = "",
    config: Annotated[Path | None, typer.Option(help="settings, a TOML file")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="STRATEGY.parameter=value or STRATEGY.enabled=true; repeatable"),
    ] = None,
    seed: Seed = 0,
    windows: Windows = 288,
    series: Series = SERIES,
    knob: Knob = None,
    record: Annotated[bool, typer.Option("--record", help="keep every frame as it came")] = False,
    binance: Annotated[
        bool, typer.Option("--binance", help="spot of Binance while Coinbase is silent")
    ] = False,
    port: Port = 0,
    pages: Annotated[bool, typer.Option(help="serve the operator's pages beside it")] = True,
    pages_port: Annotated[int, typer.Option(help="of the pages; 0: any free one")] = 0,
    stay: Annotated[
        bool, typer.Option("--stay", help="keep the pages up to ctrl-C when it has ended")
    ] = False,
) -> None:
    """Trade on paper, live: against the built-in market, or with the real venue's data."""
    chosen = replay.overridden(settings.load(config), set_ or [])
    plan = trading.Plan(
        run=run or Path(chosen.run.directory) / f"paper-{clock.now_ns() // SECOND_NS}",
        config=chosen,
        venue=venue,
        address=address,
        market=_market(seed, windows, series, speed, knob),
        for_ns=None if for_ is None else duration_ns(for_),
        record=record,
        port=port,
        credentials=_credentials(venue),
        binance=binance,
    )
    settled = () if config is None else ("--config", str(config))
    beside = Pages(plan.run, (f"--port={pages_port}", *settled)) if pages else None
    _trade(plan, beside, stay=stay, latest=run is None)


@app.command("record")
def record_command(
    output: Annotated[Path, typer.Option("--output", "-o", help="run directory to make")],
    *,
    venue: Where = trading.Venue.BUILT_IN,
    speed: Speed = 1.0,
    for_: Length = None,
    address: Address = "",
    seed: Seed = 0,
    windows: Windows = 288,
    series: Series = SERIES,
    knob: Knob = None,
    port: Port = 0,
) -> None:
    """Keep every frame of the feeds as it came, and trade nothing."""
    numbers = series_numbers(synthetic.knobs({}, [f"series={series}"]))
    idle: dict[str, dict[str, float | bool]] = {
        strategy: {"enabled": False} for strategy in replay.strategies()
    }
    plan = trading.Plan(
        run=output,
        config=settings.Config(strategies=idle),
        series=tuple(numbers),
        venue=venue,
        address=address,
        market=_market(seed, windows, series, speed, knob),
        for_ns=None if for_ is None else duration_ns(for_),
        record=True,
        port=port,
        credentials=_credentials(venue),
    )
    _trade(plan)
    shown.print(f"frames   {output / trading.RECORDING}", soft_wrap=True)


def _trade(
    plan: trading.Plan, pages: Pages | None = None, *, stay: bool = False, latest: bool = False
) -> None:
    """Run a session; say where it is and what it came to, before the pages stay."""
    if plan.venue == trading.Venue.POLYMARKET and "--speed=1.0" not in plan.market:
        raise typer.BadParameter("--speed is for the built-in market only")
    say_if_continued(plan)
    _prepare()

    def ended(session: Session) -> None:
        shown.print(f"digest   {session.state.digest():016x}")
        for head, command in (
            ("run", ""),
            ("verify", "fairwind verify "),
            ("report", "fairwind report "),
            ("pages", "fairwind pages "),
        ):
            shown.print(f"{head:<8} {command}{plan.run}", soft_wrap=True)
        if latest:
            replay.point_latest(plan.run)

    asyncio.run(_traded(plan, pages, ended, stay))


async def _traded(
    plan: trading.Plan, pages: Pages | None, ended: Callable[[Session], None], stay: bool
) -> None:
    """A session with its pages beside it, which trading never waits for."""
    if pages is None:
        ended(await trading.trade(plan, watch))
        return

    async def watched(looking: Looking, address: str) -> None:
        pages.begin()
        looking.beside.append(pages.part)
        with working("starting the pages"):
            link = await pages.announced()
        if link:
            said.print(f"pages    {link}", markup=False, soft_wrap=True)
        await watch(looking, address, lambda: pages.link)

    try:
        ended(await trading.trade(plan, watched))
        if stay:
            said.print(f"the pages stay up to ctrl-C; a new link: fairwind login {plan.run}")
            await _interrupted()
    finally:
        await pages.close()


def say_if_continued(plan: trading.Plan) -> None:
    """A run keeps the market that it began with; whoever names another one is told so."""
    with suppress(BadInput):
        source = file.meta_of(plan.run).source
        if source != trading.source_of(plan):
            said.print(
                f"goes on as it began: {source}; other options of a market are not used",
                markup=False,
                soft_wrap=True,
            )


async def _interrupted() -> None:
    """Wait for ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def _prepare() -> None:
    """Load engine and feeds; the first time both are compiled, each on a processor of its own."""
    if replay.is_compiled():
        prepare_engine()
        with working("loading the feeds"):
            warm_up()
        return
    with working("compiling engine and feeds (once, about half a minute)"):
        beside = subprocess.Popen([sys.executable, "-c", COMPILE_REST])
        replay.warm_up()
        beside.wait()
        warm_up()


def _market(
    seed: int, windows: int, series: str, speed: float, knob: list[str] | None
) -> tuple[str, ...]:
    """Options of `fairwind venue`."""
    options = (f"--seed={seed}", f"--windows={windows}", f"--series={series}", f"--speed={speed}")
    return (*options, *(f"--knob={one}" for one in knob or []))


def _credentials(venue: trading.Venue) -> Credentials | None:
    """The real venue's API key from the environment; none when it is not there."""
    words = [os.environ.get(f"FAIRWIND_{name}", "") for name in ("KEY", "SECRET", "PASSPHRASE")]
    if venue != trading.Venue.POLYMARKET or not all(words):
        return None
    return Credentials(apiKey=words[0], secret=words[1], passphrase=words[2])


def duration_ns(text: str) -> int:
    """Nanoseconds of 90s, 10m or 2h; BadInput for another text."""
    unit_s = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    if unit_s is None or not text[:-1].isdecimal():
        raise BadInput(f"--for: expected a time like 90s, 10m or 2h, found {text!r}")
    return int(text[:-1]) * unit_s * SECOND_NS
