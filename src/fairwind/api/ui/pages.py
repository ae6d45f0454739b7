"""The operator's pages: one question each, HTML made of elements that are bound to topics.

In: a request with a session. Out: a page with navigation; its figures come by the socket. Never
here: a figure of the run, a page without its entry in PAGES.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fastapi import APIRouter, FastAPI, Request
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates

from fairwind.api.board import Board
from fairwind.api.ui import playbook, reports
from fairwind.engine.contract import StrategySpec
from fairwind.engine.run import roster

HERE = Path(__file__).parent
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""A report is a file of its own with its styles inside. It holds no script, and may run none."""


class Page(NamedTuple):
    """One page, and the one question that it answers."""

    path: str
    title: str
    question: str
    template: str
    group: str
    strategy: str = ""


def path_of(strategy: str) -> str:
    """Where a strategy's page is: `/btc-5m-engine` for BTC_5M."""
    return f"/{strategy.lower().replace('_', '-')}-engine"


def _engine(spec: StrategySpec) -> Page:
    title = f"{spec.id.replace('_', ' ').replace('5M', '5m')} engine"
    question = f"What does {spec.id} see, think and do right now?"
    return Page(path_of(spec.id), title, question, "engine", "Strategies", spec.id)


PAGES: tuple[Page, ...] = (
    Page("/", "Overview", "How are we doing, and does anything need somebody?", "overview", "Now"),
    Page("/windows", "Windows", "What can be traded, and how did windows end?", "windows", "Now"),
    Page("/alerts", "Alerts", "What needs somebody, and what is to be done?", "alerts", "Now"),
    *(_engine(spec) for spec in roster()),
    Page("/orders", "Orders", "What was asked for, and what became of it?", "orders", "Trading"),
    Page("/positions", "Positions", "What is held, and what is it worth?", "positions", "Trading"),
    Page(
        "/ledger",
        "Ledger",
        "Where is each micro-dollar, and do all counts agree?",
        "ledger",
        "Trading",
    ),
    Page("/risk", "Gates & risk", "What limits us, and how near is it?", "risk", "Trading"),
    Page(
        "/execution", "Execution quality", "What does it cost us to trade?", "execution", "Trading"
    ),
    Page(
        "/provenance", "Provenance", "Why was this order sent, or refused?", "provenance", "Trading"
    ),
    Page("/integrity", "Integrity & feeds", "Can what we see be trusted?", "integrity", "Machine"),
    Page("/runtime", "Runtime", "Does each part do its work?", "runtime", "Machine"),
    Page(
        "/reports", "Reports & replays", "What was run, and what came of it?", "reports", "Machine"
    ),
    Page("/system", "System", "What runs here, and who changed it?", "system", "Machine"),
)
GROUPS = tuple(dict.fromkeys(page.group for page in PAGES))

templates = Jinja2Templates(HERE / "templates")
templates.env.autoescape = True  # the library goes by names, and would not for `.html.j2`
templates.env.trim_blocks = templates.env.lstrip_blocks = True
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


def mount(app: FastAPI) -> None:
    """Serve the pages of the run that is on `app.state.board`: navigation, elements, styles."""
    app.include_router(router)
    static = GZipMiddleware(StaticFiles(directory=HERE / "static"), minimum_size=512)
    app.mount("/static", static, name="static")


def page(request: Request, shown: Page, **known: Any) -> Response:
    """A page as HTML. The guard has put the session's token into `request.state`."""
    board: Board = request.app.state.board
    context = {
        "page": shown,
        "pages": PAGES,
        "groups": GROUPS,
        "csrf": request.state.csrf,
        "mode": board.engine.mode,
        "modules": (),
    }
    return templates.TemplateResponse(request, f"{shown.template}.html.j2", context | known)


def _run(request: Request) -> Path:
    board: Board = request.app.state.board
    return board.run.resolve()


def _utc(at_ns: int) -> str:
    """A time of day, as the pages write it."""
    return f"{np.datetime64(at_ns, 'ns').astype('datetime64[s]')}".replace("T", " ")


templates.env.filters["utc"] = _utc


def _route(shown: Page) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        return page(request, shown)

    return answer


OWN = {"/provenance", "/reports", "/runtime"}
"""Pages that know more than their topics."""
BY_PATH = {one.path: one for one in PAGES}
for _page in PAGES:
    if _page.path not in OWN:
        router.add_api_route(_page.path, _route(_page), name=_page.title)


@router.get("/provenance")
def provenance(request: Request, order: str = "") -> Response:
    """The search box; a number leads to its page."""
    wanted = order.strip()
    if wanted.isascii() and wanted.isdigit():
        return RedirectResponse(f"/provenance/{wanted}", 303)
    return page(request, BY_PATH["/provenance"], order="", asked=wanted)


@router.get("/provenance/{order}")
def provenance_of(request: Request, order: int) -> Response:
    """One order or refusal, from feed to profit."""
    return page(request, BY_PATH["/provenance"], order=str(order), asked="")


@router.get("/engine/{strategy}")
def engine_of(strategy: str) -> Response:
    """The page of a strategy by its id."""
    known = {one.strategy: one.path for one in PAGES if one.strategy}
    return RedirectResponse(known.get(strategy, "/"), 303)


@router.get("/runtime")
def runtime(request: Request) -> Response:
    """Parts, events, and how much of the checklist held when it was counted last."""
    counted = reports.progress(_run(request))
    return page(request, BY_PATH["/runtime"], counted=counted)


@router.get("/reports")
def runs(request: Request) -> Response:
    """The runs beside this one, and their reports."""
    found = reports.runs(_run(request))
    return page(request, BY_PATH["/reports"], runs=found)


@router.get("/reports/{name}")
def report(request: Request, name: str) -> Response:
    """A run's report, as it was written."""
    run = _run(request)
    known = {one.name for one in reports.runs(run) if one.reported_ns is not None}
    if name not in known:
        text = f"No report of {name}. Make it: fairwind report {run.parent / name}"
        return page(request, BY_PATH["/reports"]._replace(template="missing"), text=text)
    policy = {"Content-Security-Policy": REPORT_POLICY}
    return FileResponse(run.parent / name / reports.FILE, headers=policy, media_type="text/html")


@router.get("/playbook/{kind}")
def playbook_of(request: Request, kind: str) -> Response:
    """What an alert means, where to look and what to do."""
    found = playbook.of(kind)
    shown = Page(
        f"/playbook/{kind}",
        kind,
        "What does this alert mean, and what is to be done?",
        "playbook",
        "Now",
    )
    if found is None:
        text = f"No alert is called {kind}. All of them are on the page Alerts."
        return page(request, BY_PATH["/alerts"]._replace(template="missing"), text=text)
    return page(request, shown, found=found)
