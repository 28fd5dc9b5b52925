"""A checksum of a mart is what it tells analysts: any value counts, the order of rows and our own clocks do not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby, zip_longest
from operator import itemgetter

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb

from include.settings import Settings
from include.warehouse.checksums import Checksum, differences, mart_checksums
from include.warehouse.db import connect

pytestmark = pytest.mark.stack

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
QUOTE = "insert into marts.quotes (source, symbol, event_time, price, received_at) values ('x', %s, %s, %s, %s)"
ALERT = (
    "insert into marts.alerts (alert_key, rule, category, symbol, severity, message) "
    "values (%s, 'zscore', %s, 'AAPL', 'info', 'said')"
)
OTHER = {
    "numeric": "coalesce({}, 0) + 1e-9",
    "double precision": "coalesce({}, 0) + 1",
    "bigint": "coalesce({}, 0) + 1",
    "integer": "coalesce({}, 0) + 1",
    "date": "{} + 1",
    "text": "coalesce({}, '') || ' '",
    "boolean": "not coalesce({}, false)",
    "timestamp with time zone": "coalesce({}, now()) + interval '1 microsecond'",
    "ARRAY": "{} || '{{x}}'",
    "jsonb": "{} || '[1]'",
}


def one(conn: psycopg.Connection, mart: str) -> Checksum:
    return mart_checksums(conn)[mart]


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)))
def test_the_order_of_rows_does_not_count(marts_settings: Settings, order: list[int]) -> None:
    with connect(marts_settings) as conn:
        digests = set()
        for numbers in (range(6), order):
            conn.execute("truncate marts.quotes")
            for number in numbers:
                conn.execute(QUOTE, [f"S{number}", NOON, number, NOON])
            digests.add(one(conn, "quotes"))
        assert [checksum.rows for checksum in digests] == [6]


def test_every_value_of_every_table_counts_but_when_we_did_something(marts_settings: Settings) -> None:
    ours = {"received_at", "created_at", "sent_at", "found_at", "latency_seconds"}
    with connect(marts_settings) as conn:
        fill(conn)
        columns = conn.execute(
            "select c.table_name, c.column_name, c.data_type from information_schema.columns as c "
            "join information_schema.tables as t using (table_schema, table_name) "
            "where c.table_schema = 'marts' and t.table_type = 'BASE TABLE' and c.is_identity = 'NO'"
        ).fetchall()
        before = mart_checksums(conn)
        told, silent = set(), set()
        # a column of every table at a time: what is told of a table depends on nothing but its own rows
        of_tables = [list(group) for _, group in groupby(sorted(columns), key=itemgetter(0))]
        for changes in zip_longest(*of_tables):
            made = [one for one in changes if one]
            for mart, column, kind in made:
                change(conn, mart, column, kind)
            now = mart_checksums(conn)
            for mart, column, _ in made:
                (told if now.get(mart) != before.get(mart) else silent).add((mart, column))
            fill(conn)
            assert mart_checksums(conn) == before
    assert len(told) > 60
    about_us = {
        "state", "status", "updates", "acknowledged_at", "acknowledged_by", "resolved_at", "resolved_by", "raised_to",
        "told_by", "escalations", "escalated_at", "latency_seconds",
    }  # fmt: skip
    silent = {(mart, column) for mart, column in silent if mart != "alert_history"}
    assert {column for _, column in silent} <= ours | about_us | {"category", "reason", "minutes"}
    assert ("alerts", "state") in silent and ("quotes", "received_at") in silent


def fill(conn: psycopg.Connection) -> None:
    """One row in each table of marts, of ones, empty texts and one moment."""
    tables = conn.execute(
        "select table_name, array_agg(column_name::text order by ordinal_position), "
        "array_agg(data_type::text order by ordinal_position) from information_schema.columns "
        "join information_schema.tables using (table_schema, table_name) "
        "where table_schema = 'marts' and table_type = 'BASE TABLE' group by table_name"
    ).fetchall()
    value = {
        "text": "x",
        "boolean": True,
        "timestamp with time zone": NOON,
        "date": NOON.date(),
        "ARRAY": [],
        "jsonb": Jsonb([]),
    }
    special = {
        "category": "market", "severity": "info", "state": "new", "gap_end": NOON + timedelta(hours=1),
        "status": "open", "raised_to": "warning", "event": "opened", "is_withdrawn": False,
    }  # fmt: skip
    for table, names, kinds in tables:
        row = [special.get(name, value.get(kind, 1)) for name, kind in zip(names, kinds, strict=True)]
        conn.execute(sql.SQL("truncate marts.{}").format(sql.Identifier(table)))
        conn.execute(
            sql.SQL("insert into marts.{} overriding system value values ({})").format(
                sql.Identifier(table), sql.SQL(", ").join(sql.Placeholder() * len(row))
            ),
            row,
        )


def change(conn: psycopg.Connection, mart: str, column: str, kind: str) -> None:
    """Another value of that column, by as little as its type can tell (or what its check allows)."""
    allowed = {"category": "'operations'", "severity": "'critical'", "state": "'sent'", "status": "'resolved'"}
    allowed |= {"raised_to": "'critical'", "event": "'sent'"}
    other = allowed.get(column) or OTHER[kind].format(f'"{column}"')
    conn.execute(f'update marts."{mart}" set "{column}" = {other}')


def test_equal_numbers_are_equal_however_they_are_written(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        conn.execute(QUOTE, ["AAPL", NOON, "1.50", NOON])
        before = one(conn, "quotes")
        conn.execute("update marts.quotes set price = 1.5")
        assert one(conn, "quotes") == before
        conn.execute("update marts.quotes set price = 1.50000000000000000000000000001")
        assert one(conn, "quotes") != before


def test_a_row_that_is_there_twice_is_not_there_once(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        conn.execute("create table marts.noted as select 'x' as symbol")
        once = one(conn, "noted")
        conn.execute("insert into marts.noted values ('x'), ('x')")
        assert (once.rows, one(conn, "noted").rows) == (1, 3)
        assert once.digest != one(conn, "noted").digest


def test_alerts_of_the_market_count_those_of_operations_do_not(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        empty = one(conn, "alerts")
        conn.execute(ALERT, ["a", "operations"])
        assert one(conn, "alerts") == empty
        conn.execute(ALERT, ["b", "market"])
        assert one(conn, "alerts").rows == 1


def test_what_is_not_the_same_is_named(marts_settings: Settings) -> None:
    with connect(marts_settings) as conn:
        before = mart_checksums(conn)
        assert differences(before, mart_checksums(conn)) == []
        conn.execute(QUOTE, ["AAPL", NOON, 1, NOON])
        (said,) = differences(before, mart_checksums(conn))
    assert said.startswith("marts.quotes: 0 rows ") and " before, 1 rows " in said
