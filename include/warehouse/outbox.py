"""The outbox: messages in the order in which they were written, each waiting, sent or dead.

A message is written together with its alert (`include.warehouse.alerts`). It is sent once SNS took it, and dead once
SNS has called it wrong too often: then it waits for a person, who puts it back by `redeliver`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, LiteralString

import psycopg
from psycopg.rows import class_row

AGAIN: Final = ":again:"  # in the key of a message that was sent before, with the number of its repetition behind

_WAITS: Final = "sent_at is null and dead_at is null"
_KEY: Final = "coalesce(message_key, alert_key)"


@dataclass(frozen=True, slots=True)
class Unsent:
    """A message that SNS has not taken yet. `body` is JSON, `attributes` are name to text, `created_at` is UTC."""

    outbox_id: int
    alert_key: str
    message_key: str
    kind: str
    subject: str
    body: str
    attributes: dict[str, str]
    refusals: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Acceptance:
    """SNS took a message: its id there, the topic's ARN, when (UTC), and how long after the candle's end, if of one."""

    message_id: str
    topic: str
    accepted_at: datetime
    latency_seconds: float | None


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the end of a candle until SNS had taken its alert: how many alerts, median, 95th percentile."""

    alerts: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """A message to deliver again: the key under which it goes out, and what it was: `dead` or `sent`."""

    outbox_id: int
    message_key: str
    was: str
    subject: str
    reason: str | None


def unsent(conn: psycopg.Connection, *, after: int = 0, limit: int = 1000) -> list[Unsent]:
    """The next messages that wait, in outbox order, with an `outbox_id` above `after`."""
    with conn.cursor(row_factory=class_row(Unsent)) as cursor:
        return cursor.execute(
            f"select outbox_id, alert_key, {_KEY} as message_key, kind, subject, body, attributes, refusals, "  # noqa: S608
            f"created_at from ops.outbox where {_WAITS} and outbox_id > %s order by outbox_id limit %s",
            [after, limit],
        ).fetchall()


def count_unsent(conn: psycopg.Connection) -> int:
    """How many messages wait."""
    return _count(conn, f"select count(*) from ops.outbox where {_WAITS}")  # noqa: S608


def count_dead(conn: psycopg.Connection) -> int:
    """How many messages are dead."""
    return _count(conn, "select count(*) from ops.outbox where dead_at is not null")


def latency(conn: psycopg.Connection, now: datetime, last: timedelta) -> Latency | None:
    """How long the alerts took that were sent in the time `last` before `now` (UTC); None if there were none."""
    row = conn.execute(
        "select count(*), percentile_cont(0.5) within group (order by latency_seconds), "
        "percentile_cont(0.95) within group (order by latency_seconds) "
        "from marts.alerts where sent_at > %s and latency_seconds is not null",
        [now - last],
    ).fetchone()
    return Latency(*row) if row and row[0] else None


def mark_sent(conn: psycopg.Connection, taken: Mapping[int, Acceptance]) -> None:
    """SNS took these, by outbox_id. The outbox and `marts.alerts` change together: an alert is sent with its first."""
    rows = taken.values()
    conn.execute(
        """
        with marked as (
            update ops.outbox as o
            set sent_at = clock_timestamp(), attempts = o.attempts + 1, message_id = t.message_id, last_error = null,
                topic = t.topic, accepted_at = t.accepted_at
            from unnest(%s::bigint[], %s::text[], %s::text[], %s::timestamptz[], %s::double precision[])
                as t (outbox_id, message_id, topic, accepted_at, latency_seconds)
            where o.outbox_id = t.outbox_id and o.sent_at is null
            returning o.alert_key, coalesce(o.message_key, o.alert_key) as message_key, o.kind, o.sent_at,
                t.latency_seconds
        ),
        noted as (
            insert into marts.alert_history (alert_key, at, event, detail)
            select alert_key, sent_at, 'sent', jsonb_build_object('message_key', message_key, 'kind', kind)
            from marked order by message_key
        )
        update marts.alerts as a
        set state = case a.state when 'new' then 'sent' else a.state end, sent_at = m.sent_at,
            latency_seconds = m.latency_seconds
        from marked as m where a.alert_key = m.alert_key and m.kind = 'opened' and a.sent_at is null
        """,
        [
            list(taken),
            [row.message_id for row in rows],
            [row.topic for row in rows],
            [row.accepted_at for row in rows],
            [row.latency_seconds for row in rows],
        ],
    )


def mark_failed(conn: psycopg.Connection, outbox_ids: Sequence[int], error: str, *, is_refused: bool = False) -> None:
    """SNS did not take these: they stay unsent, with one attempt more and the error beside them.

    `is_refused`: it called them wrong. How often it did so in a row is counted.
    """
    conn.execute(
        "update ops.outbox set attempts = attempts + 1, refusals = case when %s then refusals + 1 else 0 end, "
        "last_error = %s where outbox_id = any(%s) and sent_at is null",
        [is_refused, error[:2000], list(outbox_ids)],
    )


def mark_dead(conn: psycopg.Connection, outbox_ids: Iterable[int], reason: str) -> None:
    """Give these up, until a person puts them back."""
    conn.execute(
        "update ops.outbox set dead_at = clock_timestamp(), dead_reason = %s where outbox_id = any(%s) "
        "and sent_at is null",
        [reason[:2000], list(outbox_ids)],
    )


def choose_dead(conn: psycopg.Connection) -> list[Chosen]:
    """All dead messages, oldest first."""
    return _choose(conn, "o.dead_at is not null", [])


def choose_key(conn: psycopg.Connection, key: str) -> list[Chosen]:
    """The dead and sent messages whose key, or whose alert's key, begins with `key`, oldest first."""
    return _choose(conn, "(starts_with(o.alert_key, %s) or starts_with(o.key, %s))", [key, key])


def choose_since(conn: psycopg.Connection, since: datetime) -> list[Chosen]:
    """The messages that SNS took at `since` (UTC) or later, oldest first."""
    return _choose(conn, "o.sent_at >= %s", [since])


def put_back(conn: psycopg.Connection, chosen: Sequence[Chosen]) -> None:
    """Let these wait again, in their order: a dead one as it is, of a sent one a copy under a new key.

    With its old key SNS and the inbox would drop it as a repetition. Must run in one transaction with the choice.
    """
    conn.execute(
        "update ops.outbox set dead_at = null, dead_reason = null, last_error = null, refusals = 0 "
        "where outbox_id = any(%s) and dead_at is not null",
        [[one.outbox_id for one in chosen if one.was == "dead"]],
    )
    sent = [one for one in chosen if one.was == "sent"]
    conn.execute(
        """
        insert into ops.outbox (alert_key, message_key, kind, subject, body, attributes)
        select o.alert_key, c.message_key, o.kind, o.subject, o.body, o.attributes
        from unnest(%s::bigint[], %s::text[]) as c (outbox_id, message_key)
        inner join ops.outbox as o using (outbox_id) order by o.outbox_id
        """,
        [[one.outbox_id for one in sent], [one.message_key for one in sent]],
    )


def _choose(conn: psycopg.Connection, which: LiteralString, values: list[object]) -> list[Chosen]:
    """Of what was sent the first message counts; one of which a copy waits already is left out."""
    with conn.cursor(row_factory=class_row(Chosen)) as cursor:
        return cursor.execute(
            f"""
            select o.outbox_id, o.subject, o.dead_reason as reason,
                case when o.dead_at is null then 'sent' else 'dead' end as was,
                o.key || case when o.dead_at is null then '{AGAIN}' || (1 + copies.number) else '' end as message_key
            from (select *, {_KEY} as key from ops.outbox) as o
            cross join lateral (
                select count(*) as number, count(*) filter (where c.sent_at is null and c.dead_at is null) as waiting
                from ops.outbox as c
                where c.alert_key = o.alert_key and starts_with(c.message_key, o.key || '{AGAIN}')
            ) as copies
            where {which} and (
                o.dead_at is not null
                or o.sent_at is not null and strpos(o.key, '{AGAIN}') = 0 and copies.waiting = 0
            )
            order by o.outbox_id
            for update of o
            """,  # noqa: S608
            values,
        ).fetchall()


def _count(conn: psycopg.Connection, query: LiteralString) -> int:
    row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0
