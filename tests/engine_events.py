"""Short ways to write engine events, and a puppet strategy that does what its parameters say.

In: seconds after a window's start, prices, shares. Out: events, and a Session that runs them
through the public `run` and keeps every output row. Never here: a change of the state by hand.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairwind.core import controls
from fairwind.core.controls import AnyControl, Configure, Deposit
from fairwind.core.events import EVENT, Events, Flag, Kind, Side, Source, in_order
from fairwind.core.outputs import TABLES, Action, Family, OrderType, Unit
from fairwind.core.units import SECOND_NS, reference_parts, spot_e8
from fairwind.engine import gates
from fairwind.engine.contract import On, Parameter, StrategySpec, Wish
from fairwind.engine.run import Out, run
from fairwind.engine.state import fresh

START_NS = 1_791_201_600 * SECOND_NS  # 2026-10-05T12:00Z: 60 s averages, 150 ms taker delay
SHARE = 1_000_000
DOLLAR = 1_000_000


def at(seconds: float) -> int:
    """The time that many seconds after the window's start, in ns."""
    return START_NS + round(seconds * 1e9)


def event(ts_ns: int, kind: Kind, **fields: int) -> Events:
    """One event; fields not given are zero, the source is RECORDED."""
    row = np.zeros(1, EVENT)
    row["ts_ns"], row["kind"], row["source"] = ts_ns, kind, Source.RECORDED
    for name, value in fields.items():
        row[name] = value
    return row


def join(*parts: Events) -> Events:
    """The parts one after the other, in receipt order."""
    return in_order(np.concatenate(parts)) if parts else np.zeros(0, EVENT)


def listed(
    ts_ns: int, market: int = 0, series: int = 0, *, start_ns: int = START_NS, tick_e4: int = 100
) -> Events:
    """A window becomes known; series 0 is BTC_5M."""
    return event(
        ts_ns,
        Kind.LISTED,
        market=market,
        ref=series,
        ts_source_ns=start_ns,
        price=tick_e4,
        size=5 * SHARE,
    )


def level(
    ts_ns: int, side: Side, price_e4: int, shares: float, market: int = 0, flags: int = 0
) -> Events:
    """A level's new total of shares."""
    size = round(shares * SHARE)
    return event(
        ts_ns, Kind.LEVEL, market=market, side=side, price=price_e4, size=size, flags=flags
    )


def book(
    ts_ns: int, bids: Mapping[int, float], asks: Mapping[int, float], market: int = 0
) -> Events:
    """A whole book {price_e4: shares} as one atomic change."""
    sides = [(Side.BID, bids), (Side.ASK, asks)]
    levels = [
        level(ts_ns, side, price, shares, market, Flag.MORE)
        for side, levels in sides
        for price, shares in levels.items()
    ]
    rows = np.concatenate([event(ts_ns, Kind.CLEAR, market=market, flags=Flag.MORE), *levels])
    rows["flags"][-1] = 0
    return rows


def trade(ts_ns: int, taker: Side, price_e4: int, shares: float, market: int = 0) -> Events:
    """A print; `taker` BID bought Up."""
    size = round(shares * SHARE)
    return event(ts_ns, Kind.TRADE, market=market, side=taker, price=price_e4, size=size)


def spot(ts_ns: int, dollars: float | str, asset: int = 0) -> Events:
    """A spot price."""
    return event(ts_ns, Kind.SPOT, market=asset, price=spot_e8(dollars))


def reference(
    ts_ns: int,
    dollars: float | str,
    asset: int = 0,
    *,
    observed_ns: int | None = None,
    averaging_s: int = 60,
) -> Events:
    """A print of a settlement stream, observed when received unless said otherwise."""
    value, remainder = reference_parts(dollars)
    observed = ts_ns if observed_ns is None else observed_ns
    return event(
        ts_ns,
        Kind.REFERENCE,
        market=asset,
        ref=averaging_s,
        ts_source_ns=observed,
        source=Source.REFERENCE,
        price=value,
        size=remainder,
    )


def resolved(ts_ns: int, payout_e4: int, market: int = 0) -> Events:
    """The venue's result: the payout of one Up share."""
    return event(ts_ns, Kind.RESOLVED, market=market, price=payout_e4)


def tick(ts_ns: int, tick_e4: int, market: int = 0) -> Events:
    """The tick size changed."""
    return event(ts_ns, Kind.TICK, market=market, price=tick_e4)


def gap(ts_ns: int, market: int = 0) -> Events:
    """The source lost data."""
    return event(ts_ns, Kind.GAP, market=market)


def timer(ts_ns: int) -> Events:
    """Nothing but time passed."""
    return event(ts_ns, Kind.TIMER)


_OWN = (
    Parameter("serial", "asked for", 0, 0, 1e9),
    Parameter("market", "number", 0, 0, 65_535),
    Parameter("wish", "Wish", 0, 0, 3),
    Parameter("side", "Outcome", 0, 0, 2),
    Parameter("type", "OrderType", 0, 0, 3),
    Parameter("limit", "dollars", 0.99, 0.0, 1.0),
    Parameter("shares", "shares", 0, 0, 1e12),
    Parameter("edge", "dollars per share", 0.9, -1.0, 1.0),
    Parameter("stderr", "dollars per share", 0.0, 0.0, 1.0),
    Parameter("price", "dollars", 0.5, 0.0, 1.0),
)
_FIRST = len(gates.COMMON)
_SERIAL, _MARKET, _WISH, _SIDE, _TYPE = range(_FIRST, _FIRST + 5)
_LIMIT, _SHARES, _EDGE, _STDERR, _PRICE = range(_FIRST + 5, _FIRST + 10)


def puppet(market, position, parameter, memory, signal):  # type: ignore[no-untyped-def]
    """Ask once for what the parameters say, each time that `serial` has changed."""
    signal.side, signal.type = int(parameter[_SIDE]), int(parameter[_TYPE])
    signal.score = signal.threshold = signal.required = 0.0
    signal.limit, signal.shares = parameter[_LIMIT], parameter[_SHARES]
    signal.net_edge, signal.stderr = parameter[_EDGE], parameter[_STDERR]
    signal.price = parameter[_PRICE]
    if parameter[_SERIAL] != memory[0] and market.number == int(parameter[_MARKET]):
        memory[0] = parameter[_SERIAL]
        signal.wish = int(parameter[_WISH])
    return np.uint64(0)


_OPEN_GATES = {
    "price_low": 0,
    "price_high": 10_000,
    "spread_max": 10_000,
    "entry_cutoff": 0,
    "coinflip_band": 0,
    "coinflip_edge": 0,
    "depth_ticks": 100,
    "divergence_max": 10_000,
    "volatility_ratio_max": 1_000,
    "entry_cooldown": 0,
    "max_positions": 1e6,
    "trades_per_window": 1e6,
    "book_budget": 1e6,
    "spot_budget": 1e6,
    "reference_budget": 1e6,
    "loss_cooldown": 0,
    "streak_losses": 1e6,
    "streak_cooldown": 0,
    "order_min": 0,
    "order_max": 1e6,
    "kelly_fraction": 1.0,
}


def puppet_spec(name: str = "PUPPET", family: Family = Family.FAIR_VALUE) -> StrategySpec:
    """A puppet for every series whose gates are wide open; spot prices wake it."""
    common = (
        Parameter(p.name, p.unit, _OPEN_GATES.get(p.name, p.default), p.low, p.high)
        for p in gates.COMMON
    )
    return StrategySpec(
        id=name,
        family=family,
        unit=Unit.EDGE_E4,
        series=-1,
        subscriptions=On.SPOT,
        parameters=(*common, *_OWN),
        scan=puppet,
    )


OPEN_CAPS = {
    "cap_strategy": 1.0,
    "cap_family": 1.0,
    "cap_underlying": 1.0,
    "cap_direction": 1.0,
    "cap_utilization": 1.0,
    "drawdown_stop": 1.0,
}


class Session:
    """One engine, its payloads and everything that it said."""

    def __init__(
        self,
        *specs: StrategySpec,
        deposit: float = 1_000.0,
        begin_ns: int = START_NS - 60 * SECOND_NS,
        **configure: Any,
    ) -> None:
        self.specs: Sequence[StrategySpec] = specs or (puppet_spec(),)
        self.state = fresh(self.specs)
        self.out = Out.fresh()
        self.payloads: dict[int, bytes] = {}
        self.tables = {name: np.zeros(0, dtype) for name, dtype in TABLES.items()}
        self.asked = 0
        self.parameters: dict[tuple[str, str], float] = {}
        settings: dict[str, Any] = {"latency_ms": 0.0, "taker_delay": False} | OPEN_CAPS
        self.control(begin_ns, Configure(**(settings | configure)))
        if deposit > 0:
            self.control(begin_ns, Deposit(amount_micro=round(deposit * DOLLAR)))

    @property
    def record(self) -> Any:
        """The engine's state, to look at."""
        return self.state.record

    def feed(self, *parts: Events) -> None:
        """Run events, sorted by receipt time, and keep what comes out."""
        events = join(*parts)
        while len(events):
            done = run(self.state, events, self.out, self.payloads.__getitem__, self.specs)
            events = events[done:]
            self.keep()

    def keep(self) -> None:
        """Move the output rows into `tables`."""
        for name, rows in self.out.rows().items():
            if len(rows):
                self.tables[name] = np.concatenate([self.tables[name], rows])
        self.out.clear()

    def control(self, ts_ns: int, *given: AnyControl) -> None:
        """Run controls."""
        for control in given:
            row, payload = controls.encode(ts_ns, control)
            self.payloads[int(row["price"][0])] = payload
            self.feed(row)

    def set(self, ts_ns: int, strategy: str = "PUPPET", **values: float) -> None:
        """Set those parameters that differ from what was set before."""
        for name, value in values.items():
            if self.parameters.get((strategy, name)) != value:
                self.parameters[strategy, name] = value
                self.control(
                    ts_ns, controls.SetParameter(strategy=strategy, name=name, value=value)
                )

    def open(
        self,
        bids: Mapping[int, float] | None = None,
        asks: Mapping[int, float] | None = None,
        market: int = 0,
        **listing: int,
    ) -> None:
        """List the market, strike it at 100 000 dollars and show a book; now is start + 1 s."""
        start = listing.get("start_ns", START_NS)
        self.feed(listed(start - 30 * SECOND_NS, market, **listing))
        self.feed(spot(start - SECOND_NS, 100_000), reference(start, 100_000))
        self.feed(
            book(
                start + SECOND_NS,
                {4900: 100} if bids is None else bids,
                {5100: 100} if asks is None else asks,
                market,
            )
        )

    def ask(self, ts_ns: int, wish: Wish, strategy: str = "PUPPET", **wanted: float) -> None:
        """Let the puppet act now: what is not given is as asked before."""
        self.prepare(ts_ns, wish, strategy, **wanted)
        self.feed(spot(ts_ns, 100_000))

    def prepare(self, ts_ns: int, wish: Wish, strategy: str = "PUPPET", **wanted: float) -> None:
        """Let the puppet act at the next spot price."""
        self.asked += 1
        self.set(ts_ns, strategy, wish=float(wish), serial=self.asked, **wanted)

    def buy(self, ts_ns: int, shares: float, limit: float, **wanted: Any) -> None:
        """Ask for `shares` at no more than `limit` dollars; an Up FAK unless said otherwise."""
        wanted = {"side": 0, "type": OrderType.FAK, "market": 0} | wanted
        self.ask(ts_ns, Wish.BUY, shares=shares, limit=limit, **wanted)

    def sell(self, ts_ns: int, limit: float, **wanted: Any) -> None:
        """Ask to close what is held at no less than `limit` dollars; an Up FAK by default."""
        wanted = {"side": 0, "type": OrderType.FAK, "market": 0} | wanted
        self.ask(ts_ns, Wish.SELL, limit=limit, **wanted)

    def fills(self) -> list[tuple[int, int, float]]:
        """(ts_ns, price_e4, shares) of every fill; shares sold are negative."""
        return [
            (
                int(row["ts_ns"]),
                int(row["price_e4"]),
                int(row["size_micro"]) / SHARE * (1 if row["action"] == Action.BUY else -1),
            )
            for row in self.tables["fills"]
        ]

    def ends(self) -> list[tuple[int, int]]:
        """(state, code) of every order's last row, in order of their ids' first appearance."""
        last: dict[int, tuple[int, int]] = {}
        for row in self.tables["orders"]:
            last[int(row["order"])] = (int(row["state"]), int(row["code"]))
        return list(last.values())

    def rows(self, table: str) -> NDArray[np.void]:
        """Everything said so far in one table."""
        return self.tables[table]


def opened(**more: Any) -> Session:
    """A session in an open window: 100 shares bid at 0.49 and offered at 0.51."""
    session = Session(**more)
    session.open()
    return session


def later(session: Session, seconds: float) -> None:
    """Let time pass."""
    session.feed(timer(at(seconds)))
