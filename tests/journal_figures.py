"""What pages have to show of a run that is over, asked of the journal's tables in SQL alone.

In: a run. Out: for each topic its key and rows, with the names that the page gives to figures.
Never here: a view, or anything that a view is folded from.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

from fairwind.journal import tables

ORDERS = """
    SELECT order_id AS "order", min(ts_ns) AS ts_ns, any_value(strategy_name) AS strategy,
        any_value(slug) AS slug, any_value(action_name) AS action,
        any_value(outcome_name) AS outcome, any_value(type_name) AS type,
        max_by(state_name, state) AS state, max(size_micro) AS size_micro,
        coalesce((SELECT sum(f.size_micro) FROM fills f WHERE f.order_id = o.order_id), 0)
            AS filled_micro,
        min_by(limit_e4, state) AS limit_e4, max(ts_ns) AS changed_ns
    FROM orders o JOIN named USING (market)
    GROUP BY order_id HAVING min(state_name) <> 'REFUSED'
"""
FILLS = """
    SELECT row_number() OVER (ORDER BY f.ts_ns, f.order_id, f.price_e4) AS fill, f.ts_ns,
        f.order_id AS "order", f.strategy_name AS strategy, slug, f.action_name AS action,
        f.outcome_name AS outcome, f.size_micro, f.price_e4, f.fee_micro, f.maker <> 0 AS maker,
        f.ts_ns - d.ts_ns AS latency_ns
    FROM fills f JOIN named USING (market) JOIN decisions d USING (order_id)
"""
CLOSED = """
    SELECT strategy_name || '/' || slug || '/' || outcome_name AS key,
        strategy_name AS strategy, slug, outcome_name AS outcome, min(ts_ns) AS opened_ns,
        max(ts_ns) AS closed_ns,
        sum(CASE WHEN fact_name = 'FILL' THEN shares_micro ELSE 0 END) AS shares_micro,
        sum(CASE WHEN fact_name = 'FILL' THEN position_micro ELSE 0 END) AS paid_micro,
        sum(CASE WHEN fact_name = 'SETTLE' THEN receivable_micro ELSE 0 END) AS payout_micro,
        sum(fees_micro) AS fees_micro, -sum(realised_micro + fees_micro) AS net_micro,
        CASE WHEN sum(realised_micro + fees_micro) < 0 THEN 'win' ELSE 'loss' END AS result
    FROM (SELECT * FROM postings WHERE fact_name IN ('FILL', 'FEE', 'SETTLE'))
    JOIN named USING (market) GROUP BY ALL
"""
REFUSALS = """
    SELECT order_id AS "order", ts_ns, strategy_name AS strategy, slug, action_name AS action,
        outcome_name AS outcome, code_name AS code, net_edge_e4, limit_e4,
        ts_ns - book_ts_ns AS book_age_ns, ts_ns - spot_ts_ns AS spot_age_ns,
        ts_ns - reference_ts_ns AS reference_age_ns
    FROM decisions JOIN named USING (market) WHERE state_name = 'REFUSED'
"""
WINDOWS = """
    SELECT slug, any_value(series_name) AS series, max_by(state_name, (ts_ns, payout_e4)) AS state,
        any_value(start_ns) AS start_ns, max(strike_e8) AS strike_e8,
        max(strike_remainder_e18) AS strike_remainder_e18, max(final_e8) AS final_e8,
        max(final_remainder_e18) AS final_remainder_e18, max(payout_e4) AS payout_e4
    FROM windows GROUP BY slug
"""
HOLDS = """
    SELECT strategy_name || '/' || hold_name AS key, strategy_name AS strategy, hold_name AS code,
        count(*) AS count, max(ts_ns) AS last_at_ns
    FROM scans WHERE hold_name <> 'NONE' GROUP BY ALL
"""
STRATEGIES = f"""
    SELECT strategy AS id, count(*) AS trades, count(*) FILTER (result = 'win') AS wins,
        sum(net_micro) AS net_micro FROM ({CLOSED}) GROUP BY strategy
"""
ACCOUNTS = ("cash", "reserved", "positions", "receivable", "fees", "realised", "deposits")
COLUMNS = tuple(f"{one.replace('positions', 'position')}_micro" for one in ACCOUNTS)
LEDGER = " UNION ALL ".join(
    f"""SELECT '{one}' AS account, sum({column}) AS balance_micro,
        sum(greatest({column}, 0)) AS debit_micro, sum(greatest(-{column}, 0)) AS credit_micro
    FROM postings"""
    for one, column in zip(ACCOUNTS, COLUMNS, strict=True)
)
TOPICS = {
    "orders": ("order", ORDERS),
    "fills": ("order ts_ns price_e4", FILLS),
    "closed": ("key", CLOSED),
    "refusals": ("order", REFUSALS),
    "windows": ("slug", WINDOWS),
    "holds": ("key", HOLDS),
    "strategies": ("id", STRATEGIES),
    "ledger": ("account", LEDGER),
}
OVERVIEW = f"""
    SELECT -sum(deposits_micro + realised_micro + fees_micro) AS equity_micro,
        -sum(realised_micro + fees_micro) AS profit_micro, sum(cash_micro) AS cash_micro,
        sum(reserved_micro) AS reserved_micro, sum(fees_micro) AS fees_micro,
        (SELECT count(*) FROM ({CLOSED})) AS trades,
        (SELECT count(DISTINCT slug) FROM windows WHERE state_name = 'FINAL') AS windows_settled
    FROM postings
"""


def asked(run: Path, sql: str) -> list[dict[str, Any]]:
    """The rows, by column; whole numbers are whole."""
    named = "WITH named AS (SELECT DISTINCT market, slug FROM windows) "
    found = tables.query(run, f"{named}{sql}").to_pylist()
    return [{name: _whole(one) for name, one in row.items()} for row in found]


def exact(e8: int, remainder_e18: int) -> Decimal:
    """A value of the oracle, with all of its digits."""
    return Decimal(e8).scaleb(-8) + Decimal(remainder_e18).scaleb(-18)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) else value
