"""Tables of a closed journal: SQL over what the run said, with readable names."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from test_journal import META, some_events

from fairwind.core.errors import BadInput
from fairwind.core.events import Kind
from fairwind.core.holds import NO_HOLD, Hold
from fairwind.core.outputs import ORDER, SCAN, WINDOW, OrderState
from fairwind.journal import tables
from fairwind.journal.file import Journal


def _told(run: Path) -> None:
    journal = Journal(run, META)
    events = some_events(40)
    events["kind"] = Kind.LEVEL
    events["kind"][[3, 30]] = Kind.TRADE
    events["price"][30], events["side"][30] = 4200, 1
    journal.append_inputs(events)
    journal.commit()
    scans = np.zeros(2, SCAN)
    scans["hold"], scans["strategy"], scans["side"] = [NO_HOLD, Hold.SPREAD], [0, 1], [1, 2]
    orders = np.zeros(3, ORDER)
    orders["state"] = [OrderState.DECIDED, OrderState.FILLED, OrderState.REFUSED]
    orders["order"] = [7, 7, 8]
    windows = np.zeros(1, WINDOW)
    windows["series"], windows["start_ns"] = 1, 1_787_236_800 * 10**9
    journal.append_outputs({"scans": scans, "orders": orders, "windows": windows})
    journal.mark(40, 1)
    journal.close()


QUERIES: dict[str, list[dict[str, object]]] = {
    "SELECT strategy_name, hold_name, side_name FROM scans ORDER BY strategy": [
        {"strategy_name": "BTC_5M", "hold_name": "NONE", "side_name": "DOWN"},
        {"strategy_name": "ETH_5M", "hold_name": "SPREAD", "side_name": None},
    ],
    "SELECT order_id, state_name FROM decisions ORDER BY order_id": [
        {"order_id": 7, "state_name": "DECIDED"},
        {"order_id": 8, "state_name": "REFUSED"},
    ],
    "SELECT count(*) AS n FROM orders": [{"n": 3}],
    "SELECT slug, series_name FROM windows": [
        {"slug": "btc-updown-15m-1787236800", "series_name": "BTC_15M"}
    ],
    "SELECT event, side_name, price_e4 FROM trades WHERE event > 3": [
        {"event": 30, "side_name": "ASK", "price_e4": 4200}
    ],
    "SELECT count(*) AS n FROM fills, postings": [{"n": 0}],
}


@pytest.mark.parametrize("sql", QUERIES)
def test_a_closed_journal_answers_sql_with_readable_names(tmp_path: Path, sql: str) -> None:
    _told(tmp_path)
    assert tables.query(tmp_path, sql).to_pylist() == QUERIES[sql]


def test_lost_tables_come_back_when_they_are_asked_for(tmp_path: Path) -> None:
    _told(tmp_path)
    shutil.rmtree(tmp_path / "tables")
    assert tables.query(tmp_path, "SELECT count(*) AS n FROM orders").to_pylist() == [{"n": 3}]
    assert tables.complete(tmp_path) == len(list((tmp_path / "tables" / "orders").iterdir())) == 1


def test_a_run_that_is_open_answers_with_all_that_is_durable(tmp_path: Path) -> None:
    """It holds closed segments and one that is written to; names are those of a closed run."""
    _told(tmp_path)
    journal = Journal(tmp_path, META)
    journal.append_inputs(some_events(5))
    journal.commit()
    scans = np.zeros(3, SCAN)
    scans["strategy"] = 1
    journal.append_outputs({"scans": scans})
    journal.mark(45, 1)
    by_strategy = "SELECT strategy_name, count(*) AS n FROM scans GROUP BY ALL ORDER BY ALL"
    answers = []
    for step in (journal.commit, journal.close, lambda: None):
        answers.append([row["n"] for row in tables.query(tmp_path, by_strategy).to_pylist()])
        step()
    assert answers == [[1, 1], [1, 4], [1, 4]]
    strategies = {row["strategy_name"] for row in tables.query(tmp_path, by_strategy).to_pylist()}
    assert strategies == {"BTC_5M", "ETH_5M"}


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected a run directory"):
        tables.query(tmp_path, "SELECT 1")


@pytest.mark.parametrize("sql", ["SELECT nothing FROM scans", "SELEC", ""])
def test_sql_that_gives_no_result_is_refused_with_a_reason(tmp_path: Path, sql: str) -> None:
    _told(tmp_path)
    with pytest.raises(BadInput, match="query"):
        tables.query(tmp_path, sql)
