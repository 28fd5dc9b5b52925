"""Keeping `ops.instruments` and `ops.instrument_sources` equal to the file of instruments and the settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Set
from typing import Final

import psycopg

from include.instruments import REPLAY, SIMULATOR, Instrument, known_instruments, load_instruments
from include.settings import Settings

OUTDATED: Final = "outdated"

_LIST: Final = """
insert into ops.instruments (symbol, asset_class, currency, calendar, primary_source, fallbacks)
values (%s, %s, %s, %s, %s, %s)
on conflict (symbol) do update set
    asset_class = excluded.asset_class, currency = excluded.currency, calendar = excluded.calendar,
    primary_source = excluded.primary_source, fallbacks = excluded.fallbacks
"""
_UNLIST: Final = """
delete from ops.instruments as i
where symbol <> all(%s) and not exists (select 1 from raw.market_events as e where e.symbol = i.symbol)
"""
_CALENDARS: Final = """
select coalesce(i.symbol, r.symbol), coalesce(i.calendar, r.calendar)
from ops.instruments as i full outer join ops.registered_instruments as r on i.symbol = r.symbol
"""
_DAYS_OUTDATED: Final = """
insert into ops.built_from (name, hash) values ('days', 'outdated ' || pg_current_xact_id())
on conflict (name) do update set hash = excluded.hash
"""
_RANK: Final = """
insert into ops.instrument_sources (symbol, source, rank)
select symbol, source, rank from unnest(%s::text[], %s::text[], %s::integer[]) as new (symbol, source, rank)
"""
_UNRANK: Final = """
delete from ops.instrument_sources as s
where symbol = any(%s) or not exists (
    select symbol from ops.instruments as i where i.symbol = s.symbol
    union all
    select symbol from ops.registered_instruments as r where r.symbol = s.symbol
)
"""


def sync_instruments(conn: psycopg.Connection, settings: Settings) -> None:
    """Bring the file into `ops.instruments`, and the order of each instrument's sources into `ops.instrument_sources`.

    Each only if something changed. An instrument that the file no longer lists goes, unless there are events of it. If
    a known one has another order of sources now, the indicators are noted as outdated; if it has another calendar, its
    days. Raises ConfigError if the file is wrong.
    """
    path = settings.instruments_file
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    live = {*settings.sources, *settings.collect} - {SIMULATOR, REPLAY}
    with conn.transaction():
        if recall(conn, "instruments") != digest:
            _sync_list(conn, load_instruments(path))
            remember(conn, "instruments", digest)
        added = conn.execute("select count(*) from ops.registered_instruments").fetchone()
        state = hashlib.sha256(repr((digest, sorted(live), added)).encode()).hexdigest()
        if recall(conn, "instrument_sources") != state:
            _sync_order(conn, known_instruments(conn, settings), live)
            remember(conn, "instrument_sources", state)


def source_order(instrument: Instrument, sources: Iterable[str], live: Set[str]) -> tuple[str, ...]:
    """The sources that count for an instrument, the first one first: primary, fallbacks, then the others by name.

    `live` are the enabled sources of real prices. Where one of them has the instrument, the simulator does not count:
    a series is never part market and part invention.
    """
    order = dict.fromkeys((instrument.primary_source, *instrument.fallbacks, *sorted(sources)))
    is_real = not live.isdisjoint(instrument.ids)
    return tuple(source for source in order if source != SIMULATOR or not is_real)


def recall(conn: psycopg.Connection, name: str) -> str | None:
    """What the warehouse was built from, as it was noted."""
    noted = conn.execute("select hash from ops.built_from where name = %s", [name]).fetchone()
    return str(noted[0]) if noted else None


def remember(conn: psycopg.Connection, name: str, digest: str) -> None:
    """Note in the warehouse what it was built from."""
    conn.execute(
        "insert into ops.built_from (name, hash) values (%s, %s) on conflict (name) do update set hash = excluded.hash",
        [name, digest],
    )


def _sync_list(conn: psycopg.Connection, listed: Iterable[Instrument]) -> None:
    rows = [
        (one.symbol, one.asset_class, one.currency, one.calendar, one.primary_source, list(one.fallbacks))
        for one in listed
    ]
    before: dict[str, str] = dict(conn.execute(_CALENDARS).fetchall())
    conn.cursor().executemany(_LIST, rows)
    conn.execute(_UNLIST, [[row[0] for row in rows]])
    after: dict[str, str] = dict(conn.execute(_CALENDARS).fetchall())
    if any(after.get(symbol, calendar) != calendar for symbol, calendar in before.items()):
        conn.execute(_DAYS_OUTDATED)


def _sync_order(conn: psycopg.Connection, instruments: Iterable[Instrument], live: Set[str]) -> None:
    instruments = list(instruments)
    sources = {REPLAY, *(source for one in instruments for source in one.ids)}
    before: dict[str, list[str]] = dict(
        conn.execute("select symbol, array_agg(source order by rank) from ops.instrument_sources group by symbol")
    )
    orders = {one.symbol: source_order(one, sources, live) for one in instruments}
    changed = {symbol: order for symbol, order in orders.items() if tuple(before.get(symbol, ())) != order}
    conn.execute(_UNRANK, [list(changed)])
    ranks = [(symbol, source, rank) for symbol, order in changed.items() for rank, source in enumerate(order, start=1)]
    conn.execute(_RANK, [[row[n] for row in ranks] for n in range(3)])
    if not changed.keys().isdisjoint(before):
        remember(conn, "indicators", OUTDATED)
