"""Alerts, written together with their messages in one transaction (`include.warehouse.outbox`).

Alerts of old candles (of a backfill, a replay) are written down and sent to nobody: they have no row in the outbox.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import orjson
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from include.alerts import Alert

_INSERT = """
with given as (
    select * from jsonb_to_recordset(%s) as r (
        alert_key text, rule text, category text, symbol text, candle_start timestamptz, severity text, direction text,
        value double precision, threshold double precision, message text, subject text, body text, attributes jsonb,
        place integer, state text
    )
),
-- what nobody was told says what is found today
revised as (
    update marts.alerts as a
    set severity = g.severity, direction = g.direction, value = g.value, threshold = g.threshold, message = g.message
    from given as g
    where a.alert_key = g.alert_key and a.state = 'history'
      and (a.severity, a.direction, a.value, a.threshold, a.message)
          is distinct from (g.severity, g.direction, g.value, g.threshold, g.message)
),
inserted as (
    insert into marts.alerts (
        alert_key, rule, category, symbol, candle_start, severity, direction, value, threshold, message, state,
        last_candle, peak_value, peak_threshold, peak_candle, latest_message
    )
    select alert_key, rule, category, symbol, candle_start, severity, direction, value, threshold, message,
           case when state = 'new' and exists (
               select from ops.mutes as m
               where clock_timestamp() >= m.from_at and clock_timestamp() < m.until_at and m.asset_class is null
                 and coalesce(m.symbol, given.symbol, '') = coalesce(given.symbol, '')
                 and coalesce(m.rule, given.rule) = given.rule
                 and coalesce(m.severity, given.severity) = given.severity
           ) then 'muted' else state end,
           candle_start, value, threshold, candle_start, message
    from given order by place
    on conflict do nothing
    returning alert_key, state
),
noted as (
    insert into marts.alert_history (alert_key, event)
    select i.alert_key, e.event
    from given as g join inserted as i using (alert_key)
    cross join lateral unnest(case i.state when 'muted' then array['opened', 'muted'] else array['opened'] end)
        as e (event)
    order by g.place
),
queued as (
    insert into ops.outbox (alert_key, message_key, subject, body, attributes)
    select g.alert_key, g.alert_key, g.subject, g.body, g.attributes
    from given as g join inserted as i using (alert_key) where i.state = 'new' order by g.place
    on conflict do nothing
)
select count(*), count(*) filter (where state = 'history') from inserted
"""


class Written(NamedTuple):
    """How many alerts were new, how many of those are of candles too old to send, how many old ones hold no more."""

    new: int = 0
    too_old: int = 0
    withdrawn: int = 0


def insert_alerts(conn: psycopg.Connection, alerts: Iterable[Alert], *, send_from: datetime | None = None) -> Written:
    """Write alerts and their outbox rows in the order given; return how many were new.

    A market alert whose candle starts before `send_from` (UTC; None: none does) gets the state `history` and no outbox
    row: it is written down and sent to nobody. An alert whose key is there already is left as it is, but for one of
    those: it takes the new values. Must run inside the caller's transaction, so that the alerts stand or fall with what
    caused them. Raises RuntimeError outside of one.
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
            "state": "history" if _is_old(alert, send_from) else "new",
        }
        for place, alert in enumerate({alert.key: alert for alert in alerts}.values())
    ]
    found = conn.execute(_INSERT, [Jsonb(rows, dumps=orjson.dumps)]).fetchone() if rows else None
    return Written(*found) if found else Written()


def count_too_old(conn: psycopg.Connection) -> int:
    """How many alerts are written down that were too old to send."""
    row = conn.execute("select count(*) from marts.alerts where state = 'history'").fetchone()
    return int(row[0]) if row else 0


def _is_old(alert: Alert, send_from: datetime | None) -> bool:
    """Operations alerts never are: they are about us, and now."""
    return (
        send_from is not None
        and alert.category == "market"
        and alert.candle_start is not None
        and alert.candle_start < send_from
    )
