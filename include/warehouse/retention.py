"""What may go after its time: raw events whose marts are made, quarantine, the ledger of what is done.

A partition of events of which nothing has to stay goes as a whole, all else in portions of rows. Each is a transaction
of its own, so that nothing is locked for long and a crash costs nothing. The lake keeps what came in, and `ops.removed`
says up to when it is the only place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, LiteralString

import psycopg

_PORTION: Final = 50_000

# Quotes and trades: a minute that a late one touches is made anew out of marts.quotes and marts.trades. Bars and
# corporate actions stay: they are few, and what is made of them reads them. What no transform has taken stays too.
_MAY_GO: Final = """
e.symbol = %(symbol)s and e.event_time < %(before)s and e.kind in ('quote', 'trade')
and not exists (select from ops.loads as l where l.load_id = e.load_id and l.state <> 'transformed')
"""
_EVENTS: Final = f"""
delete from raw.market_events as e
where {_MAY_GO} and e.event_time <= coalesce(
    (select e.event_time from raw.market_events as e where {_MAY_GO}
     order by e.event_time offset %(most)s - 1 limit 1),
    'infinity')
"""  # noqa: S608
# The partitions, or chunks, that lie wholly before a time.
_PARTS: Final[Mapping[str, LiteralString]] = {
    "native": """
select part::text, from_at, until_at from ops.partitions
where parent = 'raw.market_events'::regclass and until_at <= %s order by from_at
""",
    "timescale": """
select format('%%I.%%I', chunk_schema, chunk_name), range_start, range_end from timescaledb_information.chunks
where hypertable_schema = 'raw' and hypertable_name = 'market_events' and range_end <= %s order by range_start
""",
}
_SYMBOLS: Final = """
with recursive known as (
    (select symbol from raw.market_events order by symbol limit 1)
    union all
    select (select e.symbol from raw.market_events as e where e.symbol > known.symbol order by e.symbol limit 1)
    from known where known.symbol is not null
)
select symbol from known where symbol is not null
"""
_QUARANTINE: Final = """
delete from raw.rejected_events where ctid = any (array(
    select ctid from raw.rejected_events where rejected_at < %(before)s limit %(most)s))
"""
# Of the ledger: what is done. Successful pulls and collections stay: they say which minutes were asked for. Of a shard
# the youngest range stays: it says how far the shard is read. Leases with a space in their name are those of one load
# or one piece of history; given back, they are of no use.
_LEDGER: Final[Mapping[str, LiteralString]] = {
    "outcomes": """
delete from ops.outcomes where ctid = any (array(
    select ctid from ops.outcomes where at < %(before)s and not (step in ('pull', 'collect') and ok) limit %(most)s))
""",
    "stream_ranges": """
delete from ops.stream_ranges where ctid = any (array(
    select r.ctid from ops.stream_ranges as r
    where r.state = 'loaded' and r.loaded_at < %(before)s
      and exists (
          select from ops.stream_ranges as younger
          where younger.stream = r.stream and younger.stream_created_at = r.stream_created_at
            and younger.shard_id = r.shard_id and younger.range_id > r.range_id)
    limit %(most)s))
""",
    "leases": """
delete from ops.leases where ctid = any (array(
    select ctid from ops.leases where expires_at = '-infinity' and acquired_at < %(before)s and name like '%% %%'
    limit %(most)s))
""",
    "findings": """
delete from ops.findings where ctid = any (array(
    select ctid from ops.findings where found_at < %(before)s limit %(most)s))
""",
    "alert_history": """
delete from marts.alert_history where ctid = any (array(
    select h.ctid from marts.alert_history as h left join marts.alerts as a using (alert_key)
    where h.at < %(before)s and coalesce(a.status, 'resolved') = 'resolved' limit %(most)s))
""",
    "outbox": """
delete from ops.outbox where ctid = any (array(
    select ctid from ops.outbox where sent_at < %(before)s or dead_at < %(before)s limit %(most)s))
""",
}


@dataclass(frozen=True, slots=True)
class Keep:
    """How many days each stays; 0: for ever."""

    events: int = 0
    quarantine: int = 0
    ledger: int = 0


def remove_old(
    conn: psycopg.Connection, keep: Keep, now: datetime, *, progress: Callable[[str, int], object] | None = None
) -> dict[str, int]:
    """Remove what is older than it may be at `now` (UTC): rows by what they were. Safe to repeat and to run at once.

    `now` counts for events against their own time, for the others against ours.
    """
    removed: dict[str, int] = {}
    for what, days, work in (
        ("events", keep.events, _remove_events),
        ("quarantine", keep.quarantine, _remove_quarantine),
        ("ledger", keep.ledger, _remove_ledger),
    ):
        if not days:
            continue
        before = now - timedelta(days=days)
        removed[what] = work(conn, before)
        conn.execute(
            "insert into ops.removed as r (what, before, row_count) values (%s, %s, %s) on conflict (what) do update "
            "set before = greatest(r.before, excluded.before), row_count = r.row_count + excluded.row_count, "
            "removed_at = clock_timestamp()",
            [what, before, removed[what]],
        )
        if progress is not None:
            progress(what, removed[what])
    return removed


def removed_events_before(conn: psycopg.Connection) -> datetime | None:
    """Before which time (UTC) raw quotes and trades are in the lake alone; None while Postgres has them all."""
    row = conn.execute("select before from ops.removed where what = 'events' and row_count > 0").fetchone()
    return None if row is None else row[0]


def _remove_events(conn: psycopg.Connection, before: datetime) -> int:
    gone = _drop_parts(conn, before)
    symbols = [symbol for (symbol,) in conn.execute(_SYMBOLS)]
    return gone + sum(_in_portions(conn, _EVENTS, {"symbol": symbol, "before": before}) for symbol in symbols)


def _drop_parts(conn: psycopg.Connection, before: datetime) -> int:
    """Drop the partitions (chunks) of before that time in which nothing has to stay; how many rows went with them.

    Where somebody reads the events for longer than 5 s, their rows are deleted one by one instead.
    """
    (engine,) = conn.execute("select ops.cuts_by()").fetchone() or ("native",)
    gone = 0
    for part in conn.execute(_PARTS[engine], [before]).fetchall():
        with suppress(psycopg.errors.LockNotAvailable), conn.transaction():
            row = conn.execute("select ops.drop_events(%s::regclass, %s, %s)", part).fetchone()
            gone += int((row and row[0]) or 0)
    return gone


def _remove_quarantine(conn: psycopg.Connection, before: datetime) -> int:
    return _in_portions(conn, _QUARANTINE, {"before": before})


def _remove_ledger(conn: psycopg.Connection, before: datetime) -> int:
    return sum(_in_portions(conn, query, {"before": before}) for query in _LEDGER.values())


def _in_portions(conn: psycopg.Connection, query: LiteralString, parameters: Mapping[str, object]) -> int:
    total = 0
    while True:
        with conn.transaction():
            gone = conn.execute(query, {**parameters, "most": _PORTION}).rowcount
        total += gone
        if gone < _PORTION:
            return total
