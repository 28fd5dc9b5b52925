"""Reading the marts in tests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import psycopg

from include.settings import Settings
from include.transform.batch import close_batch
from include.transform.runner import BuildResult, build_all, build_changed, build_selected
from include.warehouse.db import connect

TABLES = (
    "instruments", "quotes", "trades", "candles_1m", "candles_5m", "candles_15m", "candles_1h", "candles_1d",
    "indicators_1m", "indicators_5m", "indicators_15m", "indicators_1h", "indicators_1d",
    "latest_quotes", "source_divergence", "corporate_actions",
)  # fmt: skip


def build(settings: Settings) -> BuildResult:
    """Build what the accepted loads changed, as the step does, without the audit of the marts."""
    result = build_changed(settings)
    with connect(settings) as conn, conn.transaction():
        close_batch(conn, result.loads)
    return result


def rebuild(settings: Settings) -> BuildResult:
    """Build everything anew from raw."""
    return build_all(settings, full_refresh=True)


def rebuild_tables(settings: Settings) -> BuildResult:
    """Build the tables anew from raw, and of what is above them what `snapshot` and the next build read.

    Costs half of what everything does.
    """
    above = ["latest_quotes", "corporate_actions", "int_changed_minutes", "int_changed_spans"]
    return build_selected(settings, ["config.materialized:incremental", *above], full_refresh=True)


def rows(conn: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]


def snapshot(conn: psycopg.Connection) -> dict[str, list[str]]:
    """All rows of all marts as text, so that 1.0 and 1.00 differ."""
    return {
        table: [row[0] for row in rows(conn, f"select m::text from marts.{table} as m order by 1")] for table in TABLES
    }


# The candles of longer resolutions as they are built straight from the minutes, by other means than the models'.
_STRAIGHT = """
select symbol, source, {start} as candle_start, (min(array[extract(epoch from candle_start), open]))[2]::float8,
       max(high)::float8, min(low)::float8, (max(array[extract(epoch from candle_start), close]))[2]::float8,
       sum(volume)::float8,
       round(sum(vwap * volume) / nullif(sum(volume) filter (where vwap is not null), 0), 9)::float8,
       sum(trade_count)::int, min(basis) filter (where basis = 'quote') is not null as has_quotes
from {minutes} group by 1, 2, 3
"""
_MADE = """
select symbol, source, candle_start, open::float8, high::float8, low::float8, close::float8, volume::float8,
       round(vwap, 9)::float8, trade_count::int, basis = 'quote'
from marts.candles_{name}
"""
_IN_SESSION = """
(select m.*, s.opens_at from marts.candles_1m as m inner join marts.instruments as i using (symbol)
 cross join lateral (
     select opens_at from ops.sessions as s
     where s.calendar = i.calendar and m.candle_start >= s.opens_at and m.candle_start < s.closes_at
     union
     select date_trunc('day', m.candle_start, 'UTC') where i.calendar = '24/7'
 ) as s) as minutes
"""


def unlike_their_minutes(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Candles that are not what their minutes say, and what those say, each with its resolution."""
    found = []
    for name, length in (("5m", "5 minutes"), ("15m", "15 minutes"), ("1h", "1 hour"), ("1d", "")):
        straight = _STRAIGHT.format(
            start=f"date_bin('{length}', candle_start, '2000-01-01Z')" if length else "opens_at",
            minutes="marts.candles_1m" if length else _IN_SESSION,
        )
        made = _MADE.format(name=name)
        found += rows(
            conn, f"select '{name}', * from (({straight} except {made}) union all ({made} except {straight})) as unlike"
        )
    return found


def make_room(conn: psycopg.Connection, mart: str, times: Iterable[datetime]) -> None:
    """The partitions that rows of such times need, which come straight into a mart and not with events."""
    conn.execute("select ops.make_event_partitions(%s)", [sorted({one.replace(day=1) for one in times})])
    conn.execute("select ops.follow_events(%s::regclass)", [f"marts.{mart}"])
