"""`ops.sessions`, kept equal to include/calendars.py: when exchanges are open is a question for SQL as well."""

from __future__ import annotations

from typing import Final

import psycopg

from include.calendars import dated_sessions
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


def sync_sessions(conn: psycopg.Connection, calendar: str, window: Window) -> Window | None:
    """Bring the sessions that overlap the window into `ops.sessions`; the time that changed, None: nothing did.

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
    if not changed:
        return None
    return Window(min(opens for opens, _ in changed), max(closes for _, closes in changed))
