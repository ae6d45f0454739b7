"""Controls of a session that trades: asked for over HTTP, found in the journal under a name."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import live_sessions as live
import msgspec
import numpy as np
import pytest

from fairwind.core import controls
from fairwind.core.controls import AnyControl
from fairwind.core.errors import BadInput, Fault
from fairwind.core.events import Kind
from fairwind.core.holds import Hold
from fairwind.core.outputs import OrderState
from fairwind.core.units import SECOND_NS
from fairwind.journal import file
from fairwind.research.verify import verify
from fairwind.run import alerts, desk, trading
from fairwind.run.alerts import Alerts, Condition
from fairwind.run.desk import Desk, Request
from fairwind.run.loop import Session
from fairwind.run.status import Looking

MARKET = ("--windows=1", "--series=BTC_5M", "--knob=quote_rate=0.02", "--knob=history_s=120")
HALT = {"type": "Halt", "reason": "a test"}
RESUME = {"type": "Resume"}
NAME = "ada"

Work = Callable[["Operator"], Awaitable[None]]


class Operator:
    """Somebody who has read `engine.json`."""

    def __init__(self, run: Path, looking: Looking, client: httpx.AsyncClient) -> None:
        running = desk.found(run)
        assert running is not None
        self.running = running
        self.looking = looking
        self._client = client
        self._headers = {"Authorization": f"Bearer {running.token}"}
        self._keys = 0

    async def post(self, body: Any, **headers: str) -> httpx.Response:
        """A request as it is."""
        return await self._client.post(
            f"{self.running.address}/controls",
            content=body if isinstance(body, bytes) else json.dumps(body).encode(),
            headers=self._headers | headers,
        )

    async def ask(self, control: dict[str, Any], key: str = "", name: str = NAME) -> httpx.Response:
        """A control under a key of its own, unless one is given."""
        self._keys += 1
        key = key or f"key {self._keys}"
        return await self.post({"key": key, "operator": name, "control": control})

    async def when(self, happened: Callable[[], bool]) -> None:
        """Wait for something in the session."""
        async with asyncio.timeout(60):
            while not happened():
                await asyncio.sleep(0.01)

    async def pass_s(self, seconds: float) -> None:
        """Let market time pass."""
        until_ns = self.looking.paper.turned_ns + round(seconds * SECOND_NS)
        await self.when(lambda: self.looking.paper.turned_ns >= until_ns)

    def alerts(self) -> list[str]:
        """What fires, as the newest status says."""
        return [one.kind for one in self.looking.status.alerts]

    def decided(self) -> int:
        """Orders decided so far, refused ones as well."""
        return int(self.looking.paper.session.state.record.submitted)


def operated(run: Path, work: Work, *options: str) -> Session:
    """A session of an eager strategy that ends when an operator has done his work."""

    async def operate(looking: Looking, _address: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            try:
                await work(Operator(run, looking, client))
            finally:
                looking.paper.stop.set()

    with live.market(*MARKET, *options) as place:
        return asyncio.run(trading.trade(live.eager_plan(run, place.address), operate))


def journaled(run: Path) -> list[tuple[int, AnyControl]]:
    """Number and content of the controls that somebody has asked for."""
    events = live.replayed(run).events
    found = [
        (int(number), controls.decode(file.payload_of(run, int(price)), int(price)))
        for number, price in (
            (number, events["price"][number])
            for number in np.flatnonzero(events["kind"] == Kind.CONTROL)
        )
    ]
    return [(number, one) for number, one in found if one.operator != desk.OURS]


@pytest.mark.parametrize("options", [("--stepped",), ("--speed=20",)], ids=["stepped", "running"])
def test_a_halt_stops_entries_within_a_turn_until_somebody_resumes(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    said: dict[str, Any] = {}

    async def work(operator: Operator) -> None:
        await operator.when(lambda: operator.decided() > 2)
        first = await operator.ask(HALT, key="once")
        assert first.status_code == 200, first.text
        assert "HALTED" in operator.alerts()
        assert not operator.looking.paper.session.state.record.orders["order"].any()
        before = operator.decided()
        await operator.pass_s(10)
        again = await operator.ask(HALT, key="once")
        assert again.content == first.content
        other = await operator.ask(RESUME, key="once")
        assert other.status_code == 422 and "used for another" in other.text
        said["halted"] = first.json()
        said["resumed"] = (await operator.ask(RESUME)).json()
        await operator.when(lambda: operator.decided() > before + 2)

    run = tmp_path / "run"
    session = operated(run, work, *options)
    (halted, halt), (resumed, resume) = journaled(run)
    assert (halt, resume) == (
        controls.Halt(operator=NAME, reason="a test"),
        controls.Resume(operator=NAME),
    )
    again = live.replayed(run)
    assert (said["halted"]["event"], said["resumed"]["event"]) == (halted, resumed)
    assert [again.events["ts_ns"][number] for number in (halted, resumed)] == [
        said[word]["ts_ns"] for word in ("halted", "resumed")
    ]
    assert_nothing_was_decided_between(again, halted, resumed)
    assert session.state.digest() == again.digest
    assert verify(run).divergence is None


def assert_nothing_was_decided_between(again: live.Replayed, halted: int, resumed: int) -> None:
    from_ns, until_ns = (int(again.events["ts_ns"][number]) for number in (halted, resumed))
    orders, scans = again.rows["orders"], again.rows["scans"]
    sent = orders[(orders["state"] != OrderState.CANCELLED) & (orders["code"] != Hold.HALTED)]
    between = (sent["ts_ns"] > from_ns) & (sent["ts_ns"] < until_ns)
    assert not between.any(), sent[between]
    assert (sent["ts_ns"] < from_ns).any() and (sent["ts_ns"] >= until_ns).any()
    held = scans["mask"][(scans["ts_ns"] > from_ns) & (scans["ts_ns"] < until_ns)]
    assert len(held) and (held & np.uint64(1 << Hold.HALTED)).all()


def test_what_cannot_be_done_is_refused_with_the_reason_and_is_not_journaled(
    tmp_path: Path,
) -> None:
    price: dict[str, Any] = {"type": "SetParameter", "strategy": "BTC_5M", "name": "edge_stderrs"}
    wrong: list[tuple[dict[str, Any], str]] = [
        (price | {"value": 1e9}, "expected"),
        (price | {"value": 1, "name": "edge_stderr"}, "edge_stderrs"),
        ({"type": "Enable", "strategy": "BTC_6M", "enabled": True}, "BTC_5M"),
        ({"type": "SetMultiplier", "strategy": "BTC_5M", "value": 2.5}, "expected 0 to 2"),
        ({"type": "Withdraw", "amount_micro": 1}, "Invalid value 'Withdraw'"),
        ({"type": "Halt"}, "missing required field `reason`"),
        (HALT | {"reason": "x" * desk.BODY_BYTES_MAX}, "at most 4096 bytes"),
    ]

    async def work(operator: Operator) -> None:
        for control, reason in wrong:
            answer = await operator.ask(control)
            assert answer.status_code == 422 and reason in answer.text, answer.text
        for name in ("config", "", " ", "a\nb", "x" * 65):
            assert (await operator.ask(HALT, name=name)).status_code == 422, name
        deep = b'{"control":{"a":' + b"[" * 4_000
        for body in (b"", b"\xff", b"[]", b'{"key":"k","operator":"o"}', deep):
            assert (await operator.post(body)).status_code == 422, body
        for token in ("", "Bearer", "Bearer wrong", "Basic x", f"{operator.running.token}"):
            body = {"key": "k", "operator": NAME, "control": HALT}
            assert (await operator.post(body, Authorization=token)).status_code == 401
        for path in ("status", "metrics"):
            place = f"{operator.running.address}/{path}"
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                for headers, code in (
                    ({}, 200),
                    ({"Authorization": f"Bearer {operator.running.token}"}, 200),
                    ({"Authorization": "Bearer of another session"}, 401),
                    ({"Host": "rebound.example"}, 400),
                ):
                    assert (await client.get(place, headers=headers)).status_code == code, headers
        known = {"kind": "FEED_DOWN", "subject": "nobody"}
        answer = await operator.post({"key": "k", "operator": NAME, "acknowledge": known})
        assert answer.status_code == 422 and "no alert FEED_DOWN" in answer.text

    run = tmp_path / "run"
    operated(run, work, "--stepped")
    assert journaled(run) == []


def test_every_control_that_is_allowed_acts_and_the_run_can_be_continued(tmp_path: Path) -> None:
    asked: list[AnyControl] = [
        controls.Enable(strategy="BTC_5M", enabled=False),
        controls.SetParameter(strategy="BTC_5M", name="edge_min", value=100.0),
        controls.SetMultiplier(strategy="BTC_5M", value=0.5),
        controls.Configure(cap_strategy=0.2),
        controls.Deposit(amount_micro=5_000_000),
        controls.Reset(),
    ]

    async def work(operator: Operator) -> None:
        answers = await asyncio.gather(*(operator.ask(msgspec.to_builtins(one)) for one in asked))
        numbers = [one.json()["event"] for one in answers]
        assert len(set(numbers)) == len(asked), [one.text for one in answers]

    async def nothing(operator: Operator) -> None:
        await operator.pass_s(1)

    run = tmp_path / "run"
    session = operated(run, work, "--stepped")
    record = session.state.record
    assert (record.strategies["enabled"][0], record.strategies["multiplier"][0]) == (0, 0.5)
    assert record["cap_strategy"] == 0.2 and record.refused_controls == 0
    found = [msgspec.structs.replace(one, operator="config") for _, one in journaled(run)]
    assert sorted(map(repr, found)) == sorted(map(repr, asked))
    operated(run, nothing, "--stepped")
    assert verify(run).divergence is None


def test_engine_json_is_for_its_owner_only_and_says_when_the_session_has_ended(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"

    async def work(operator: Operator) -> None:
        assert (run / desk.FILE).stat().st_mode & 0o777 == 0o600
        assert (operator.running.mode, operator.running.ended) == ("PAPER", False)

    operated(run, work, "--stepped")
    running = desk.found(run)
    assert running is not None and running.ended and running.failed == ""
    assert (run / desk.FILE).stat().st_mode & 0o777 == 0o600
    (run / desk.FILE).write_text("{}")
    with pytest.raises(BadInput, match=r"engine\.json: expected what a session writes"):
        desk.found(run)
    assert desk.found(tmp_path) is None


def test_a_session_that_a_defect_ends_says_so(tmp_path: Path) -> None:
    async def work(operator: Operator) -> None:
        def broken(*_: Any) -> None:
            raise AssertionError("cash is gone")

        operator.looking.paper.session.feed = broken  # type: ignore[method-assign]
        await operator.when(lambda: False)

    with pytest.raises(ExceptionGroup):
        operated(tmp_path / "run", work, "--speed=20")
    running = desk.found(tmp_path / "run")
    assert running is not None and running.ended and "cash is gone" in running.failed


def halting(number: int) -> Request:
    return Request(key=f"{number}", operator=NAME, control=controls.Halt(reason=f"{number}"))


def test_too_many_controls_for_one_turn_and_those_of_a_session_that_ends_are_told_so() -> None:
    async def work() -> None:
        woken: list[int] = []
        one, known = Desk(lambda: 1, lambda: woken.append(1)), Alerts()
        waiting = [asyncio.create_task(one.ask(halting(n), known)) for n in range(desk.WAITING_MAX)]
        await asyncio.sleep(0)
        assert len(woken) == desk.WAITING_MAX
        with pytest.raises(Fault, match="controls wait already"):
            await one.ask(halting(desk.WAITING_MAX), known)
        events, payloads = one.take(5)
        assert len(events) == len(payloads) == desk.WAITING_MAX
        one.fed(events, 10)
        answers = await asyncio.gather(*waiting)
        assert [answer.event for answer in answers] == list(range(10, 10 + desk.WAITING_MAX))
        assert len(one.take(6)[0]) == 0
        late = asyncio.create_task(one.ask(halting(1000), known))
        await asyncio.sleep(0)
        one.close()
        with pytest.raises(Fault, match="ending"):
            await late
        with pytest.raises(Fault, match="ending"):
            await one.ask(halting(1001), known)

    asyncio.run(work())


def test_limits_of_one_turn_add_up() -> None:
    async def work() -> None:
        engine = [controls.Configure(latency_ms=1.0)]
        woken: list[int] = []
        one = Desk(lambda: 1, lambda: woken.append(1), lambda: engine[0])
        wishes = (
            controls.Configure(latency_ms=2.0),
            desk.Limit(cap_strategy=0.1),
            controls.Halt(reason="x"),
            desk.Limit(drawdown_stop=0.2),
        )
        asked = [Request(key=f"{n}", operator=NAME, control=w) for n, w in enumerate(wishes)]
        waiting = [asyncio.create_task(one.ask(wish, Alerts())) for wish in asked]
        await asyncio.sleep(0)
        batches = ((["Configure"], True), (["Configure", "Halt"], True), (["Configure"], False))
        for kinds, goes_on in batches:
            woken.clear()
            events, payloads = one.take(5)
            made = [controls.decode(payload, number) for number, payload in payloads.items()]
            assert [type(control).__name__ for control in made] == kinds
            assert bool(woken) == goes_on
            assert isinstance(made[0], controls.Configure)
            engine[0] = made[0]
            one.fed(events, 0)
        assert len(await asyncio.gather(*waiting)) == len(wishes)
        assert engine[0] == controls.Configure(
            operator=NAME, latency_ms=2.0, cap_strategy=0.1, drawdown_stop=0.2
        )
        with pytest.raises(BadInput, match="cap_strategy: expected 0 to 1"):
            await one.ask(
                Request(key="x", operator=NAME, control=desk.Limit(cap_strategy=2.0)), Alerts()
            )

    asyncio.run(work())


def test_the_newest_keys_are_remembered_and_no_more() -> None:
    async def work() -> None:
        one, known = Desk(lambda: 7, lambda: None), Alerts()
        for number in range(desk.KEYS_MAX + 1):
            asking = asyncio.create_task(one.ask(halting(number), known))
            await asyncio.sleep(0)
            one.fed(one.take(number)[0], number)
            assert (await asking).event == number
        newest = await one.ask(halting(desk.KEYS_MAX), known)
        assert newest.event == desk.KEYS_MAX and len(one.take(0)[0]) == 0
        assert len(one._answers) == desk.KEYS_MAX

    asyncio.run(work())


def test_an_alert_that_is_acknowledged_says_by_whom_and_when() -> None:
    async def work() -> None:
        one, known = Desk(lambda: 7, lambda: None), Alerts()
        known.update(5, [Condition(alerts.Kind.HALTED, "engine", "by a control")])
        wish = desk.Acknowledge(kind=alerts.Kind.HALTED, subject="engine")
        request = Request(key="a", operator=NAME, acknowledge=wish)
        answer = await one.ask(request, known)
        assert (answer.event, answer.ts_ns) == (None, 7)
        assert await one.ask(request, known) == answer
        (alert,) = known.active()
        assert (alert.operator, alert.acknowledged_ns, alert.state) == (NAME, 7, "acknowledged")

    asyncio.run(work())
