"""The report's two files: complete, the same bytes for the same run, safe, and honest."""

import io
import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hand_made_run import REALISM, START_NS, deposit, rows, run_result, three_windows, window
from rich.console import Console

from fairwind.core.errors import DiskFault
from fairwind.core.events import Source
from fairwind.core.outputs import TABLES
from fairwind.research import charts, document, metrics, summary
from fairwind.research.document import build
from fairwind.research.report import Label, report_html, report_json, write_report

HOSTILE = "<script>alert('&\"')</script>"


def read(result):
    return json.loads(report_json(result), parse_float=Decimal, parse_int=Decimal)


def nothing_happened():
    return {name: rows(name) for name in TABLES}


class Balanced(HTMLParser):
    """Fails on a page whose tags do not nest."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_json_holds_what_the_issue_names_with_the_figures_computed_by_hand():
    found = read(run_result())
    assert found["digest"] == "0000000000000abc"
    totals = found["totals"]
    assert (totals["events"], totals["trades"], totals["open_positions"]) == (1234, 2, 1)
    assert totals["net_pnl"] == Decimal("0.8")
    assert totals["final_equity"] == Decimal("1000.7")
    assert totals["max_drawdown"] == Decimal("4.2")
    strategy = found["strategies"]["BTC_5M"]
    assert (strategy["scans"], strategy["holds"]) == (60, {"EDGE_BELOW_THRESHOLD": 57})
    assert strategy["hold_categories"] == {"edge": 57}
    assert (strategy["trades"], strategy["net_pnl"]) == (2, Decimal("0.8"))
    assert strategy["expectancy"]["mean"] == Decimal("0.4")
    assert strategy["expectancy"]["low"] is strategy["expectancy"]["high"] is None
    assert strategy["predicted_edge"]["mean"] == Decimal("0.02")
    assert strategy["realised_edge"]["mean"] == Decimal("0.04")
    assert found["strategies"]["ETH_5M"]["expectancy"]["mean"] is None


def test_the_parts_of_the_cost_in_the_json_sum_exactly_to_gross_minus_net():
    cost = read(run_result())["totals"]["cost"]
    parts = ("spread", "fee", "slippage", "latency", "adverse_selection")
    assert sum(cost[part] for part in parts) == cost["gross"] - cost["net"] == Decimal("0.3")


def test_strike_and_final_keep_all_their_digits_and_are_null_while_unknown():
    data = report_json(run_result())
    assert b'"strike": 64000.12345678901234,' in data
    windows = json.loads(data)["windows"]
    assert [window["outcome"] for window in windows] == ["Up", "Down", None]
    assert windows[2]["final"] is None
    assert windows[0]["slug"] == "btc-updown-5m-1787236800"


def test_a_pending_position_is_listed_and_counts_in_no_total():
    found = read(run_result())
    pending = [trade for trade in found["trades"] if not trade["closed"]]
    assert [trade["slug"] for trade in pending] == ["btc-updown-5m-1787237400"]
    assert pending[0]["net_pnl"] == Decimal("-0.1")
    assert "<td>pending</td>" in report_html(run_result())


def test_the_same_run_gives_the_same_bytes():
    assert report_json(run_result()) == report_json(run_result())
    assert report_html(run_result()) == report_html(run_result())


def test_text_from_outside_is_escaped_everywhere():
    labels = {"btc-updown-5m-1787236800": Label(outcome="Up")}
    page = report_html(
        run_result(
            source=HOSTILE,
            strategy_ids=(HOSTILE, "ETH_5M"),
            assumptions=(HOSTILE,),
            problems=(HOSTILE,),
            realism=REALISM | {HOSTILE: HOSTILE},
            labels=labels,
        )
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#39;&amp;&#34;&#39;)&lt;/script&gt;") >= 8


def test_the_page_is_well_formed_and_asks_for_nothing_from_elsewhere():
    for tables in (three_windows(), nothing_happened()):
        page = report_html(run_result(tables))
        reader = Balanced()
        reader.feed(page)
        assert reader.open == []
        assert re.findall(r"(?:src|href)=\"([^\"]*)\"", page) == ["data:,"]
        assert "url(" not in page and "@import" not in page and "://" not in page
        assert "default-src 'none'" in page


def test_without_trades_the_page_says_why():
    tables = nothing_happened()
    assert "No trades: no strategy scanned anything" in report_html(run_result(tables))
    tables["scans"] = three_windows()["scans"]
    page = report_html(run_result(tables))
    assert "No trades: 57 scans held; most frequent EDGE_BELOW_THRESHOLD (57); 3 passed" in page
    tables["scans"]["hold"] = 16
    page = report_html(run_result(tables))
    assert "No trades: all 60 scans held; most frequent EDGE_BELOW_THRESHOLD (60)" in page
    tables["scans"]["hold"] = 255
    assert "No trades: 60 scans passed, and no order was filled" in report_html(run_result(tables))


def test_a_run_without_postings_still_has_its_deposit():
    totals = read(run_result(nothing_happened()))["totals"]
    assert (totals["final_equity"], totals["deposits"], totals["net_pnl"]) == (1000, 1000, 0)


@pytest.mark.parametrize(
    ("change", "flagged"),
    [
        ({}, []),
        ({"latency_ms": 200.0}, []),
        ({"latency_ms": 10.0}, ["latency_ms is 10.0 (default 75.0)"]),
        ({"queue": False}, ["queue is False (default True)"]),
        ({"taker_delay": None}, ["taker_delay is not stated (default True)"]),
    ],
)
def test_less_realism_than_usual_is_flagged_as_optimistic(change, flagged):
    result = run_result(realism=REALISM | change)
    assert build(result).optimistic == flagged
    assert ("OPTIMISTIC" in report_html(result)) == bool(flagged)


def test_labels_are_compared_to_the_last_digit():
    name = "btc-updown-5m-1787236800"
    strike = Decimal("64000.12345678901234")
    for label, agrees in (
        (Label(strike=strike, final=Decimal("64010.5"), outcome="Up"), True),
        (Label(outcome="Up"), True),
        (Label(strike=strike + Decimal("1e-14")), False),
        (Label(outcome="Down"), False),
    ):
        report = build(run_result(labels={name: label}))
        assert report.windows[0].agrees is agrees
        assert (report.totals.labels, report.totals.labels_agree) == (1, int(agrees))


def summary_of(result):
    """What the terminal shows of a run."""
    said = io.StringIO()
    summary.show(build(result), Console(file=said, width=200, highlight=False))
    return said.getvalue()


def test_a_published_value_that_was_fed_cannot_agree():
    tables = three_windows()
    tables["windows"]["by"][1] = Source.RECORDED
    known = (window(0, 10_000), window(1, 0))
    labels = {f"btc-updown-5m-{one['start_ns'] // 10**9}": Label(outcome="Up") for one in known}
    result = run_result(tables, labels=labels)
    report = build(result)
    assert [one.settled_by for one in report.windows] == ["REFERENCE", "PUBLISHED", None]
    assert [one.agrees for one in report.windows] == [True, None, None]
    totals = report.totals
    assert (totals.labels, totals.labels_agree, totals.published) == (1, 1, 1)
    assert totals.labels_unknown == 0
    assert "1 of 1 labels agree, 1 published value;" in summary_of(result)
    page = report_html(result)
    assert "1 of 1 agree with the labels, 1 published value<" in page
    assert "<td>published</td>" in page and "no evidence that the engine" in page
    assert "differs ✕" not in page and "<td>not known</td>" not in page


def test_a_label_of_what_we_do_not_know_is_no_disagreement():
    pending, wrong = "btc-updown-5m-1787237400", "btc-updown-5m-1787237100"
    strike = Decimal("64000.12345678901234")
    labels = {
        pending: Label(strike=strike, final=Decimal("64010.5"), outcome="Up"),
        wrong: Label(outcome="Up"),
    }
    result = run_result(labels=labels)
    report = build(result)
    assert [one.agrees for one in report.windows] == [None, False, None]
    totals = report.totals
    assert (totals.labels, totals.labels_agree, totals.labels_unknown) == (1, 0, 1)
    lines = summary_of(result).splitlines()
    (disagreement,) = [line for line in lines if line.startswith("label ")]
    assert disagreement.startswith(f"label    {wrong}: expected")
    assert "unknown  labels that name what we do not know: 1" in lines
    page = report_html(result)
    assert page.count("<td>not known</td>") == page.count("<td>differs ✕</td>") == 1
    assert "0 of 1 agree with the labels, 1 not known<" in page
    labels[pending] = Label(strike=strike + 1, outcome="Up")
    assert build(run_result(labels=labels)).windows[2].agrees is False


def test_the_page_says_why_few_windows_have_no_interval():
    page = report_html(run_result())
    assert "fewer than 10 windows: no interval" in page
    assert "<td>+0.40 (no interval)</td>" in page


def test_a_long_equity_curve_is_thinned_and_keeps_its_extremes():
    count = 20_000
    postings = rows("postings", *[deposit(1)] * count)
    postings["ts_ns"] = START_NS + np.arange(count)
    gain = np.random.default_rng(5).integers(-1000, 1001, count)
    postings["realised_micro"], postings["cash_micro"] = -gain, gain
    whole = metrics.equity(postings)
    curve = document.thinned(whole)
    assert len(curve.ts_ns) <= document.CURVE_POINTS + 2
    micro = [int(value * 1_000_000) for value in curve.equity]
    assert (min(micro), max(micro)) == (whole.equity_micro.min(), whole.equity_micro.max())
    assert micro[-1] == whole.equity_micro[-1]
    assert all(before < after for before, after in pairwise(curve.ts_ns))


def test_both_files_are_written_whole_and_nothing_else(tmp_path):
    page = write_report(run_result(), tmp_path / "deep" / "report")
    assert page.read_text(encoding="utf-8") == report_html(run_result())
    assert (page.parent / "report.json").read_bytes() == report_json(run_result())
    assert sorted(path.name for path in page.parent.iterdir()) == ["report.html", "report.json"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DiskFault, match=r"expected to write into .*file.*another --report"):
        write_report(run_result(), blocked)


def test_windows_stand_in_the_order_of_time():
    tables = nothing_happened()
    tables["windows"] = rows("windows", window(5, 0) | {"market": 0}, window(2, 0))
    found = build(run_result(tables)).windows
    assert [one.slug[-10:] for one in found] == ["1787237400", "1787238300"]


def test_every_number_of_the_json_is_a_number():
    assert b'"net_pnl": "' not in report_json(run_result())
    assert msgspec.json.decode(report_json(run_result()))["totals"]["net_pnl"] == 0.8


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-12.0, 31.0, [-10, 0, 10, 20, 30])],
)
def test_axis_marks_are_round_and_inside(low, high, expected):
    assert charts.steps(low, high, 4) == pytest.approx(expected)


def test_time_marks_are_round_utc_times():
    marks = charts.times(START_NS, START_NS + 300 * 10**9, 5)
    assert [label for _, label in marks] == ["14:40", "14:41", "14:42", "14:43", "14:44", "14:45"]


def test_charts_stand_flat_single_and_tiny_values():
    for values in ([5.0, 5.0], [0.0], [1e-9, 2e-9], [-3.0, 1e9]):
        times = list(range(START_NS, START_NS + len(values)))
        for area in (False, True):
            svg = charts.stairs(times, values, name="x", width=340, height=200, room=80, area=area)
            assert "nan" not in svg and "inf" not in svg
