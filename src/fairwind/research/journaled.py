"""A run directory as the report reads it: what its journal says, and nothing else.

In: a run that is closed, is open or was killed. Out: a RunResult. Never here: the engine; a change
of the run.
"""

from pathlib import Path

from fairwind.core.config import Realism
from fairwind.core.controls import Configure, Deposit, decode
from fairwind.core.errors import BadInput
from fairwind.core.events import Events, Kind
from fairwind.journal import file
from fairwind.journal.record import Mark
from fairwind.research.replay import tables_of
from fairwind.research.report import RunResult


def result_of_run(run: Path) -> RunResult:
    """All that is durable. Raises BadInput when `run` is no run or has no events, and Corrupt."""
    meta = file.meta_of(run)
    events, mark = 0, Mark(0, 0)
    first: Events | None = None
    for part in file.inputs(run):
        if isinstance(part, Mark):
            mark = part
        else:
            first = part if first is None else first
            events += len(part)
    if first is None:
        raise BadInput(f"{run}: expected a run with events, found none; let it run first")
    numbers = first["price"][first["kind"] == Kind.CONTROL].tolist()
    opening = [decode(file.payload_of(run, number), number) for number in numbers]
    configured = next((one for one in opening if isinstance(one, Configure)), Configure())
    late = events - mark.events
    return RunResult(
        digest=mark.digest,
        events=mark.events,
        tables=tables_of(run),
        strategy_ids=meta.strategies,
        source=meta.source,
        deposit_micro=sum(one.amount_micro for one in opening if isinstance(one, Deposit)),
        realism={
            name: getattr(configured, name)
            for name in Realism.__struct_fields__
            if hasattr(configured, name)
        },
        problems=(
            (f"what came of the last {late} events is not journaled; open the run again",)
            if late
            else ()
        ),
    )
