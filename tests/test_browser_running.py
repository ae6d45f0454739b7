"""The pages while `fairwind paper` trades: they live, warn, obey, and say when they are old.

In: the command itself on a built-in market at ten times the day's speed, with faults on command.
Out: what Chromium shows, against the engine's status and the run's journal.
"""

import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import browser as b
import httpx
import msgspec
import pytest
from browser import Json, Screen

from fairwind.api.app import Place, place_of
from fairwind.api.follow import Follower, Given
from fairwind.api.ui.pages import PAGES, path_of
from fairwind.core.units import SECOND_NS
from fairwind.run import desk

SPEED = 10.0
STRATEGY = "BTC_5M"
ENGINE = path_of(STRATEGY)
EAGER = {
    "edge_min": -300,
    "edge_stderrs": 0,
    "coinflip_band": 0,
    "entry_cooldown": 10,
    "max_positions": 2,
    "trades_per_window": 2,
    "streak_losses": 1000,
    "loss_cooldown": 0,
    "order_max": 12,
}
"""So that it trades soon, and loses little."""
MARKET = (f"--speed={SPEED:g}", "--windows=72", "--knob=history_s=120", "--start=100")
FROZEN_S = 240
"""Of market time."""


class Trading(NamedTuple):
    """A session that runs, and where."""

    run: Path
    market: str
    pid: int
    link: str

    def status(self) -> Json:
        """What the engine itself says now."""
        running = desk.found(self.run)
        assert running is not None
        with httpx.Client(trust_env=False) as client:
            said: Json = client.get(f"{running.address}/status").raise_for_status().json()
        return said

    def place(self) -> Place:
        """Where its pages are."""
        found = place_of(self.run)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def trading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trading]:
    run = tmp_path_factory.mktemp("runs") / "paper"
    changed = [f"--set={STRATEGY}.{name}={value}" for name, value in EAGER.items()]
    with (
        b.market(*MARKET) as address,
        b.paper(run, "--address", address, *changed) as (process, link),
    ):
        yield Trading(run, address, process.pid, link)


@pytest.fixture(scope="module")
def screen(trading: Trading) -> Iterator[Screen]:
    with b.browsing() as chromium:
        screen = Screen(chromium, trading.link)
        b.until(lambda: screen.snapshot("orders")["total"] > 0, 60)
        yield screen
        screen.close()


def controls_of(run: Path) -> list[Given]:
    """The controls of a run's journal."""
    follower = Follower(run)
    follower.follow()
    return list(follower.controls)


def missing(screen: Screen) -> set[tuple[str, str]]:
    """Figures that a page shows as missing, although the API has them."""
    found = set()
    for panel in screen.panels():
        if panel["state"] not in ("ready", "empty"):
            found.add((panel["topic"], panel["notice"]))
        shown = {name for name, one in panel["values"].items() if one["value"] == ""}
        if shown and panel["tag"] in ("fw-values", "fw-countdown"):
            said = screen.snapshot(panel["topic"])["values"]
            found |= {(panel["topic"], name) for name in shown if said.get(name) not in (None, "")}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_a_page_of_a_running_session_opens_and_lacks_nothing_that_is_known(
    screen: Screen, page
) -> None:
    screen.problems.clear()
    screen.open(page.path)
    for _ in range(20):
        lacks = missing(screen)
        if not lacks:
            break
    assert not lacks
    assert screen.problems == []
    assert screen.page.locator("#mode").inner_text() == "PAPER"
    assert screen.page.locator("#freshness").inner_text().startswith("live ")


def test_prices_change_on_the_page_at_least_once_a_second(screen: Screen) -> None:
    screen.open(ENGINE)
    moments: list[float] = screen.page.evaluate(
        """() => new Promise((done) => {
            const moments = [performance.now()];
            const seen = new MutationObserver(() => moments.push(performance.now()));
            seen.observe(document.querySelector('[data-name="spot"]'),
                { attributes: true, attributeFilter: ["data-value"] });
            setTimeout(() => { moments.push(performance.now()); done(moments); }, 5000);
        })"""
    )
    assert len(moments) > 10
    assert max(after - before for before, after in pairwise(moments)) < 1000


def test_what_the_engine_does_is_on_the_page_within_a_second(screen: Screen) -> None:
    screen.open(ENGINE)
    body = {"operator": "ann", "strategy": STRATEGY, "value": 0.75}
    waiting = f"""async () => {{
        const done = await (await import("/static/controls.js")).post(
            "multiplier", {msgspec.json.encode(body).decode()}, crypto.randomUUID());
        const durable = performance.now();
        const figure = document.querySelector('[data-name="multiplier"]');
        while (figure.dataset.value !== "0.75") {{
            await new Promise((next) => setTimeout(next, 10));
            if (performance.now() - durable > 5000) break;
        }}
        return performance.now() - durable;
    }}"""
    assert screen.page.evaluate(waiting) < 1000


def test_what_is_seen_is_what_the_engine_is_at_that_moment(
    screen: Screen, trading: Trading
) -> None:
    screen.open("/")
    b.until(lambda: screen.figure("overview", "fees_micro") != "0", 60)

    def same() -> bool:
        shown = {
            name: screen.figure("overview", name) for name in ("equity_micro", "open_positions")
        }
        said = trading.status()["engine"]
        return all(b.same(shown[name], said[name]) for name in shown)

    b.until(same, 10, every_s=0.01)


def test_an_order_of_a_moment_ago_leads_to_its_story(screen: Screen) -> None:
    screen.open("/orders")
    order = screen.rows("orders")[0]["order"]
    with screen.page.expect_navigation():
        screen.page.locator(f'fw-rows[topic="orders"] a[href="/provenance/{order}"]').click()
    screen.settle()
    (panel,) = screen.panels()
    assert panel["topic"] == f"provenance/{order}"
    parts = [step["part"] for step in panel["steps"]]
    assert {"feed", "features", "scan", "gates", "size", "order", "result"} <= set(parts)


def test_a_reload_keeps_what_was_drawn(screen: Screen) -> None:
    screen.open("/")
    before = screen.snapshot("equity")["points"]
    screen.page.reload()
    screen.settle()
    after = screen.snapshot("equity")["points"]
    assert len(before) > 10
    assert after[: len(before) // 2] == before[: len(before) // 2]
    drawn = screen.panel("equity")["paths"][0]
    assert drawn.count("L") + drawn.count("M") >= len(before)


def test_a_frozen_feed_is_an_alert_within_two_seconds_and_strategies_hold(
    screen: Screen, trading: Trading
) -> None:
    screen.open("/integrity")
    now_ns = screen.api("/api/views/overview")["now_ns"]
    fault = {"kind": "freeze", "line": "market", "times": 0}
    b.post(trading.market, "/control/faults", [fault | {"until_ns": now_ns + FROZEN_S * SECOND_NS}])

    def said() -> Json | None:
        alerts = trading.status()["alerts"]
        return next((one for one in alerts if one["kind"] == "BOOK_INVALID"), None)

    alert = b.until(said)
    seen_s = time.monotonic()
    row = b.until(lambda: shown(screen, alert["subject"]), 5, every_s=0.01)
    assert time.monotonic() - seen_s < 2
    for name in ("severity", "category", "kind", "text", "count"):
        assert row[name] == str(alert[name]), name
    assert row["severity"] == "warning" and row["category"] == "book" and row["detail"]
    assert "warning" in screen.page.locator("#rollup").inner_text()
    held = float(rate(screen))  # there was an entry, so it is less than one
    b.until(lambda: float(rate(screen)) > held, 5)
    codes = {"BOOK_STALE", "FEED_DOWN", "BOOK_INVALID", "SEQUENCE_GAP"}
    b.until(lambda: codes & {row["last_code"] for row in screen.rows("streaks")}, 5)
    screen.open(ENGINE)
    b.until(lambda: screen.page.locator(".stale").count(), 5)


def shown(screen: Screen, subject: str) -> dict[str, str] | None:
    """The alert of that subject as the page has it."""
    rows = (row for row in screen.rows("alerts") if row["subject"] == subject)
    return next(rows, None)


def rate(screen: Screen) -> str:
    """The strategy's hold rate on the page."""
    return next(row["hold_share"] for row in screen.rows("streaks") if row["key"] == STRATEGY)


def test_an_alert_is_acknowledged_resolves_and_has_its_playbook(
    screen: Screen, trading: Trading
) -> None:
    screen.open("/alerts")
    b.until(lambda: acknowledged(screen))
    tables = ("alerts", "alert_history")
    b.until(lambda: "ann" in {row["operator"] for one in tables for row in screen.rows(one)}, 5)
    b.until(lambda: screen.rows("alerts"))
    with screen.page.expect_navigation():
        screen.page.locator('fw-rows[topic="alerts"] tbody a').first.click()
    assert "/playbook/" in screen.page.url
    assert len(screen.page.locator("article").inner_text()) > 200
    screen.open("/alerts")
    b.until(lambda: "BOOK_INVALID" in {row["kind"] for row in screen.rows("alert_history")}, 30)


def acknowledged(screen: Screen) -> bool:
    """Acknowledge the first alert that can be; its window may end meanwhile."""
    buttons = screen.page.get_by_role("button", name="Acknowledge")
    if not buttons.count():
        return False
    buttons.first.click()
    said = screen.send(operator="ann")
    screen.page.keyboard.press("Escape")
    return said.startswith("Done")


def test_the_kill_switch_asks_halts_and_is_in_the_journal_with_a_name(
    screen: Screen, trading: Trading
) -> None:
    screen.open("/risk")
    screen.page.get_by_role("button", name="Halt").click()
    assert screen.send(reason="a test", operator="Ann Halter", confirm="halt") == ""
    assert screen.figure("kill", "halted") == "false"
    assert screen.send(confirm="HALT").startswith("Done: event ")
    b.until(lambda: screen.figure("kill", "halted") == "true", 2)
    assert screen.page.locator("#halted").inner_text() == "■ HALTED"
    (given,) = [one for one in controls_of(trading.run) if one.control.operator == "Ann Halter"]
    assert type(given.control).__name__ == "Halt" and given.control.reason == "a test"
    screen.page.keyboard.press("Escape")
    screen.open("/system")
    row = next(row for row in screen.rows("controls") if row["operator"] == "Ann Halter")
    assert (row["key"], row["kind"]) == (str(given.event), "Halt")


def test_after_a_halt_nothing_is_entered_until_somebody_resumes(
    screen: Screen, trading: Trading
) -> None:
    screen.open("/orders")
    before = screen.snapshot("orders")["total"]
    held_ns = screen.api("/api/views/overview")["now_ns"]
    b.until(lambda: screen.api("/api/views/overview")["now_ns"] > held_ns + 20 * SECOND_NS)
    assert screen.snapshot("orders")["total"] == before
    screen.page.get_by_role("button", name="Resume").click()
    assert screen.send(confirm="RESUME").startswith("Done: event ")
    b.until(lambda: not screen.page.locator("#halted").is_visible(), 2)
    assert [type(one.control).__name__ for one in controls_of(trading.run)][-1] == "Resume"


def test_a_parameter_beyond_its_bounds_is_refused_with_the_bounds(screen: Screen) -> None:
    screen.open(ENGINE)
    row = screen.page.locator('fw-rows[topic^="parameters"] tbody tr[data-key="kelly_fraction"]')
    row.get_by_role("button", name="Set").click()
    screen.page.evaluate("() => { document.querySelector('dialog input').removeAttribute('max'); }")
    said = screen.send(value="1.5", operator="ann")
    assert said.startswith("Not done: ") and "kelly_fraction" in said
    assert screen.send(value="0.3").startswith("Done: event ")
    b.until(lambda: row.locator("[data-column=value]").get_attribute("data-value") == "0.3", 2)


def test_the_keyboard_reaches_the_kill_switch_and_stays_in_its_dialog(screen: Screen) -> None:
    screen.open("/")
    keyboard, inside = screen.page.keyboard, "document.activeElement.closest('{}') !== null"
    for _ in range(12):
        keyboard.press("Tab")
        if screen.page.evaluate(inside.format("fw-control[kind=halt]")):
            break
    keyboard.press("Enter")
    screen.page.wait_for_selector("dialog[open]")
    for _ in range(14):
        keyboard.press("Tab")
        assert screen.page.evaluate(inside.format("dialog, body:not(:has(:focus))"))
    keyboard.press("Escape")
    assert screen.page.locator("dialog[open]").count() == 0
    assert screen.page.evaluate(inside.format("fw-control[kind=halt]"))


def test_the_first_key_skips_the_navigation(screen: Screen) -> None:
    screen.open("/windows")
    screen.page.keyboard.press("Tab")
    assert screen.page.evaluate("document.activeElement.className") == "skip"
    screen.page.keyboard.press("Enter")
    assert screen.page.evaluate("document.activeElement.id") == "main"


def test_a_server_that_hangs_dims_the_page_and_it_comes_back(
    screen: Screen, trading: Trading
) -> None:
    screen.open("/")
    place = trading.place()
    os.kill(place.pid, signal.SIGSTOP)
    try:
        screen.page.wait_for_selector("body[data-link=lost]", timeout=4000)
        assert "link lost" in screen.page.locator("#freshness").inner_text()
        assert "Figures are as of" in screen.page.locator("#banner").inner_text()
        b.until(lambda: screen.opacity() < 0.9, 3)
        assert screen.page.locator(".asof").first.inner_text().startswith("as of ")
    finally:
        os.kill(place.pid, signal.SIGCONT)
    screen.page.wait_for_selector("body[data-link=live]", timeout=6000)
    before = screen.figure("overview", "hold_share")
    b.until(lambda: screen.figure("overview", "hold_share") != before, 3)
    assert not screen.page.locator("#banner").is_visible()


def test_a_server_that_is_killed_is_begun_anew_and_asks_for_a_new_link(
    screen: Screen, trading: Trading
) -> None:
    screen.open("/")
    place = trading.place()
    os.kill(place.pid, signal.SIGKILL)
    screen.page.wait_for_selector("body[data-link=lost]", timeout=4000)
    b.until(lambda: trading.place().pid != place.pid, 30)
    again = Screen(screen.browser, b.done("login", str(trading.run)).strip())
    again.open("/runtime")
    (part,) = [row for row in again.rows("modules") if row["key"] == "pages"]
    assert int(part["errors"]) >= 1
    again.close()
    b.until(lambda: trading.status()["overall"], 5)


def test_an_engine_that_is_killed_is_said_to_be_silent_and_how_old_everything_is(
    screen: Screen, trading: Trading
) -> None:
    with b.pages_of(trading.run) as (_, link):
        own = Screen(screen.browser, link)
        own.open(ENGINE)
        os.kill(trading.pid, signal.SIGKILL)
        own.page.wait_for_selector("body[data-engine=silent]", timeout=6000)
        assert own.page.locator("#freshness").inner_text().startswith("engine silent ")
        assert "The engine does not answer" in own.page.locator("#banner").inner_text()
        own.open("/alerts")
        b.until(lambda: "ENGINE_GONE" in {row["kind"] for row in own.rows("alerts")}, 10)
        own.open("/runtime")
        assert own.figure("engine", "status_at_ns") != ""
        assert int(own.figure("engine", "status_age_ns")) > 0
        own.page.get_by_role("button", name="Halt").click()
        said = own.send(reason="x", operator="ann", confirm="HALT")
        assert said.startswith("Not done: ") and "fairwind paper" in said
        own.close()
