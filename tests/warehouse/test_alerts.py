"""Alerts and outbox stand or fall together, and a known key changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.alerts import Alert
from include.settings import Settings
from include.warehouse.alerts import count_unsent, insert_alerts, mark_failed, mark_sent, unsent
from include.warehouse.db import connect

pytestmark = pytest.mark.stack
ALERT = Alert("zscore", "market", "warning", "first words", "AAPL", datetime(2026, 1, 2, tzinfo=UTC), "up", 3.5, 3.0)


def test_a_known_key_is_left_as_it_is(settings: Settings) -> None:
    other = replace(ALERT, symbol="MSFT")
    with connect(settings) as conn, conn.transaction():
        assert insert_alerts(conn, [ALERT, ALERT]) == 1
        assert insert_alerts(conn, [replace(ALERT, message="other words"), other]) == 1
        assert conn.execute("select symbol, message from marts.alerts order by symbol").fetchall() == [
            ("AAPL", "first words"),
            ("MSFT", "first words"),
        ]
        assert [row.alert_key for row in unsent(conn)] == [ALERT.key, other.key]


def test_no_alerts_are_nothing_to_do(settings: Settings) -> None:
    with connect(settings) as conn, conn.transaction():
        assert insert_alerts(conn, []) == 0


def test_without_the_callers_transaction_it_refuses(settings: Settings) -> None:
    with connect(settings) as conn, pytest.raises(RuntimeError, match=r"with conn\.transaction"):
        insert_alerts(conn, [ALERT])


def test_a_rollback_takes_both_away(settings: Settings) -> None:
    with connect(settings) as conn:
        with pytest.raises(ZeroDivisionError), conn.transaction():
            insert_alerts(conn, [ALERT])
            raise ZeroDivisionError
        assert conn.execute(
            "select (select count(*) from marts.alerts), (select count(*) from ops.outbox)"
        ).fetchone() == (0, 0)


def test_what_no_database_takes_is_replaced(settings: Settings) -> None:
    with connect(settings) as conn, conn.transaction():
        insert_alerts(conn, [replace(ALERT, message="a\x00b", value=float("nan"))])
        assert conn.execute("select message, value from marts.alerts").fetchone() == ("a\ufffdb", None)


def test_sent_and_failed_rows_are_marked_in_both_tables(settings: Settings) -> None:
    with connect(settings) as conn, conn.transaction():
        insert_alerts(conn, [ALERT, replace(ALERT, symbol="MSFT")])
        one, two = unsent(conn)
        mark_sent(conn, {one.outbox_id: "message-1"})
        mark_failed(conn, [one.outbox_id, two.outbox_id], "SNS is down")  # one is sent: too late for it
        assert conn.execute(
            "select a.symbol, a.state, a.sent_at = o.sent_at, o.message_id, o.attempts, o.last_error "
            "from marts.alerts as a join ops.outbox as o using (alert_key) order by o.outbox_id"
        ).fetchall() == [
            ("AAPL", "sent", True, "message-1", 1, None),
            ("MSFT", "new", None, None, 1, "SNS is down"),
        ]
        assert (count_unsent(conn), unsent(conn, after=two.outbox_id)) == (1, [])
