"""What is past its time goes; what something is still to be made of, or what nobody else has, stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.settings import Settings
from include.warehouse.db import connect
from include.warehouse.retention import Keep, remove_old, removed_events_before

NOW = datetime(2026, 3, 31, tzinfo=UTC)


@pytest.fixture
def conn(settings: Settings) -> Iterator[psycopg.Connection]:
    with connect(settings) as connection:
        yield connection


def event(conn: psycopg.Connection, kind: str, days_old: float, *, state: str = "transformed") -> None:
    load = conn.execute(
        "insert into ops.loads (origin, state, is_live, read_count, inserted_count, duplicate_count) "
        "values (gen_random_uuid()::text, %s, true, 1, 1, 0) returning load_id",
        [state],
    ).fetchone()
    assert load is not None
    conn.execute("select ops.make_event_partitions(array[%s])", [NOW - timedelta(days=days_old)])
    conn.execute(
        "insert into raw.market_events (source, kind, symbol, event_time, payload_hash, payload, received_at, load_id) "
        "values ('binance', %s, 'BTC-USD', %s, gen_random_uuid(), '{}', %s, %s)",
        [kind, NOW - timedelta(days=days_old), NOW, load[0]],
    )


def left(conn: psycopg.Connection) -> list[tuple[str, int]]:
    return [
        (kind, (NOW - at).days)
        for kind, at in conn.execute("select kind, event_time from raw.market_events order by event_time, kind")
    ]


def test_old_quotes_and_trades_go_bars_and_younger_ones_stay(conn: psycopg.Connection) -> None:
    for kind, days in (("quote", 31), ("trade", 40), ("bar", 40), ("quote", 30), ("trade", 1)):
        event(conn, kind, days)

    assert remove_old(conn, Keep(events=30), NOW) == {"events": 2}

    assert left(conn) == [("bar", 40), ("quote", 30), ("trade", 1)]
    assert removed_events_before(conn) == NOW - timedelta(days=30)


def test_what_no_transform_has_taken_stays_however_old(conn: psycopg.Connection) -> None:
    event(conn, "trade", 400, state="accepted")
    event(conn, "trade", 400)

    assert remove_old(conn, Keep(events=30), NOW) == {"events": 1}

    assert left(conn) == [("trade", 400)]


def test_zero_days_keep_everything_for_ever(conn: psycopg.Connection) -> None:
    event(conn, "quote", 4000)

    assert remove_old(conn, Keep(), NOW) == {}

    assert left(conn) == [("quote", 4000)]
    assert removed_events_before(conn) is None


def test_quarantine_counts_from_when_we_put_it_there(conn: psycopg.Connection) -> None:
    for line, days in enumerate((8, 6)):
        conn.execute(
            "insert into raw.rejected_events (origin, line_number, reason, raw, rejected_at) "
            "values ('a', %s, '', '', %s)",
            [line, NOW - timedelta(days=days)],
        )

    assert remove_old(conn, Keep(quarantine=7), NOW) == {"quarantine": 1}

    assert conn.execute("select line_number from raw.rejected_events").fetchall() == [(1,)]


def test_of_the_ledger_only_what_is_done_and_not_asked_for_again_goes(conn: psycopg.Connection) -> None:
    old = NOW - timedelta(days=91)
    for step, ok in (("pull", True), ("pull", False), ("audit", True)):
        conn.execute("insert into ops.outcomes (at, step, ok) values (%s, %s, %s)", [old, step, ok])
    for number, state in ((1, "loaded"), (2, "lost"), (3, "loaded")):
        conn.execute(
            "insert into ops.stream_ranges (stream, stream_created_at, shard_id, from_sequence, to_sequence, "
            "record_count, event_count, arrived_at, s3_key, state, loaded_at) "
            "values ('s', %s, 'a', %s, %s, 1, 1, %s, %s, %s, %s)",
            [old, str(number), str(number), old, f"raw/{number}", state, old],
        )
    for key, sent in (("sent", old), ("waits", None)):
        conn.execute(
            "insert into ops.outbox (alert_key, subject, body, created_at, sent_at) values (%s, '', '', %s, %s)",
            [key, old, sent],
        )

    for key, status in (("over", "resolved"), ("open", "open")):
        conn.execute(
            "insert into marts.alerts (alert_key, rule, category, severity, message, status) "
            "values (%s, 'zscore', 'market', 'info', '', %s)",
            [key, status],
        )
        conn.execute("insert into marts.alert_history (alert_key, at, event) values (%s, %s, 'opened')", [key, old])
    for symbol, found in (("OLD", old), ("NEW", NOW)):
        conn.execute(
            "insert into ops.findings (rule, scope, symbol, candle_start, severity, message, cooldown_minutes, "
            "found_at) values ('zscore', 'instrument', %s, %s, 'info', '', 5, %s)",
            [symbol, old, found],
        )

    for name, until in (("load", "-infinity"), ("load raw/1", "-infinity"), ("load raw/2", "infinity")):
        conn.execute(
            "insert into ops.leases (name, epoch, holder, backend_pid, backend_start, acquired_at, expires_at) "
            "values (%s, 7, 'host:1', 1, %s, %s, %s)",
            [name, old, old, until],
        )

    assert remove_old(conn, Keep(ledger=90), NOW) == {"ledger": 7}

    assert conn.execute("select step, ok from ops.outcomes").fetchall() == [("pull", True)]
    assert conn.execute("select to_sequence, state from ops.stream_ranges order by 1").fetchall() == [
        ("2", "lost"), ("3", "loaded"),
    ]  # fmt: skip
    assert conn.execute("select alert_key from ops.outbox").fetchall() == [("waits",)]
    assert conn.execute("select alert_key from marts.alert_history").fetchall() == [("open",)]
    assert conn.execute("select symbol from ops.findings").fetchall() == [("NEW",)]
    assert conn.execute("select name from ops.leases order by 1").fetchall() == [("load",), ("load raw/2",)]


def test_it_may_be_repeated_and_counts_on(conn: psycopg.Connection) -> None:
    event(conn, "quote", 40)
    assert remove_old(conn, Keep(events=30), NOW) == {"events": 1}
    event(conn, "quote", 45)  # a replay brought it back

    assert remove_old(conn, Keep(events=30), NOW + timedelta(days=1)) == {"events": 1}

    assert conn.execute("select row_count, before from ops.removed").fetchall() == [(2, NOW - timedelta(days=29))]


def test_large_tables_go_in_portions(conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.warehouse.retention._PORTION", 2)
    for _ in range(5):
        event(conn, "quote", 40)

    assert remove_old(conn, Keep(events=30), NOW) == {"events": 5}


def test_a_partition_goes_as_a_whole_where_nothing_in_it_has_to_stay(conn: psycopg.Connection) -> None:
    conn.execute("update ops.partitioning set months = 1")
    for kind, days in (("trade", 500), ("quote", 510), ("bar", 540), ("trade", 541), ("trade", 40)):
        event(conn, kind, days)
    parts = "select distinct to_char(from_at, 'YYYY-MM') from ops.partitions where from_at < '2026-01-01Z' order by 1"
    assert [month for (month,) in conn.execute(parts)] == ["2024-10", "2024-11"]

    assert remove_old(conn, Keep(events=100), NOW) == {"events": 3}

    assert [month for (month,) in conn.execute(parts)] == ["2024-10"], "where a bar is"
    assert left(conn) == [("bar", 540), ("trade", 40)]


def test_while_somebody_reads_the_events_their_rows_go_one_by_one(conn: psycopg.Connection, settings: Settings) -> None:
    event(conn, "trade", 500)
    with connect(settings, role="owner") as owner, connect(settings) as reader, reader.transaction():
        owner.execute("alter function ops.drop_events set lock_timeout = '50ms'")
        reader.execute("select count(*) from raw.market_events")
        assert remove_old(conn, Keep(events=30), NOW) == {"events": 1}
    assert left(conn) == []
