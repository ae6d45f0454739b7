"""What the API says, as bytes: frames of the socket, answers, refusals.

In: topics with snapshots and deltas, structs. Out: JSON, each frame encoded once.
Never here: who gets it, whether it may be said.
"""

from typing import Any

import msgspec
from fastapi import Response

from fairwind.views.shapes import Delta, Snapshot

ENCODER = msgspec.json.Encoder()


class Refusal(Exception):
    """The API does not do what was asked: an HTTP status, and what to do."""

    def __init__(self, status: int, text: str, *, retry_s: float = 0.0) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.retry_s = retry_s


class Refused(msgspec.Struct, frozen=True):
    """The body of every refusal."""

    error: str


class Frame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One topic's news: a snapshot, what changed since the frame before, or why there is none."""

    topic: str
    sequence: int = 0
    snapshot: Snapshot | None = None
    delta: Delta | None = None
    error: str = ""


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """Said every second. `now_ns`: market time; `behind_ns`: by how much the views are older."""

    now_ns: int
    mode: str  # PAPER, LIVE, REPLAY
    engine: str  # running, silent, over
    behind_ns: int


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A view as it is now; `snapshot` is what the socket's first frame holds."""

    topic: str
    now_ns: int
    snapshot: Snapshot


def news(topic: str, sequence: int, change: Delta | Snapshot) -> str:
    """The frame that leads from the one before to this one."""
    if isinstance(change, Snapshot):
        return text(Frame(topic=topic, sequence=sequence, snapshot=change))
    return text(Frame(topic=topic, sequence=sequence, delta=change))


def text(said: Any) -> str:
    """A struct as the text of a frame."""
    return ENCODER.encode(said).decode()


def answer(said: Any, status: int = 200) -> Response:
    """A struct as an answer."""
    return Response(ENCODER.encode(said), status, media_type="application/json")


def refused(refusal: Refusal) -> Response:
    """The answer to what is not done."""
    response = answer(Refused(refusal.text), refusal.status)
    if refusal.retry_s:
        response.headers["Retry-After"] = str(max(1, round(refusal.retry_s)))
    return response


REFUSALS = {
    400: "the request cannot be read",
    401: "no session",
    403: "another Origin, or no CSRF token",
    404: "there is no such thing",
    409: "the run is over and only shown",
    413: "the body is too long",
    422: "it is not possible, and why",
    429: "too many; Retry-After says how long to wait",
    500: "a view has a defect, which is in the log",
    503: "the engine or the journal cannot be reached, and what to do",
}
_SCHEMAS = "#/components/schemas/"
_DOCUMENTED: set[type[msgspec.Struct]] = {Refused}


def documented(said: type[msgspec.Struct], *refusals: int) -> dict[int | str, dict[str, Any]]:
    """What a route can answer, for the OpenAPI document: a struct, or these refusals."""
    _DOCUMENTED.add(said)
    found = {200: ("done", said)} | {one: (REFUSALS[one], Refused) for one in refusals}
    return {status: _content(text, one) for status, (text, one) in found.items()}


def documented_text(media_type: str, *refusals: int) -> dict[int | str, dict[str, Any]]:
    """The same for a route that answers with text."""
    texts = {200: "done"} | {one: REFUSALS[one] for one in refusals}
    kinds = {media_type: {"schema": {"type": "string"}}}
    refused = {one: _content(REFUSALS[one], Refused)["content"] for one in refusals}
    return {
        status: {"description": text, "content": kinds | refused.get(status, {})}
        for status, text in texts.items()
    }


def schemas() -> dict[str, Any]:
    """The schemas of all structs that routes are documented with."""
    kinds = sorted(_DOCUMENTED, key=lambda kind: kind.__name__)
    _, found = msgspec.json.schema_components(kinds, ref_template=f"{_SCHEMAS}{{name}}")
    return found


def _content(text: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    schema = {"$ref": f"{_SCHEMAS}{kind.__name__}"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}
