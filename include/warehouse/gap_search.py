"""What a search for gaps has to look at again: which candles are read, which silences are judged.

Cost follows what changed: the loads that no search has seen yet, and what the ledgers of outcomes, history and
quarantine say since the last one. Times are this database's and the data's, never a process's clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg

from include.events import Window
from include.warehouse.sessions import sync_sessions

_SLACK: Final = timedelta(minutes=10)  # rows of the ledgers are committed within that time after they were stamped
_AHEAD: Final = timedelta(days=8)
# A silence is judged by the days around it, and by the other silences there, which are judged by the days around them.
_REACH: Final = timedelta(days=2)

_CHANGED: Final = """
create temporary table if not exists changed_candles (
    source text, symbol text, first_at timestamptz, last_at timestamptz) on commit delete rows
"""
_EVERYTHING: Final = """
insert into changed_candles
select source, symbol, min(candle_start), max(candle_start) from marts.candles_1m group by source, symbol
"""
_OF_LOADS: Final = """
insert into changed_candles
select source, symbol, date_trunc('minute', min(event_time)), date_trunc('minute', max(event_time))
from raw.market_events
where load_id = any(%(loads)s) and kind <> 'action'
group by source, symbol, date_trunc('day', event_time, 'UTC')
"""
_OF_WINDOW: Final = """
insert into changed_candles
select source, symbol, greatest(first_candle, %(start)s), least(last_candle, %(end)s)
from ops.gap_series where first_candle < %(end)s and last_candle >= %(start)s
"""
_SERIES: Final = """
insert into ops.gap_series as kept (source, symbol, calendar, first_candle, last_candle)
select c.source, c.symbol, i.calendar, min(earliest.candle_start), max(latest.candle_start)
from changed_candles as c
inner join marts.instruments as i on c.symbol = i.symbol
cross join lateral (
    select candle_start from marts.candles_1m as m
    where m.symbol = c.symbol and m.source = c.source and m.candle_start between c.first_at and c.last_at
    order by candle_start limit 1
) as earliest
cross join lateral (
    select candle_start from marts.candles_1m as m
    where m.symbol = c.symbol and m.source = c.source and m.candle_start between c.first_at and c.last_at
    order by candle_start desc limit 1
) as latest
group by c.source, c.symbol, i.calendar
on conflict (source, symbol) do update set
    first_candle = least(kept.first_candle, excluded.first_candle),
    last_candle = greatest(kept.last_candle, excluded.last_candle)
"""
_MOVED: Final = """
with moved as (
    update ops.gap_series as s set calendar = i.calendar
    from marts.instruments as i where s.symbol = i.symbol and s.calendar <> i.calendar
    returning s.source, s.symbol, s.first_candle, s.last_candle
)
insert into changed_candles select * from moved
"""
_ASKED: Final = """
update ops.gap_series as s set
    lag = coalesce((%(lags)s::jsonb ->> s.source)::interval, '0'),
    polled_from = n.polled_from,
    asked_from = least(n.polled_from, n.past_from),
    asked_until = greatest(
        case
            when (s.source, s.symbol) in (select * from unnest(%(sources)s::text[], %(symbols)s::text[]))
            then n.polled_until
        end,
        (select max(covered_until) from ops.history_coverage as c where c.source = s.source and c.symbol = s.symbol)
    )
from (
    select
        source,
        (select window_start from ops.outcomes as o where o.source = series.source and o.window_end is not null and o.ok
            and o.step in ('pull', 'collect') order by o.window_end limit 1) as polled_from,
        (select window_end from ops.outcomes as o where o.source = series.source and o.window_end <= %(now)s
            and o.step in ('pull', 'collect') order by o.window_end desc limit 1) as polled_until,
        (select min(covered_from) from ops.history_coverage as c where c.source = series.source) as past_from
    from (select distinct source from ops.gap_series) as series
) as n
where n.source = s.source
"""
# From the candle before each change to the one after it: in between, everything may be otherwise now.
_SPANS: Final = """
insert into ops.gap_spans (source, symbol, from_at, until_at)
select source, symbol, lower(span), upper(span)
from (
    select
        c.source, c.symbol,
        unnest(range_agg(tstzrange(
            coalesce(before.candle_start, c.first_at), coalesce(after.candle_start, c.last_at), '[]'
        ))) as span
    from changed_candles as c
    left join lateral (
        select candle_start from marts.candles_1m as m
        where m.symbol = c.symbol and m.source = c.source and m.candle_start < c.first_at
        order by candle_start desc limit 1
    ) as before on true
    left join lateral (
        select candle_start from marts.candles_1m as m
        where m.symbol = c.symbol and m.source = c.source and m.candle_start > c.last_at
        order by candle_start limit 1
    ) as after on true
    group by c.source, c.symbol
) as spans
"""
# Times of which the ledgers say something new: what was asked for, what is in quarantine, whose calendar changed.
_SCOPE: Final = """
insert into ops.gap_scope (source, calendar, from_at, until_at, found_at)
select source, calendar, lower(span), upper(span), %(now)s
from (
    select source, calendar, unnest(range_agg(tstzrange(from_at - %(reach)s, until_at + %(reach)s, '[]'))) as span
    from (
        select p.source, s.calendar, p.from_at, p.until_at
        from ops.gap_spans as p inner join ops.gap_series as s on p.source = s.source and p.symbol = s.symbol
        union all
        select s.source, s.calendar, n.from_at - s.lag, n.until_at
        from (select distinct source, calendar, lag from ops.gap_series) as s
        inner join (
            select source, window_start as from_at, window_end as until_at from ops.outcomes
            where at >= %(since)s and step in ('pull', 'collect') and window_end > window_start
            union all
            select source, covered_from, covered_until from ops.history_coverage where fetched_at >= %(since)s
            union all
            select source, event_time, event_time + interval '1 minute' from raw.rejected_events
            where rejected_at >= %(since)s and event_time is not null
            union all
            select e.source, min(e.event_time), max(e.event_time) + interval '1 minute'
            from ops.loads as l inner join raw.landed_events as e on l.load_id = e.load_id
            where l.state = 'rejected' and coalesce(l.audited_at, l.loaded_at) >= %(since)s
            group by e.load_id, e.source
        ) as n on s.source = n.source
        union all
        select s.source, s.calendar, greatest(c.from_at, s.first_candle), c.until_at
        from ops.gap_series as s
        inner join jsonb_to_recordset(%(calendars)s::jsonb) as c (
            calendar text, from_at timestamptz, until_at timestamptz
        ) on s.calendar = c.calendar and c.until_at > s.first_candle
    ) as said
    group by source, calendar
) as spans
"""


@dataclass(frozen=True, slots=True)
class Search:
    """What is to be searched: loads whose candles no search has seen, how many spans of candles and of time to judge.

    `since` is this database's time when the search began, `told` up to when finds were told before; both UTC.
    """

    loads: tuple[int, ...]
    spans: int
    scopes: int
    since: datetime
    told: datetime | None


def prepare(
    conn: psycopg.Connection,
    *,
    now: datetime,
    everything: bool = False,
    window: Window | None = None,
    polled: Collection[tuple[str, str]] = (),
    lags: Mapping[str, timedelta] | None = None,
) -> Search:
    """Write down what this search looks at (`ops.gap_spans`, `ops.gap_scope`); one transaction, safe to repeat.

    `everything`: all candles there are; `window`: what lies in it, changed or not. `polled` are the series (source,
    symbol) that are asked for every minute, `lags` the sources that are behind the market. What this search finds was
    found at `now` (UTC). Raises ConfigError for an instrument with an unknown calendar.
    """
    with conn.transaction():
        since, told, before = _marks(conn)
        if before is None:
            everything = True
        loads = tuple(
            row[0]
            for row in conn.execute(
                "select load_id from ops.loads where state = 'transformed' and searched_at is null order by load_id"
            )
        )
        conn.execute(_CHANGED)
        conn.execute("delete from changed_candles")
        _note_changes(conn, loads, everything=everything, window=window)
        conn.execute(_SERIES)
        conn.execute(_MOVED)
        named = {source: f"{lag.total_seconds()} seconds" for source, lag in (lags or {}).items()}
        conn.execute(
            _ASKED,
            {
                "now": now,
                "lags": _json(named),
                "sources": [source for source, _ in polled],
                "symbols": [symbol for _, symbol in polled],
            },
        )
        calendars = _sync(conn, now)
        conn.execute("delete from ops.gap_spans")
        spans = conn.execute(_SPANS).rowcount
        conn.execute("delete from ops.gap_scope")
        scopes = conn.execute(
            _SCOPE,
            {
                "now": now,
                "reach": _REACH,
                "since": before - _SLACK if before and not everything else None,
                "calendars": _json(calendars),
            },
        ).rowcount
    return Search(loads, spans, scopes, since, told)


def finish(conn: psycopg.Connection, search: Search, *, now: datetime) -> None:
    """The search came to its end: the next one begins where this one did. Part of the caller's transaction."""
    conn.execute("update ops.loads set searched_at = %s where load_id = any(%s)", [search.since, list(search.loads)])
    conn.execute(
        "insert into ops.gap_searches (searched_until, found_until) values (%s, %s) "
        "on conflict (is_only) do update set searched_until = excluded.searched_until, "
        "found_until = greatest(ops.gap_searches.found_until, excluded.found_until)",
        [search.since, now],
    )


def _marks(conn: psycopg.Connection) -> tuple[datetime, datetime | None, datetime | None]:
    row = conn.execute(
        "select clock_timestamp(), s.found_until, s.searched_until "
        "from (select 1) as one left join ops.gap_searches as s on true"
    ).fetchone()
    if row is None:
        raise RuntimeError("a query without a condition gave no row")
    return row


def _note_changes(conn: psycopg.Connection, loads: Sequence[int], *, everything: bool, window: Window | None) -> None:
    if everything:
        conn.execute(_EVERYTHING)
        return
    if loads:
        conn.execute(_OF_LOADS, {"loads": list(loads)})
    if window:
        conn.execute(_OF_WINDOW, {"start": window.start, "end": window.end})


def _sync(conn: psycopg.Connection, now: datetime) -> list[dict[str, Any]]:
    """Bring the sessions of every calendar in, from its first candle on; which times are otherwise now."""
    changed = []
    rows = conn.execute("select calendar, min(first_candle), max(last_candle) from ops.gap_series group by calendar")
    for calendar, first, last in rows.fetchall():
        span = sync_sessions(conn, calendar, Window(first, max(last, now) + _AHEAD))
        if span:
            changed.append({"calendar": calendar, "from_at": span.start, "until_at": span.end})
    return changed


def _json(value: object) -> str:
    import orjson

    return orjson.dumps(value).decode()
