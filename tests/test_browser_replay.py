"""Every page over a run that is over: each figure on it is the journal's, to the last digit.

In: an hour of a market with trades that won, lost, were refused and came too late, served by
`fairwind pages`. Out: what Chromium shows of it.
"""

from collections.abc import Iterator
from pathlib import Path

import browser as b
import pytest
from browser import Json, Screen
from traded_run import traded

from fairwind.api.ui.pages import PAGES

MOVING = {"memory_bytes", "disk_free_bytes", "viewers", "uptime_s"}
"""What is of this second, not of the run."""
NOTHING = "–"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return traded(tmp_path_factory.mktemp("runs") / "traded")


@pytest.fixture(scope="module")
def screen(run: Path) -> Iterator[Screen]:
    with b.pages_of(run) as (_, link), b.browsing() as chromium:
        screen = Screen(chromium, link)
        screen.caught_up(b.events_of(run))
        yield screen
        screen.close()


def check_panel(screen: Screen, panel: Json) -> None:
    """Each figure of the panel is the API's."""
    topic, snapshot = panel["topic"], screen.snapshot(panel["topic"])
    said: Json = {}
    match snapshot["shape"]:
        case "values":
            said = {n: one for n, one in snapshot["values"].items() if n not in MOVING}
        case "series" if snapshot["points"]:
            said = dict(zip(snapshot["lines"], snapshot["points"][-1][1:], strict=True))
        case "rows" if panel["tag"] == "fw-rows":
            check_rows(panel, snapshot)
        case "grid":
            check_cells(panel, snapshot)
    for name, figure in panel["values"].items():
        assert name not in said or check_figure(figure, said[name]), (topic, name, figure)


def check_figure(figure: Json, said: object) -> bool:
    """Whether the raw figure is that datum, and nothing is written as missing that is there."""
    missing = said is None or said == 0
    return b.same(figure["value"], said) and (figure["text"] != NOTHING or missing)


def check_rows(panel: Json, snapshot: Json) -> None:
    """Each row is shown once, with all its figures."""
    said = {str(one[snapshot["key"]]): one for one in b.columns(snapshot)}
    assert sorted(key for key, _ in panel["rows"]) == sorted(said), panel["topic"]
    for key, row in panel["rows"]:
        for name, figure in row.items():
            assert check_figure(figure, said[key][name]), (panel["topic"], key, name, figure)


def check_cells(panel: Json, snapshot: Json) -> None:
    """Each cell that holds something is shown."""
    cells = snapshot["cells"]
    said = {(x, y): one for y, row in enumerate(cells) for x, one in enumerate(row)}
    assert all(b.same(shown, said.pop((x, y))) for x, y, shown in panel["cells"])
    assert all(one is None for one in said.values())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_a_page_opens_without_a_complaint_and_shows_what_the_api_has(screen: Screen, page) -> None:
    screen.problems.clear()
    screen.open(page.path)
    assert screen.page.title() == f"{page.title} · Fairwind"
    assert screen.page.locator("main h1").inner_text() == page.title
    assert page.question in screen.page.locator("main").inner_text()
    panels = screen.panels()
    assert panels or page.path == "/reports"
    for panel in panels:
        assert panel["state"] in ("ready", "empty"), (panel["topic"], panel["notice"])
        check_panel(screen, panel)
    assert screen.problems == []
    assert all(url.startswith((screen.base, "data:")) for url in screen.asked)
