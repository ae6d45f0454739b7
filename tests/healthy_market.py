"""A market in which a window strategy has every reason to buy Up, until something is taken away.

In: a strategy's id, parameters that differ, what is missing. Out: its scans. Never here: a change
of the state by hand.
"""

from collections.abc import Collection, Mapping
from typing import Any

import engine_events as make
import numpy as np
from engine_events import START_NS, Session, at, join

from fairwind.core import controls
from fairwind.core.events import ASSETS, HORIZONS_S, Events
from fairwind.core.ids import parse_slug
from fairwind.engine.contract import StrategySpec
from fairwind.engine.strategies import ROSTER

SPOT = 100_000.0
STRIKE = SPOT - 200.0
"""Far enough below spot that Up is nearly certain in every series."""
BIDS: Mapping[int, float] = {6_000: 500}
ASKS: Mapping[int, float] = {6_200: 500}
FIRST_S = -57
READY_S = 10.0
STEP_S = 0.5


def spec_of(name: str) -> StrategySpec:
    return next(spec for spec in ROSTER if spec.id == name)


def series_of(name: str) -> int:
    asset, horizon = name.lower().split("_")
    return parse_slug(f"{asset}-updown-{horizon}-{START_NS // 10**9}")[0]


class Healthy:
    """One strategy in its own window, alive until `now_s` seconds after the window's start."""

    def __init__(
        self,
        name: str = "BTC_5M",
        parameters: Mapping[str, float] | None = None,
        *,
        struck: bool = True,
        warm: bool = True,
        markets: int = 1,
        **configure: Any,
    ) -> None:
        self.name = name
        self.number = ROSTER.index(spec_of(name))
        self.asset = series_of(name) // len(HORIZONS_S)
        assert self.asset < len(ASSETS)
        self.session = Session(*ROSTER, **configure)
        self.market = 0
        self.bids, self.asks = BIDS, ASKS
        self.reference = SPOT
        self.now_s = float(FIRST_S)
        self.noise = np.random.Generator(np.random.PCG64(1))
        self.session.control(at(-59), controls.Enable(strategy=name, enabled=True))
        self.session.set(at(-59), name, **(parameters or {}))
        for market in range(markets):
            self.session.feed(make.listed(at(-58), market, series_of(name)))
        self.live(-STEP_S, without={"book", "reference"} | (set() if warm else {"spot"}))
        if struck:
            self.session.feed(make.reference(at(0), STRIKE, self.asset))

    def events(self, second: float, without: Collection[str]) -> Events:
        """What happens at one half second."""
        price = round(SPOT + float(self.noise.normal(0.0, 3.0)), 2)
        parts = {
            "spot": make.spot(at(second) + 1, price, self.asset),
            "book": make.book(at(second) + 2, self.bids, self.asks, self.market),
            "reference": make.reference(at(second) + 3, self.reference, self.asset),
        }
        return join(
            make.timer(at(second)), *(part for key, part in parts.items() if key not in without)
        )

    def live(self, until_s: float, without: Collection[str] = ()) -> None:
        """Let time pass, with all feeds but those named."""
        while self.now_s <= until_s:
            self.session.feed(self.events(self.now_s, without))
            self.now_s += STEP_S

    def ready(self) -> "Healthy":
        """The same market once everything is known that the strategy needs."""
        self.live(READY_S)
        return self

    def control(self, control: controls.AnyControl) -> None:
        """A control now."""
        self.session.control(at(self.now_s), control)

    def scans(self) -> Any:
        """The strategy's scans so far."""
        rows = self.session.rows("scans")
        return rows[rows["strategy"] == self.number]

    def last(self) -> Any:
        """Its newest scan."""
        return self.scans()[-1]
