"""Controls through the API: with a name in the journal, once for each key, never by accident."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from api_client import Inside, inside
from hand_engine import HandEngine, finished, made, trading, wait_for
from msgspec.structs import replace

from fairwind.api.app import application
from fairwind.api.engine_link import SILENT_S
from fairwind.core import controls
from fairwind.core.errors import BadInput, Diverged
from fairwind.engine.run import roster
from fairwind.run import desk, health
from fairwind.run.alerts import Kind

BTC = next(spec for spec in roster() if spec.id == "BTC_5M")


class Both(NamedTuple):
    """An engine that trades, and somebody at the pages of its run."""

    engine: HandEngine
    inside: Inside

    def ask(self, what: str, key: str, **body: Any) -> Any:
        return self.inside.ask(what, key, **{"operator": "Ada", **body})

    def journaled(self) -> list[controls.AnyControl]:
        """What operators asked for, by the journal."""
        known = self.inside.app.state.board.follower.controls
        return [one.control for one in known if one.control.operator != "config"]

    def settle(self) -> None:
        """Go on trading until the API has seen what was done."""
        at_ns = self.engine.now_ns()
        later = self.engine.left[self.engine.left["ts_ns"] > at_ns]
        self.engine.play(later[:5])
        events = self.engine.session.events - 5
        board = self.inside.app.state.board
        wait_for(lambda: board.follower.state.events() >= events)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    events = made(windows=1)
    with trading(tmp_path / "run", int(events["ts_ns"][0])) as engine:
        engine.left = events
        engine.play(events[:2_000])
        with inside(engine.run) as one:
            wait_for(lambda: one.app.state.board.engine.phase == "running")
            yield Both(engine, one)


def test_every_control_reaches_the_journal_with_the_operator_s_name(both: Both) -> None:
    name, low = BTC.parameters[0].name, BTC.parameters[0].low
    asked: list[tuple[str, dict[str, Any], controls.AnyControl]] = [
        (
            "enable",
            {"strategy": "BTC_5M", "enabled": False},
            controls.Enable(operator="Ada", strategy="BTC_5M", enabled=False),
        ),
        (
            "parameter",
            {"strategy": "BTC_5M", "name": name, "value": low},
            controls.SetParameter(operator="Ada", strategy="BTC_5M", name=name, value=low),
        ),
        (
            "multiplier",
            {"strategy": "BTC_5M", "value": 0.5},
            controls.SetMultiplier(operator="Ada", strategy="BTC_5M", value=0.5),
        ),
        (
            "halt",
            {"confirm": "HALT", "reason": "lunch"},
            controls.Halt(operator="Ada", reason="lunch"),
        ),
        ("resume", {"confirm": "RESUME"}, controls.Resume(operator="Ada")),
        ("reset", {"confirm": "RESET"}, controls.Reset(operator="Ada")),
        (
            "deposit",
            {"confirm": "DEPOSIT", "amount_micro": 5},
            controls.Deposit(operator="Ada", amount_micro=5),
        ),
    ]
    for number, (what, body, _) in enumerate(asked):
        answer = both.ask(what, f"key-{number:04d}", **body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["event"] is not None
    both.settle()
    assert both.journaled() == [control for _, _, control in asked]
    shown = both.inside.client.get("/api/views/controls").json()["snapshot"]
    assert [row[2:4] for row in shown["rows"]][-7:] == [
        ["Ada", type(control).__name__] for _, _, control in asked
    ]
    recent = both.inside.client.get("/api/views/events?filter=Halt").json()["snapshot"]
    assert recent["rows"][-1][3:] == ["Ada", "Halt: lunch"]


def test_a_halt_stops_and_a_resume_lets_through(both: Both) -> None:
    assert both.ask("halt", "halt-0001", confirm="HALT", reason="x").status_code == 200
    assert both.engine.on_loop(lambda: int(both.engine.session.state.record.halted)) == 1
    board = both.inside.app.state.board
    wait_for(lambda: board.engine.status.engine.halted)
    shown = both.inside.client.get("/api/views/engine").json()["snapshot"]["values"]
    assert shown["halted"] == "by a control"
    assert both.ask("resume", "halt-0002", confirm="RESUME").status_code == 200
    assert both.engine.on_loop(lambda: int(both.engine.session.state.record.halted)) == 0


def test_the_same_key_is_answered_again_and_done_once(both: Both) -> None:
    first = both.ask("halt", "same-key", confirm="HALT", reason="x")
    again = both.ask("halt", "same-key", confirm="HALT", reason="x")
    assert first.json() == again.json()
    other = both.ask("halt", "same-key", confirm="HALT", reason="y")
    assert other.status_code == 422
    assert "used for another request" in other.json()["error"]
    both.settle()
    assert len(both.journaled()) == 1


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("halt", {"confirm": "halt", "reason": "x"}),
        ("halt", {"reason": "x"}),
        ("resume", {}),
        ("reset", {"confirm": "YES"}),
        ("risk", {"cap_strategy": 0.1}),
        ("deposit", {"amount_micro": 1}),
        ("enable", {"strategy": "NOBODY", "enabled": True}),
        ("multiplier", {"strategy": "BTC_5M", "value": 2.1}),
        ("parameter", {"strategy": "BTC_5M", "name": "nothing", "value": 1}),
        (
            "parameter",
            {
                "strategy": "BTC_5M",
                "name": BTC.parameters[0].name,
                "value": BTC.parameters[0].high * 2 + 1,
            },
        ),
        ("enable", {"strategy": "BTC_5M", "enabled": True, "live": True}),
        ("resume", {"confirm": "RESUME", "operator": ""}),
        ("resume", {"confirm": "RESUME", "operator": "config"}),
        ("resume", {"confirm": "RESUME", "operator": "a\nb"}),
        ("resume", {"confirm": "RESUME", "operator": "x" * 65}),
    ],
)
def test_what_cannot_be_done_is_refused_in_words_and_changes_nothing(
    both: Both, what: str, body: dict[str, Any]
) -> None:
    answer = both.ask(what, "any-key-1", **body)
    assert answer.status_code == 422
    assert len(answer.json()["error"]) > 10
    both.settle()
    assert both.journaled() == []


def test_a_control_needs_a_key(both: Both) -> None:
    for key in ("", "short", "x" * 129, "sp ace 12345"):
        assert both.ask("resume", key, confirm="RESUME").status_code == 422
    bare = both.inside.client.post(
        "/api/controls/resume",
        json={"operator": "Ada", "confirm": "RESUME"},
        headers=both.inside.headers,
    )
    assert bare.status_code == 422
    assert "Idempotency-Key" in bare.json()["error"]


def test_limits_that_are_not_named_stay_as_they_are(both: Both) -> None:
    before = both.engine.session.state.record
    kept = {name: float(before[name]) for name in ("cap_family", "drawdown_stop", "latency_ns")}
    answer = both.ask("risk", "risk-0001", confirm="RISK", cap_strategy=0.11)
    assert answer.status_code == 200, answer.text
    after = both.engine.on_loop(both.engine.session.state.record.copy)
    assert float(after["cap_strategy"]) == 0.11
    assert {name: float(after[name]) for name in kept} == kept


def test_limits_are_set_on_what_the_engine_has_not_on_what_the_pages_have_seen(both: Both) -> None:
    board = both.inside.app.state.board
    board.follower.follow = lambda _for_s: True  # as when they are still reading a long journal
    for key, limit in (("risk-0001", {"cap_strategy": 0.11}), ("risk-0002", {"cap_family": 0.22})):
        answer = both.ask("risk", key, confirm="RISK", **limit)
        assert answer.status_code == 200, answer.text
    after = both.engine.on_loop(both.engine.session.state.record.copy)
    assert (float(after["cap_strategy"]), float(after["cap_family"])) == (0.11, 0.22)
    again = both.ask("risk", "risk-0001", confirm="RISK", cap_strategy=0.11)
    assert again.status_code == 200 and again.json()["event"] is not None


def test_an_alert_is_acknowledged_by_name(both: Both) -> None:
    def trouble() -> None:
        now_ns = both.engine.now_ns()
        both.engine.conditions = [
            health.Part(name="market", beat_ns=now_ns, connected=True, queue=95, queue_max=100)
        ]

    both.engine.on_loop(trouble)
    link = both.inside.app.state.board.engine
    looks = link.looks
    wait_for(lambda: link.looks > looks + 1)
    both.engine.play(both.engine.left[2_000:4_000])  # it has to last for two seconds
    wait_for(lambda: both.inside.client.get("/api/alerts").json()["counts"]["critical"])
    (alert,) = both.inside.client.get("/api/alerts").json()["active"]
    assert (alert["kind"], alert["subject"]) == (Kind.INBOX_FULL, "market")
    answer = both.ask("acknowledge", "ack-0001", kind=alert["kind"], subject="market")
    assert answer.status_code == 200, answer.text
    assert answer.json()["event"] is None

    def shown() -> dict[str, Any]:
        rows = both.inside.client.get("/api/views/alerts").json()["snapshot"]
        return dict(zip(rows["columns"], rows["rows"][0], strict=True))

    wait_for(lambda: shown()["state"] == "acknowledged")
    assert shown()["operator"] == "Ada"
    none = both.ask("acknowledge", "ack-0002", kind="HALTED", subject="engine")
    assert none.status_code == 422


def test_controls_are_refused_when_the_engine_is_silent_and_say_what_to_do(both: Both) -> None:
    both.engine.on_loop(lambda: setattr(both.engine, "token", "another"))
    answer = both.ask("resume", "deaf-0001", confirm="RESUME")
    assert answer.status_code == 503
    assert "log.jsonl" in answer.json()["error"]


def test_a_finished_run_takes_no_controls(tmp_path: Path) -> None:
    with inside(finished(tmp_path / "run", windows=1)) as one:
        answer = one.ask("resume", "over-0001", operator="Ada", confirm="RESUME")
        assert answer.status_code == 409
        assert "only shown" in answer.json()["error"]


def test_a_process_that_is_gone_is_silent_and_takes_no_controls(both: Both) -> None:
    gone = replace(both.engine.place, address="http://127.0.0.1:1", pid=2**22 - 1)
    desk.write(both.engine.run, gone)
    link = both.inside.app.state.board.engine
    wait_for(lambda: link.phase == "silent")
    assert "its process has ended" in link.why
    assert both.ask("resume", "gone-0001", confirm="RESUME").status_code == 503


def test_an_engine_that_took_the_port_of_a_dead_one_is_not_taken_for_it(both: Both) -> None:
    link = both.inside.app.state.board.engine
    desk.write(both.engine.run, replace(both.engine.place, token="of a session that was killed"))
    wait_for(lambda: link.phase == "silent")
    assert "another program answers at its address" in link.why
    assert link.status is None


def test_a_run_that_goes_on_is_not_silent_before_its_session_had_time_to_answer(
    both: Both,
) -> None:
    link = both.inside.app.state.board.engine
    desk.write(both.engine.run, replace(both.engine.place, ended=True))
    wait_for(lambda: link.phase == "over" and link.silent_s > SILENT_S + 0.5)
    both.engine.silent, both.engine.token = True, "of the next session"
    desk.write(both.engine.run, replace(both.engine.place, token=both.engine.token))
    wait_for(lambda: link.mode == "PAPER")
    assert link.phase == "running"
    wait_for(lambda: link.phase == "silent")


def test_the_engine_s_token_is_sent_to_this_machine_only(both: Both) -> None:
    desk.write(both.engine.run, replace(both.engine.place, address="http://10.0.0.1:80"))
    link = both.inside.app.state.board.engine
    wait_for(lambda: link._running is not None and "10.0.0.1" in link._running.address)
    answer = both.ask("resume", "away-0001", confirm="RESUME")
    assert answer.status_code == 503
    assert "expected the engine at http://127.0.0.1" in answer.json()["error"]


def test_too_many_controls_of_a_kind_have_to_wait_and_a_halt_does_not(both: Both) -> None:
    body = {"strategy": "BTC_5M", "enabled": True}
    found = [both.ask("enable", f"many-{n:04d}", **body).status_code for n in range(40)]
    assert 429 in found
    limited = both.ask("enable", "many-9999", **body)
    assert limited.status_code == 200 or int(limited.headers["Retry-After"]) >= 1
    assert both.ask("halt", "halt-9999", confirm="HALT", reason="x").status_code == 200


def test_a_run_that_is_damaged_says_so_in_every_view_and_not_old_figures(tmp_path: Path) -> None:
    with inside(finished(tmp_path / "run", windows=1)) as one:
        board = one.app.state.board
        assert one.client.get("/health").json() == {"ok": True}

        def diverged(_for_s: float) -> bool:
            raise Diverged("expected digest a, found b")

        board.follower.follow = diverged
        wait_for(lambda: board.failed)
        answer = one.client.get("/api/views/overview")
        assert answer.status_code == 503
        assert "expected digest a" in answer.json()["error"]
        assert one.client.get("/health").status_code == 503
        shown = one.client.get("/api/views/system")
        wait_for(lambda: one.client.get("/api/views/system").json()["snapshot"]["values"]["failed"])
        assert shown.status_code == 200


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected a run directory"):
        application(tmp_path)
