"""NautilusTrader's BacktestEngine (the wheel's Cython engine) in the job of the bench.

In: a data set's name, repeats. Out: JSON lines for modes 0 (managed books, empty strategy) and 1
(fair value on every event, a Python strategy). Two binary options per window on one venue, spot
as trades on another; settlement by instrument close. 1.221.0 settles on the book: its PnL is off.
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
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import FeeModel
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import USDC
from nautilus_trader.model.data import InstrumentClose, OrderBookDelta, TradeTick
from nautilus_trader.model.enums import (
    AccountType,
    AggressorSide,
    AssetClass,
    BookAction,
    BookType,
    InstrumentCloseType,
    OmsType,
    OrderSide,
    TimeInForce,
)
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TradeId, Venue
from nautilus_trader.model.instruments import BinaryOption
from nautilus_trader.model.objects import FIXED_PRECISION, Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

ENGINE = f"NautilusTrader {nautilus_trader.__version__}"
VENUE, SPOT_VENUE = Venue("POLYMARKET"), Venue("BINANCE")
SPOT_ID = InstrumentId.from_str("BTCUSDT.BINANCE")
CASH = 100_000


def token_id(token: int) -> InstrumentId:
    """The instrument of a token."""
    return InstrumentId.from_str(f"W{token // 2:03d}{'DN' if token & 1 else 'UP'}.POLYMARKET")


class PredictionFee(FeeModel):
    """shares x rate x p (1 - p), rounded as the venue does."""

    def get_commission(self, order, fill_qty, fill_px, instrument):
        price = fill_px.as_double()
        return Money(round(fill_qty.as_double() * FEE * price * (1.0 - price), 5), USDC)


def instrument(token: int, first_ns: int) -> BinaryOption:
    """A binary option that expires at its window's end."""
    return BinaryOption(
        instrument_id=token_id(token),
        raw_symbol=Symbol(token_id(token).symbol.value),
        asset_class=AssetClass.ALTERNATIVE,
        currency=USDC,
        price_precision=2,
        size_precision=6,
        price_increment=Price.from_str("0.01"),
        size_increment=Quantity.from_str("0.000001"),
        activation_ns=0,
        expiration_ns=first_ns + (token // 2 + 1) * WINDOW_NS,
        ts_event=0,
        ts_init=0,
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
    )


def data_of(records: np.ndarray, ids: dict[int, InstrumentId]) -> tuple[list[Any], dict]:
    """(data objects, settlement prices); this is loading and is not timed."""
    price_scale, size_scale = 10 ** (FIXED_PRECISION - 2), 10 ** (FIXED_PRECISION - 6)
    out: list[Any] = []
    settlement: dict[InstrumentId, float] = {}
    for number, (ts, kind, side, token, px, size) in enumerate(records.tolist()):
        if kind == DELTA:
            action = BookAction.UPDATE if size else BookAction.DELETE
            order_side = OrderSide.SELL if side else OrderSide.BUY
            price, shares = px * price_scale, size * size_scale
            out.append(
                OrderBookDelta.from_raw(
                    ids[token], action, order_side, price, 2, shares, 6, 0, 0, 0, ts, ts
                )
            )
        elif kind in (TRADE, SPOT):
            name = SPOT_ID if kind == SPOT else ids[token]
            shares = Quantity(size * (1e-8 if kind == SPOT else 1e-6), 6)
            aggressor = AggressorSide.SELLER if side else AggressorSide.BUYER
            price, trade = Price(px * 0.01, 2), TradeId(str(number))
            out.append(TradeTick(name, price, shares, aggressor, trade, ts, ts))
        elif kind == CLEAR:
            out.append(OrderBookDelta.clear(ids[token], 0, ts, ts))
        elif kind == RESOLVE:
            expired = InstrumentCloseType.CONTRACT_EXPIRED
            for outcome in (0, 1):
                name, pays = ids[token + outcome], 1.0 if (px == 100) == (outcome == 0) else 0.0
                settlement[name] = pays
                at = ts + outcome
                out.append(InstrumentClose(name, Price(pays, 2), expired, at, at))
    return out, settlement


class Config(StrategyConfig, frozen=True):
    """How many tokens there are."""

    tokens: int


class Books(Strategy):
    """Managed books of everything, no opinion."""

    def on_start(self) -> None:
        for token in range(self.config.tokens):
            self.subscribe_order_book_deltas(token_id(token), BookType.L2_MBP)
            self.subscribe_trade_ticks(token_id(token))
        self.subscribe_trade_ticks(SPOT_ID)


class Taker(FairTaker, Books):
    """The strategy of the bench."""

    def on_start(self) -> None:
        super().on_start()
        self.begin()
        self.buys = 0

    def opened(self) -> None:
        names = [token_id(2 * self.window + outcome) for outcome in (0, 1)]
        self.options = [self.cache.instrument(name) for name in names]
        self.order_books = [self.cache.order_book(name) for name in names]

    def ask(self, outcome: int) -> float | None:
        price = self.order_books[outcome].best_ask_price()
        return None if price is None else price.as_double()

    def buy(self, outcome: int) -> None:
        option = self.options[outcome]
        shares = option.make_qty(SHARES)
        order = self.order_factory.market(option.id, OrderSide.BUY, shares, TimeInForce.IOC)
        self.submit_order(order)

    def on_order_book_deltas(self, deltas: Any) -> None:
        self.value_at(deltas.ts_init)

    def on_trade_tick(self, tick: TradeTick) -> None:
        if tick.instrument_id == SPOT_ID:
            self.spot_at(tick.ts_init, tick.price.as_double())
        else:
            self.value_at(tick.ts_init)

    def on_order_filled(self, event: Any) -> None:
        self.buys += 0.0 < event.last_px.as_double() < 1.0


def replay(first_ns: int, loaded: tuple, mode: int) -> tuple[float, dict[str, Any]]:
    """(seconds, answer) of one backtest."""
    data, settlement, ids = loaded
    quiet = LoggingConfig(bypass_logging=True)
    engine = BacktestEngine(BacktestEngineConfig(logging=quiet, run_analysis=False))
    known = "settlement_prices" in (BacktestEngine.add_venue.__doc__ or "")
    engine.add_venue(
        VENUE,
        OmsType.NETTING,
        AccountType.CASH,
        [Money(CASH, USDC)],
        base_currency=USDC,
        book_type=BookType.L2_MBP,
        fee_model=PredictionFee(),
        **({"settlement_prices": settlement} if known else {}),
    )
    engine.add_venue(SPOT_VENUE, OmsType.NETTING, AccountType.CASH, [Money(CASH, USDC)])
    for token in sorted(ids):
        engine.add_instrument(instrument(token, first_ns))
    engine.add_instrument(TestInstrumentProvider.btcusdt_binance())
    engine.add_data(data, sort=True)
    strategy = (Taker if mode == 1 else Books)(Config(tokens=len(ids)))
    engine.add_strategy(strategy)
    start = time.perf_counter()
    engine.run()
    seconds = since(start)
    answer: dict[str, Any] = {}
    if mode == 1:
        total = engine.kernel.portfolio.account(VENUE).balance_total(USDC).as_double()
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
