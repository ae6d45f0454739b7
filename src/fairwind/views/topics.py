"""Every view by its topic: what can be asked for, and how it is folded.

In: a topic like `orders` or `strategy/BTC_5M`, a Look. Out: its snapshot. Never here: a fold (each
family of views has its module), a view that a replay of the journal would not rebuild.
"""

from fairwind.core.config import nearest
from fairwind.core.errors import BadInput
from fairwind.views import (
    curves,
    execution,
    ledger,
    orders,
    outlook,
    positions,
    provenance,
    risk,
    scans,
    strategies,
    windows,
)
from fairwind.views.names import Names
from fairwind.views.shapes import Snapshot
from fairwind.views.told import Look, Told, View

VIEWS: tuple[View, ...] = (
    *strategies.VIEWS,
    *outlook.VIEWS,
    *curves.VIEWS,
    *scans.VIEWS,
    *windows.VIEWS,
    *orders.VIEWS,
    *positions.VIEWS,
    *ledger.VIEWS,
    *risk.VIEWS,
    *execution.VIEWS,
    *provenance.VIEWS,
)
TOPICS = {view.topic: view for view in VIEWS}

NEAREST_OF = 256
"""Arguments that a wrong one is compared with: a stranger's text must not cost much."""


def told() -> Told:
    """The memory that all views need."""
    names = Names()
    return Told(
        names,
        orders.Decided(),
        positions.Trades(names),
        ledger.Turnover(),
        risk.Refusals(),
        execution.Executions(),
        provenance.Trails(),
        curves.Curves(),
        scans.Scans(),
        strategies.Results(),
    )


def snapshot(look: Look, topic: str) -> Snapshot:
    """The view of that topic. BadInput for an unknown topic or argument, with the nearest name."""
    name, _, argument = topic.partition("/")
    if name not in TOPICS:
        raise BadInput(f"no view {name!r}; {nearest(name, TOPICS)}")
    view = TOPICS[name]
    known = () if view.arguments is None else view.arguments(look)
    if argument and argument not in known:
        raise BadInput(
            f"no {name}/{argument}; " + (nearest(argument, known[:NEAREST_OF]) if known else name)
        )
    if view.arguments is not None and not argument and not view.alone:
        raise BadInput(f"expected {name}/ and one of {', '.join(known[:8]) or 'nothing yet'}")
    return view.fold(look, argument)
