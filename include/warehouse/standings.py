"""Market alerts as they stand, for whoever makes them out of findings: read around what changed, written with history.

Rows are mappings by column. What others write meanwhile (who acknowledged, what was sent) is left as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.warehouse.findings import Change

LONGEST: Final = timedelta(minutes=1440)
"""No cooldown is longer."""

_TYPES: Final = {
    "alert_key": "text", "rule": "text", "scope": "text", "symbol": "text", "source": "text", "direction": "text",
    "candle_start": "timestamptz", "last_candle": "timestamptz", "finding_count": "integer",
    "cooldown_minutes": "integer", "severity": "text", "value": "double precision", "threshold": "double precision",
    "message": "text", "latest_message": "text", "peak_value": "double precision",
    "peak_threshold": "double precision", "peak_candle": "timestamptz", "measures": "jsonb", "asset_class": "text",
    "state": "text", "status": "text", "group_key": "text", "told_by": "text", "symbols": "text[]",
    "updates": "integer", "acknowledged_at": "timestamptz", "acknowledged_by": "text", "resolved_at": "timestamptz",
    "resolved_by": "text",
    "is_withdrawn": "boolean", "raised_to": "text", "escalations": "integer", "escalated_at": "timestamptz",
    "sent_at": "timestamptz",
}  # fmt: skip
_NAMES: Final = ", ".join(_TYPES)
_DEFINED: Final = ", ".join(f"{name} {kind}" for name, kind in _TYPES.items())
# Alerts of one series and direction do not overlap, so at most one that began long before reaches into the stretch.
_NEAR: Final = """
with stretch as (
    select * from unnest(%(rules)s::text[], %(scopes)s::text[], %(symbols)s::text[], %(sources)s::text[],
                         %(directions)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        as s (rule, scope, symbol, source, direction, from_candle, until_candle)
)
select a.alert_key from stretch as s
inner join marts.alerts as a
    on a.symbol = s.symbol and a.rule = s.rule and a.scope = s.scope and a.source = s.source
    and a.category = 'market' and a.candle_start between s.from_candle - %(longest)s and s.until_candle + %(longest)s
union
select a.alert_key from stretch as s
cross join lateral (
    select * from marts.alerts as b
    where b.symbol = s.symbol and b.rule = s.rule and b.scope = s.scope and b.source = s.source
      and b.direction = s.direction and b.category = 'market' and not b.is_withdrawn
      and b.candle_start < s.from_candle - %(longest)s
    order by b.candle_start desc limit 1
) as a
where a.last_candle >= s.from_candle - %(longest)s
union
select a.alert_key from marts.alerts as a
where a.status <> 'resolved' and a.symbol = any(%(judged)s) and a.category = 'market'
"""
_READ: Final = f"select {_NAMES} from marts.alerts where alert_key = any(%s)"  # noqa: S608
_WAITING: Final = f"""
select category, {_NAMES} from marts.alerts where status = 'open' and state in ('sent', 'muted')
order by created_at, alert_key
"""  # noqa: S608
_OF_CAUSES: Final = f"""
select {", ".join(f"a.{name}" for name in _TYPES)}
from unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
    as c (rule, scope, direction, from_candle, until)
inner join marts.alerts as a
    on a.rule = c.rule and a.scope = c.scope and a.direction = c.direction and a.category = 'market'
    and a.symbols is null and a.candle_start >= c.from_candle and a.candle_start < c.until
"""  # noqa: S608
_TOLD: Final = """
select a.scope, coalesce(a.symbol, ''), p.from_candle, a.alert_key, a.severity, a.rule, a.direction
from unnest(%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[]) as p (scope, symbol, from_candle, until)
inner join marts.alerts as a
    on (a.symbol = p.symbol or p.symbol = '' and a.symbol is null) and a.scope = p.scope and a.category = 'market'
    and a.candle_start >= p.from_candle and a.candle_start < p.until
where a.state in ('new', 'sent') and a.severity <> 'info' and not a.is_withdrawn and not a.alert_key = any(%s)
order by a.created_at, a.alert_key
"""
_WRITE: Final = f"""
insert into marts.alerts as a (category, {_NAMES})
select 'market', {_NAMES} from jsonb_to_recordset(%s) as r ({_DEFINED})
order by alert_key
on conflict (alert_key) do update
set (scope, source, candle_start, last_candle, finding_count, cooldown_minutes, severity, value, threshold, message,
     latest_message, peak_value, peak_threshold, peak_candle, measures, asset_class, group_key, symbols, updates,
     is_withdrawn, raised_to, escalations, escalated_at)
  = (excluded.scope, excluded.source, excluded.candle_start, excluded.last_candle, excluded.finding_count,
     excluded.cooldown_minutes, excluded.severity, excluded.value, excluded.threshold, excluded.message,
     excluded.latest_message, excluded.peak_value, excluded.peak_threshold, excluded.peak_candle, excluded.measures,
     excluded.asset_class, excluded.group_key, excluded.symbols, excluded.updates, excluded.is_withdrawn,
     excluded.raised_to, excluded.escalations, excluded.escalated_at),
    direction = excluded.direction,
    told_by = coalesce(a.told_by, excluded.told_by),
    state = case when a.state in ('history', 'muted') then excluded.state else a.state end,
    status = case when a.resolved_by is not null or excluded.status = 'resolved' then 'resolved'
                  when a.acknowledged_by is not null then 'acknowledged' else 'open' end,
    resolved_at = case when a.resolved_by is not null then a.resolved_at else excluded.resolved_at end
"""  # noqa: S608
_HISTORY: Final = """
insert into marts.alert_history (alert_key, at, event, by, note, detail)
select alert_key, at, event, by, note, detail from jsonb_to_recordset(%s) as r (
    place integer, alert_key text, at timestamptz, event text, by text, note text, detail jsonb)
order by place
"""
_QUEUE: Final = """
insert into ops.outbox (alert_key, message_key, kind, subject, body, attributes)
select alert_key, message_key, kind, subject, body, attributes from jsonb_to_recordset(%s) as r (
    place integer, alert_key text, message_key text, kind text, subject text, body text, attributes jsonb)
order by place
on conflict (message_key) do nothing
"""
_FORGET: Final = """
with gone as (delete from marts.alerts where alert_key = any(%(keys)s))
delete from marts.alert_history where alert_key = any(%(keys)s)
"""

Row = Mapping[str, Any]


def read_near(conn: psycopg.Connection, changes: Iterable[Change], judged: Collection[str]) -> list[dict[str, Any]]:
    """The alerts that may follow from findings around these changes, and all open ones of the `judged` symbols."""
    changes = list(changes)
    series = [list(column) for column in zip(*(one.series for one in changes), strict=True)] or [[]] * 5
    keys = conn.execute(
        _NEAR,
        {
            **dict(zip(("rules", "scopes", "symbols", "sources", "directions"), series, strict=True)),
            "starts": [one.from_candle for one in changes],
            "ends": [one.until_candle for one in changes], "judged": list(judged), "longest": LONGEST,
        },
    ).fetchall()  # fmt: skip
    return read_alerts(conn, [key for (key,) in keys])


def read_alerts(conn: psycopg.Connection, keys: Collection[str]) -> list[dict[str, Any]]:
    """The alerts with these keys, those that there are."""
    if not keys:
        return []
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_READ, [list(keys)]).fetchall()


def read_causes(
    conn: psycopg.Connection, causes: Sequence[tuple[str, str, str, datetime]], width: timedelta
) -> list[dict[str, Any]]:
    """The alerts that begin in the `width` from then on, of these (rule, scope, direction, begins); no groups."""
    if not causes:
        return []
    rules, scopes, directions, begins = zip(*causes, strict=True)
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            _OF_CAUSES, [list(rules), list(scopes), list(directions), list(begins), [at + width for at in begins]]
        ).fetchall()


def read_told(
    conn: psycopg.Connection, places: Sequence[tuple[str, str, datetime]], width: timedelta, but: Collection[str]
) -> list[tuple[str, str, datetime, str, str, str, str]]:
    """What people are called for and begins in the `width` from then on, of these (scope, symbol, begins).

    As scope, symbol, begins, key, severity, rule and direction, the oldest first; without the keys `but`.
    """
    if not places:
        return []
    scopes, symbols, begins = (list(column) for column in zip(*places, strict=True))
    ends = [at + width for at in begins]
    return conn.execute(_TOLD, [scopes, symbols, begins, ends, list(but)]).fetchall()


def read_waiting(conn: psycopg.Connection) -> list[dict[str, Any]]:
    """Alerts, of operations too, that are open and sent or muted; with their `category`. The oldest first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_WAITING).fetchall()


def write_alerts(conn: psycopg.Connection, rows: Sequence[Row]) -> None:
    """Write alerts, new ones and those that changed. Part of the caller's transaction."""
    if rows:
        conn.execute(_WRITE, [_json(rows)])


def write_history(conn: psycopg.Connection, events: Sequence[Row]) -> None:
    """Write down what happened, in this order: alert_key, at, event, by, note, detail."""
    if events:
        conn.execute(_HISTORY, [_json([{**event, "place": place} for place, event in enumerate(events)])])


def queue_messages(conn: psycopg.Connection, messages: Sequence[Row]) -> None:
    """Put messages into the outbox, in this order: alert_key, message_key, kind, subject, body, attributes.

    One whose message_key is there already is left as it is.
    """
    if messages:
        conn.execute(_QUEUE, [_json([{**message, "place": place} for place, message in enumerate(messages)])])


def forget_alerts(conn: psycopg.Connection, keys: Collection[str]) -> None:
    """Remove alerts that nobody was told and that no longer hold, with their history."""
    if keys:
        conn.execute(_FORGET, {"keys": list(keys)})


def _json(rows: Sequence[Row]) -> Jsonb:
    return Jsonb(rows, dumps=orjson.dumps)
