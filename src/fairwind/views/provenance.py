"""Provenance: one order or refusal from the inputs that it was decided on to what it earned.

In: the rows of its story, from memory or from the journal. Out: its steps in order, with times,
inputs and codes. Never here: a step that did not happen, a figure that no row holds.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fairwind.core.errors import BadInput
from fairwind.core.events import Outcome
from fairwind.core.holds import CATEGORY, NO_HOLD
from fairwind.core.outputs import Action, Fact, OrderState, OrderType, Unit, WindowState
from fairwind.core.units import MILLISECOND_NS, PRICE_ONE_E4, reference_value
from fairwind.engine.ledger import NOBODY
from fairwind.engine.state import State
from fairwind.views import names, positions
from fairwind.views.ledger import FIELDS
from fairwind.views.orders import mask_codes
from fairwind.views.shapes import Rows, Scalar
from fairwind.views.told import ORDERS_MAX, REFUSALS_MAX, Look, View
from fairwind.views.told import Rows as Tables
from fairwind.views.windows import settler

STORIES_MAX = ORDERS_MAX + REFUSALS_MAX
MARKETS_MAX = 4_096
FEEDS = ("book", "spot", "reference")
RESULTS = (Fact.SETTLE, Fact.REDEEM, Fact.CORRECT)


class Story(NamedTuple):
    """All rows that an order's life is told from, each kind in the order of time."""

    orders: Sequence[np.void]  # its own states
    scan: np.void | None  # that it was decided on
    fills: Sequence[np.void]  # its own
    postings: Sequence[np.void]  # of its strategy in its window, other orders' too
    windows: Sequence[np.void]  # states of its window
    strategy: str
    slug: str | None


class Step(NamedTuple):
    """One step; `inputs` are name and figure pairs, `code` a hold, a state or a result."""

    part: str
    at_ns: int | None
    text: str
    inputs: dict[str, Scalar]
    code: str | None = None


class Trails:
    """What orders' stories need beside the orders' own rows."""

    def __init__(self) -> None:
        self.scans: OrderedDict[int, np.void | None] = OrderedDict()
        self.fills: dict[int, list[np.void]] = {}
        self.postings: dict[tuple[int, int], list[np.void]] = {}
        self.windows: OrderedDict[int, list[np.void]] = OrderedDict()
        self._scans: dict[tuple[int, int], np.void] = {}

    def take(self, rows: Tables, state: State) -> None:
        """As Fold.take."""
        for row in rows["windows"].copy():
            self._window(row)
        scans = rows["scans"]
        for order in rows["orders"]:
            if order["state"] in (OrderState.DECIDED, OrderState.REFUSED):
                self._decision(order, scans)
        for scan in scans.copy():
            self._scans[int(scan["strategy"]), int(scan["market"])] = scan
        for fill in rows["fills"].copy():
            self.fills.setdefault(int(fill["order"]), []).append(fill)
        postings = rows["postings"]
        for posting in postings[postings["strategy"] != NOBODY].copy():
            key = int(posting["strategy"]), int(posting["market"])
            self.postings.setdefault(key, []).append(posting)

    def _window(self, row: np.void) -> None:
        """A market number that is listed again is another window: the older one is forgotten."""
        number = int(row["market"])
        known = self.windows.setdefault(number, [])
        if known and known[0]["start_ns"] != row["start_ns"]:
            self._forget(number)
            known = self.windows.setdefault(number, [])
        known.append(row)
        if len(self.windows) > MARKETS_MAX:
            self._forget(next(iter(self.windows)))

    def _forget(self, market: int) -> None:
        del self.windows[market]
        for strategy in range(len(names.strategies())):
            self.postings.pop((strategy, market), None)
            self._scans.pop((strategy, market), None)

    def _decision(self, order: np.void, scans: np.ndarray) -> None:
        """Of the scans up to the decision, the last one that said the same."""
        number = int(order["order"])
        if number in self.scans:
            return
        mine = scans[
            (scans["strategy"] == order["strategy"]) & (scans["market"] == order["market"])
        ]
        mine = mine[mine["ts_ns"] <= order["ts_ns"]]
        if order["action"] == Action.BUY:
            mine = mine[mine["mask"] == order["mask"]]
        earlier = self._scans.get((int(order["strategy"]), int(order["market"])))
        self.scans[number] = mine[-1].copy() if len(mine) else earlier
        if len(self.scans) > STORIES_MAX:
            self.fills.pop(self.scans.popitem(last=False)[0], None)


def story(look: Look, number: int) -> Story:
    """The story of an order that is remembered. BadInput for one that is not."""
    told, trails = look.told, look.told.of(Trails)
    changes = told.orders.get(number) or [told.refusals[number]] if is_told(look, number) else []
    key = (int(changes[0]["strategy"]), int(changes[0]["market"])) if changes else (0, -1)
    if number not in trails.scans or key[1] not in trails.windows:
        raise BadInput(f"order {number} is not remembered; ask for its history")
    return Story(
        orders=changes,
        scan=trails.scans[number],
        fills=trails.fills.get(number, ()),
        postings=trails.postings.get(key, ()),
        windows=trails.windows[key[1]],
        strategy=names.strategies()[key[0]],
        slug=names.slug_at(told, changes[0]),
    )


def is_told(look: Look, number: int) -> bool:
    """Whether all states of an order are remembered."""
    changes = look.told.orders.get(number)
    if changes is None:
        return number in look.told.refusals
    return int(changes[0]["state"]) == OrderState.DECIDED


def steps(found: Story) -> Rows:
    """The story's steps. `latency_ns` counts from the step before."""
    columns = ("step", "part", "at_ns", "latency_ns", "text", "inputs", "code")
    rows: list[list[Scalar]] = []
    before_ns: int | None = None
    for number, step in enumerate([*_decision(found), *_life(found), *_result(found)]):
        known = before_ns is not None and step.at_ns is not None
        latency_ns = step.at_ns - before_ns if known else None  # type: ignore[operator]
        inputs = " ".join(f"{name}={'' if v is None else v}" for name, v in step.inputs.items())
        rows.append([number, step.part, step.at_ns, latency_ns, step.text, inputs, step.code])
        before_ns = before_ns if step.at_ns is None else step.at_ns
    return Rows(key="step", columns=columns, rows=rows, total=len(rows))


def _decision(found: Story) -> Iterator[Step]:
    """From the feeds to the size."""
    first = found.orders[0]
    received = sorted((int(first[f"{name}_ts_ns"]), name) for name in FEEDS)
    yield from (_input(first, name, at_ns) for at_ns, name in received)
    if found.scan is not None:
        yield from _scanned(found.scan, int(first["ts_ns"]))
    yield _gates(first, _refusal(found))
    at_ns, size_micro = int(first["ts_ns"]), int(first["size_micro"])
    kind = OrderType(int(first["type"])).name
    what = f"{Action(int(first['action'])).name} {Outcome(int(first['outcome'])).name}, {kind}"
    yield Step(
        "size",
        at_ns,
        what if size_micro else f"{what}: no size, it was refused before",
        {
            "strategy": found.strategy,
            "slug": found.slug,
            "size_micro": size_micro,
            "limit_e4": int(first["limit_e4"]),
        },
    )


def _input(order: np.void, name: str, at_ns: int) -> Step:
    """One line of the freshness certificate."""
    budget_ms = int(order[f"{name}_budget_ms"])
    if at_ns <= 0:
        return Step("feed", None, f"{name}: never received", {"budget_ms": budget_ms})
    age_ns = int(order["ts_ns"]) - at_ns
    inputs: dict[str, Scalar] = {"age_ns": age_ns, "budget_ms": budget_ms}
    if name == "book":
        inputs |= {
            "source_ns": int(order["book_ts_source_ns"]),
            "sequence": int(order["book_sequence"]),
        }
    late = age_ns > budget_ms * MILLISECOND_NS
    return Step("feed", at_ns, f"{name} received" + (", older than its budget" * late), inputs)


def _scanned(scan: np.void, at_ns: int) -> Iterator[Step]:
    side = int(scan["side"])
    chance = float(scan["probability"])
    yield Step(
        "features",
        at_ns,
        "what was known at that event",
        {
            "event": int(scan["feature_row"]),
            "said_ns": int(scan["ts_ns"]),
            "left_ms": int(scan["left_ms"]),
            **{f"{name}_age_ms": int(scan[f"{name}_age_ms"]) for name in FEEDS},
        },
    )
    yield Step(
        "scan",
        at_ns,
        f"wants {Outcome(side).name}" if side in (0, 1) else "wants nothing",
        {
            "probability": chance if chance == chance else None,
            "price_e4": int(scan["price_e4"]),
            "net_edge_e4": int(scan["net_edge_e4"]),
            "edge_stderr_e4": int(scan["edge_stderr_e4"]),
            "required_edge_e4": int(scan["required_edge_e4"]),
            "score": float(scan["score"]),
            "threshold": float(scan["threshold"]),
            "unit": Unit(int(scan["unit"])).name,
        },
    )


def _refusal(found: Story) -> np.void | None:
    last = found.orders[-1]
    return last if last["state"] == OrderState.REFUSED else None


def _gates(first: np.void, refused: np.void | None) -> Step:
    at_ns = int(first["ts_ns"])
    if refused is None:
        return Step("gates", at_ns, "all gates passed", {"mask": 0})
    codes = mask_codes(refused)
    by = f"refused: {CATEGORY[codes[0]].value}" if codes else "refused"
    words = ",".join(code.name for code in codes)
    inputs: dict[str, Scalar] = {"mask": int(refused["mask"]), "codes": words}
    return Step("gates", at_ns, by, inputs, codes[0].name if codes else None)


def _life(found: Story) -> list[Step]:
    """States, fills and postings of the order as they came; a last state stands behind its fill."""
    number = int(found.orders[0]["order"])
    ranked = [
        *((2 if row["state"] >= OrderState.FILLED else 0, _state(row)) for row in found.orders),
        *((1, _fill(row)) for row in found.fills),
        *((3, _posting(row)) for row in found.postings if row["order"] == number),
    ]
    return [step for _, step in sorted(ranked, key=lambda one: (one[1].at_ns or 0, one[0]))]


def _state(row: np.void) -> Step:
    order_state = OrderState(int(row["state"]))
    inputs: dict[str, Scalar] = {
        name: int(row[name]) for name in ("size_micro", "filled_micro", "reserved_micro")
    }
    code = None if row["code"] == NO_HOLD else names.hold(int(row["code"]))
    return Step("order", int(row["ts_ns"]), order_state.name.lower(), inputs, code)


def _fill(row: np.void) -> Step:
    fields = (
        *("size_micro", "price_e4", "fee_micro", "best_e4", "decision_mid_half_e4"),
        *("arrival_mid_half_e4", "match_mid_half_e4"),
    )
    text = "filled as maker" if row["maker"] else "filled as taker"
    return Step("fill", int(row["ts_ns"]), text, {name: int(row[name]) for name in fields})


def _posting(row: np.void) -> Step:
    amounts = {name: int(row[name]) for name in (*FIELDS, "shares_micro") if row[name]}
    fact = Fact(int(row["fact"]))
    return Step("posting", int(row["ts_ns"]), fact.name.lower(), dict(amounts))


def _result(found: Story) -> Iterator[Step]:
    """The window's result, what the ledger made of it, and what the whole trade earned."""
    first = found.orders[0]
    outcome, filled = int(first["outcome"]), bool(found.fills)
    mine = [row for row in found.postings if _is_of(row, outcome)] if filled else []
    settled = [_posting(row) for row in mine if row["fact"] in RESULTS]
    final = [_window(row) for row in found.windows if row["payout_e4"] >= 0]
    yield from sorted([*final, *settled], key=lambda step: step.at_ns or 0)
    if not filled:
        refused = _refusal(found)
        over = int(found.orders[-1]["state"]) >= OrderState.FILLED
        text = "nothing was filled, so nothing was earned" if over else "nothing is filled yet"
        word = OrderState(int(found.orders[-1]["state"])).name.lower()
        code = None if refused is None else names.hold(int(refused["code"]))
        at_ns = max([int(found.orders[-1]["ts_ns"]), *(step.at_ns or 0 for step in final)])
        yield Step("result", at_ns, text, {"net_micro": 0}, code or word)
        return
    trade = positions.booked(mine, outcome)
    yield Step(
        "result",
        int(mine[-1]["ts_ns"]),
        "what the trade earned" if trade.is_closed else "what is booked of the trade so far",
        {
            "net_micro": trade.net_micro,
            "paid_micro": trade.paid_micro,
            "proceeds_micro": trade.proceeds_micro,
            "payout_micro": trade.payout_micro,
            "fees_micro": trade.fees_micro,
            "shares_micro": trade.bought_micro,
            "orders": len({int(row["order"]) for row in mine if row["order"]}),
        },
        trade.result if trade.is_closed else "open",
    )


def _is_of(row: np.void, outcome: int) -> bool:
    """A correction is booked once for both outcomes."""
    return bool(row["outcome"] == outcome or row["fact"] == Fact.CORRECT)


def _window(row: np.void) -> Step:
    values: dict[str, Scalar] = {
        name: str(reference_value(int(row[f"{name}_e8"]), int(row[f"{name}_remainder_e18"])))
        for name in ("strike", "final")
        if row[f"{name}_e8"] >= 0
    }
    payout_e4 = int(row["payout_e4"])
    what = {PRICE_ONE_E4: "Up won", 0: "Down won"}.get(payout_e4, "void")
    return Step(
        "window",
        int(row["ts_ns"]),
        f"{what}, says {settler(int(row['by']))}",
        {"payout_e4": payout_e4} | values,
        WindowState(int(row["state"])).name,
    )


def _orders(look: Look) -> Sequence[str]:
    numbers = [*look.told.orders, *look.told.refusals]
    return [str(number) for number in numbers if is_told(look, number)]


def _fold(look: Look, argument: str) -> Rows:
    return steps(story(look, int(argument)))


VIEWS = (View("provenance", "one order or refusal, from its inputs to its profit", _fold, _orders),)
