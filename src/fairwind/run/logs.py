"""Logging: one JSON object a line in the run's folder, and short lines for whoever looks on.

In: what the loop has to say, as an event name and figures. Out: log lines with market time and
wall time. Never here: a secret, a file that grows without bound.
"""

import logging
import re
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import msgspec
import numpy as np
import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

from fairwind.core.clock import now_ns
from fairwind.core.units import SECOND_NS
from fairwind.journal.log import faults

NAME = "fairwind"
FILE_BYTES_MAX = 16 * 2**20
FILES_KEPT = 4
"""Files before the present one that are kept."""
SECRETS = re.compile(
    r"api_?key|secret|passphrase|password|private|mnemonic|cookie|authorization|signature"
    r"|^poly_|^token$|^auth$",
    re.IGNORECASE,
)
"""Names whose values are not logged, at any depth."""
_HIDDEN = "***"
_LONG_HEX = re.compile(r"(?<![0-9a-fA-F])(0x)?([0-9a-fA-F]{8})[0-9a-fA-F]{56,}")
_IN_URL = re.compile(r"(://[^/\s:@]+:)[^/\s@]+@")

Event = MutableMapping[str, Any]


def configure(
    path: Path,
    *,
    market_ns: Callable[[], int],
    terminal: TextIO | None = None,
    level: int = logging.INFO,
) -> structlog.stdlib.BoundLogger:
    """The run's logger: JSON lines to `path`, readable ones to `terminal` if there is one.

    `market_ns` is the market's clock. The same process may call it again, for another run: the
    former files are closed. Raises DiskFault when the file cannot be opened.
    """
    with faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = RotatingFileHandler(
            path, maxBytes=FILE_BYTES_MAX, backupCount=FILES_KEPT, encoding="utf-8"
        )
    handlers = [_formatted(lines, structlog.processors.JSONRenderer(_json))]
    if terminal is not None:
        readable = structlog.dev.ConsoleRenderer(
            colors=terminal.isatty(), timestamp_key="market", pad_event_to=24
        )
        handlers.append(_formatted(logging.StreamHandler(terminal), readable))
    logger = logging.getLogger(NAME)
    for former in logger.handlers[:]:
        logger.removeHandler(former)
        former.close()
    for handler in handlers:
        logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    return structlog.wrap_logger(  # type: ignore[no-any-return]
        logger,
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            lambda _logger, _method, event: _timed(event, market_ns()),
            structlog.processors.format_exc_info,
            lambda _logger, _method, event: without_secrets(event),
            ProcessorFormatter.wrap_for_formatter,
        ],
    )


def without_secrets(event: Event) -> Event:
    """The event without values that have a secret's name, and with long hexadecimal texts cut.

    A private key has 64 digits, and so have identifiers that are no secrets: the first eight tell
    those apart and give nothing away.
    """
    return {
        name: _HIDDEN if SECRETS.search(name) else _safe(value) for name, value in event.items()
    }


def _safe(value: Any) -> Any:
    match value:
        case str():
            return _IN_URL.sub(rf"\1{_HIDDEN}@", _LONG_HEX.sub(r"\1\2…", value))
        case dict():
            return without_secrets({str(name): one for name, one in value.items()})
        case list() | tuple() | set() | frozenset():
            return [_safe(one) for one in value]
        case bool() | int() | float() | None:
            return value
        case np.generic():
            return _safe(value.item())
        case msgspec.Struct():
            return _safe(msgspec.to_builtins(value))
        case _:
            return _safe(str(value))


def _timed(event: Event, market_ns: int) -> Event:
    return {"wall": _text(now_ns()), "market": _text(market_ns), **event}


def _text(ns: int) -> str:
    """UTC to the microsecond, as ISO 8601 writes it."""
    seconds, rest = divmod(ns, SECOND_NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def _formatted(handler: logging.Handler, renderer: Processor) -> logging.Handler:
    remove = ProcessorFormatter.remove_processors_meta
    handler.setFormatter(ProcessorFormatter(processors=[remove, renderer]))
    return handler


def _json(event: Event, **_: Any) -> str:
    return msgspec.json.encode(event).decode()
