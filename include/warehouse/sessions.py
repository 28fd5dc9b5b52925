"""`ops.sessions`, kept equal to include/calendars.py: when exchanges are open is a question for SQL as well.

Candles of a day are made of them, and indicators count since the session began. Where sessions change under minutes
that have candles already, or before minutes of the same day, this is noted in the same transaction, and the transform
makes both anew (include/transform/sessions.py).
"""

from __future__ import annotations

from typing import Final

import psycopg

from include.calendars import AROUND_THE_CLOCK, dated_sessions
from include.events import Window

_GIVEN: Final = """
create temporary table if not exists given_sessions (session_date date, opens_at timestamptz, closes_at timestamptz)
on commit delete rows
"""
# What the calendar said otherwise before, and what it says otherwise now, of the window's sessions.
_GONE: Final = """
delete from ops.sessions as s
where calendar = %(calendar)s and opens_at < %(end)s and closes_at > %(start)s
  and not exists (
      select from given_sessions as g
      where (g.session_date, g.opens_at, g.closes_at) = (s.session_date, s.opens_at, s.closes_at)
  )
returning opens_at, closes_at
"""
_NEW: Final = """
insert into ops.sessions (calendar, session_date, opens_at, closes_at)
select %(calendar)s, session_date, opens_at, closes_at from given_sessions
on conflict do nothing
returning opens_at, closes_at
"""

_HAVE_DAYS: Final = "select to_regclass('marts.candles_1d') is not null"
# Days are made of candles of five minutes. After a session indicators count since its opening until midnight (UTC).
# A series is asked only about sessions between its first and its last candle.
_OUTDATED: Final = """
insert into ops.built_from (name, hash)
select 'days', 'outdated ' || pg_current_xact_id()
where exists (
    select from (
        select symbol from ops.instruments where calendar = %(calendar)s
        union
        select symbol from ops.registered_instruments where calendar = %(calendar)s
    ) as i
    cross join lateral (
        select min(candle_start) as first_candle, max(candle_start) as last_candle
        from marts.candles_5m as m where m.symbol = i.symbol
    ) as series
    inner join (
        select opens_at, date_trunc('day', closes_at, 'UTC') + interval '1 day' as counts_until
        from unnest(%(opens)s::timestamptz[], %(closes)s::timestamptz[]) as changed (opens_at, closes_at)
    ) as changed on changed.counts_until > series.first_candle and changed.opens_at <= series.last_candle
    cross join lateral (
        select from marts.candles_5m as m
        where m.symbol = i.symbol and m.candle_start >= changed.opens_at and m.candle_start < changed.counts_until
        limit 1
    ) as candle
)
on conflict (name) do update set hash = excluded.hash
"""


def sync_sessions(conn: psycopg.Connection, calendar: str, window: Window) -> Window | None:
    """Bring the sessions that overlap the window into `ops.sessions`; the time that changed, None: nothing did.

    Where there are candles of five minutes in what changed, or later that day, `ops.built_from` says that the days are
    outdated.

    One transaction. Safe to repeat; a year is a few hundred rows. Raises ConfigError for an unknown calendar.
    """
    given = {"calendar": calendar, "start": window.start, "end": window.end}
    with conn.transaction():
        conn.execute(_GIVEN)
        conn.execute("delete from given_sessions")
        with conn.cursor().copy("copy given_sessions from stdin") as copy:
            for day, session in dated_sessions(calendar, window):
                copy.write_row((day, session.start, session.end))
        changed = [*conn.execute(_GONE, given), *conn.execute(_NEW, given)]
        if changed and calendar not in AROUND_THE_CLOCK and conn.execute(_HAVE_DAYS).fetchone() == (True,):
            opens, closes = ([span[n] for span in changed] for n in range(2))
            conn.execute(_OUTDATED, {"calendar": calendar, "opens": opens, "closes": closes})
    if not changed:
        return None
    return Window(min(opens for opens, _ in changed), max(closes for _, closes in changed))
