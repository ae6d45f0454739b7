"""The strategy contract: one typed function, its parameters, and what it may subscribe to.

In: a strategy file's function. Out: a StrategySpec and the function's native address.
Never here: what any strategy thinks, or a strategy that reads anything but its arguments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
from numba import from_dtype, njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic

from fairwind.core.errors import BadConfig
from fairwind.core.outputs import Family, Unit
from fairwind.engine.state import MARKET, POSITION, SIGNAL


class On(IntFlag):
    """What a strategy is evaluated on."""

    SPOT = 1
    REFERENCE = 2
    TOP = 4  # best bid or ask, price or size
    TRADE = 8
    TIMER = 16  # once a second
    BOOK = 32  # any level
    FAIR = 64  # not a trigger: it reads fair value and prices, so these are brought up to date


class Wish(IntEnum):
    """What a signal asks for; NOTHING is a scan without an order."""

    NOTHING = 0
    BUY = 1
    SELL = 2  # close what is held of `side`
    CANCEL = 3  # cancel the strategy's resting orders in this market


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number that an operator may set, within bounds (inclusive)."""

    name: str
    unit: str
    default: float
    low: float
    high: float

    def checked(self, value: float, owner: str) -> float:
        """`value` if it is within the bounds, else BadConfig."""
        if not self.low <= value <= self.high:
            raise BadConfig(
                f"{owner}.{self.name}: expected {self.low:g} to {self.high:g} {self.unit}, "
                f"found {value:g}"
            )
        return float(value)


Scan = Callable[[Any, Any, Any, Any, Any], Any]
"""`scan(market, position, parameter, memory, signal) -> mask`.

market: one MARKET row, position: this strategy's POSITION row in it, parameter: (64,) float64,
memory: (64,) float64 that only this strategy sees, signal: one SIGNAL row to fill, zeroed.
Returns a uint64 mask with the bit of every Hold for which the signal itself says no.
"""


@dataclass(frozen=True, slots=True)
class StrategySpec:
    """One row of the stack."""

    id: str
    family: Family
    unit: Unit
    series: int  # the window series that it trades; -1 = all
    subscriptions: On
    parameters: tuple[Parameter, ...]  # the common gate parameters first, then its own
    scan: Scan
    enabled: bool = True

    def parameter(self, name: str) -> int:
        """Position of the named parameter; BadConfig with the valid names when there is none."""
        for position, parameter in enumerate(self.parameters):
            if parameter.name == name:
                return position
        names = ", ".join(sorted(p.name for p in self.parameters))
        raise BadConfig(f"{self.id} has no parameter {name!r}; it has: {names}")


_MARKET, _POSITION, _SIGNAL = from_dtype(MARKET), from_dtype(POSITION), from_dtype(SIGNAL)
_VECTOR = types.Array(types.float64, 1, "C")
_SIGNATURE = types.uint64(_MARKET, _POSITION, _VECTOR, _VECTOR, _SIGNAL)
_KEPT: dict[int, Any] = {}
"""Address -> function: keeps compiled code alive, and is the call table of interpreted runs."""


def address(scan: Scan) -> int:
    """The native address of `scan`, compiled (or loaded from the cache) for the one signature."""
    if config.DISABLE_JIT:
        _KEPT[id(scan)] = scan
        return id(scan)
    compiled = njit(_SIGNATURE, cache=True, boundscheck=False, error_model="numpy")(scan)
    result = compiled.overloads[_SIGNATURE.args]
    found: int = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    _KEPT[found] = compiled
    return found


@intrinsic
def _call_native(_context, address, market, position, parameter, memory, signal):  # type: ignore[no-untyped-def]
    def code(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        function = context.call_conv.get_function_type(_SIGNATURE.return_type, _SIGNATURE.args)
        pointer = builder.inttoptr(arguments[0], function.as_pointer())
        status, mask = context.call_conv.call_function(
            builder, pointer, _SIGNATURE.return_type, _SIGNATURE.args, arguments[1:]
        )
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return mask

    return types.uint64(types.int64, *_SIGNATURE.args), code


def _call_interpreted(  # type: ignore[no-untyped-def]
    address, market, position, parameter, memory, signal
):
    return np.uint64(_KEPT[int(address)](market, position, parameter, memory, signal))


call = _call_interpreted if config.DISABLE_JIT else _call_native
"""`call(address, market, position, parameter, memory, signal) -> mask`, from compiled code."""
