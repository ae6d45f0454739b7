"""Alerts told to people: over a real webhook that answers, refuses, is slow or is not there."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from webhook import SECRET, Webhook, listening

from fairwind.api import deliver
from fairwind.api.deliver import Delivery, Mailbox, Message, without
from fairwind.api.engine_link import EngineLink
from fairwind.core import config
from fairwind.core.config import Target
from fairwind.core.errors import BadConfig
from fairwind.core.units import SECOND_NS
from fairwind.run import desk
from fairwind.run.alerts import Condition, Kind
from fairwind.run.health import Facts, Part, Watch

QUICK = (0.01, 0.02, 0.03)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with listening() as found:
        yield found


class Engine:
    """What the engine's status says, by the real rules; `pass_s` lets time go by."""

    def __init__(self, run: Path) -> None:
        self.link = EngineLink(run)
        self.parts: dict[str, Part] = {}
        self._watch = Watch()
        self.now_s = 1000

    def pass_s(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_s += 1
            now_ns = self.now_s * SECOND_NS
            parts = (Part(name="market", beat_ns=now_ns, connected=one) for one in (not self.down,))
            self.link.status, _ = self._watch.look(now_ns, Facts(parts=tuple(parts)))

    down = False


def told(work: Callable[[], Any], *, within_s: float = 20.0) -> None:
    """Run a test's coroutine; one that hangs fails."""

    async def bounded() -> None:
        async with asyncio.timeout(within_s):
            await work()

    asyncio.run(bounded())


async def when(happened: Callable[[], bool]) -> None:
    while not happened():
        await asyncio.sleep(0.01)


@contextmanager
def at_work(delivery: Delivery) -> Iterator[None]:
    task = asyncio.ensure_future(delivery.run())
    try:
        yield
    finally:
        task.cancel()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks come quickly."""
    monkeypatch.setattr(deliver, "LOOK_S", 0.02)


def test_an_alert_is_told_once_when_it_fires_and_once_when_it_is_resolved(
    tmp_path: Path, webhook: Webhook
) -> None:
    async def work() -> None:
        engine = Engine(tmp_path)
        delivery = Delivery(tmp_path, engine.link, [webhook.target()])
        engine.pass_s(3)
        with at_work(delivery):
            engine.down = True
            engine.pass_s(10)
            await when(lambda: len(webhook.heard) == 1)
            engine.pass_s(10)
            await asyncio.sleep(0.1)
            engine.down = False
            engine.pass_s(20)
            await when(lambda: len(webhook.heard) == 2)
            await asyncio.sleep(0.1)
        assert webhook.titles() == ["[CRITICAL] FEED_DOWN market", "[resolved] FEED_DOWN market"]
        assert [one["type"] for one in webhook.heard] == ["failure", "success"]
        assert "docs/alerts.md#feed_down" in webhook.heard[0]["message"]
        shown = delivery.view().values
        assert (shown["sent"], shown["failed"], shown["waiting"]) == (2, 0, 0)

    told(work)


def test_an_alert_that_came_and_went_between_two_looks_is_told_and_an_old_one_is_not(
    tmp_path: Path, webhook: Webhook
) -> None:
    async def work() -> None:
        engine = Engine(tmp_path)
        engine.down = True
        engine.pass_s(10)
        engine.down = False
        engine.pass_s(20)  # resolved before anybody listened
        delivery = Delivery(tmp_path, engine.link, [webhook.target()])
        delivery.look()
        engine.down = True
        engine.pass_s(10)
        engine.down = False
        engine.pass_s(20)
        with at_work(delivery):
            await when(lambda: len(webhook.heard) == 2)
            await asyncio.sleep(0.1)
        assert len(webhook.heard) == 2

    told(work)


def test_pages_that_are_begun_anew_do_not_say_it_again(tmp_path: Path, webhook: Webhook) -> None:
    async def work() -> None:
        engine = Engine(tmp_path)
        engine.down = True
        engine.pass_s(10)
        for _ in range(2):
            with at_work(Delivery(tmp_path, engine.link, [webhook.target()])):
                await when(lambda: len(webhook.heard) == 1)
                await asyncio.sleep(0.1)
        engine.down = False
        engine.pass_s(20)
        assert len(webhook.heard) == 1

    told(work)


def test_each_target_hears_only_the_severities_that_concern_it(
    tmp_path: Path, webhook: Webhook
) -> None:
    async def work() -> None:
        engine = Engine(tmp_path)
        engine.down = True
        engine.pass_s(10)
        targets = [webhook.target("info"), webhook.target("critical", more="/2")]
        delivery = Delivery(tmp_path, engine.link, targets)
        with at_work(delivery):
            await when(lambda: len(webhook.heard) == 1)
            await asyncio.sleep(0.1)
        assert [box.sent for box in delivery.boxes] == [0, 1]

    told(work)


def test_what_is_refused_is_attempted_again_until_it_is_taken(
    tmp_path: Path, webhook: Webhook
) -> None:
    async def work() -> None:
        webhook.answers = [500, 503]
        engine = Engine(tmp_path)
        engine.down = True
        engine.pass_s(10)
        delivery = Delivery(tmp_path, engine.link, [webhook.target()], waits_s=QUICK)
        with at_work(delivery):
            await when(lambda: len(webhook.heard) == 1)
            await when(lambda: delivery.boxes[0].sent >= 1)
        shown = delivery.view().values
        assert (shown["sent"], shown["failed"], shown["retried"]) == (1, 0, 2)
        assert delivery.boxes[0].error == ""

    told(work)


@pytest.mark.parametrize("way", ["refused", "error", "slow"])
def test_what_cannot_be_sent_is_counted_said_and_raises_an_alert_that_ends_with_a_success(
    tmp_path: Path, webhook: Webhook, way: str
) -> None:
    async def work() -> None:
        bad = webhook.target(more="?rto=0.2&cto=0.2")
        if way == "refused":
            bad = Target(url=f"json://{SECRET}:{SECRET}2@127.0.0.1:1/{SECRET}3")
        webhook.answers = [500] * 4 if way == "error" else []
        webhook.slow_s = 1.0 if way == "slow" else 0.0
        engine = Engine(tmp_path)
        engine.down = True
        engine.pass_s(10)
        clock = [0]
        delivery = Delivery(
            tmp_path, engine.link, [bad], waits_s=QUICK, now_ns=lambda: clock[0] * SECOND_NS
        )
        with at_work(delivery):
            await when(lambda: delivery.boxes[0].failed == 1)
            for _ in range(12):
                clock[0] += 1
                delivery.look()
            (alarm,) = engine.link.active[:1]
            assert (alarm.kind, alarm.subject) == (Kind.DELIVERY_FAILED, "1 json")
            shown = delivery.view().values
            error = shown["1 json: last_error"]
            assert (shown["sent"], shown["failed"]) == (0, 1)
            reason = "500" if way == "error" else "Connection error"
            assert isinstance(error, str) and reason in error
            everything = repr((shown, alarm, delivery.boxes[0].name))
            assert SECRET not in everything, everything
            webhook.slow_s, engine.down = 0.0, False
            engine.pass_s(20)
            if way == "error":
                await when(lambda: delivery.boxes[0].sent >= 1)
                clock[0] += 1
                delivery.look()
                assert engine.link.alarms.active() == ()

    told(work)


def test_a_defect_of_the_library_is_a_message_that_failed_and_not_the_end_of_the_pages() -> None:
    async def work() -> None:
        box = Mailbox("1", Target(url="json://127.0.0.1:1/"))
        box._apprise.notify = None  # type: ignore[method-assign, assignment]
        message = Message("1", "a", "b", deliver.apprise.NotifyType.INFO)
        assert await box._attempt(message) == "Apprise failed (TypeError)"

    told(work)


def test_a_queue_that_is_full_drops_the_oldest_and_counts_it() -> None:
    box = Mailbox("1", Target(url="json://127.0.0.1:1/"))
    for number in range(deliver.WAITING_MAX + 3):
        box.put(Message(str(number), "", "", deliver.apprise.NotifyType.INFO))
    assert len(box.waiting) == deliver.WAITING_MAX and box.failed == 3
    assert box.waiting[0].id == "3" and "messages waited" in box.last_error


def test_an_address_that_is_none_is_refused_without_showing_it() -> None:
    for url in (f"nonsense://{SECRET}", f"json://{SECRET}:x@", SECRET):
        with pytest.raises(BadConfig, match="an address as Apprise writes them") as found:
            Mailbox("1", Target(url=url))
        assert SECRET not in str(found.value) or url == SECRET


@pytest.mark.parametrize(
    "text",
    [
        f'[alerts]\ntargets = [{{url = 3, severities = ["{SECRET}"]}}]',
        f'[alerts]\ntargets = [{{url = "json://{SECRET}@h/", severities = ["critic"]}}]',
        f'[alerts]\ntargets = [{{url = "json://{SECRET}@h/", severity = "critical"}}]',
        f'[alerts]\ntargets = "{SECRET}"',
        f'alerts = "{SECRET}"',
    ],
)
def test_settings_of_targets_that_cannot_be_used_are_refused_without_their_address(
    text: str,
) -> None:
    with pytest.raises(BadConfig, match="alerts") as found:
        config.parse(text)
    assert SECRET not in str(found.value)


def test_a_target_does_not_show_its_address() -> None:
    parsed = config.parse(f'[alerts]\ntargets = [{{url = "mailto://me:{SECRET}@example.com"}}]')
    assert SECRET not in repr(parsed) and parsed.alerts.targets[0].severities[0] == "critical"
    assert Mailbox("3", parsed.alerts.targets[0]).name == "3 mailto"


def test_what_an_address_holds_is_cut_from_every_text() -> None:
    url = "tgram://123456789:abcdefg_hij%40klmn/12315544/?to=someone"
    said = "123456789:abcdefg_hij@klmn refused abcdefg_hij%40klmn for 12315544 and someone"
    shown = without(url, said)
    assert not any(
        part in shown for part in ("123456789", "abcdefg", "klmn", "12315544", "someone")
    )


def test_an_engine_that_does_not_answer_is_an_alert_that_somebody_can_acknowledge(
    tmp_path: Path, webhook: Webhook
) -> None:
    async def work() -> None:
        running = desk.Running(
            address="http://127.0.0.1:1",
            token="t",
            pid=2**22,
            mode="PAPER",
            speed=1.0,
            started_ns=1,
        )
        desk.write(tmp_path, running)
        link = EngineLink(tmp_path)
        delivery = Delivery(tmp_path, link, [webhook.target()])
        with at_work(delivery):
            await link.look()
            await delivery.farewell()
            assert webhook.titles() == ["[CRITICAL] ENGINE_GONE engine"]
            assert "its process has ended" in webhook.heard[0]["message"]
        wish = desk.Acknowledge(kind=Kind.ENGINE_GONE, subject="engine")
        await link.send(desk.Request(key="k", operator="ada", acknowledge=wish))
        (alarm,) = link.active
        assert (alarm.operator, alarm.state) == ("ada", "acknowledged")
        await link.close()

    told(work, within_s=60)


def test_nothing_is_waited_for_when_a_session_ended_as_it_should(
    tmp_path: Path, webhook: Webhook
) -> None:
    async def work() -> None:
        delivery = Delivery(tmp_path, EngineLink(tmp_path), [webhook.target()])
        with at_work(delivery):
            began_s = time.monotonic()
            await delivery.farewell()
            assert time.monotonic() - began_s < 1

    told(work)


def test_own_alarms_follow_the_same_rules(tmp_path: Path) -> None:
    link = EngineLink(tmp_path)
    link.alarms.update(0, [Condition(Kind.ENGINE_GONE, "engine", "x")])
    assert link.active == ()
    link.alarms.update(4 * SECOND_NS, [Condition(Kind.ENGINE_GONE, "engine", "x")])
    assert [one.kind for one in link.active] == [Kind.ENGINE_GONE]
