"""hftbacktest in the job of the bench, as its documentation would have a user write it.

In: a data set's name, repeats. Out: JSON lines for modes 0 (no strategy) and 1 (fair value on
every event). One backtest per window with three assets (Up, Down, spot), no latency, so that
fills are the same everywhere. It does not settle binary contracts: the strategy does.
"""

import argparse
import math
import time
from typing import Any, NamedTuple

import hftbacktest
import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    FILLED,
    LIMIT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.order import IOC
from hftbacktest.types import event_dtype
from job import (
    CLEAR,
    DELTA,
    EDGE,
    FEE,
    FIRST_VARIANCE,
    HALF_ROOT,
    LEFT_MAX_S,
    LEFT_MIN_S,
    OPEN,
    RESOLVE,
    SHARES,
    SPOT,
    TRADE,
    WEIGHT,
    WINDOW_NS,
    load,
    report,
    since,
    timed,
)
from numba import njit

ENGINE = f"hftbacktest {hftbacktest.__version__}"
TIMEOUT_NS = 400_000_000_000
NEXT_FEED = 2
SPOT_ASSET = 2
VARIANCE, LAST, LAST_NS, FAIR_SUM, CASH, BUYS = range(6)  # places in the strategy's memory


class Window(NamedTuple):
    """One window's feeds, in hftbacktest's own event dtype."""

    feeds: tuple[Any, Any, Any]
    up_pays: float
    open_ns: int


def events_of(records: np.ndarray) -> np.ndarray:
    """Records in hftbacktest's dtype."""
    kind, side = records["kind"], records["side"]
    out = np.zeros(len(records), event_dtype)
    out["ev"] = EXCH_EVENT | LOCAL_EVENT
    for chosen, bits in (
        (kind == DELTA, DEPTH_EVENT),
        ((kind == TRADE) | (kind == SPOT), TRADE_EVENT),
        (kind == CLEAR, DEPTH_CLEAR_EVENT),
        ((kind != CLEAR) & (side == 0), BUY_EVENT),
        ((kind != CLEAR) & (side == 1), SELL_EVENT),
    ):
        out["ev"][chosen] |= np.uint64(bits)
    out["exch_ts"] = out["local_ts"] = records["ts"]
    out["px"] = records["px"] * 0.01
    out["qty"] = records["size"] * np.where(kind == SPOT, 1e-8, 1e-6)
    return out


def windows_of(records: np.ndarray) -> list[Window]:
    """The set cut into windows; each begins with the spot tick before its listing."""
    windows = []
    opens = np.flatnonzero(records["kind"] == OPEN)
    ends = np.flatnonzero(records["kind"] == RESOLVE)
    for first, last in zip(opens, ends, strict=True):
        part, up = records[first - 1 : last], int(records["token"][first])
        part = part[part["kind"] != OPEN]
        feeds = tuple(
            events_of(part[chosen])
            for chosen in (part["token"] == up, part["token"] == up + 1, part["kind"] == SPOT)
        )
        start = int(records["ts"][first]) // WINDOW_NS * WINDOW_NS
        windows.append(Window(feeds, 1.0 if records["px"][last] == 100 else 0.0, start))
    return windows


@njit
def books_only(backtest):
    """Every feed event, no strategy."""
    while backtest.wait_next_feed(False, TIMEOUT_NS) == NEXT_FEED:
        pass


@njit
def learn(memory, spot, now):
    """Take a spot tick into the variance."""
    seconds = (now - memory[LAST_NS]) * 1e-9
    if memory[LAST] > 0.0 and seconds > 1e-6:
        move = math.log(spot / memory[LAST])
        memory[VARIANCE] += WEIGHT * (move * move / seconds - memory[VARIANCE])
    memory[LAST], memory[LAST_NS] = spot, now


@njit
def buy(backtest, fair, memory):
    """Buy the first outcome that is cheap enough; True when an order was sent."""
    for asset in range(2):
        cents = backtest.depth(asset).best_ask_tick
        if cents <= 0 or cents >= 100:
            continue
        price = cents * 0.01
        worth = fair if asset == 0 else 1.0 - fair
        if worth - price - FEE * price * (1.0 - price) > EDGE:
            backtest.submit_buy_order(asset, 1, price, float(SHARES), IOC, LIMIT, True)
            order = backtest.orders(asset).get(1)
            if order is not None and order.status == FILLED:
                memory[BUYS] += 1
            return True
    return False


@njit
def fair_taker(backtest, memory, open_ns):
    """The strategy of the bench on every feed event of one window."""
    strike, distance, bought = 0.0, 0.0, False
    while backtest.wait_next_feed(False, TIMEOUT_NS) == NEXT_FEED:
        now = backtest.current_timestamp
        ticks = backtest.last_trades(SPOT_ASSET)
        if len(ticks) > 0:
            spot = ticks[len(ticks) - 1].px
            backtest.clear_last_trades(SPOT_ASSET)
            learn(memory, spot, now)
            if strike == 0.0:
                strike = spot
                continue
            distance = math.log(spot / strike)
        left_s = max((open_ns + WINDOW_NS - now) * 1e-9, 1e-3)
        deviation = math.sqrt(memory[VARIANCE] * left_s)
        fair = 0.5 * (1.0 + math.erf(distance / deviation * HALF_ROOT))
        memory[FAIR_SUM] += fair
        if not bought and LEFT_MIN_S < left_s < LEFT_MAX_S:
            bought = buy(backtest, fair, memory)


@njit
def settle(backtest, memory, up_pays):
    """Add balance, payout and fee of both outcomes."""
    for asset in range(2):
        values = backtest.state_values(asset)
        if values.position > 0:
            price = -values.balance / values.position
            fee = FEE * values.position * price * (1.0 - price)
            payout = values.position * (up_pays if asset == 0 else 1.0 - up_pays)
            memory[CASH] += values.balance + payout - fee


def assets(window: Window) -> list[Any]:
    """Up, Down and spot: no latency, no fee of its own."""
    found = []
    for number, feed in enumerate(window.feeds):
        found.append(
            BacktestAsset()
            .data([feed])
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .tick_size(0.01)
            .lot_size(0.01)
            .last_trades_capacity(16 if number == SPOT_ASSET else 0)
            .roi_lb(0.0)
            .roi_ub(1.0)
            .trading_value_fee_model(0.0, 0.0)
        )
    return found


def replay(windows: list[Window], mode: int) -> tuple[float, np.ndarray]:
    """(seconds, the strategy's memory) of all windows."""
    memory = np.zeros(6)
    memory[VARIANCE] = FIRST_VARIANCE
    start = time.perf_counter()
    for window in windows:
        backtest = ROIVectorMarketDepthBacktest(assets(window))
        if mode == 0:
            books_only(backtest)
        else:
            fair_taker(backtest, memory, window.open_ns)
            settle(backtest, memory, window.up_pays)
        backtest.close()
    return since(start), memory


def main() -> None:
    """Report modes 0 and 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("repeats", type=int)
    options = parser.parse_args()
    windows = windows_of(load(options.name))
    events = sum(len(feed) for window in windows for feed in window.feeds)
    short = Window(tuple(feed[:200] for feed in windows[0].feeds), 0.0, windows[0].open_ns)
    for mode in (0, 1):
        replay([short], mode)  # compiles
        answer: dict[str, Any] = {}

        def once(mode: int = mode, answer: dict[str, Any] = answer) -> float:
            seconds, memory = replay(windows, mode)
            answer["buys"], answer["pnl"] = int(memory[BUYS]), round(float(memory[CASH]), 6)
            answer["fair_sum"] = round(float(memory[FAIR_SUM]), 6)
            return seconds

        seconds = timed(options.repeats, once)
        report(ENGINE, str(mode), events=events, seconds=seconds, **answer)


if __name__ == "__main__":
    main()
