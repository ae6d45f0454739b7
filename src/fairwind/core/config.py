"""Settings: one TOML file becomes one frozen Config, and a Config becomes the first controls.

In: a path, or none for the defaults. Out: Config; the controls that open a run, in fixed order.
Never here: a setting that the engine reads by itself, or a key that is silently ignored.
"""

import difflib
import math
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fairwind.core.controls import AnyControl, Configure, Deposit, Enable, SetParameter
from fairwind.core.errors import BadConfig
from fairwind.core.units import scaled

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
"""A part of equity."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all tables of the file."""


class Run(Section, frozen=True):
    """Where runs are kept and how many events go to the engine at once."""

    directory: Annotated[str, Meta(min_length=1)] = "runs"
    batch: Annotated[int, Meta(ge=1, le=1 << 24)] = 65_536


class Realism(Section, frozen=True):
    """What the simulated exchange does to an order; optimism has to be asked for here."""

    latency_ms: Annotated[float, Meta(ge=0.0, le=60_000.0)] = 75.0
    taker_delay: bool = True
    own_consumption: bool = True
    queue: bool = True
    quote_depth_shares: Annotated[float, Meta(ge=0.01, le=1e6)] = 50.0


class Capital(Section, frozen=True):
    """Paper money and the largest parts of it that may be at risk."""

    deposit: Annotated[float, Meta(gt=0.0, le=1e9)] = 1_000.0
    cap_strategy: Share = 0.35
    cap_family: Share = 0.60
    cap_underlying: Share = 0.70
    cap_direction: Share = 0.30
    cap_utilization: Share = 0.90
    drawdown_stop: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.06


class Target(Section, frozen=True):
    """Somebody who is told of alerts. The address holds secrets: no message shows it."""

    url: Annotated[str, Meta(min_length=1, max_length=1000)]  # as Apprise writes addresses
    severities: tuple[Literal["critical", "warning", "info"], ...] = ("critical", "warning")

    def __repr__(self) -> str:
        return f"Target(url=***, severities={self.severities})"


class Notices(Section, frozen=True):
    """Who is told of alerts."""

    targets: Annotated[tuple[Target, ...], Meta(max_length=16)] = ()


class Config(Section, frozen=True):
    """The whole file. `strategies` maps an id to `enabled` and to parameter overrides."""

    run: Run = Run()
    realism: Realism = Realism()
    capital: Capital = Capital()
    alerts: Notices = Notices()
    strategies: dict[str, dict[str, float | bool]] = {}


_SECTIONS: dict[str, type[Section]] = {
    "run": Run,
    "realism": Realism,
    "capital": Capital,
    "alerts": Notices,
}
_SECRET = "alerts."
"""What stands below this key is not shown."""


def names() -> tuple[str, ...]:
    """Every key of the file outside `[strategies.*]`, with its section: `run.batch`."""
    return tuple(
        f"{name}.{key}" for name, kind in _SECTIONS.items() for key in kind.__struct_fields__
    )


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of a message that refuses `name`: which of the `valid` names is closest to it."""
    by_lower = {choice.lower(): choice for choice in valid}
    closest = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.0)[0]
    return f"the nearest valid name is {by_lower[closest]!r}"


def load(path: Path | None) -> Config:
    """The settings of a TOML file; the defaults when there is none.

    Raises BadConfig, with the full key, for a file that cannot be read or parsed, an unknown key,
    a wrong type and a value out of bounds.
    """
    if path is None:
        return Config()
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{path}: expected a TOML file, found: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadConfig(
            f"{path}: expected UTF-8 text, found byte {error.start} to be none"
        ) from error
    except BadConfig as error:
        raise BadConfig(f"{path}: {error}") from error


def parse(text: str) -> Config:
    """The settings of a TOML text; BadConfig as for `load`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"expected TOML, found a syntax error: {error}") from error
    strategies = raw.pop("strategies", {})
    _refuse_unknown(raw)
    try:
        known = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise BadConfig(_explain(str(error), raw)) from error
    return msgspec.structs.replace(known, strategies=_overrides(strategies))


def configure(config: Config) -> list[AnyControl]:
    """The controls that open a run: Configure, Deposit, then per strategy id its overrides.

    Strategies and parameters come in alphabetical order, `enabled` first, so that the same
    settings give the same events however the file is arranged.
    """
    realism, capital = config.realism, config.capital
    controls: list[AnyControl] = [
        Configure(
            latency_ms=realism.latency_ms,
            taker_delay=realism.taker_delay,
            own_consumption=realism.own_consumption,
            queue=realism.queue,
            cap_strategy=capital.cap_strategy,
            cap_family=capital.cap_family,
            cap_underlying=capital.cap_underlying,
            cap_direction=capital.cap_direction,
            cap_utilization=capital.cap_utilization,
            drawdown_stop=capital.drawdown_stop,
        ),
        Deposit(amount_micro=scaled(capital.deposit, 6)),
    ]
    for strategy, overrides in sorted(config.strategies.items()):
        if "enabled" in overrides:
            controls.append(Enable(strategy=strategy, enabled=bool(overrides["enabled"])))
        controls += [
            SetParameter(strategy=strategy, name=name, value=float(value))
            for name, value in sorted(overrides.items())
            if name != "enabled"
        ]
    return controls


def _leaves(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Full names of all values in a table; an empty table counts as a value."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _refuse_unknown(raw: dict[str, Any]) -> None:
    for key in _leaves(raw):
        if key not in names() and key not in _SECTIONS:
            raise BadConfig(f"unknown key {key!r}; {nearest(key, (*names(), 'strategies'))}")


def _explain(message: str, raw: dict[str, Any]) -> str:
    """msgspec's `Expected X - at $.a.b`, with the key first and the value that was found last."""
    expected, _, place = message.partition(" - at `$.")
    key = place.rstrip("`")
    wanted = f"{key}: {expected.partition(', got')[0].lower()}"
    if f"{key}.".startswith(_SECRET):
        return wanted
    found: Any = raw
    for part in key.split("."):
        found = found[part]
    return f"{wanted}, found {found!r}"


def _overrides(strategies: Any) -> dict[str, dict[str, float | bool]]:
    """The `[strategies.ID]` tables; ids and names are checked later, against the roster."""
    if not isinstance(strategies, dict):
        raise BadConfig(f"strategies: expected tables [strategies.ID], found {strategies!r}")
    for strategy, table in strategies.items():
        if not isinstance(table, dict):
            raise BadConfig(f"strategies.{strategy}: expected a table, found {table!r}")
        for name, value in table.items():
            _check_override(f"strategies.{strategy}.{name}", value)
    return strategies


def _check_override(key: str, value: Any) -> None:
    if key.endswith(".enabled"):
        if not isinstance(value, bool):
            raise BadConfig(f"{key}: expected true or false, found {value!r}")
    elif not isinstance(value, int | float) or not math.isfinite(value):
        raise BadConfig(f"{key}: expected a finite number, found {value!r}")
