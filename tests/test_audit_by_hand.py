"""The auditor on runs of one order, written by hand: each moment and each state that matters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import engine_events as make
import numpy as np
import pytest
from engine_events import at, join

from fairwind.core import controls
from fairwind.core.events import ALL_MARKETS, Events, Flag, Kind, Side
from fairwind.core.outputs import FILL, ORDER, Action, OrderState
from fairwind.core.units import MILLISECOND_NS, SECOND_NS
from fairwind.journal.file import Journal, Meta
from fairwind.research.audit import Verdict, audit

MS = MILLISECOND_NS
BOOK_NS = at(5)
DECIDED_NS = BOOK_NS + 100 * MS
DUE_NS = DECIDED_NS + 75 * MS
TOP = 3
"""Number of the book's last event: a book is CLEAR and two levels."""
PRICES = join(make.spot(at(4.9), 100_000), make.reference(at(4.5), 100_000))


def book(ts_ns: int, bid_e4: int = 4_900, ask_e4: int = 5_100) -> Events:
    return make.book(ts_ns, {bid_e4: 100}, {ask_e4: 100})


def gap(ts_ns: int, market: int = 0) -> Events:
    return make.event(ts_ns, Kind.GAP, market=market)


def bid(ts_ns: int, price_e4: int = 4_900, flags: int = 0) -> Events:
    return make.level(ts_ns, Side.BID, price_e4, 50, flags=flags)


def order(state: OrderState, ts_ns: int, **more: int) -> dict[str, int]:
    """A row of the one order, bought on the book of BOOK_NS unless said otherwise."""
    usual = {
        "ts_ns": ts_ns,
        "order": 1,
        "state": state,
        "book_ts_ns": BOOK_NS,
        "book_sequence": TOP,
        "spot_ts_ns": at(4.9),
        "reference_ts_ns": at(4.5),
        "book_budget_ms": 1000,
        "spot_budget_ms": 2000,
        "reference_budget_ms": 5000,
    }
    return usual | more


def sent(ts_ns: int = DECIDED_NS, **more: int) -> dict[str, int]:
    return order(OrderState.SENT, ts_ns, **more)


def fill(ts_ns: int = DUE_NS, maker: int = 0) -> dict[str, int]:
    return {"ts_ns": ts_ns, "order": 1, "maker": maker}


def rows(dtype: np.dtype[np.void], given: Sequence[dict[str, int]]) -> Any:
    filled = np.zeros(len(given), dtype)
    for place, values in enumerate(given):
        for name, value in values.items():
            filled[name][place] = value
    return filled


def audited(
    run: Path,
    *events: Events,
    orders: Sequence[dict[str, int]] = (),
    fills: Sequence[dict[str, int]] = (),
    asked: Sequence[controls.AnyControl] = (),
) -> Verdict:
    """The verdict on a window with prices, `events`, and what the engine is said to have done."""
    encoded = [controls.encode(at(-60), control) for control in asked]
    journal = Journal(run, Meta(code="test", created_ns=1, source="by hand", strategies=("ONE",)))
    for _, payload in encoded:
        journal.keep_payload(payload)
    journal.append_inputs(join(make.listed(at(-1)), PRICES, *(one for one, _ in encoded), *events))
    journal.commit()
    given = sorted(orders or [sent()], key=lambda row: row["ts_ns"])
    journal.append_outputs({"orders": rows(ORDER, given), "fills": rows(FILL, fills)})
    journal.mark(journal.events, 0)
    journal.close()
    return audit(run)


PROVED: dict[str, tuple[list[Events], dict[str, Any]]] = {
    "an order that is filled on the book it was decided on": ([book(BOOK_NS)], {"fills": [fill()]}),
    "a book that is exactly as old as it may be": (
        [book(BOOK_NS)],
        {"orders": [sent(BOOK_NS + SECOND_NS)]},
    ),
    "a decision at the moment at which the next book comes": (
        [book(BOOK_NS), book(DECIDED_NS)],
        {},
    ),
    "a decision on the first of two books of one moment": (
        [book(BOOK_NS), book(BOOK_NS)],
        {"orders": [sent(BOOK_NS)]},
    ),
    "a decision and a loss at the same moment": ([book(BOOK_NS), gap(DECIDED_NS)], {}),
    "a decision on a fresh snapshot after a loss": ([gap(at(3)), book(BOOK_NS)], {}),
    "a fill without latency at the moment of a first book": (
        [book(BOOK_NS)],
        {"orders": [sent(BOOK_NS)], "fills": [fill(BOOK_NS)]},
    ),
    "a book of one side": (
        [make.book(BOOK_NS, {4_900: 1}, {})],
        {"orders": [sent(book_sequence=2)]},
    ),
    "a level that was removed does not cross": (
        [book(at(4)), make.level(at(4.5), Side.ASK, 5_100, 0), book(BOOK_NS, 5_200, 5_300)],
        {"orders": [sent(book_sequence=2 * TOP + 1)]},
    ),
    "levels that nobody counts": (
        [book(BOOK_NS), bid(at(4.99), 4_901), bid(at(4.99), 10_000), bid(at(4.99), 0)],
        {},
    ),
    "what came before the listing": ([book(at(-2)), book(BOOK_NS)], {}),
    "a second listing of the same window": ([make.listed(at(5.05)), book(BOOK_NS)], {}),
    "a loss of another market": ([book(BOOK_NS), gap(at(5.05), market=3)], {}),
    "a maker's fill by a print": (
        [book(BOOK_NS), make.trade(at(30), Side.ASK, 4_900, 10)],
        {"fills": [fill(at(30), maker=1)]},
    ),
    "a maker's fill by a change of the book": (
        [book(BOOK_NS), bid(at(30))],
        {"fills": [fill(at(30), maker=1)]},
    ),
    "an exit that is sent on a stale book and meets a fresh one": (
        [book(BOOK_NS), bid(at(30.01))],
        {
            "orders": [sent(at(30), action=Action.SELL), order(OrderState.DELAYED, at(30.1))],
            "fills": [fill(at(30.1))],
        },
    ),
    "a budget that no engine would take": (
        [book(BOOK_NS)],
        {"asked": [controls.SetParameter(strategy="ONE", name="book_budget", value=1e7)]},
    ),
}


@pytest.mark.parametrize("case", PROVED)
def test_it_proves(tmp_path: Path, case: str) -> None:
    events, said = PROVED[case]
    verdict = audited(tmp_path, *events, **said)
    assert verdict.proved, str(verdict)


FAILED: dict[str, tuple[list[Events], dict[str, Any], str]] = {
    "a book a millisecond too old": (
        [book(BOOK_NS)],
        {"orders": [sent(BOOK_NS + SECOND_NS + MS)]},
        "the book was 1001.000 ms old, its budget is 1000 ms",
    ),
    "a newer book that was not looked at": (
        [book(BOOK_NS), bid(DECIDED_NS - 1)],
        {},
        "book event 4 was known and not looked at",
    ),
    "a loss before the decision": (
        [book(BOOK_NS), gap(DECIDED_NS - 1)],
        {},
        "lost data after the certificate's event",
    ),
    "a loss of everything before the decision": (
        [book(BOOK_NS), gap(at(5.05), ALL_MARKETS)],
        {},
        "lost data after the certificate's event",
    ),
    "a change after a loss without a snapshot": (
        [book(at(4)), gap(at(4.5)), bid(BOOK_NS)],
        {"orders": [sent(book_sequence=TOP + 1)]},
        "had lost data and got no snapshot since",
    ),
    "half of a change": (
        [book(at(4)), bid(BOOK_NS, flags=Flag.MORE)],
        {"orders": [sent(book_sequence=TOP + 1)]},
        "the book was not complete",
    ),
    "a book that was emptied and not filled again": (
        [book(at(4)), make.event(BOOK_NS, Kind.CLEAR)],
        {"orders": [sent(book_sequence=TOP + 1)]},
        "the book was not complete",
    ),
    "a crossed book": (
        [book(BOOK_NS, 5_200, 5_200)],
        {},
        "the book was crossed: bid 5200, ask 5200 e4",
    ),
    "a certificate of what had not come yet": (
        [book(BOOK_NS)],
        {"orders": [sent(BOOK_NS - 1)]},
        "its certificate gives book event 3 the times",
    ),
    "a price that had not come yet": (
        [book(BOOK_NS), make.spot(DECIDED_NS + 1, 100_000)],
        {"orders": [sent(spot_ts_ns=DECIDED_NS + 1)]},
        "the spot was -0.000 ms old",
    ),
    "an order that is sent again": (
        [book(BOOK_NS)],
        {"orders": [sent(), sent(DECIDED_NS + 1)]},
        f"at ts_ns {DECIDED_NS + 1}: sent twice",
    ),
    "a print of another stream": (
        [book(BOOK_NS), make.reference(at(4.8), 100_000, averaging_s=30)],
        {"orders": [sent(reference_ts_ns=at(4.8))]},
        "names an oracle print",
    ),
    "a spot price of another asset": (
        [book(BOOK_NS), make.spot(at(4.8), 4_000, asset=1)],
        {"orders": [sent(spot_ts_ns=at(4.8))]},
        "names a spot price",
    ),
    "an order that rests on a stale book": (
        [book(BOOK_NS)],
        {"orders": [sent(), order(OrderState.RESTING, at(6.1))]},
        "accepted, but the book was 1100.000 ms old",
    ),
    "a fill that is due when the next book comes, on a stale one": (
        [book(BOOK_NS), book(at(6.1))],
        {"fills": [fill(at(6.1))]},
        "filled, but the book was 1100.000 ms old",
    ),
    "a fill between a loss and the snapshot": (
        [book(BOOK_NS), gap(DECIDED_NS + 1), book(DUE_NS)],
        {"fills": [fill()]},
        "filled, but the book had lost data",
    ),
    "a maker's fill at a change that follows a loss": (
        [book(BOOK_NS), gap(at(6)), bid(at(7))],
        {"fills": [fill(at(7), maker=1)]},
        "filled as a maker, but the book could not be used",
    ),
    "a maker's fill out of nothing": (
        [book(BOOK_NS), bid(at(7))],
        {"fills": [fill(at(7) + 1, maker=1)]},
        "neither the book changed nor a trade was printed",
    ),
    "an exit that meets a stale book": (
        [book(BOOK_NS)],
        {"orders": [sent(at(30), action=Action.SELL)], "fills": [fill(at(30))]},
        "filled, but the book was 25000.000 ms old",
    ),
    "a budget that is not what a control set": (
        [book(BOOK_NS)],
        {"asked": [controls.SetParameter(strategy="ONE", name="book_budget", value=0.5)]},
        "its book_budget was 1000 ms, expected 500 ms",
    ),
}


@pytest.mark.parametrize("case", FAILED)
def test_it_finds(tmp_path: Path, case: str) -> None:
    events, said, what = FAILED[case]
    verdict = audited(tmp_path, *events, **said)
    assert not verdict.proved
    assert what in str(verdict), str(verdict)
    assert verdict.first is not None and verdict.first.order == 1


def test_an_order_in_a_window_that_is_long_over_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairwind.research.audit.CHUNK_EVENTS", 1)
    journal = Journal(tmp_path, Meta(code="test", created_ns=1, source="x", strategies=("ONE",)))
    for events, given in (
        (join(make.listed(at(-1)), PRICES, book(BOOK_NS)), []),
        (make.timer(at(361)), []),
        (make.timer(at(362)), [sent(at(362))]),
    ):
        journal.append_inputs(events)
        journal.append_outputs({"orders": rows(ORDER, given)})
        journal.mark(journal.events, 0)
    journal.close()
    assert "its market was not listed or is long over" in str(audit(tmp_path))
