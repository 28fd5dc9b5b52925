"""Alerts and outbox stand or fall together, and a known key changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.alerts import Alert
from include.settings import Settings
from include.warehouse.alerts import Written, count_too_old, insert_alerts
from include.warehouse.db import connect
from include.warehouse.outbox import count_unsent, unsent

pytestmark = pytest.mark.stack
ALERT = Alert("zscore", "market", "warning", "first words", "AAPL", datetime(2026, 1, 2, tzinfo=UTC), "up", 3.5, 3.0)


def test_a_known_key_is_left_as_it_is(settings: Settings) -> None:
    other = replace(ALERT, symbol="MSFT")
    with connect(settings) as conn, conn.transaction():
        assert insert_alerts(conn, [ALERT, ALERT]) == Written(new=1)
        assert insert_alerts(conn, [replace(ALERT, message="other words"), other]) == Written(new=1)
        assert conn.execute("select symbol, message from marts.alerts order by symbol").fetchall() == [
            ("AAPL", "first words"),
            ("MSFT", "first words"),
        ]
        assert [row.alert_key for row in unsent(conn)] == [ALERT.key, other.key]


def test_no_alerts_are_nothing_to_do(settings: Settings) -> None:
    with connect(settings) as conn, conn.transaction():
        assert insert_alerts(conn, []) == Written()


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


def test_alerts_of_old_candles_are_written_down_and_sent_to_nobody(settings: Settings) -> None:
    old, edge = replace(ALERT, symbol="OLD"), ALERT.candle_start
    assert edge is not None
    recent = replace(ALERT, symbol="RECENT", candle_start=edge + timedelta(minutes=1))
    ours = Alert("load_rejected", "operations", "critical", "about us, and now", candle_start=edge)
    with connect(settings) as conn, conn.transaction():
        written = insert_alerts(conn, [old, recent, ours], send_from=edge + timedelta(minutes=1))
        assert written == Written(new=3, too_old=1)
        assert conn.execute("select symbol, rule, state from marts.alerts order by message, symbol").fetchall() == [
            (None, "load_rejected", "new"),
            ("OLD", "zscore", "history"),
            ("RECENT", "zscore", "new"),
        ]
        assert [row.alert_key for row in unsent(conn)] == [recent.key, ours.key]
        assert (count_unsent(conn), count_too_old(conn)) == (2, 1)


def test_what_nobody_was_told_takes_new_values_and_what_was_told_does_not(settings: Settings) -> None:
    told, untold = replace(ALERT, symbol="TOLD"), replace(ALERT, symbol="UNTOLD")
    with connect(settings) as conn, conn.transaction():
        insert_alerts(conn, [told])
        insert_alerts(conn, [untold], send_from=datetime(2026, 2, 1, tzinfo=UTC))
        again = [replace(one, message="second words", value=4.5) for one in (told, untold)]
        assert insert_alerts(conn, again, send_from=datetime(2026, 2, 1, tzinfo=UTC)) == Written()
        assert conn.execute("select symbol, state, message, value from marts.alerts order by symbol").fetchall() == [
            ("TOLD", "new", "first words", 3.5),
            ("UNTOLD", "history", "second words", 4.5),
        ]
