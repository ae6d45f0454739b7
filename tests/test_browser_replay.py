"""Every page over a run that is over: each figure on it is the journal's, to the last digit.

In: an hour of a market with trades that won, lost, were refused and came too late, served by
`fairwind pages`. Out: what Chromium shows of it.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from operator import sub
from pathlib import Path

import browser as b
import journal_figures as journal
import msgspec
import pytest
from browser import Json, Screen
from traded_run import traded

from fairwind.api.follow import Follower
from fairwind.api.ui.pages import PAGES, path_of
from fairwind.engine.state import State
from fairwind.journal import tables
from fairwind.views.ledger import money

MOVING = {"memory_bytes", "disk_free_bytes", "viewers", "uptime_s"}
"""What is of this second, not of the run."""
NOTHING = "–"
SCALES = {"micro": (6, 2), "e4": (4, 4)}
"""Places that a figure has, and that are shown."""
ENGINE = path_of("BTC_5M")
PAGE_OF = {
    "orders": "/orders",
    "fills": "/execution",
    "closed": "/positions",
    "refusals": "/risk",
    "windows": "/windows",
    "holds": "/integrity",
    "strategies": "/",
    "ledger": "/ledger",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = traded(tmp_path_factory.mktemp("runs") / "traded")
    b.done("report", str(made))
    return made


@pytest.fixture(scope="module")
def screen(run: Path) -> Iterator[Screen]:
    with b.pages_of(run) as (_, link), b.browsing() as chromium:
        screen = Screen(chromium, link)
        screen.caught_up(b.events_of(run))
        yield screen
        screen.close()


@cache
def reported(run: Path) -> Json:
    """What `fairwind report` says of the run."""
    said: Json = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return said


@cache
def replica(run: Path) -> State:
    """The engine's state at the run's end."""
    follower = Follower(run)
    follower.follow()
    return follower.state


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
        assert name not in said or check_figure(name, figure, said[name]), (topic, name, figure)


def check_figure(name: str, figure: Json, said: object) -> bool:
    """Whether the raw figure is that datum, and what people read is that, rounded."""
    missing = said is None or (said == 0 and name.endswith("_ns"))
    if not b.same(figure["value"], said) or (figure["text"] == NOTHING and not missing):
        return False
    unit = name.rpartition("_")[2]
    if missing or not isinstance(said, int) or unit not in SCALES:
        return True
    scale, places = SCALES[unit]
    places = 4 if name.startswith("ev_") else places
    exact = b.digits(figure["title"].removesuffix(" shares"))
    return (b.digits(figure["text"]), exact) == (
        b.rounded(said, scale, places),
        b.rounded(said, scale, scale),
    )


def check_rows(panel: Json, snapshot: Json) -> None:
    """Each row is shown once, with all its figures."""
    said = {str(one[snapshot["key"]]): one for one in b.columns(snapshot)}
    assert sorted(key for key, _ in panel["rows"]) == sorted(said), panel["topic"]
    for key, row in panel["rows"]:
        for name, figure in row.items():
            assert check_figure(name, figure, said[key][name]), (panel["topic"], key, name, figure)


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


@pytest.mark.parametrize("topic", journal.TOPICS)
def test_a_table_on_a_page_is_what_the_journal_says(screen: Screen, run: Path, topic: str) -> None:
    key, sql = journal.TOPICS[topic]
    names = key.split()
    said = {tuple(str(row[name]) for name in names): row for row in journal.asked(run, sql)}
    screen.open(PAGE_OF[topic])
    shown = [row for row in screen.rows(topic) if tuple(row[name] for name in names) in said]
    assert len(shown) >= min(len(said), 200)
    for row in shown:
        wanted = said[tuple(row[name] for name in names)]
        for name in row.keys() & wanted.keys():
            assert b.same(row[name], wanted[name]), (topic, row, wanted)
    assert len(said) <= 200 or f"200 of {len(said):,}" in screen.page.content()


def test_strike_and_final_value_of_a_window_have_every_digit(screen: Screen, run: Path) -> None:
    said = {row["slug"]: row for row in journal.asked(run, journal.WINDOWS)}
    screen.open("/windows")
    compared = 0
    for row in screen.rows("windows"):
        wanted = said[row["slug"]]
        for name in ("strike", "final"):
            if wanted[f"{name}_e8"] >= 0:
                found = journal.exact(wanted[f"{name}_e8"], wanted[f"{name}_remainder_e18"])
                assert Decimal(row[name]) == found
                compared += 1
    assert compared > 50


def test_the_overview_is_what_journal_api_and_terminal_say(screen: Screen, run: Path) -> None:
    (said,) = journal.asked(run, journal.OVERVIEW)
    screen.open("/")
    shown = screen.panel("overview")["values"]
    for name in said.keys() & shown.keys():
        assert check_figure(name, shown[name], said[name]), name
    assert len(said.keys() & shown.keys()) == len(said)
    terminal = msgspec.structs.asdict(money(replica(run)))
    for name in terminal.keys() & shown.keys():
        assert b.same(shown[name]["value"], terminal[name]), name
    report = reported(run)["totals"]
    for name, told in {"equity_micro": "final_equity", "profit_micro": "net_pnl"}.items():
        assert Decimal(shown[name]["value"]).scaleb(-6) == Decimal(str(report[told]))
    for name in ("trades", "open_positions", "windows_settled"):
        assert shown[name]["value"] == str(report[name])


def test_shares_are_never_written_as_dollars(screen: Screen) -> None:
    screen.open("/ledger")
    rows = screen.panel("reconciliation")["rows"]
    texts = {key: figures["found_micro"]["text"] for key, figures in rows}
    assert ["$" not in text for key, text in texts.items() if key.startswith("shares ")] == [True]
    assert sum("$" in text for text in texts.values()) == len(texts) - 1


def test_the_table_of_strategies_is_what_the_report_says(screen: Screen, run: Path) -> None:
    report = reported(run)["strategies"]
    screen.open("/")
    for row in screen.rows("strategies"):
        said = report[row["id"]]
        assert row["trades"] == str(said["trades"])
        assert Decimal(row["net_micro"]).scaleb(-6) == Decimal(str(said["net_pnl"]))
        holds = sum(said["holds"].values())
        assert not said["scans"] or float(row["hold_share"]) == holds / said["scans"]


def test_a_chart_shows_all_of_its_points_and_reads_each_of_them(screen: Screen, run: Path) -> None:
    screen.open("/")
    points = screen.snapshot("equity")["points"]
    (path, *_) = screen.panel("equity")["paths"]
    assert len(re.findall("[ML]", path)) == len(points)
    chart = screen.page.locator('[topic="equity"] svg.chart')
    chart.focus()
    for key, at in (("Home", 0), ("ArrowRight", 1), ("End", -1), ("ArrowLeft", -2)):
        chart.press(key)
        shown = screen.panel("equity")["values"]
        assert b.same(shown["equity_micro"]["value"], points[at][1])
        assert b.same(shown["drawdown_share"]["value"], points[at][2])
    (said,) = journal.asked(run, journal.OVERVIEW)
    assert points[-1][1] == said["equity_micro"]


def test_a_reload_keeps_all_history(screen: Screen) -> None:
    screen.open(ENGINE)
    before = screen.panels()
    screen.page.reload()
    screen.settle()
    assert screen.panels() == before


STORIES = {
    "a winning trade": ("win", "win", {"fill", "fee", "release", "settle", "redeem"}),
    "a losing trade": ("loss", "loss", {"fill", "fee", "release", "settle"}),
    "a refusal": ("REFUSED", "", set()),
    "an order that came too late": ("EXPIRED", "expired", {"release"}),
}


@pytest.mark.parametrize("story", STORIES)
def test_one_can_walk_from_a_table_to_the_whole_story_of(
    screen: Screen, run: Path, story: str
) -> None:
    wanted, code, facts = STORIES[story]
    number = walk(screen, wanted)
    assert screen.page.url == f"{screen.base}/provenance/{number}"
    steps = screen.panel(f"provenance/{number}")["steps"]
    parts = [step["part"] for step in steps]
    assert list(dict.fromkeys(parts))[:5] == ["feed", "features", "scan", "gates", "size"]
    assert parts[-1] == "result"
    assert not code or steps[-1]["codes"] == [code]
    times = [int(step["at"]) for step in steps]
    assert times == sorted(times)
    assert [int(step["latency"]) for step in steps[1:]] == list(map(sub, times[1:], times))
    check_story(run, number, steps, facts)


def walk(screen: Screen, wanted: str) -> int:
    """From the table that holds it to its story, by links; the order's number."""
    if wanted in ("win", "loss"):
        screen.open("/positions")
        trade = next(row for row in screen.rows("closed") if row["result"] == wanted)
    if wanted == "REFUSED":
        screen.open("/risk")
        order = screen.rows("refusals")[0]["order"]
    else:
        screen.open("/orders")
        order = next(
            row["order"]
            for row in screen.rows("orders")
            if row["state"] == wanted
            or (
                wanted in ("win", "loss")
                and int(row["filled_micro"])
                and all(row[name] == trade[name] for name in ("strategy", "slug", "outcome"))
            )
        )
    with screen.page.expect_navigation():
        screen.page.locator(f'a[href="/provenance/{order}"]').first.click()
    screen.settle()
    return int(order)


def check_story(run: Path, number: int, steps: list[Json], facts: set[str]) -> None:
    """States, fills, postings and profit of the story are the journal's, with all their figures."""

    def rows(table: str) -> list[Json]:
        sql = f"SELECT * FROM {table} WHERE order_id = ? ORDER BY ts_ns"
        return tables.query(run, sql, [number]).to_pylist()

    def told(part: str) -> list[Json]:
        return [step for step in steps if step["part"] == part]

    states = [(str(row["ts_ns"]), row["state_name"].lower()) for row in rows("orders")]
    assert sorted((step["at"], step["text"]) for step in told("order")) == sorted(states)
    for part, table in (("fill", "fills"), ("posting", "postings")):
        said = rows(table)
        found = [step for step in told(part) if step["text"] not in ("settle", "redeem")]
        assert len(found) == len(said)
        for step in found:
            figures = step["inputs"].items()
            same = (all(b.same(one, row[name]) for name, one in figures) for row in said)
            assert any(same), step
    assert {step["text"] for step in told("posting")} - {"reserve"} >= facts
    (result,) = told("result")
    net = {row["key"]: row["net_micro"] for row in journal.asked(run, journal.CLOSED)}
    inputs = told("size")[0]["inputs"] | {"outcome": told("scan")[0]["text"].split()[-1]}
    position = "/".join(inputs[name] for name in ("strategy", "slug", "outcome"))
    wanted = net[position] if "paid_micro" in result["inputs"] else 0
    assert result["inputs"]["net_micro"] == str(wanted)


def test_an_order_is_found_by_its_number_and_a_wrong_one_is_explained(screen: Screen) -> None:
    screen.open("/provenance")
    box = screen.page.get_by_role("textbox", name="order number")
    box.fill(screen.rows("orders")[0]["order"])
    with screen.page.expect_navigation():
        box.press("Enter")
    screen.settle()
    assert screen.panels()[0]["steps"]
    screen.open("/provenance/12345")
    assert screen.panels()[0]["state"] == "error"
    assert "12345" in screen.panels()[0]["notice"]
    screen.open("/provenance?order=all")
    assert "An order has a number, found “all”." in screen.page.locator("main").inner_text()


def test_a_run_that_is_over_says_so_and_offers_no_control(screen: Screen) -> None:
    screen.open("/")
    assert screen.page.locator("#mode").inner_text() == "REPLAY"
    assert screen.page.locator("fw-control:visible").count() == 0
    assert screen.page.get_by_role("button", name="Switch off").count() == 0


def test_a_report_can_be_read_from_the_pages(screen: Screen, run: Path) -> None:
    digest = reported(run)["digest"]
    screen.open("/reports")
    table = screen.page.locator("main table")
    assert "traded shown here" in table.inner_text().replace("\n", " ")
    with screen.page.expect_navigation():
        table.get_by_role("link").first.click()
    assert digest in screen.page.content()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_a_page_fits_a_phone_a_small_screen_and_a_large_one(screen: Screen, page) -> None:
    screen.open(page.path)
    try:
        for width in (390, 1280, 1920):
            screen.page.set_viewport_size({"width": width, "height": 800})
            screen.settle()
            assert screen.page.evaluate("document.documentElement.scrollWidth") <= width
            assert screen.ask("misplaced") == [], width
    finally:
        screen.page.set_viewport_size(dict(zip(("width", "height"), b.SIZE, strict=True)))


def test_words_and_figures_can_be_told_from_what_is_behind_them(screen: Screen) -> None:
    screen.open(ENGINE)
    assert screen.ask("faint") == []


def test_the_checks_above_find_what_they_look_for(screen: Screen) -> None:
    screen.open("/")
    screen.page.evaluate(
        """() => {
        document.querySelector("main h1").style.marginLeft = "2000px";
        document.querySelector("main p").style.color = "#333";
        document.querySelectorAll(".panel")[1].style.marginTop = "-60px";
        }"""
    )
    found = screen.ask("misplaced")
    assert any(one.startswith("beyond: h1") for one in found)
    assert any(" over fw-" in one for one in found)
    assert any(one.startswith("p.") for one in screen.ask("faint"))
