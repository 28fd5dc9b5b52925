"""Alerts and their outbox: written together in one transaction, sent afterwards, marked once SNS took them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from include.alerts import Alert

_INSERT = """
with given as (
    select * from jsonb_to_recordset(%s) as r (
        alert_key text, rule text, category text, symbol text, candle_start timestamptz, severity text, direction text,
        value double precision, threshold double precision, message text, subject text, body text, attributes jsonb,
        place integer
    )
),
inserted as (
    insert into marts.alerts (
        alert_key, rule, category, symbol, candle_start, severity, direction, value, threshold, message
    )
    select alert_key, rule, category, symbol, candle_start, severity, direction, value, threshold, message
    from given order by place
    on conflict do nothing
    returning alert_key
)
insert into ops.outbox (alert_key, subject, body, attributes)
select alert_key, subject, body, attributes
from given join inserted using (alert_key) order by place
on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Unsent:
    """A row of the outbox that SNS has not taken yet. `body` is JSON, `attributes` are name to text."""

    outbox_id: int
    alert_key: str
    subject: str
    body: str
    attributes: dict[str, str]
    attempts: int


def insert_alerts(conn: psycopg.Connection, alerts: Iterable[Alert]) -> int:
    """Write alerts and their outbox rows in the order given; return how many were new.

    An alert whose key is there already is left as it is. Must run inside the caller's transaction, so that the alerts
    stand or fall with what caused them. Raises RuntimeError outside of one.
    """
    if conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE:
        raise RuntimeError("insert_alerts needs the caller's transaction: `with conn.transaction():` around it")
    rows = [
        {
            "place": place,
            "alert_key": alert.key,
            "rule": alert.rule,
            "category": alert.category,
            "symbol": alert.symbol,
            "candle_start": alert.candle_start.isoformat() if alert.candle_start else None,
            "severity": alert.severity,
            "direction": alert.direction,
            "value": alert.value,
            "threshold": alert.threshold,
            "message": alert.message.replace("\x00", "\ufffd"),  # Postgres has no NUL
            "subject": alert.subject,
            "body": alert.body(),
            "attributes": alert.attributes,
        }
        for place, alert in enumerate({alert.key: alert for alert in alerts}.values())
    ]
    return conn.execute(_INSERT, [Jsonb(rows, dumps=orjson.dumps)]).rowcount if rows else 0


def unsent(conn: psycopg.Connection, *, after: int = 0, limit: int = 1000) -> list[Unsent]:
    """The next rows that SNS has not taken, in outbox order, with an `outbox_id` above `after`."""
    with conn.cursor(row_factory=class_row(Unsent)) as cursor:
        return cursor.execute(
            "select outbox_id, alert_key, subject, body, attributes, attempts from ops.outbox "
            "where sent_at is null and outbox_id > %s order by outbox_id limit %s",
            [after, limit],
        ).fetchall()


def count_unsent(conn: psycopg.Connection) -> int:
    """How many alerts wait in the outbox."""
    row = conn.execute("select count(*) from ops.outbox where sent_at is null").fetchone()
    return int(row[0]) if row else 0


def mark_sent(conn: psycopg.Connection, taken: Mapping[int, str]) -> None:
    """SNS took these: outbox_id to its message id. The outbox and `marts.alerts` change together."""
    conn.execute(
        """
        with marked as (
            update ops.outbox as o
            set sent_at = clock_timestamp(), attempts = o.attempts + 1, message_id = t.message_id, last_error = null
            from unnest(%s::bigint[], %s::text[]) as t (outbox_id, message_id)
            where o.outbox_id = t.outbox_id and o.sent_at is null
            returning o.alert_key, o.sent_at
        )
        update marts.alerts as a set state = 'sent', sent_at = m.sent_at
        from marked as m where a.alert_key = m.alert_key
        """,
        [list(taken), list(taken.values())],
    )


def mark_failed(conn: psycopg.Connection, outbox_ids: Sequence[int], error: str) -> None:
    """SNS did not take these: they stay unsent, with one attempt more and the error beside them."""
    conn.execute(
        "update ops.outbox set attempts = attempts + 1, last_error = %s where outbox_id = any(%s) and sent_at is null",
        [error[:2000], list(outbox_ids)],
    )
