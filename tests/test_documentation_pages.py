"""Every page has its section and pictures, every route and view its line, every alert its book."""

import re
from pathlib import Path

import pytest
from conftest import ROOT
from fastapi import APIRouter
from fastapi.routing import APIRoute, APIWebSocketRoute

from fairwind.api import controls, live, past, routes, wire
from fairwind.api.ui import pages, playbook
from fairwind.run.alerts import RULES, Kind
from fairwind.views import topics

DOCS = ROOT / "docs"
WIDTHS = (1920, 1280)
TOPIC = re.compile(r'\b(?:topic|at)="(\w+)')


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    return text(page).split(f"\n## {heading}\n")[1].split("\n## ")[0]


def lines(page: str, heading: str) -> dict[str, list[str]]:
    """Tables below a heading: first cell, without backticks -> the others."""
    rows = [row.strip("|").split("|") for row in section(page, heading).splitlines()]
    return {row[0].strip(" `"): [one.strip() for one in row[1:]] for row in rows if len(row) > 1}


def topics_of(template: str) -> set[str]:
    found = (Path(pages.__file__).parent / "templates" / f"{template}.html.j2").read_text("utf-8")
    return set(TOPIC.findall(found))


def picture(path: str, width: int) -> Path:
    return DOCS / "pages" / f"{path.strip('/').replace('/', '-') or 'overview'}-{width}.png"


FIRST = {page.template: page for page in reversed(pages.PAGES)}


@pytest.mark.parametrize("page", FIRST.values(), ids=lambda page: page.title)
def test_every_page_has_a_section_with_its_question_pictures_and_topics(page: pages.Page) -> None:
    found = section("pages.md", page.title)
    assert page.question in found
    assert f"`{page.path}`" in found
    for width in WIDTHS:
        assert f"pages/{picture(page.path, width).name}" in found
    named = found.rpartition("Topics: ")[2].partition(".")[0]
    assert set(re.findall(r"`(\w+)`", named)) == topics_of(page.template)


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.path)
def test_every_page_is_in_the_tour_and_has_pictures_of_both_widths(page: pages.Page) -> None:
    assert f"`{page.path}`" in text("pages.md")
    for width in WIDTHS:
        head = picture(page.path, width).read_bytes()[:24]
        assert head.startswith(b"\x89PNG")
        assert int.from_bytes(head[16:20]) == width


def test_no_picture_is_of_a_page_that_is_not_there() -> None:
    wanted = {picture(page.path, width) for page in pages.PAGES for width in WIDTHS}
    assert set((DOCS / "pages").iterdir()) == wanted


def test_every_route_of_the_api_is_described() -> None:
    found = set()
    for router in (routes.router, controls.router, past.router):
        assert isinstance(router, APIRouter)
        for route in router.routes:
            if isinstance(route, APIRoute):
                path = route.path.replace(":path", "")
                found |= {f"{method} {path}" for method in route.methods}
            else:
                assert isinstance(route, APIWebSocketRoute)
                assert f"`{route.path}`" in section("api.md", "The socket")
    described = {name for name in lines("api.md", "Routes") if "/" in name}
    assert described == found


def test_every_refusal_of_the_api_is_described() -> None:
    described = {name for name in lines("api.md", "Routes") if name.isdigit()}
    assert described == {str(one) for one in wire.REFUSALS if one not in (400, 500)}


def test_every_view_is_described_as_it_describes_itself() -> None:
    said = {view.topic: view.says for view in (*topics.VIEWS, *live.VIEWS)}
    described = {name: cells[-1] for name, cells in lines("api.md", "Views").items()}
    own = {"delivery", "topic", "---", "shape", "values", "rows", "series", "grid"}
    assert {name: one for name, one in described.items() if name not in own} == said
    assert own >= described.keys() - said.keys() >= {"delivery"}


@pytest.mark.parametrize("kind", Kind)
def test_every_alert_has_a_playbook_with_its_rule(kind: Kind) -> None:
    found = playbook.of(kind)
    assert found is not None
    assert found.rule == RULES[kind]
    assert f"\n### {kind}\n" in text("alerts.md") or f"\n## {kind}\n" in text("alerts.md")
