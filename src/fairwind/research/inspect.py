"""The life of one window or of one order, from the inputs that it was decided on to its result.

In: the events and output tables of a run or a replay. Out: sections of text cells, in the order in
which things happened. Never here: a figure that a replay would not give again.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairwind.core.config import nearest
from fairwind.core.errors import BadInput
from fairwind.core.events import EVENT, HORIZONS_S, Events, Kind, Outcome, Source
from fairwind.core.holds import CATEGORY, NO_HOLD, Hold
from fairwind.core.ids import parse_slug, slug
from fairwind.core.outputs import Action, Fact, OrderState, OrderType, WindowState
from fairwind.core.units import SECOND_NS, reference_value
from fairwind.journal import file, record
from fairwind.research.replay import tables_of
from fairwind.run.loop import Rows

BOUNDARY_NS = 2 * SECOND_NS
"""Prints of the settlement stream are shown that far around a window's start and end."""

Row = np.void


class Story(NamedTuple):
    """What went in and what came out."""

    events: Events
    tables: Rows
    strategies: tuple[str, ...]


class Section(NamedTuple):
    """One table of a life; no rows: it did not happen."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Place(NamedTuple):
    """A window's market number, and the receipt times between which that number is its own."""

    market: int
    series: int
    start_ns: int
    from_ns: int
    until_ns: int

    @property
    def slug(self) -> str:
        """The venue's name of the window."""
        return slug(self.series, self.start_ns)

    @property
    def end_ns(self) -> int:
        """The window's end."""
        return self.start_ns + HORIZONS_S[self.series % len(HORIZONS_S)] * SECOND_NS


def story_of(run: Path) -> Story:
    """All of a run directory. BadInput when it is none, Corrupt when it is damaged."""
    meta = file.meta_of(run)
    parts = [part for part in file.inputs(run) if not isinstance(part, record.Mark)]
    return Story(np.concatenate([np.empty(0, EVENT), *parts]), tables_of(run), meta.strategies)


def window_life(story: Story, name: str) -> list[Section]:
    """The window with the slug `name`. BadInput for an unknown one, with the nearest."""
    parse_slug(name)
    places = {place.slug: place for place in _places(story.events)}
    if name not in places:
        known = nearest(name, places) if places else "this run lists no windows"
        raise BadInput(f"no window {name!r} in this run; {known}")
    place = places[name]
    scans, orders, fills, postings = (
        _of(story.tables[table], place) for table in ("scans", "orders", "fills", "postings")
    )
    refused = orders["state"] == OrderState.REFUSED
    return [
        _windows(story, place),
        _prints(story.events, place, _averaging(story, place)),
        _holds("scans", scans, place, story.strategies),
        _holds("orders refused", orders[refused], place, story.strategies),
        _orders(orders[~refused], place, story.strategies),
        _fills(fills, place, story.strategies),
        _postings(postings, place, story.strategies),
        _results(postings, story.strategies),
    ]


def order_life(story: Story, order: int) -> list[Section]:
    """The order with that number. BadInput for an unknown one, with some that there are."""
    orders = story.tables["orders"]
    mine = orders[orders["order"] == order]
    if not len(mine):
        known = ", ".join(str(number) for number in np.unique(orders["order"])[:5])
        raise BadInput(f"no order {order} in this run; it has: {known or 'none'}")
    market, decided_ns = int(mine["market"][0]), int(mine["ts_ns"][0])
    place = next(
        place
        for place in _places(story.events)
        if place.market == market and place.from_ns <= decided_ns < place.until_ns
    )
    strategy = mine["strategy"][0]
    scans, fills, postings = (
        _of(story.tables[table], place) for table in ("scans", "fills", "postings")
    )
    scans = scans[(scans["strategy"] == strategy) & (scans["ts_ns"] <= decided_ns)][-1:]
    mine_posted = (postings["strategy"] == strategy) & np.isin(postings["order"], (0, order))
    return [
        _windows(story, place),
        _decision(scans, place, story.strategies),
        _certificate(mine[:1]),
        _orders(mine, place, story.strategies),
        _fills(fills[fills["order"] == order], place, story.strategies),
        _postings(postings[mine_posted], place, story.strategies),
    ]


def _places(events: Events) -> list[Place]:
    """Every window that was listed, in that order."""
    listed = events[events["kind"] == Kind.LISTED]
    last_ns = int(events["ts_ns"][-1]) + 1 if len(events) else 0
    places: list[Place] = []
    until: dict[int, int] = {}
    for one in listed[::-1]:
        market, from_ns = int(one["market"]), int(one["ts_ns"])
        until_ns = until.get(market, last_ns)
        places.append(Place(market, int(one["ref"]), int(one["ts_source_ns"]), from_ns, until_ns))
        until[market] = from_ns
    return places[::-1]


def _of(rows: NDArray[Any], place: Place) -> NDArray[Any]:
    inside = (rows["ts_ns"] >= place.from_ns) & (rows["ts_ns"] < place.until_ns)
    found: NDArray[Any] = rows[inside & (rows["market"] == place.market)]
    return found


def _averaging(story: Story, place: Place) -> int:
    states = _of(story.tables["windows"], place)
    return int(states["averaging_s"][-1]) if len(states) else 0


def _windows(story: Story, place: Place) -> Section:
    start = datetime.fromtimestamp(place.start_ns // SECOND_NS, UTC)
    return Section(
        f"window {place.slug}, {start:%Y-%m-%d %H:%M:%S} UTC, times in seconds from its start",
        ("time", "state", "strike", "final", "Up pays", "by", "average, s"),
        [
            (
                _time(row, place),
                WindowState(row["state"]).name,
                _reference(row, "strike"),
                _reference(row, "final"),
                "not known" if row["payout_e4"] < 0 else _price(row["payout_e4"]),
                Source(row["by"]).name if row["payout_e4"] >= 0 else "",
                str(row["averaging_s"]),
            )
            for row in _of(story.tables["windows"], place)
        ],
    )


def _prints(events: Events, place: Place, averaging_s: int) -> Section:
    """Prints of the settlement stream around the window's start and end."""
    observed = events["ts_source_ns"]
    near = (abs(observed - place.start_ns) <= BOUNDARY_NS) | (
        abs(observed - place.end_ns) <= BOUNDARY_NS
    )
    mine = (events["kind"] == Kind.REFERENCE) & (events["ref"] == averaging_s)
    asset = place.series // len(HORIZONS_S)
    return Section(
        f"prints of the settlement stream ({averaging_s} s average) around start and end",
        ("received", "observed", "value", "from"),
        [
            (
                _time(row, place),
                _seconds(int(row["ts_source_ns"]) - place.start_ns),
                f"{reference_value(int(row['price']), int(row['size'])):,f}",
                Source(row["source"]).name,
            )
            for row in events[near & mine & (events["market"] == asset)]
        ],
    )


def _holds(title: str, said: NDArray[Any], place: Place, names: tuple[str, ...]) -> Section:
    """How often each strategy held for which reason, and when; of scans or of refused orders."""
    code_field = "hold" if "hold" in (said.dtype.names or ()) else "code"
    rows: list[tuple[str, ...]] = []
    for strategy in np.unique(said["strategy"]):
        mine = said[said["strategy"] == strategy]
        codes, counts = np.unique(mine[code_field], return_counts=True)
        for code, count in sorted(zip(codes, counts, strict=True), key=lambda one: -one[1]):
            these = mine[mine[code_field] == code]
            rows.append(
                (
                    names[strategy],
                    _hold(code),
                    "" if code == NO_HOLD else CATEGORY[Hold(code)].value,
                    str(count),
                    f"{100 * count / len(mine):.1f} %",
                    _time(these[0], place),
                    _time(these[-1], place),
                )
            )
    columns = ("strategy", "held by", "category", "number", "share", "first", "last")
    return Section(title, columns, rows)


def _decision(scans: NDArray[Any], place: Place, names: tuple[str, ...]) -> Section:
    columns = (
        *("time", "strategy", "event", "side", "P(Up)", "price", "edge", "error", "required"),
        *("left, s", "book age, ms", "spot", "oracle", "held by"),
    )
    return Section(
        "the scan that it was decided on; prices and edges in dollars per share",
        columns,
        [
            (
                _time(row, place),
                names[row["strategy"]],
                str(row["feature_row"]),
                Outcome(row["side"]).name if row["side"] < 2 else "",
                f"{row['probability']:.4f}",
                *(
                    _price(row[name])
                    for name in ("price_e4", "net_edge_e4", "edge_stderr_e4", "required_edge_e4")
                ),
                f"{row['left_ms'] / 1000:.1f}",
                *(str(row[f"{name}_age_ms"]) for name in ("book", "spot", "reference")),
                _hold(row["hold"]),
            )
            for row in scans
        ],
    )


def _certificate(orders: NDArray[Any]) -> Section:
    """How old each input was when the order was decided, and how old it might have been."""
    rows: list[tuple[str, ...]] = []
    for row in orders:
        for name in ("book", "spot", "reference"):
            age_ms = (int(row["ts_ns"]) - int(row[f"{name}_ts_ns"])) / 1e6
            number = str(row["book_sequence"]) if name == "book" else ""
            rows.append((name, f"{age_ms:.0f}", str(row[f"{name}_budget_ms"]), number))
    columns = ("input", "age, ms", "at most, ms", "update")
    return Section("freshness certificate", columns, rows)


def _orders(orders: NDArray[Any], place: Place, names: tuple[str, ...]) -> Section:
    return Section(
        "orders",
        ("time", "order", "strategy", "state", "what", "limit", "shares", "filled", "code"),
        [
            (
                _time(row, place),
                str(row["order"]),
                names[row["strategy"]],
                OrderState(row["state"]).name,
                f"{_what(row)} {OrderType(row['type']).name}",
                _price(row["limit_e4"]),
                _micro(row["size_micro"]),
                _micro(row["filled_micro"]),
                "" if row["code"] == NO_HOLD else _hold(row["code"]),
            )
            for row in orders
        ],
    )


def _fills(fills: NDArray[Any], place: Place, names: tuple[str, ...]) -> Section:
    def mid(row: Row, name: str) -> str:
        return f"{row[f'{name}_mid_half_e4'] / 20_000:.4f}"

    columns = ("time", "order", "strategy", "what", "price", "shares", "fee", "as")
    return Section(
        "fills; mids when decided, arrived and matched",
        (*columns, "mid decided", "arrived", "matched"),
        [
            (
                _time(row, place),
                str(row["order"]),
                names[row["strategy"]],
                _what(row),
                _price(row["price_e4"]),
                _micro(row["size_micro"]),
                _micro(row["fee_micro"]),
                "maker" if row["maker"] else "taker",
                *(mid(row, name) for name in ("decision", "arrival", "match")),
            )
            for row in fills
        ],
    )


def _postings(postings: NDArray[Any], place: Place, names: tuple[str, ...]) -> Section:
    accounts = ("cash", "reserved", "position", "receivable", "fees", "realised")
    return Section(
        "ledger postings, dollars",
        ("time", "strategy", "fact", *accounts),
        [
            (
                _time(row, place),
                names[row["strategy"]],
                Fact(row["fact"]).name,
                *(_micro(row[f"{account}_micro"]) for account in accounts),
            )
            for row in postings
        ],
    )


def _results(postings: NDArray[Any], names: tuple[str, ...]) -> Section:
    rows: list[tuple[str, ...]] = []
    for strategy in np.unique(postings["strategy"]):
        mine = postings[postings["strategy"] == strategy]
        gain, fees = -int(mine["realised_micro"].sum()), int(mine["fees_micro"].sum())
        open_micro = int(mine["position_micro"].sum())
        values = (gain, fees, gain - fees, open_micro)
        rows.append((names[strategy], *(_micro(value) for value in values)))
    return Section("result, dollars", ("strategy", "gain", "fees", "net", "still open"), rows)


def _what(row: Row) -> str:
    return f"{Action(row['action']).name} {Outcome(row['outcome']).name}"


def _hold(code: int) -> str:
    return "nothing" if code == NO_HOLD else Hold(code).name


def _time(row: Row, place: Place) -> str:
    return _seconds(int(row["ts_ns"]) - place.start_ns)


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:+.3f}"


def _price(e4: int) -> str:
    return f"{e4 / 1e4:.4f}"


def _micro(value: int) -> str:
    return f"{value / 1e6:,.6f}".rstrip("0").rstrip(".") or "0"


def _reference(row: Row, name: str) -> str:
    if row[f"{name}_e8"] < 0:
        return "not known"
    value = reference_value(int(row[f"{name}_e8"]), int(row[f"{name}_remainder_e18"]))
    return f"{value:,f}"
