"""A small run written by hand, so that each figure of a report can be checked on paper.

In: the few fields that matter of windows, fills, postings and scans. Out: full output rows.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairwind.core.events import Source
from fairwind.core.outputs import TABLES, Action, Fact, WindowState
from fairwind.core.units import SECOND_NS, reference_parts
from fairwind.research.report import RunResult

START_NS = 1_787_236_800 * SECOND_NS
SHARE = 1_000_000
REALISM = {"latency_ms": 75.0, "taker_delay": True, "own_consumption": True, "queue": True}


def rows(table: str, *given: Mapping[str, Any]) -> NDArray[np.void]:
    """Rows of an output table; what is not given is zero."""
    filled = np.zeros(len(given), TABLES[table])
    for place, values in enumerate(given):
        for name, value in values.items():
            filled[name][place] = value
    return filled


def window(market: int, payout_e4: int, **more: Any) -> dict[str, Any]:
    """A five-minute Bitcoin window; `market` also counts the windows since START_NS."""
    strike, final = reference_parts("64000.12345678901234"), reference_parts("64010.5")
    pending = payout_e4 < 0
    start = START_NS + market * 300 * SECOND_NS
    return {
        "ts_ns": start,
        "start_ns": start,
        "market": market,
        "strike_e8": strike[0],
        "strike_remainder_e18": strike[1],
        "final_e8": -1 if pending else final[0],
        "final_remainder_e18": 0 if pending else final[1],
        "payout_e4": payout_e4,
        "state": WindowState.FINAL_MISSED if pending else WindowState.FINAL,
        "by": Source.CLOCK if pending else Source.REFERENCE,
        "averaging_s": 60,
    } | more


def buy(market: int, shares: int, price_e4: int, **more: Any) -> dict[str, Any]:
    """A taker fill on Up whose mid did not move: decided, arrived and matched at price - 50."""
    mid = 2 * (price_e4 - 50)
    return {
        "ts_ns": START_NS + (market * 300 + 60) * SECOND_NS,
        "market": market,
        "size_micro": shares * SHARE,
        "price_e4": price_e4,
        "decision_mid_half_e4": mid,
        "arrival_mid_half_e4": mid,
        "match_mid_half_e4": mid,
        "best_e4": price_e4,
        "fee_micro": 100_000,
        "probability_e6": 600_000,
        "net_edge_e4": 200,
        "action": Action.BUY,
    } | more


def posting(market: int, fact: Fact, **accounts: int) -> dict[str, Any]:
    """A posting set; settlements stand at the window's end, all else at the fill's time."""
    settled = fact in (Fact.SETTLE, Fact.REDEEM, Fact.CORRECT)
    at = START_NS + (market * 300 + (300 if settled else 60)) * SECOND_NS
    return {"ts_ns": at, "market": market, "fact": fact} | accounts


def bought(market: int, cost_micro: int, fee_micro: int = 100_000) -> list[dict[str, Any]]:
    """The postings of one buy."""
    return [
        posting(market, Fact.FILL, cash_micro=-cost_micro, position_micro=cost_micro),
        posting(market, Fact.FEE, cash_micro=-fee_micro, fees_micro=fee_micro),
    ]


def settled(market: int, cost_micro: int, pay_micro: int, **more: int) -> dict[str, Any]:
    """The posting of one settlement."""
    return posting(
        market,
        Fact.SETTLE,
        position_micro=-cost_micro,
        receivable_micro=pay_micro,
        realised_micro=cost_micro - pay_micro,
        **more,
    )


def deposit(dollars: int) -> dict[str, Any]:
    """The first posting of a run."""
    amount = dollars * 1_000_000
    return {
        "ts_ns": START_NS,
        "market": 0xFFFF,
        "strategy": 255,
        "fact": Fact.DEPOSIT,
        "cash_micro": amount,
        "deposits_micro": -amount,
    }


def three_windows() -> dict[str, NDArray[np.void]]:
    """10 Up shares each: won at 0.50, lost at 0.40, and one at 0.60 whose result is pending."""
    return {
        "windows": rows("windows", window(0, 10_000), window(1, 0), window(2, -1)),
        "fills": rows("fills", buy(0, 10, 5000), buy(1, 10, 4000), buy(2, 10, 6000)),
        "postings": rows(
            "postings",
            deposit(1000),
            *bought(0, 5_000_000),
            settled(0, 5_000_000, 10_000_000),
            *bought(1, 4_000_000),
            settled(1, 4_000_000, 0),
            *bought(2, 6_000_000),
        ),
        "scans": rows(
            "scans",
            *(
                {
                    "ts_ns": START_NS + market * 300 * SECOND_NS + tenth * SECOND_NS // 10,
                    "market": market,
                    "probability": 0.7 if market == 0 else 0.2,
                    "hold": 255 if tenth == 0 else 16,
                }
                for market in range(3)
                for tenth in range(20)
            ),
        ),
        "orders": rows("orders"),
    }


def run_result(tables: dict[str, NDArray[np.void]] | None = None, **more: Any) -> RunResult:
    """The run of `tables` (default: three_windows) with default realism."""
    given: dict[str, Any] = {
        "digest": 0xABC,
        "events": 1234,
        "tables": three_windows() if tables is None else tables,
        "strategy_ids": ("BTC_5M", "ETH_5M"),
        "source": "hand made",
        "deposit_micro": 1_000_000_000,
        "realism": REALISM,
    }
    return RunResult(**(given | more))
