"""Messages of the outbox: sent, failed, dead, and put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.alerts import Alert
from include.errors import ConfigError, LedgerError
from include.pipeline.redeliver import redeliver
from include.settings import Settings
from include.warehouse.alerts import insert_alerts
from include.warehouse.db import connect
from include.warehouse.outbox import (
    Acceptance,
    Chosen,
    count_dead,
    count_unsent,
    mark_dead,
    mark_failed,
    mark_sent,
    unsent,
)

pytestmark = pytest.mark.stack
AT = datetime(2026, 1, 2, tzinfo=UTC)
ALERT = Alert("zscore", "market", "warning", "first words", "AAPL", AT, "up", 3.5, 3.0)
TAKEN = Acceptance("message-1", "arn:topic", AT + timedelta(seconds=90), 30.0)


def test_sent_and_failed_rows_are_marked_in_both_tables(settings: Settings) -> None:
    with connect(settings) as conn, conn.transaction():
        insert_alerts(conn, [ALERT, replace(ALERT, symbol="MSFT")])
        one, two = unsent(conn)
        mark_sent(conn, {one.outbox_id: TAKEN})
        mark_failed(conn, [one.outbox_id, two.outbox_id], "SNS is down")  # one is sent: too late for it
        assert conn.execute(
            "select a.symbol, a.state, a.sent_at = o.sent_at, o.message_id, o.topic, o.attempts, o.last_error, "
            "a.latency_seconds "
            "from marts.alerts as a join ops.outbox as o using (alert_key) order by o.outbox_id"
        ).fetchall() == [
            ("AAPL", "sent", True, "message-1", "arn:topic", 1, None, 30.0),
            ("MSFT", "new", None, None, None, 1, "SNS is down", None),
        ]
        assert (count_unsent(conn), unsent(conn, after=two.outbox_id)) == (1, [])


def test_only_the_message_that_an_alert_opened_makes_it_sent(settings: Settings) -> None:
    with connect(settings) as conn, conn.transaction():
        insert_alerts(conn, [ALERT])
        conn.execute(
            "insert into ops.outbox (alert_key, message_key, kind, subject, body) "
            "select alert_key, 'later', 'resolved', subject, body from ops.outbox"
        )
        opened, resolved = unsent(conn)
        mark_sent(conn, {resolved.outbox_id: TAKEN})
        assert conn.execute("select state, latency_seconds from marts.alerts").fetchall() == [("new", None)]
        mark_sent(conn, {opened.outbox_id: TAKEN})
        assert conn.execute("select state, latency_seconds from marts.alerts").fetchall() == [("sent", 30.0)]


def three(conn: psycopg.Connection) -> list[int]:
    """Messages of AAPL (sent), MSFT (dead) and TSLA (waits); their numbers."""
    insert_alerts(conn, [replace(ALERT, symbol=symbol) for symbol in ("AAPL", "MSFT", "TSLA")])
    ids = [row.outbox_id for row in unsent(conn)]
    mark_sent(conn, {ids[0]: TAKEN})
    mark_dead(conn, [ids[0], ids[1]], "InvalidParameter: no")  # the first is sent: too late for it
    return ids


def waiting(settings: Settings) -> list[tuple[str, str]]:
    """Symbol and what follows the alert's key in the message's, of what waits."""
    with connect(settings) as conn:
        return [(row.subject.split(": ")[1], row.message_key.removeprefix(row.alert_key)) for row in unsent(conn)]


def said(chosen: Sequence[Chosen]) -> list[tuple[str, str, str | None]]:
    return [(one.subject.split(": ")[1], one.was, one.reason) for one in chosen]


def test_dead_messages_are_put_back_as_they_are(settings: Settings) -> None:
    with connect(settings) as conn, conn.transaction():
        three(conn)
        assert (count_unsent(conn), count_dead(conn)) == (1, 1)
    expected = [("MSFT", "dead", "InvalidParameter: no")]
    assert said(redeliver(settings, dead=True, dry_run=True)) == expected
    assert waiting(settings) == [("TSLA", "")]
    assert said(redeliver(settings, dead=True)) == expected
    assert waiting(settings) == [("MSFT", ""), ("TSLA", "")]
    assert redeliver(settings, dead=True) == []


def test_a_sent_message_is_put_back_under_a_new_key_each_time(settings: Settings) -> None:
    with connect(settings) as conn, conn.transaction():
        three(conn)
    key = replace(ALERT, symbol="AAPL").key
    assert said(redeliver(settings, key=key[:8])) == [("AAPL", "sent", None)]
    assert waiting(settings) == [("TSLA", ""), ("AAPL", ":again:1")]
    with pytest.raises(LedgerError, match="one that waits goes out by itself"):
        redeliver(settings, key=key)
    with connect(settings) as conn, conn.transaction():
        mark_sent(conn, {unsent(conn)[-1].outbox_id: TAKEN})
        assert conn.execute("select count(*) from marts.alerts where state = 'sent'").fetchone() == (1,)
    redeliver(settings, since=datetime.now(UTC) - timedelta(hours=1))
    assert waiting(settings) == [("TSLA", ""), ("AAPL", ":again:2")]
    assert redeliver(settings, since=datetime.now(UTC) + timedelta(hours=1)) == []


def test_what_is_to_be_delivered_again_must_be_said(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="say which alerts"):
        redeliver(settings)
    with pytest.raises(ConfigError, match="say which alerts"):
        redeliver(settings, dead=True, key="12345678")
    with pytest.raises(ConfigError, match="'abc' is too short"):
        redeliver(settings, key="abc")
    with pytest.raises(LedgerError, match="'12345678'"):
        redeliver(settings, key="12345678")
