"""NautilusTrader's Rust core (`nautilus_pyo3` in the 1.231.0 wheel) in the job of the bench.

In: a data set's name, repeats. Out: JSON lines for modes 0 and 1, as in peer_nautilus.py.
Never here: a strategy in Rust; a user of the wheel cannot compile one in.
"""

import argparse
import time
from decimal import Decimal
from typing import Any

import nautilus_trader
import numpy as np
from fair_taker import FairTaker
from job import (
    CLEAR,
    DELTA,
    FEE,
    NO_TOKEN,
    RESOLVE,
    SHARES,
    SPOT,
    TRADE,
    WINDOW_NS,
    load,
    report,
    since,
    timed,
)
from nautilus_trader.core import nautilus_pyo3 as core

ENGINE = f"NautilusTrader {nautilus_trader.__version__} Rust core"
VENUE, SPOT_VENUE = core.Venue("POLYMARKET"), core.Venue("BINANCE")
USDC = core.Currency.from_str("USDC")
SPOT_ID = core.InstrumentId.from_str("BTCUSDT.BINANCE")
PRICE_SCALE, SIZE_SCALE = 10 ** (core.FIXED_PRECISION - 2), 10 ** (core.FIXED_PRECISION - 6)
CASH = 100_000.0
CENTS = [core.Price.from_raw(cents * PRICE_SCALE, 2) for cents in range(101)]


def token_id(token: int) -> Any:
    """The instrument of a token."""
    side = "DN" if token & 1 else "UP"
    return core.InstrumentId.from_str(f"W{token // 2:03d}{side}.POLYMARKET")


def instrument(token: int, first_ns: int) -> Any:
    """A binary option that expires at its window's end."""
    return core.BinaryOption(
        instrument_id=token_id(token),
        raw_symbol=core.Symbol(token_id(token).symbol.value),
        asset_class=core.AssetClass.ALTERNATIVE,
        currency=USDC,
        activation_ns=0,
        expiration_ns=first_ns + (token // 2 + 1) * WINDOW_NS,
        price_precision=2,
        size_precision=6,
        price_increment=core.Price.from_str("0.01"),
        size_increment=core.Quantity.from_str("0.000001"),
        ts_event=0,
        ts_init=0,
        maker_fee=Decimal(0),
        taker_fee=Decimal(str(FEE)),
    )


def delta(name: Any, action: Any, order: Any, ts: int) -> Any:
    """A change of one level."""
    return core.OrderBookDelta(name, action, order, 0, 0, ts, ts)


def data_of(records: np.ndarray, ids: dict[int, Any]) -> tuple[list[Any], dict[Any, Any]]:
    """(data objects, settlement prices); this is loading and is not timed."""
    update, delete, clear = core.BookAction.UPDATE, core.BookAction.DELETE, core.BookAction.CLEAR
    sides = (core.OrderSide.BUY, core.OrderSide.SELL)
    nothing = core.BookOrder(
        core.OrderSide.NO_ORDER_SIDE, CENTS[0], core.Quantity.from_raw(0, 6), 0
    )
    out: list[Any] = []
    settlement: dict[Any, Any] = {}
    for number, (ts, kind, side, token, px, size) in enumerate(records.tolist()):
        if kind == DELTA:
            shares = core.Quantity.from_raw(size * SIZE_SCALE, 6)
            order = core.BookOrder(sides[side], CENTS[px], shares, 0)
            out.append(delta(ids[token], update if size else delete, order, ts))
        elif kind in (TRADE, SPOT):
            name = SPOT_ID if kind == SPOT else ids[token]
            micro = size // 100 if kind == SPOT else size
            price = core.Price.from_raw(px * PRICE_SCALE, 2)
            shares = core.Quantity.from_raw(micro * SIZE_SCALE, 6)
            trade = core.TradeId(str(number))
            buyer = core.AggressorSide.BUYER
            out.append(core.TradeTick(name, price, shares, buyer, trade, ts, ts))
        elif kind == CLEAR:
            out.append(delta(ids[token], clear, nothing, ts))
        elif kind == RESOLVE:
            expired = core.InstrumentCloseType.CONTRACT_EXPIRED
            for outcome in (0, 1):
                name, pays = (
                    ids[token + outcome],
                    CENTS[100 if (px == 100) == (outcome == 0) else 0],
                )
                settlement[name] = pays
                out.append(core.InstrumentClose(name, pays, expired, ts + outcome, ts + outcome))
    return out, settlement


class Books(core.Strategy):
    """Managed books of everything, no opinion."""

    tokens = 0

    def __init__(self, config: Any) -> None:
        super().__init__(config)

    def on_start(self) -> None:
        for token in range(self.tokens):
            self.subscribe_book_deltas(token_id(token), core.BookType.L2_MBP, managed=True)
            self.subscribe_trades(token_id(token))
        self.subscribe_trades(SPOT_ID)

    def on_book_deltas(self, deltas: Any) -> None:
        pass

    def on_trade(self, trade: Any) -> None:
        pass


class Taker(FairTaker, Books):
    """The strategy of the bench."""

    def on_start(self) -> None:
        super().on_start()
        self.begin()
        self.buys = self.sent = 0

    def opened(self) -> None:
        self.names = [token_id(2 * self.window + outcome) for outcome in (0, 1)]

    def ask(self, outcome: int) -> float | None:
        price = self.cache.order_book(self.names[outcome]).best_ask_price()
        return None if price is None else price.as_double()

    def buy(self, outcome: int) -> None:
        self.sent += 1
        order = core.MarketOrder(
            trader_id=self.trader_id,
            strategy_id=self.strategy_id,
            instrument_id=self.names[outcome],
            client_order_id=core.ClientOrderId(f"O-{self.sent}"),
            order_side=core.OrderSide.BUY,
            quantity=core.Quantity(float(SHARES), 6),
            init_id=core.UUID4(),
            ts_init=self.last_ns,
            time_in_force=core.TimeInForce.IOC,
            reduce_only=False,
            quote_quantity=False,
        )
        self.submit_order(order)

    def on_book_deltas(self, deltas: Any) -> None:
        self.value_at(deltas.ts_init)

    def on_trade(self, trade: Any) -> None:
        if trade.instrument_id == SPOT_ID:
            self.spot_at(trade.ts_init, trade.price.as_double())
        else:
            self.value_at(trade.ts_init)

    def on_order_filled(self, event: Any) -> None:
        self.buys += 0.0 < event.last_px.as_double() < 1.0


def spot_pair() -> Any:
    """BTC against USDT."""
    btc, usdt = core.Currency.from_str("BTC"), core.Currency.from_str("USDT")
    steps = (core.Price.from_str("0.01"), core.Quantity.from_str("0.000001"))
    return core.CurrencyPair(SPOT_ID, core.Symbol("BTCUSDT"), btc, usdt, 2, 6, *steps, 0, 0)


def replay(first_ns: int, loaded: tuple, mode: int) -> tuple[float, dict[str, Any]]:
    """(seconds, answer) of one backtest."""
    data, settlement, ids = loaded
    engine = core.BacktestEngine(core.BacktestEngineConfig(bypass_logging=True, run_analysis=False))
    cash = [core.Money(CASH, USDC)]
    netting, account = core.OmsType.NETTING, core.AccountType.CASH
    engine.add_venue(
        VENUE,
        netting,
        account,
        cash,
        base_currency=USDC,
        book_type=core.BookType.L2_MBP,
        fee_model=core.ProbabilityPriceFeeModel(),
        settlement_prices=settlement,
    )
    engine.add_venue(SPOT_VENUE, netting, account, cash, fee_model=core.MakerTakerFeeModel())
    for token in sorted(ids):
        engine.add_instrument(instrument(token, first_ns))
    engine.add_instrument(spot_pair())
    engine.add_data(data, validate=False, sort=True)
    Books.tokens = len(ids)
    quiet = core.StrategyConfig(log_events=False, log_commands=False)
    strategy = (Taker if mode == 1 else Books)(quiet)
    engine.add_strategy(strategy)
    start = time.perf_counter()
    engine.run()
    seconds = since(start)
    answer: dict[str, Any] = {}
    if mode == 1:
        total = engine.cache.account_for_venue(VENUE).balance_total(USDC).as_double()
        answer = {"buys": strategy.buys, "pnl": round(total - CASH, 6)}
        answer["fair_sum"] = round(strategy.fair_sum, 6)
    engine.dispose()
    return seconds, answer


def main() -> None:
    """Report modes 0 and 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("repeats", type=int)
    options = parser.parse_args()
    records = load(options.name)
    ids = {t: token_id(t) for t in np.unique(records["token"]).tolist() if t != NO_TOKEN}
    loaded = (*data_of(records, ids), ids)
    for mode in (0, 1):
        answer: dict[str, Any] = {}

        def once(mode: int = mode, answer: dict[str, Any] = answer) -> float:
            seconds, found = replay(int(records["ts"][0]), loaded, mode)
            answer.update(found)
            return seconds

        seconds = timed(options.repeats, once)
        report(ENGINE, str(mode), events=len(records), seconds=seconds, **answer)


if __name__ == "__main__":
    main()
