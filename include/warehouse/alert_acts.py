"""What people do with alerts: look at them, acknowledge, resolve. Each act is in `marts.alert_history`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import dict_row

from include.errors import ConfigError, QuantStreamError

FEWEST: Final = 6
"""So many digits of a key are asked for."""
_SHOWN: Final = 10

_LIST: Final = """
select * from (
    select * from marts.alerts
    where (%(status)s::text is null or status = any(string_to_array(%(status)s, ',')))
      and (%(symbol)s::text is null or symbol = %(symbol)s or %(symbol)s = any(symbols))
      and (%(rule)s::text is null or rule = %(rule)s)
      and (%(severity)s::text is null or severity = %(severity)s)
      and (%(since)s::timestamptz is null or coalesce(last_candle, created_at) >= %(since)s)
      and (%(members)s or group_key is null and told_by is null)
    order by coalesce(candle_start, created_at) desc, alert_key limit %(limit)s
) as newest order by coalesce(candle_start, created_at), alert_key
"""
_CLOSES: Final = """
select close from (
    select candle_start, close from marts.indicators_1m
    where symbol = %s and candle_start > %s - interval '3 hours' and candle_start <= %s and is_final
) as c order by candle_start
"""
# With a group go its members, with any alert those that it tells of. The lake notes anew what was sent, with who has
# seen it.
_ACTS: Final = {
    "acknowledged": """
with done as (
    update marts.alerts set status = 'acknowledged', acknowledged_at = %(at)s, acknowledged_by = %(by)s
    where (alert_key = %(key)s or group_key = %(key)s or told_by = %(key)s or group_key in (
        select told.alert_key from marts.alerts as told where told.told_by = %(key)s
    ))
      and status = 'open' returning alert_key
),
noted as (
    update ops.outbox as o set kept_at = null from done where o.alert_key = done.alert_key and o.kind = 'opened'
)
insert into marts.alert_history (alert_key, at, event, by, note)
select alert_key, %(at)s, 'acknowledged', %(by)s, %(note)s from done
""",
    "resolved": """
with done as (
    update marts.alerts set status = 'resolved', resolved_at = %(at)s, resolved_by = %(by)s
    where (alert_key = %(key)s or group_key = %(key)s or told_by = %(key)s or group_key in (
        select told.alert_key from marts.alerts as told where told.told_by = %(key)s
    ))
      and status <> 'resolved' returning alert_key
),
noted as (
    update ops.outbox as o set kept_at = null from done where o.alert_key = done.alert_key and o.kind = 'opened'
)
insert into marts.alert_history (alert_key, at, event, by, note)
select alert_key, %(at)s, 'resolved', %(by)s, %(note)s from done
""",
}


def list_alerts(
    conn: psycopg.Connection,
    *,
    status: str | None = None,
    symbol: str | None = None,
    rule: str | None = None,
    severity: str | None = None,
    since: datetime | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """The newest alerts that are all of these, the oldest first; what others tell of only where a symbol is asked for.

    `status` may be several, with commas between them; `since` (UTC) is about the last candle.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            _LIST,
            {
                "status": status, "symbol": symbol, "rule": rule, "severity": severity, "since": since, "limit": limit,
                "members": symbol is not None,
            },
        ).fetchall()  # fmt: skip


def find_key(conn: psycopg.Connection, given: str) -> str:
    """The key that begins so. ConfigError if it is no key or too short, QuantStreamError if none or several do."""
    text = given.strip().lower()
    if len(text) < FEWEST or set(text) - set("0123456789abcdef"):
        raise ConfigError(
            f"{given!r} is no key of an alert: give at least its first {FEWEST} digits (0-9, a-f), as "
            "`quantstream alerts list` shows them"
        )
    rows = conn.execute(
        "select alert_key, coalesce(symbol || ': ', '') || message from marts.alerts "
        "where alert_key >= %(text)s and alert_key < %(text)s || 'g' order by alert_key limit %(most)s",
        {"text": text, "most": _SHOWN + 1},
    ).fetchall()
    if not rows:
        raise QuantStreamError(f"no alert has a key that begins with {text}; `quantstream alerts list` shows them")
    if len(rows) > 1:
        named = "\n".join(f"  {key[:16]}  {said}" for key, said in rows[:_SHOWN])
        more = "\n  and more" if len(rows) > _SHOWN else ""
        raise QuantStreamError(f"several alerts have a key that begins with {text}; give more digits:\n{named}{more}")
    return str(rows[0][0])


def read_alert(conn: psycopg.Connection, key: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An alert with all columns, and its history in order. Raises QuantStreamError if there is none."""
    with conn.cursor(row_factory=dict_row) as cursor:
        alert = cursor.execute("select * from marts.alerts where alert_key = %s", [key]).fetchone()
        if alert is None:
            raise QuantStreamError(f"there is no alert {key}")
        history = cursor.execute(
            "select at, event, by, note, detail from marts.alert_history where alert_key = %s order by seq", [key]
        ).fetchall()
    return alert, history


def read_closes(conn: psycopg.Connection, symbol: str, until: datetime) -> list[float | None]:
    """The final closes of the three hours up to this candle (UTC), in order; none where there are no marts yet."""
    try:
        with conn.transaction():
            return [close for (close,) in conn.execute(_CLOSES, [symbol, until, until])]
    except psycopg.errors.UndefinedTable:
        return []


def act(
    conn: psycopg.Connection,
    key: str,
    what: Literal["acknowledged", "resolved"],
    *,
    by: str,
    note: str | None,
    at: datetime,
) -> int:
    """Acknowledge or resolve an alert at that moment (UTC), with the members of a group; how many that changed."""
    return conn.execute(_ACTS[what], {"key": key, "by": by, "note": note, "at": at}).rowcount
