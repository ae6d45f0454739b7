"""What the terminal shows of a running session, as plain values.

In: a session between two turns, its status, what the engine told. Out: a frozen View. Never here:
a colour or a text for the eye, a figure that the session does not hold: what is unknown is None.
"""

import shlex
from collections.abc import Iterator, Mapping
from itertools import islice

from fairwind.core.ids import parse_slug
from fairwind.feeds import kpis
from fairwind.run.health import Status
from fairwind.run.paper import Paper
from fairwind.run.status import Looking
from fairwind.views.ledger import Money, money
from fairwind.views.names import Shown
from fairwind.views.orders import Fill, Order, fills, orders
from fairwind.views.positions import Position, positions
from fairwind.views.windows import Scan, Window, scans, windows

FILLS_MAX = 50
"""Newest ones."""


class Feed(Shown, frozen=True, kw_only=True):
    """One connection: `per_s` counts messages per second of market time, lately."""

    connected: bool
    problem: str
    figures: kpis.Health
    per_s: float | None


class View(Shown, frozen=True, kw_only=True):
    """Everything on the screen, at one moment."""

    venue: str
    run: str
    address: str  # of /status and /metrics
    pages: str = ""  # a link to the pages; empty: there are none
    now_ns: int
    speed: float | None  # None: stepped
    events: int
    digest: int
    trades: int
    status: Status
    windows: tuple[Window, ...]
    scans: tuple[Scan, ...]
    positions: tuple[Position, ...]
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]  # newest first
    money: Money
    feeds: tuple[Feed, ...]
    missing: tuple[tuple[str, str], ...]  # windows that should be open and are not found, and why


def view_of(looking: Looking, address: str, per_s: Mapping[str, float]) -> View:
    """The session now. Call it between two turns: while the engine works, its state moves.

    `per_s` gives each feed's messages per second; one that it does not hold is not known.
    """
    paper, told = looking.paper, looking.told
    state, now_ns = paper.session.state, paper.clock.now_ns()
    return View(
        venue=shlex.split(paper.session.journal.meta.source)[0],
        run=str(paper.session.journal.run),
        address=address,
        now_ns=now_ns,
        speed=None if paper.clock.stepped else paper.clock.speed,
        events=paper.session.events,
        digest=state.digest(),
        trades=told.counts["fills"],
        status=looking.status,
        windows=windows(state),
        scans=scans(state, now_ns, told.scans),
        positions=positions(state),
        orders=orders(state),
        fills=tuple(fills(state, islice(reversed(told.fills), FILLS_MAX))),
        money=money(state),
        feeds=tuple(_feeds(paper, per_s)),
        missing=tuple(
            (name, why)
            for name, why in paper.discovery.missing.items()
            if parse_slug(name)[1] <= now_ns
        ),
    )


def _feeds(paper: Paper, per_s: Mapping[str, float]) -> Iterator[Feed]:
    for line, socket in paper.sockets.items():
        yield Feed(
            connected=socket.connected,
            problem=socket.problem,
            figures=kpis.health(line, paper.inbox.channels[line].kpis),
            per_s=per_s.get(line),
        )
