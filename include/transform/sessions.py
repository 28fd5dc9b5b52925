"""The days that a build makes candles and indicators of: `ops.sessions` has the sessions of all before it begins.

What is open around the clock has UTC days and no sessions to ask for. A minute costs one query; only a batch that goes
beyond the sessions that are known, once a week or with history, asks the calendars.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Final

import psycopg

from include.calendars import AROUND_THE_CLOCK
from include.events import Window
from include.transform.instruments import recall, remember
from include.warehouse.sessions import sync_sessions

_AROUND: Final = timedelta(days=8)  # so far beyond what is needed, that a weekend or a quiet week asks no second time
_LIBRARY: Final = "exchange-calendars"

_CALENDARS: Final = """
with instruments as (
    select symbol, calendar from ops.instruments
    union
    select symbol, calendar from ops.registered_instruments
), calendars as (
    select calendar, array_agg(symbol) as symbols from instruments where calendar <> all(%(always)s) group by calendar
), known as (
    select calendar, first_at, last_at from calendars as c cross join lateral (
        select min(opens_at) as first_at, max(opens_at) as last_at from ops.sessions as s where s.calendar = c.calendar
    ) as s
)
"""
# Calendars of which no event ever came are not asked: who trades crypto alone never loads the library.
_BEYOND: Final = (
    _CALENDARS  # noqa: S608
    + """
select calendar, least(batch.first_at, known.first_at), greatest(batch.last_at, known.last_at)
from calendars inner join known using (calendar) cross join (
    select min(first_event_at) as first_at, max(last_event_at) as last_at from ops.loads where load_id = any(%(loads)s)
) as batch
where coalesce(batch.first_at < known.first_at or batch.last_at > known.last_at, batch.first_at is not null)
  and exists (select from raw.market_events as e where e.symbol = any(calendars.symbols))
"""
)
_EVERYTHING: Final = (
    _CALENDARS  # noqa: S608
    + """
select calendar, least(min(event.first_at), min(candle.first_at)), greatest(max(event.last_at), max(candle.last_at))
from calendars cross join unnest(symbols) as of (symbol)
cross join lateral (
    select min(event_time) as first_at, max(event_time) as last_at from raw.market_events as e
    where e.symbol = of.symbol
) as event
cross join lateral ({candles}) as candle
group by calendar
having num_nonnulls(min(event.first_at), min(candle.first_at)) > 0
"""
)
_CANDLES: Final = """
select min(candle_start) as first_at, max(candle_start) as last_at from marts.candles_1m as c where c.symbol = of.symbol
"""
_HAS_CANDLES: Final = """
select from pg_attribute where attrelid = to_regclass('marts.candles_1m') and attname = 'candle_start'
"""  # a rebuild begins with marts as they are, wrecked ones too
_NO_CANDLES: Final = "select null::timestamptz as first_at, null::timestamptz as last_at"


def sync_batch_days(conn: psycopg.Connection, loads: Sequence[int]) -> None:
    """Bring in the sessions of the days that these loads have events of. Raises ConfigError for an unknown calendar."""
    _sync(conn, conn.execute(_BEYOND, {"loads": list(loads), "always": list(AROUND_THE_CLOCK)}).fetchall())


def sync_all_days(conn: psycopg.Connection) -> None:
    """Bring in the sessions of all days that there are events or candles of, by the calendars as they are installed."""
    has_candles = conn.execute(_HAS_CANDLES).fetchone() is not None
    query = _EVERYTHING.format(candles=_CANDLES if has_candles else _NO_CANDLES)
    with conn.transaction():
        _sync(conn, conn.execute(query, {"always": list(AROUND_THE_CLOCK)}).fetchall())
        remember(conn, "calendars", _version())


def sync_new_calendars(conn: psycopg.Connection) -> None:
    """After an upgrade of the calendars' library look at all days again."""
    if recall(conn, "calendars") != _version():
        sync_all_days(conn)


def outdated_days(conn: psycopg.Connection) -> str | None:
    """What to hand to `days_are_current` once candles_1d and the indicators were made anew; None: they are current."""
    noted = recall(conn, "days")
    return noted if noted and noted.startswith("outdated") else None


def days_are_current(conn: psycopg.Connection, outdated: str) -> None:
    """What is made of sessions was made anew; what changed since then is still outdated."""
    conn.execute("update ops.built_from set hash = 'current' where name = 'days' and hash = %s", [outdated])


def _sync(conn: psycopg.Connection, wanted: Iterable[tuple[str, datetime, datetime]]) -> None:
    for calendar, first, last in wanted:
        sync_sessions(conn, calendar, Window(first - _AROUND, last + _AROUND))


@cache
def _version() -> str:
    from importlib.metadata import version

    return version(_LIBRARY)
