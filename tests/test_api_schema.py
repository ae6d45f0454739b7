"""What a machine makes up from the OpenAPI document: no defect, and no change by a stranger."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from api_client import HERE, PORT, Inside, TestClient, inside
from hand_engine import HandEngine, made, trading, wait_for
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    response_schema_conformance,
    status_code_conformance,
)

from fairwind.api.auth import Allowance

CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance]
DEFECTS = (500, 502, 504)
"""503 says that something has to be waited for, and is documented."""
MACHINE = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HandEngine, Inside]]:
    events = made(windows=1)
    run = tmp_path_factory.mktemp("schema") / "run"
    with trading(run, int(events["ts_ns"][0])) as engine:
        engine.play(events[:2_000])
        with inside(run) as one:
            wait_for(lambda: one.app.state.board.engine.phase == "running")
            yield engine, one


def operations(one: Inside) -> list[Any]:
    schema = schemathesis.openapi.from_dict(one.app.openapi())
    found = [operation.ok() for operation in schema.get_all_operations()]
    assert len(found) >= 15
    return found


def sent(one: Inside, case: Any, headers: dict[str, str]) -> Any:
    asked = case.as_transport_kwargs(base_url=HERE)
    asked["headers"] = {**asked.get("headers", {}), **headers}
    known = ("method", "url", "headers", "params", "json", "content", "cookies")
    if asked.get("data") is not None:
        asked["content"] = asked["data"]
    asked.pop("cookies", None)
    return one.client.request(**{name: asked[name] for name in known if name in asked})


def played(one: Inside, headers: dict[str, str], checks: list[Any]) -> dict[int, int]:
    """Every operation with data that fits and data that does not; how often which status came."""
    statuses: dict[int, int] = {}
    for operation in operations(one):
        if operation.method.upper() == "DELETE":  # it would end the session
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @MACHINE
            @given(operation.as_strategy(generation_mode=mode))
            def play(case: Any) -> None:
                answer = sent(one, case, headers)
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                assert answer.status_code not in DEFECTS, (case, answer.text)
                if checks:
                    case.validate_response(answer, checks=checks)

            with suppress(Unsatisfiable):  # nothing that does not fit can be made up
                play()
    return statuses


def test_no_request_finds_a_defect_or_an_answer_that_is_not_documented(
    both: tuple[HandEngine, Inside],
) -> None:
    engine, one = both
    one.app.state.door.controls = Allowance(100_000, 1.0)
    one.app.state.door.logins = Allowance(100_000, 1.0)
    found = played(one, one.headers, CHECKS)
    assert found[200] > 30 and found[422] > 20, found
    assert one.client.get("/health").json() == {"ok": True}
    assert engine.session.events > 2_000


def test_no_request_without_a_session_changes_anything(both: tuple[HandEngine, Inside]) -> None:
    engine, one = both
    stranger = Inside(TestClient(one.app, base_url=HERE), one.app, "")
    before = engine.session.events, engine.session.state.digest()
    for headers in ({}, {"Origin": HERE}, one.headers):
        found = played(stranger, headers, [])
        assert set(found) <= {200, 401, 403, 404, 405, 422, 429}, found
    assert (engine.session.events, engine.session.state.digest()) == before
    assert f"fairwind_{PORT}" not in stranger.client.cookies
