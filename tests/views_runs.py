"""Runs for the tests of views: a generated market, and trades that a puppet makes by hand.

In: a folder, how many events. Out: a run directory, and what the pages would hold at that moment.
"""

from pathlib import Path
from typing import Any

import engine_events as make
import numpy as np
from engine_events import puppet_spec
from test_loop import META

from fairwind.core.config import Config, configure
from fairwind.core.controls import encode
from fairwind.core.events import Events, Kind
from fairwind.core.outputs import OrderType
from fairwind.core.units import SECOND_NS
from fairwind.engine.contract import Wish
from fairwind.engine.run import roster
from fairwind.journal import file, tables
from fairwind.run import loop
from fairwind.views import topics
from fairwind.views.shapes import Rows
from fairwind.views.told import Look, seconds
from fairwind.world.generator import generate
from fairwind.world.knobs import Knobs
from fairwind.world.server.tape import tape

EAGER: dict[str, float | bool] = {
    "edge_min": -300.0,
    "edge_stderrs": 0.0,
    "coinflip_band": 0.0,
    "entry_cooldown": 1.0,
    "max_positions": 3.0,
    "trades_per_window": 9.0,
    "streak_losses": 1000.0,
}
"""Trades at nearly any price, so that there is much to show."""
PUPPET = roster()[0].id


def market(windows: int = 3) -> tuple[Events, dict[int, bytes]]:
    """Windows of two series with their opening controls: events, payloads by id."""
    series = ("BTC_5M", "ETH_5M")
    config = Config(strategies=dict.fromkeys(series, EAGER))
    events = tape(generate(Knobs(windows=windows, series=series)))
    opening = [encode(int(events["ts_ns"][0]), control) for control in configure(config)]
    payloads = {int(event["price"][0]): payload for event, payload in opening}
    return np.concatenate([*(event for event, _ in opening), events]), payloads


def generated(run: Path, until_s: float = np.inf) -> "Watched":
    """The market's first seconds from the start of its first window, or all of it."""
    events, payloads = market()
    start_ns = events["ts_source_ns"][events["kind"] == Kind.LISTED].min()
    watched = Watched(run)
    watched.feed(events[events["ts_ns"] < start_ns + until_s * SECOND_NS], payloads)
    watched.session.close(with_tables=False)
    return watched


class Watched:
    """A session, and the memory of its views; batches end with seconds, as a follower's do."""

    def __init__(self, run: Path, *specs: Any) -> None:
        self.run = run
        self.told = topics.told()
        names = tuple(spec.id for spec in specs or roster())
        meta = file.Meta(code=META.code, created_ns=0, source="test", strategies=names)
        self.session: loop.Session = loop.Session(run, meta, specs=specs or None, tell=self._hear)

    def _hear(self, rows: loop.Rows) -> None:
        self.told.take(rows, self.session.state)

    def feed(self, events: Events, payloads: dict[int, bytes]) -> None:
        """Run events, sorted by receipt time."""
        for part in seconds(events):
            self.session.feed(part, payloads)

    @property
    def look(self) -> Look:
        """What views are folded from."""
        state = self.session.state
        return Look(state, self.told, int(state.record.now_ns))

    def view(self, topic: str) -> list[dict[str, Any]]:
        """The rows of a view, by column."""
        found = topics.snapshot(self.look, topic)
        assert isinstance(found, Rows)
        assert found.key in found.columns
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]

    def ask(self, sql: str, *values: tables.Value) -> list[dict[str, Any]]:
        """What the journal says; the outputs of the last batch are in it when it is closed."""
        return tables.query(self.run, sql, values).to_pylist()


class Puppet(make.Session):
    """A puppet in the place of the first strategy, with a journal."""

    def __init__(self, run: Path, **more: Any) -> None:
        spec = puppet_spec(PUPPET)
        self.watched = Watched(run, spec)
        super().__init__(spec, **more)

    def feed(self, *parts: Events) -> None:
        """As engine_events.Session, through the journal."""
        self.watched.feed(make.join(*parts), self.payloads)
        self.state = self.watched.session.state

    def trade(self, seconds: float, market: int, **wanted: Any) -> None:
        """Ask for 10 Up shares, by a FAK order, unless said otherwise."""
        usual = {"side": 0, "type": OrderType.FAK, "shares": 10, "limit": 0.6, "wish": Wish.BUY}
        asked: dict[str, Any] = usual | wanted
        wish = asked.pop("wish")
        self.ask(make.at(seconds), wish, PUPPET, market=market, **asked)
