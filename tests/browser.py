"""Chromium over the real system: pages that the commands serve, read as an operator reads them.

In: a run or a market. Out: processes that end with their block, and screens that say what they
show, figure by figure. Where there is no Chromium: a skip that says so, a failure in CI.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from fairwind.api import app
from fairwind.journal import file
from fairwind.run.built_in import COMMAND
from fairwind.world import serve

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
WAIT_S = 20.0
BEGIN_S = 60.0
"""A process that compiles nothing says by then where it serves."""
SIZE = (1280, 900)
Json = dict[str, Any]
READ = Path(__file__).with_name("browser.js").read_text(encoding="utf-8")


def chromium() -> str:
    """Where it is. Skips the test when there is none, fails it on a build machine."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is not None:
        return found
    why = f"needs a browser: none of {', '.join(NAMES)}; `apt-get install chromium`"
    if "CI" in os.environ or "FAIRWIND_CI" in os.environ:
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def browsing() -> Iterator[Browser]:
    """One Chromium."""
    path = chromium()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def command(*options: str, text: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`fairwind OPTIONS` beside the test: the process, and its first line with that text."""
    with tempfile.NamedTemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *options],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
        )

        def line() -> str:
            heard = Path(said.name).read_text(encoding="utf-8", errors="replace")
            assert process.poll() is None, heard
            return next((one for one in heard.splitlines(keepends=True) if text in one), "")

        try:
            yield process, until(lambda: line().endswith("\n") and line().strip(), BEGIN_S)
        finally:
            process.terminate()
            try:
                process.communicate(timeout=WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def done(*options: str) -> str:
    """What `fairwind OPTIONS` says; it has to end well."""
    asked = [sys.executable, "-c", COMMAND, *options]
    said = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=BEGIN_S)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


@contextmanager
def pages_of(run: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`fairwind pages RUN`: the process, and a link."""
    with command("pages", str(run), "--attached", *options, text="{") as (process, line):
        yield process, msgspec.json.decode(line, type=app.Announcement).link


@contextmanager
def market(*options: str) -> Iterator[str]:
    """The built-in market; its address."""
    with command("venue", "--attached", *options, text="{") as (_, line):
        yield msgspec.json.decode(line, type=serve.Announcement).address


@contextmanager
def paper(run: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`fairwind paper` as an operator begins it; the link that it prints."""
    with command("paper", "--run", str(run), *options, text="/login?token=") as (process, line):
        yield process, line.split()[-1]


def until(said: Callable[[], Any], wait_s: float = WAIT_S, every_s: float = 0.05) -> Any:
    """What it says once that is true; AssertionError when it is not by then."""
    end_s = time.monotonic() + wait_s
    while not (found := said()):
        assert time.monotonic() < end_s, f"not so after {wait_s} s: {said}"
        time.sleep(every_s)
    return found


class Screen:
    """One tab that is logged in. `problems` is what its console shows."""

    def __init__(self, browser: Browser, link: str, size: tuple[int, int] = SIZE) -> None:
        self.browser = browser
        self.base = link.partition("/login")[0]
        width, height = size
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", self._request)
        self.page.set_default_timeout(WAIT_S * 1000)
        self.page.goto(link)
        self.page.wait_for_url(f"{self.base}/")

    def _console(self, said: Any) -> None:
        if said.type in ("error", "warning"):
            self.problems.append(f"{said.type}: {said.text}")

    def _request(self, request: Request) -> None:
        self.asked.append(request.url)

    def close(self) -> None:
        """Close the tab and forget its session."""
        self.context.close()

    def open(self, path: str) -> None:
        """Go there and wait until each panel shows what it has."""
        self.page.goto(f"{self.base}{path}")
        self.settle()

    def settle(self) -> None:
        """Wait until the link is live and nothing is loading, and has been drawn."""
        self.page.wait_for_selector("body[data-link=live]")
        self.page.wait_for_function(
            "() => ![...document.querySelectorAll('.panel[topic]')]"
            ".some((panel) => panel.dataset.state === 'loading')"
        )
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def ask(self, function: str) -> Any:
        """What a function of browser.js finds in the page."""
        return self.page.evaluate(f"({READ}).{function}()")

    def panels(self) -> list[Json]:
        """All panels: tag, topic, label, state, notice, and the raw figures that they show."""
        found: list[Json] = self.ask("panels")
        return found

    def panel(self, topic: str, tag: str = "") -> Json:
        """The first panel of a topic."""
        return next(
            one for one in self.panels() if one["topic"] == topic and one["tag"].endswith(tag)
        )

    def figure(self, topic: str, name: str) -> str:
        """A raw figure of a panel of values."""
        wanted = f'[topic="{topic}"] [data-name="{name}"]'
        found = self.page.locator(wanted).first.get_attribute("data-value")
        assert found is not None
        return found

    def rows(self, topic: str) -> list[dict[str, str]]:
        """The raw figures of a table, as they stand there from above."""
        found = self.panel(topic, "rows")
        return [
            {"key": key} | {name: cell["value"] for name, cell in row.items()}
            for key, row in found["rows"]
        ]

    def send(self, **fields: str) -> str:
        """Fill the open dialog and send it; its answer. One that is not sent answers nothing."""
        dialog = self.page.locator("dialog[open]")
        for name, text in fields.items():
            dialog.locator(f"input[name={name}]").fill(text)
        dialog.locator("button[value=send]").click()
        if dialog.locator("form:invalid").count():
            return ""
        output = dialog.locator("output")
        until(lambda: output.inner_text().startswith(("Done", "Not done")))
        return output.inner_text()

    def opacity(self) -> float:
        """How strong the content of the page is."""
        script = "getComputedStyle(document.querySelector('main .panel .body')).opacity"
        return float(self.page.evaluate(script))

    def api(self, path: str) -> Any:
        """What the API answers to this session, with every digit."""
        answer = self.context.request.get(f"{self.base}{path}")
        assert answer.ok, (path, answer.status, answer.text())
        return msgspec.json.decode(answer.body())

    def snapshot(self, topic: str) -> Json:
        """A view, as the API has it."""
        found: Json = self.api(f"/api/views/{topic}")["snapshot"]
        return found

    def caught_up(self, events: int) -> None:
        """Wait until the replica has proved so many events."""
        until(lambda: self.snapshot("system")["values"]["proved_events"] >= events, BEGIN_S)


def same(shown: str, said: Any) -> bool:
    """Whether a raw figure of a page is this datum of the API, to the last digit."""
    if said is None:
        return shown == ""
    if isinstance(said, bool):
        return shown == str(said).lower()
    if isinstance(said, float):
        return shown != "" and float(shown) == said
    return shown == str(said)


def digits(text: str) -> Decimal:
    """The number in a text that people read, like `−$1,018.95` or `12.34 %`."""
    kept = "".join(one for one in text.replace("−", "-") if one in "-.0123456789")
    return Decimal(kept)


def rounded(value: int, scale: int, places: int) -> Decimal:
    """`value` / 10^scale with so many places, halves away from zero."""
    exact = Decimal(value).scaleb(-scale)
    return exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def events_of(run: Path) -> int:
    """How many events a run's journal holds."""
    parts = (part for part in file.inputs(run) if isinstance(part, np.ndarray))
    return sum(map(len, parts))


def columns(snapshot: Json) -> list[Json]:
    """The rows of a snapshot by their columns."""
    return [dict(zip(snapshot["columns"], row, strict=True)) for row in snapshot["rows"]]


def post(address: str, path: str, said: Any) -> None:
    """Tell the built-in market's console something."""
    with httpx.Client(trust_env=False) as client:
        client.post(f"{address}{path}", content=msgspec.json.encode(said)).raise_for_status()
