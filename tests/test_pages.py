"""The pages as they are served: small, strict, linked, and bound to views that there are."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from api_client import Inside, inside
from hand_engine import finished

from fairwind.api.ui import playbook, reports
from fairwind.api.ui.pages import HERE, PAGES
from fairwind.core.errors import BadInput
from fairwind.research.progress import POINTS, counted
from fairwind.run.alerts import Kind
from fairwind.views.shapes import Rows, Values

SENT_BYTES_MAX, READ_BYTES_MAX = 60_000, 90_000
"""Of a page with all that it loads: as it is sent, and as a browser reads it."""
MODULE_LINES_MAX = 200
MODULES = sorted((HERE / "static").glob("*.js"))
ORDER = "65537"
INJECTING = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
)


class Tags(HTMLParser):
    """All opening tags with their attributes, and what stands in scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline = ""
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            self.inline += data.strip()

    def of(self, attribute: str) -> list[str]:
        """All values of an attribute."""
        return [known[attribute] for _, known in self.tags if attribute in known]


@pytest.fixture(scope="module")
def entered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    with inside(finished(tmp_path_factory.mktemp("pages") / "run", windows=2)) as one:
        yield one


@pytest.fixture(params=[*(page.path for page in PAGES), f"/provenance/{ORDER}"])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def page(entered: Inside, path: str) -> str:
    answer = entered.client.get(path)
    assert answer.status_code == 200, answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    return str(answer.text)


def weights(entered: Inside, path: str) -> dict[str, tuple[int, int]]:
    """Bytes sent and read of the page and of all that it loads."""
    found: dict[str, tuple[int, int]] = {}
    waiting = [path]
    while waiting:
        name = waiting.pop()
        answer = entered.client.get(name)
        assert answer.status_code == 200, name
        found[name] = answer.num_bytes_downloaded, len(answer.content)
        named = loaded(answer.text) if name == path else imported(answer.text)
        waiting += [one for one in named if one not in found]
    return found


def imported(module: str) -> list[str]:
    return [f"/static/{one}" for one in re.findall(r'from "\./(\S+)"', module)]


def loaded(text: str) -> list[str]:
    tags = Tags(text).tags
    links = [known["href"] for tag, known in tags if tag == "link"]
    return links + [known["src"] for tag, known in tags if tag == "script"]


def test_every_page_answers_its_question_under_its_title(entered: Inside, path: str) -> None:
    text = page(entered, path)
    shown = next(one for one in PAGES if one.path == re.sub(r"/\d+$", "", path))
    title = shown.title.replace("&", "&amp;")
    assert f"<h1>{title}</h1><p>{shown.question}</p>" in text
    assert f'href="{shown.path}" aria-current="page"' in text
    token = entered.client.get("/api/session").json()["csrf"]
    assert f'<meta name="csrf" content="{token}">' in text


def test_a_page_and_all_that_it_loads_weighs_less_than_60_kb(entered: Inside, path: str) -> None:
    found = weights(entered, path)
    assert {"/static/fairwind.css", "/static/link.js"} <= set(found)
    sent, read = (sum(sizes) for sizes in zip(*found.values(), strict=True))
    assert sent < SENT_BYTES_MAX, found
    assert read < READ_BYTES_MAX, found


def test_no_page_holds_a_script_a_style_or_a_handler_of_its_own(entered: Inside, path: str) -> None:
    found = Tags(page(entered, path))
    assert found.inline == ""
    names = {name for _, known in found.tags for name in known}
    assert {name for name in names if name.startswith("on") or name == "style"} == set()
    assert all(one.startswith("/static/") for one in found.of("src"))


def test_every_link_of_every_page_leads_somewhere(entered: Inside, path: str) -> None:
    links = {one for one in Tags(page(entered, path)).of("href") if not one.startswith("#")}
    assert len(links) > len(PAGES)
    assert {one: entered.client.get(one).status_code for one in links} == dict.fromkeys(links, 200)


def test_every_element_shows_a_view_that_there_is_and_names_that_it_has(
    entered: Inside, path: str
) -> None:
    elements = [known for tag, known in Tags(page(entered, path)).tags if tag.startswith("fw-")]
    for known in (one for one in elements if "topic" in one and ORDER not in one["topic"]):
        try:
            shown = entered.app.state.board.snapshot(known["topic"])
        except BadInput as error:
            raise AssertionError(f"{path}: {error}") from error
        have: set[str] = set()
        if isinstance(shown, Rows):
            have = set(shown.columns)
        elif isinstance(shown, Values):
            have = set(shown.values)
        wanted = " ".join(known.get(name, "") for name in ("columns", "extra", "bars", "names"))
        linked = re.findall(r"(\w+):|\{(\w+)\}", known.get("link", ""))
        asked = {*wanted.split(), *(one for pair in linked for one in pair if one)}
        assert asked - have == set(), known["topic"]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.name))
def test_a_module_of_the_pages_is_small_says_what_it_does_and_never_writes_markup(
    module: Path,
) -> None:
    text = module.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines[0] == "/**"
    assert len(lines) <= MODULE_LINES_MAX
    assert [line for line in lines if len(line) > 100] == []
    assert INJECTING.findall(text) == []
    assert all(one.startswith("./") for one in re.findall(r'(?:from|import) "(\S+)"', text))


def test_each_alert_has_a_playbook_that_says_what_it_means_and_what_to_do(entered: Inside) -> None:
    for kind in Kind:
        found = playbook.of(kind)
        assert found is not None
        words = {piece.text for one in found.paragraphs for piece in one if piece.tag == "b"}
        assert {"Means", "Look", "Do"} <= words, kind
        assert f"<h1>{kind}</h1>" in page(entered, f"/playbook/{kind}")
    assert "No alert is called" in page(entered, "/playbook/NONSENSE")


def test_the_search_for_an_order_leads_to_its_provenance(entered: Inside) -> None:
    found = entered.client.get("/provenance", params={"order": f" {ORDER} "})
    assert found.url.path == f"/provenance/{ORDER}"
    assert f'topic="provenance/{ORDER}"' in found.text
    odd = page(entered, "/provenance?order=<b>x")
    assert "&lt;b&gt;x" in odd
    assert "<b>x" not in odd


def test_runs_are_listed_and_a_report_is_shown_without_any_script(entered: Inside) -> None:
    run = entered.app.state.board.run
    assert "none: fairwind report" in page(entered, "/reports")
    assert "No report of run" in page(entered, "/reports/run")
    (run / reports.FILE).write_text("<style>b{}</style><b>report</b>", encoding="utf-8")
    assert 'href="/reports/run"' in page(entered, "/reports")
    shown = entered.client.get("/reports/run")
    assert "<b>report</b>" in shown.text
    policy = shown.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert "sandbox" in policy
    assert entered.client.get("/reports/..%2Frun").status_code == 404


def test_the_checklist_is_shown_as_it_was_counted(entered: Inside) -> None:
    assert "Not counted yet" in page(entered, "/runtime")
    found = counted({point.id: point.phase == "P1" for point in POINTS})
    place = entered.app.state.board.run.parent / reports.PROGRESS
    place.write_bytes(msgspec.json.encode(found))
    shown = page(entered, "/runtime")
    done = found.phases["P1"]
    assert f"{done.passed} of {done.total}" in shown
    place.write_text("{", encoding="utf-8")
    assert "Not counted yet" in page(entered, "/runtime")
