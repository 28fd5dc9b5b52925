"""A batch's cost follows the batch: no source's rows are read for another source or kind, nor those of other loads."""

from __future__ import annotations

import re

import pytest

from include.settings import Settings
from include.warehouse.db import connect
from tests.transform.events import accept, quote
from tests.transform.marts import rows

UNIONS = ("quotes", "trades", "bars", "actions")


def plan(conn: object, query: str) -> str:
    explained = rows(conn, "explain (analyze, costs off, timing off, summary off, buffers off) " + query)  # type: ignore[arg-type]
    return "\n".join(line for (line,) in explained)


@pytest.fixture
def filled(marts_settings: Settings) -> Settings:
    with connect(marts_settings) as conn:
        for minute in range(20):
            accept(conn, [quote(f"S{n}", f"10:{minute}:{n % 60}", 1) for n in range(300)])
        conn.execute("select ops.refresh_statistics('raw.market_events')")
    return marts_settings


@pytest.mark.parametrize("union", UNIONS)
def test_each_source_looks_only_at_its_own_rows_of_the_batch(filled: Settings, union: str) -> None:
    with connect(filled) as conn:
        found = plan(
            conn, f"select * from intermediate.int_{union}__unioned where is_accepted and load_id = any('{{19,20}}')"
        )
    scans = re.findall(r"((?:Seq|Heap|Index) Scan.*) on market_events_\d+_\d+ ", found)
    conditions = re.findall(r"Index Cond: (.*)", found)
    if union == "actions":  # a handful, in an index of their own
        assert len(scans) == 1 and re.fullmatch(
            r"Index Scan using market_events_\d+_\d+_symbol_event_time_idx", scans[0]
        ), found
    else:
        assert scans and len(conditions) == len(scans), found
    for one in conditions:
        assert "kind =" in one and "source =" in one, found
    assert "landed_events" not in found, "what the audit has not accepted is never read"


def test_a_changed_key_is_looked_up_in_its_own_source_only(filled: Settings) -> None:
    with connect(filled) as conn:
        found = plan(
            conn,
            "select found.* from (select * from raw.market_events where load_id = 20) as changed cross join lateral ("
            "select q.* from intermediate.int_quotes__unioned as q where q.is_accepted and q.symbol = changed.symbol "
            "and q.event_time = changed.event_time and q.source = changed.source offset 0) as found",
        )
    read = re.findall(r"One-Time Filter: \(market_events.source = '(\w+)'.*?\n\s*->  (.*)", found)
    assert {source for source, scan in read if "never executed" not in scan} == {"simulator"}, found
    assert len(read) > 5, found
