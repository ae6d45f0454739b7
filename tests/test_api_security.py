"""Nobody comes in without a session: every route, and every way to have none."""

import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from api_client import (
    HERE,
    PORT,
    Inside,
    TestClient,
    Way,
    WebSocketDenialResponse,
    inside,
    logged_in,
    ways,
)
from hand_engine import finished

from fairwind.api import auth
from fairwind.api.app import Settings, application, checked
from fairwind.api.auth import Allowance, Door, secret_of
from fairwind.api.wire import Refusal
from fairwind.core.errors import BadInput

OPEN = {Way("GET", path) for path in ("/login", "/health")}


@pytest.fixture(scope="module")
def entered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    with inside(finished(tmp_path_factory.mktemp("api") / "run", windows=1)) as one:
        yield one


def every_way(entered: Inside) -> list[Way]:
    found = [way for way in ways(entered.app) if way not in OPEN]
    assert {"GET", "POST", "DELETE", "SOCKET"} <= {way.method for way in found}
    assert len(found) > 20
    return found


def asked(client: TestClient, way: Way, headers: dict[str, str]) -> int:
    """The status of the answer; a socket that is taken counts as 200."""
    if way.method != "SOCKET":
        return int(client.request(way.method, way.path, headers=headers, json={}).status_code)
    address = HERE.replace("http", "ws") + way.path
    try:
        with suppress(CancelledError), client.websocket_connect(address, headers=headers):
            pass
    except WebSocketDenialResponse as refusal:
        return int(refusal.status_code)
    return 200


def answers(client: TestClient, entered: Inside, headers: dict[str, str]) -> dict[Way, int]:
    found = {way: asked(client, way, headers) for way in every_way(entered)}
    return {way: status for way, status in found.items() if status not in (400, 401, 403)}


def changing(way: Way) -> bool:
    return way.method not in ("GET", "HEAD")


def test_every_route_is_refused_without_a_cookie(entered: Inside) -> None:
    stranger = TestClient(entered.app, base_url=HERE)
    assert answers(stranger, entered, entered.headers) == {}


def test_every_route_is_refused_with_a_cookie_that_is_forged_or_of_a_session_that_ended(
    entered: Inside,
) -> None:
    name, cookie = f"fairwind_{PORT}", entered.client.cookies[f"fairwind_{PORT}"]
    session, _, signature = cookie.partition(".")
    for forged in (session, f"{session}.", f"x{session}.{signature}", f"{session}.{'0' * 64}"):
        stranger = TestClient(entered.app, base_url=HERE, cookies={name: forged})
        assert answers(stranger, entered, entered.headers) == {}
    left = logged_in(entered.app, TestClient(entered.app, base_url=HERE))
    left.app.state.door.leave(left.app.state.door.session(left.client.cookies[name]))
    assert answers(left.client, entered, left.headers) == {}


def test_every_route_is_refused_when_the_session_is_too_old(
    entered: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = logged_in(entered.app, TestClient(entered.app, base_url=HERE))
    later = time.monotonic() + auth.SESSION_S + 1
    monkeypatch.setattr(entered.app.state.door, "_now_s", lambda: later)
    assert answers(old.client, entered, old.headers) == {}


def test_every_route_is_refused_after_a_login_link_that_was_used_before(entered: Inside) -> None:
    door = entered.app.state.door
    link = door.link()
    assert TestClient(entered.app, base_url=HERE).get(f"/login?token={link}").status_code == 200
    second = TestClient(entered.app, base_url=HERE)
    again = second.get(f"/login?token={link}")
    assert again.status_code == 401
    assert "set-cookie" not in again.headers
    assert answers(second, entered, entered.headers) == {}


def test_every_route_is_refused_under_a_foreign_host(entered: Inside) -> None:
    foreign = {**entered.headers, "Host": f"evil.example:{PORT}"}
    assert answers(entered.client, entered, foreign) == {}
    both = {**foreign, "Origin": f"http://evil.example:{PORT}"}
    assert answers(entered.client, entered, both) == {}
    for way in OPEN:
        assert asked(entered.client, way, foreign) == 400


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", f"https://127.0.0.1:{PORT}", HERE + "0"]
)
def test_every_change_and_the_socket_are_refused_to_another_origin(
    entered: Inside, origin: str | None
) -> None:
    headers = {"X-CSRF-Token": entered.csrf} | ({} if origin is None else {"Origin": origin})
    found = answers(entered.client, entered, headers)
    assert [way for way in found if changing(way)] == []
    assert found, "what only reads is not concerned"


@pytest.mark.parametrize("csrf", [None, "", "0" * 64])
def test_every_change_is_refused_without_the_csrf_token_of_its_session(
    entered: Inside, csrf: str | None
) -> None:
    headers = {"Origin": HERE} | ({} if csrf is None else {"X-CSRF-Token": csrf})
    found = answers(entered.client, entered, headers)
    assert [way for way in found if changing(way)] == [Way("SOCKET", "/api/socket")]


def test_another_session_s_csrf_token_is_of_no_use(entered: Inside) -> None:
    other = logged_in(entered.app, TestClient(entered.app, base_url=HERE))
    assert other.csrf != entered.csrf
    found = answers(entered.client, entered, other.headers)
    assert [way for way in found if changing(way) and way.method != "SOCKET"] == []


def test_with_all_of_it_every_route_is_reached(entered: Inside) -> None:
    guest = logged_in(entered.app, TestClient(entered.app, base_url=HERE))
    ending = Way("DELETE", "/api/session")
    for way in every_way(entered):
        if way != ending:
            assert asked(guest.client, way, guest.headers) not in (400, 401, 403), way
    assert asked(guest.client, ending, guest.headers) == 200
    assert guest.client.get("/api/session").status_code == 401


def test_a_route_that_nobody_has_made_is_refused_as_well(entered: Inside) -> None:
    stranger = TestClient(entered.app, base_url=HERE)
    for path in ("/nothing", "/api/nothing", "/static/../api/session", "/login/x", "//login"):
        assert stranger.get(path).status_code == 401
    assert stranger.post("/login", json={}).status_code == 401


def test_no_route_arms_live_trading(entered: Inside) -> None:
    """Controls are those of a paper session; each is named here, so that none comes unseen."""
    wanted = {
        f"/api/controls/{name}"
        for name in (
            [
                "enable",
                "parameter",
                "multiplier",
                "risk",
                "halt",
                "resume",
                "reset",
                "deposit",
                "acknowledge",
            ]
        )
    } | {"/api/links"}
    assert {way.path for way in ways(entered.app) if way.method == "POST"} == wanted
    assert {way for way in ways(entered.app) if changing(way) and way.method != "POST"} == {
        Way("DELETE", "/api/session"),
        Way("SOCKET", "/api/socket"),
    }


def test_the_token_of_this_user_s_programs_opens_two_routes_and_no_more(entered: Inside) -> None:
    program = TestClient(entered.app, base_url=HERE)
    bearer = {"Authorization": f"Bearer {entered.app.state.door.token}"}
    assert set(answers(program, entered, bearer)) == {
        Way("GET", "/metrics"),
        Way("POST", "/api/links"),
    }
    wrong = {"Authorization": "Bearer " + "x" * 43}
    assert answers(program, entered, wrong) == {}
    link = program.post("/api/links", headers=bearer).json()["link"]
    assert link.startswith(f"{HERE}/login?token=")
    assert program.get(link).status_code == 200
    assert program.get("/api/session").status_code == 200


def test_every_answer_forbids_what_a_page_of_ours_does_not_need(entered: Inside) -> None:
    stranger = TestClient(entered.app, base_url=HERE)
    found = [
        stranger.get("/login"),
        stranger.get("/api/session"),
        stranger.get("/health", headers={"Host": "evil.example"}),
        entered.client.get("/api/views"),
        entered.client.get("/nothing"),
    ]
    for answer in found:
        assert {name: answer.headers[name] for name in auth.HEADERS} == auth.HEADERS
    policy = auth.HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy


def test_the_cookie_is_for_this_server_only_and_no_script_reads_it(entered: Inside) -> None:
    client = TestClient(entered.app, base_url=HERE)
    said = client.get(f"/login?token={entered.app.state.door.link()}").headers["set-cookie"]
    parts = said.split("; ")
    assert parts[0].startswith(f"fairwind_{PORT}=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(parts)
    assert "Domain" not in said and "Secure" not in parts
    safe = TestClient(entered.app, base_url=HERE.replace("http", "https"))
    said = safe.get(f"/login?token={entered.app.state.door.link()}").headers["set-cookie"]
    assert "Secure" in said.split("; ")


@pytest.mark.parametrize("other", ['prefs={"a": 1}', "a b=1", "theme=dark mode", "\xe9=1", "x"])
def test_a_cookie_of_another_server_of_this_machine_ends_no_session(
    entered: Inside, other: str
) -> None:
    name = f"fairwind_{PORT}"
    cookie = f"{other}; {name}={entered.client.cookies[name]}; z=1".encode("latin-1")
    stranger = TestClient(entered.app, base_url=HERE)
    assert stranger.get("/api/session", headers={"Cookie": cookie}).status_code == 200


def test_a_body_that_is_too_long_is_not_read(entered: Inside) -> None:
    headers = {**entered.headers, "Idempotency-Key": "12345678"}
    long = b'{"operator": "' + b"x" * 100_000
    answer = entered.client.post("/api/controls/halt", content=long, headers=headers)
    assert answer.status_code == 413


def test_logins_are_counted_for_each_client(entered: Inside) -> None:
    stranger = TestClient(entered.app, base_url=HERE, client=("10.0.0.1", 1))
    found = [stranger.get("/login?token=guess").status_code for _ in range(12)]
    assert found[:10] == [401] * 10
    assert found[10:] == [429] * 2
    other = TestClient(entered.app, base_url=HERE, client=("10.0.0.2", 1))
    assert other.get("/login?token=guess").status_code == 401
    right = stranger.get("/login", params={"token": entered.app.state.door.link()})
    assert right.status_code == 200, "guesses of others lock nobody out"


def test_an_allowance_comes_back_with_time_and_remembers_few_clients() -> None:
    now = [0.0]
    allowance = Allowance(2, 0.5, lambda: now[0])
    for _ in range(2):
        allowance.take("a")
    with pytest.raises(Refusal, match="wait 2 s"):
        allowance.take("a")
    now[0] = 2.0
    allowance.take("a")
    for number in range(5_000):
        allowance.take(str(number))
    assert len(allowance._left) == auth.CLIENTS_MAX


def test_a_link_is_burnt_by_use_and_by_time_and_few_are_kept() -> None:
    now = [0.0]
    door = Door(now_s=lambda: now[0])
    link = door.link()
    assert door.enter(link) is not None
    assert door.enter(link) is None
    late = door.link()
    now[0] = auth.LINK_S
    assert door.enter(late) is None
    links = [door.link() for _ in range(auth.LINKS_MAX + 1)]
    assert door.enter(links[0]) is None
    assert door.enter(links[1]) is not None


def test_a_session_ends_by_time_and_the_oldest_ones_make_room() -> None:
    now = [0.0]
    door = Door(now_s=lambda: now[0])
    cookies = [door.enter(door.link()) for _ in range(auth.SESSIONS_MAX + 1)]
    assert door.session(str(cookies[0])) is None
    found = door.session(str(cookies[1]))
    assert found is not None
    now[0] = auth.SESSION_S
    assert not door.lives(found)
    assert door.session(str(cookies[1])) is None


@pytest.mark.parametrize(
    "given", [{}, {"certificate": Path("c")}, {"certificate": Path("c"), "key": Path("k")}]
)
def test_others_may_listen_only_with_tls_and_a_token_file(given: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"expected 127\.0\.0\.1"):
        checked(Settings(host="0.0.0.0", **given))


def test_a_token_file_is_long_and_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("x" * 32 + "\n")
    path.chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600"):
        secret_of(path)
    path.chmod(0o600)
    assert secret_of(path) == "x" * 32
    path.write_text("short")
    with pytest.raises(BadInput, match="32 characters"):
        secret_of(path)
    with pytest.raises(BadInput, match="token file"):
        secret_of(tmp_path / "none")


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="both a certificate and its key"):
        application(tmp_path, settings=Settings(certificate=tmp_path / "c"))
