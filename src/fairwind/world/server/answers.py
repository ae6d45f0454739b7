"""The few forms in which the CLOB's REST answers: JSON, pages with cursors, errors.

In: values. Out: HTTP responses. Never here: what they are about.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from fairwind.world.server.wire import encode

PAGE = 100
LAST_PAGE = "LTE="


def json_answer(value: Any, status: int = 200) -> Response:
    """The value as compact JSON."""
    return Response(encode(value), status, media_type="application/json")


def refused(text: str, status: int = 400, **more: str) -> Response:
    """An error in the venue's words."""
    return json_answer({"error": text, **more}, status)


def unauthorized() -> Response:
    """The one answer to every missing or wrong key, secret or code."""
    return refused("Unauthorized/Invalid api key", 401)


def page(items: Sequence[Any], cursor: str) -> Response:
    """The items after a cursor; an unreadable cursor is the first page."""
    try:
        first = max(int(base64.b64decode(cursor)), 0)
    except (ValueError, binascii.Error):
        first = 0
    end = first + PAGE
    following = base64.b64encode(str(end).encode()).decode() if end < len(items) else LAST_PAGE
    shown = items[first:end]
    return json_answer(
        {"limit": PAGE, "next_cursor": following, "count": len(shown), "data": shown}
    )


def whole(text: str, otherwise: int) -> int:
    """A number of a query; `otherwise` for text that is none."""
    return int(text) if text.isdecimal() else otherwise
