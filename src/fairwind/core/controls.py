"""Controls: the only way to change the engine from outside, as journaled events with a payload.

In: one control. Out: its event (kind CONTROL, `price` = payload id) and its payload bytes, which
lie in a side file named by their content hash. Never here: applying it (engine/controls.py).
"""

import hashlib

import msgspec
import numpy as np

from fairwind.core.errors import Corrupt
from fairwind.core.events import ALL_MARKETS, EVENT, Events, Kind, Source


class Control(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Base of all controls; `operator` says who asked."""

    operator: str = "config"


class Configure(Control, frozen=True, kw_only=True):
    """Realism of the simulated exchange and capital rules; the first control of every run."""

    latency_ms: float = 75.0
    taker_delay: bool = True
    own_consumption: bool = True
    queue: bool = True
    cap_strategy: float = 0.35
    cap_family: float = 0.60
    cap_underlying: float = 0.70
    cap_direction: float = 0.30
    cap_utilization: float = 0.90
    drawdown_stop: float = 0.06


class Deposit(Control, frozen=True, kw_only=True):
    """Cash arrives; dollars x 1e6, positive."""

    amount_micro: int


class Withdraw(Control, frozen=True, kw_only=True):
    """Cash leaves; dollars x 1e6, positive, at most the free cash."""

    amount_micro: int


class Enable(Control, frozen=True, kw_only=True):
    """Switch one strategy on or off for new entries."""

    strategy: str
    enabled: bool


class SetParameter(Control, frozen=True, kw_only=True):
    """Set one parameter of one strategy, within its bounds."""

    strategy: str
    name: str
    value: float


class SetMultiplier(Control, frozen=True, kw_only=True):
    """Scale one strategy's size, 0 to 2."""

    strategy: str
    value: float


class Halt(Control, frozen=True, kw_only=True):
    """Stop all new entries until a Resume; resting orders are cancelled."""

    reason: str


class Resume(Control, frozen=True, kw_only=True):
    """Allow entries again after a halt or a drawdown stop."""


class Reset(Control, frozen=True, kw_only=True):
    """Cancel open orders and forget cooldowns, streaks and counters.

    Positions stay and settle. Operator toggles are kept unless `force_defaults`.
    """

    force_defaults: bool = False


AnyControl = (
    Configure | Deposit | Withdraw | Enable | SetParameter | SetMultiplier | Halt | Resume | Reset
)
_NUMBER = {
    kind: number
    for number, kind in enumerate(
        (Configure, Deposit, Withdraw, Enable, SetParameter, SetMultiplier, Halt, Resume, Reset)
    )
}
_DECODER = msgspec.json.Decoder(AnyControl)


def payload_id(payload: bytes) -> int:
    """The first 63 bits of the payload's SHA-256: its name in the side file and in the event."""
    return int.from_bytes(hashlib.sha256(payload).digest()[:8], "big") >> 1


def encode(ts_ns: int, control: AnyControl) -> tuple[Events, bytes]:
    """The control's event, shape (1,), and its payload."""
    payload = msgspec.json.encode(control, order="deterministic")
    event = np.zeros(1, EVENT)
    event["ts_ns"] = ts_ns
    event["kind"] = Kind.CONTROL
    event["source"] = Source.CONTROL
    event["market"] = ALL_MARKETS
    event["ref"] = _NUMBER[type(control)]
    event["price"] = payload_id(payload)
    return event, payload


def decode(payload: bytes, expected_id: int) -> AnyControl:
    """The control of a payload; Corrupt when the payload is not the one that the event names."""
    found = payload_id(payload)
    if found != expected_id:
        raise Corrupt(
            f"control payload: expected id {expected_id:016x}, found {found:016x}; "
            "restore the side file from a backup of the run"
        )
    try:
        control: AnyControl = _DECODER.decode(payload)
    except msgspec.DecodeError as error:
        raise Corrupt(f"control payload {found:016x} does not parse: {error}") from error
    return control
