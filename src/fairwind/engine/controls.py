"""Controls applied to the state, in Python, between two batches of events. Also pure.

In: a decoded control. Out: a changed state (and postings). Never here: I/O, a control that
compiled code would have to understand.
"""

from collections.abc import Sequence

from msgspec import structs

from fairwind.core import controls
from fairwind.core.controls import AnyControl
from fairwind.core.errors import BadConfig
from fairwind.engine import ledger, orders, risk
from fairwind.engine.contract import StrategySpec
from fairwind.engine.state import CASH, ORDERS, Out, State, defaults


def apply(state: State, out: Out, control: AnyControl, specs: Sequence[StrategySpec]) -> None:
    """Change the state as the control says; one that cannot be followed is counted as refused.

    It is never an error here: the control is in the journal, and a recovery meets it again.
    Whoever makes controls calls `check` first.
    """
    try:
        check(control, specs)
        change(state, out, control, specs)
    except BadConfig:
        state.record.refused_controls += 1


def check(control: AnyControl, specs: Sequence[StrategySpec]) -> None:
    """BadConfig when the control names what does not exist or a value out of its bounds."""
    match control:
        case controls.Configure():
            for name, high in _BOUNDS.items():
                bounded(name, getattr(control, name), high)
        case controls.Deposit(amount_micro=amount) | controls.Withdraw(amount_micro=amount):
            bounded("amount_micro", amount - 1, 10**15)
        case controls.Enable(strategy=name):
            number_of(specs, name)
        case controls.SetMultiplier(strategy=name, value=value):
            number_of(specs, name)
            bounded(f"multiplier of {name}", value, 2.0)
        case controls.SetParameter(strategy=name, value=value):
            spec = specs[number_of(specs, name)]
            spec.parameters[spec.parameter(control.name)].checked(value, name)


def bounded(name: str, value: float, high: float) -> None:
    """BadConfig when the value is not within 0 and `high`."""
    if not 0 <= value <= high:
        raise BadConfig(f"{name}: expected 0 to {high:g}, found {value:g}")


def change(state: State, out: Out, control: AnyControl, specs: Sequence[StrategySpec]) -> None:
    """Apply a checked control."""
    record = state.record
    match control:
        case controls.Configure():
            configure(state, control)
        case controls.Deposit(amount_micro=amount) | controls.Withdraw(amount_micro=amount):
            move_cash(state, out, amount, deposit=isinstance(control, controls.Deposit))
        case controls.Enable(strategy=name, enabled=enabled):
            record.strategies["enabled"][number_of(specs, name)] = enabled
        case controls.SetParameter(strategy=name, value=value):
            number = number_of(specs, name)
            record.parameters[number, specs[number].parameter(control.name)] = value
        case controls.SetMultiplier(strategy=name, value=value):
            record.strategies["multiplier"][number_of(specs, name)] = value
        case controls.Halt():
            record.halted = 1
            cancel_all(state, out)
        case controls.Resume():
            record.halted = record.drawdown = 0
            record.peak_micro = record.equity_micro
        case controls.Reset(force_defaults=force):
            cancel_all(state, out)
            record.strategies["losses"] = 0
            record.strategies["cooldown_until_ns"] = 0
            record.positions["last_entry_ns"] = 0
            record.positions["entries"] = 0
            if force:
                defaults(state, specs)


MONEY_MAX = 10**18
"""Micro-dollars that a run holds, so that no sum of them outgrows 64 bits."""
_BOUNDS = {
    "latency_ms": 60_000.0,
    "cap_strategy": 1.0,
    "cap_family": 1.0,
    "cap_underlying": 1.0,
    "cap_direction": 1.0,
    "cap_utilization": 1.0,
    "drawdown_stop": 1.0,
}


def number_of(specs: Sequence[StrategySpec], name: str) -> int:
    """A strategy's number; BadConfig with the valid ids when there is none of that name."""
    for number, spec in enumerate(specs):
        if spec.id == name:
            return number
    raise BadConfig(f"no strategy {name!r}; there are: {', '.join(spec.id for spec in specs)}")


def configure(state: State, control: controls.Configure) -> None:
    """Set realism and capital rules."""
    record = state.record
    record["latency_ns"] = round(control.latency_ms * 1e6)
    for name in ("taker_delay", "own_consumption", "queue", "drawdown_stop"):
        record[name] = getattr(control, name)
    for name in ("strategy", "family", "underlying", "direction", "utilization"):
        record[f"cap_{name}"] = getattr(control, f"cap_{name}")


def configured(state: State) -> controls.Configure:
    """What `configure` has set."""
    record = state.record
    caps = ("strategy", "family", "underlying", "direction", "utilization")
    found = controls.Configure(
        latency_ms=int(record["latency_ns"]) / 1e6,
        taker_delay=bool(record["taker_delay"]),
        own_consumption=bool(record["own_consumption"]),
        queue=bool(record["queue"]),
        drawdown_stop=float(record["drawdown_stop"]),
    )
    return structs.replace(found, **{f"cap_{name}": float(record[f"cap_{name}"]) for name in caps})


def move_cash(state: State, out: Out, amount_micro: int, *, deposit: bool) -> None:
    """Post a deposit or withdrawal and move the day's peak with it."""
    free = int(state.record.accounts[CASH])
    if not deposit and amount_micro > free:
        raise BadConfig(f"withdraw: expected at most {free} micro-dollars, found {amount_micro}")
    record = state.record
    fact = ledger.DEPOSIT if deposit else ledger.WITHDRAW
    change = amount_micro if deposit else -amount_micro
    risk.mark(record)
    before, peak = int(record["equity_micro"]), int(record["peak_micro"])
    if before > 0:  # the stop is a ratio, so paying in or out leaves it as near as it was
        peak = peak * (before + change) // before
    if max(free + change, peak) > MONEY_MAX:
        raise BadConfig(f"deposit: expected at most {MONEY_MAX} micro-dollars in all, found more")
    ledger.move_cash(record, out.record, fact, change)
    record["peak_micro"] = peak
    risk.mark(record)


def cancel_all(state: State, out: Out) -> None:
    """End every open order now and release what it reserved."""
    for number in range(ORDERS):
        if state.record.orders["order"][number]:
            orders.finish(state.record, out.record, number, orders.CANCELLED, orders.NO_HOLD)
    state.record["next_due_ns"] = orders.NEVER_NS
