"""A rebuild as the warehouse knows it: what is emptied, how far it is, and what follows from the objects of the lake.

Kept is what no object tells: vendors' budgets, registered instruments, labels, outcomes, trained models, what vendors'
answers were refused before they became events, and alerts that people know of with their outbox and history, so that
nothing that was sent is sent again; with them mutes and what people acknowledged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import orjson
import psycopg
from psycopg import sql

from include.errors import QuantStreamError
from include.warehouse.checksums import Checksum
from include.warehouse.leases import Lease

Phase = Literal["load", "transform", "detect", "done"]

UNKNOWN_STREAM: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for when a stream was made that is not there any more."""

# Everything that follows from the lake. ops.removed: what was removed from here comes in again.
_EMPTIED: Final = (
    "raw.market_events", "raw.landed_events", "ops.loads", "ops.stream_ranges", "ops.checkpoints", "ops.shard_reads",
    "ops.pending_watermarks", "ops.watermarks", "ops.transform_batch", "ops.transform_watermarks", "ops.detect_queue",
    "ops.transform_set_aside",
    "ops.stream_resets", "ops.replays", "ops.replayed_loads", "ops.built_from", "ops.gap_series", "ops.gap_spans",
    "ops.gap_scope", "ops.gap_searches", "ops.removed", "ops.findings", "ops.judged", "ops.judged_days",
)  # fmt: skip
_MODELLED: Final = """
select table_schema, table_name from information_schema.tables
where table_type = 'BASE TABLE' and (table_schema in ('staging', 'intermediate', 'marts'))
  and table_name not in ('alerts', 'alert_history')
"""
# Ours alone, and who works for as long as a rebuild takes without touching what it makes.
_OTHERS: Final = """
select l.name, l.holder from ops.leases as l
inner join pg_stat_activity as a on a.pid = l.backend_pid and a.backend_start = l.backend_start
where l.expires_at > clock_timestamp() and l.name <> all(%s) and split_part(l.name, ' ', 1) not in ('pull', 'collect')
order by l.name
"""

_WAITING: Final = """
select
    (select count(*) from ops.stream_ranges where state = 'landed')
        + (select count(*) from ops.history_pieces where state = 'landed'),
    (select count(*) from ops.loads where state in ('landed', 'accepted')),
    (select count(distinct symbol) from ops.detect_queue)
"""
_RANGE: Final = """
insert into ops.stream_ranges (
    stream, stream_created_at, shard_id, from_sequence, to_sequence, record_count, event_count, arrived_at, s3_key,
    state, landed_at, loaded_at)
values (
    %(stream)s, %(created_at)s, %(shard_id)s, %(first)s, %(last)s, %(records)s, %(events)s, %(arrived_at)s, %(key)s,
    'loaded', %(landed_at)s, clock_timestamp())
on conflict (s3_key) do nothing
"""
_ENDS: Final = """
select distinct on (stream, stream_created_at, shard_id) stream, stream_created_at, shard_id, to_sequence, s3_key
from ops.stream_ranges where stream_created_at > %s
order by stream, stream_created_at, shard_id, to_sequence::numeric desc
"""
_POSITION: Final = """
with read as (
    insert into ops.shard_reads as r (stream, stream_created_at, shard_id, read_until)
    values (%(stream)s, %(created_at)s, %(shard_id)s, %(arrived_at)s)
    on conflict (stream, stream_created_at, shard_id) do update
    set read_until = greatest(r.read_until, excluded.read_until)
)
insert into ops.checkpoints as c (stream, stream_created_at, shard_id, sequence_number, arrived_at)
values (%(stream)s, %(created_at)s, %(shard_id)s, %(sequence)s, %(arrived_at)s)
on conflict (stream, stream_created_at, shard_id) do update
set sequence_number = excluded.sequence_number, arrived_at = excluded.arrived_at
where excluded.sequence_number::numeric > c.sequence_number::numeric
"""
# Alerts that nobody was told of follow from what is found again.
_FORGET_UNTOLD: Final = """
with gone as (
    delete from marts.alerts
    where state = 'history' and category = 'market' and acknowledged_by is null and resolved_by is null
    returning alert_key
)
delete from marts.alert_history as h using gone where h.alert_key = gone.alert_key
"""
# What was found by looking at the whole past again is written down and sent to nobody.
_SILENCE: Final = """
with old as (
    update marts.alerts set state = 'history'
    where created_at >= %(since)s and state = 'new' and rule not in ('collector_silent', 'spool_full')
    returning alert_key
), unsent as (
    delete from ops.outbox as o using old where o.alert_key = old.alert_key and o.sent_at is null
)
select count(*) from old
"""
# Coverage of history whose piece the warehouse does not know any more: as far as the object's own events reach.
_COVERED: Final = """
with lost as (
    select l.load_id, l.origin, l.read_count, f.source, f.kind
    from unnest(%(keys)s::text[], %(sources)s::text[], %(kinds)s::text[]) as f (s3_key, source, kind)
    inner join ops.loads as l on l.origin = f.s3_key
    where l.state <> 'landed' and not exists (select from ops.history_pieces as p where p.s3_key = l.origin)
), spans as (
    select lost.load_id, e.symbol, min(e.event_time) as first_at, max(e.event_time) as last_at, count(*) as events
    from lost inner join raw.market_events as e
        on e.load_id = lost.load_id and e.source = lost.source and e.kind = lost.kind
    group by lost.load_id, e.symbol
), covers as (
    insert into ops.history_coverage (source, kind, symbol, asked_as, covered_from, covered_until, events, ended)
    select lost.source, lost.kind, spans.symbol, coalesce(ids.asked_as, spans.symbol), spans.first_at,
        spans.last_at + case lost.kind when 'bar' then interval '1 minute' else interval '1 microsecond' end,
        spans.events, 'events'
    from lost
    inner join spans on lost.load_id = spans.load_id
    left join unnest(%(id_sources)s::text[], %(id_symbols)s::text[], %(ids)s::text[]) as ids (source, symbol, asked_as)
        on lost.source = ids.source and spans.symbol = ids.symbol
    where not exists (
        select from ops.history_coverage as c
        where c.source = lost.source and c.kind = lost.kind and c.symbol = spans.symbol
            and c.covered_from <= spans.first_at and c.covered_until > spans.last_at)
)
insert into ops.history_pieces (
    piece_id, source, kind, window_start, window_end, symbols, s3_key, event_count, first_event_at, last_event_at,
    covers, state, sha256, load_id, landed_at, loaded_at)
select gen_random_uuid(), lost.source, lost.kind, date_trunc('day', min(spans.first_at), 'UTC'),
    date_trunc('day', max(spans.last_at), 'UTC') + interval '1 day', array_agg(spans.symbol order by spans.symbol),
    lost.origin, lost.read_count, min(spans.first_at), max(spans.last_at), '[]', 'loaded', '', lost.load_id,
    clock_timestamp(), clock_timestamp()
from lost inner join spans on lost.load_id = spans.load_id
group by lost.load_id, lost.source, lost.kind, lost.origin, lost.read_count
"""


@dataclass(frozen=True, slots=True)
class Rebuild:
    """The rebuild that is under way. `before`: the checksums of the marts before they were emptied, if they could be
    read. `paused`: the DAGs that were paused for it. `notes`: what is to be known of the marts as they were.
    `started_at` is as of when they were compared: this database's clock, UTC."""

    rebuild_id: int
    phase: Phase
    started_at: datetime
    before: dict[str, Checksum] | None
    paused: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownLoad:
    """A load that the ledger has: its id, its state, the lines of its object."""

    load_id: int
    state: str
    lines: int


def under_way(conn: psycopg.Connection) -> Rebuild | None:
    """The rebuild that has not come to its end; None if there is none."""
    row = conn.execute(
        "select rebuild_id, phase, started_at, before, paused, notes from ops.rebuilds where phase <> 'done'"
    ).fetchone()
    if row is None:
        return None
    before = None if row[3] is None else {mart: Checksum(*checksum) for mart, checksum in row[3].items()}
    return Rebuild(row[0], row[1], row[2], before, tuple(row[4]), tuple(row[5]))


def clock(conn: psycopg.Connection) -> datetime:
    """This database's time, UTC: what is written down is compared with it, whatever the clock of who rebuilds says."""
    row: tuple[datetime] | None = conn.execute("select clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101  # a select gives a row
    return row[0]


def waiting(conn: psycopg.Connection) -> dict[str, int]:
    """What is on its way into the marts, by what it waits for; only what there is any of."""
    row = conn.execute(_WAITING).fetchone() or ()
    named = ("objects waited to be loaded", "loads waited for the next build", "symbols waited for detection")
    return {what: count for what, count in zip(named, row, strict=True) if count}


def begin(
    held: Lease,
    before: Mapping[str, Checksum] | None,
    *,
    as_of: datetime,
    paused: Collection[str] = (),
    notes: Collection[str] = (),
) -> None:
    """Empty the warehouse and write down that a rebuild is under way: one transaction.

    Raises FencedError, and QuantStreamError if the warehouse lacks a table.
    """
    conn = held.conn
    told = None if before is None else {mart: [one.rows, one.digest] for mart, one in before.items()}
    try:
        with conn.transaction():
            held.fence()
            modelled = conn.execute(_MODELLED).fetchall()
            names = [sql.Identifier(*name.split(".")) for name in _EMPTIED]
            names += [sql.Identifier(schema, table) for schema, table in modelled]
            conn.execute(sql.SQL("truncate {}").format(sql.SQL(", ").join(names)))
            conn.execute("delete from raw.rejected_events where load_id is not null")
            conn.execute(_FORGET_UNTOLD)
            conn.execute(
                "insert into ops.rebuilds (before, started_at, paused, notes) values (%s::jsonb, %s, %s, %s)",
                [None if told is None else orjson.dumps(told).decode(), as_of, list(paused), list(notes)],
            )
    except psycopg.errors.UndefinedTable as error:
        raise QuantStreamError(
            f"the warehouse is not whole: {error.diag.message_primary}. Drop its database, have it made again "
            "(`quantstream up` or `quantstream provision`), and rebuild: runbook *Rebuild the warehouse*"
        ) from None


def enter(held: Lease, phase: Phase) -> None:
    """The rebuild goes on with this phase. Part of the caller's transaction; raises FencedError."""
    held.fence()
    held.conn.execute(
        "update ops.rebuilds set phase = %(phase)s, "
        "finished_at = case when %(phase)s = 'done' then clock_timestamp() end where phase <> 'done'",
        {"phase": phase},
    )


def others(conn: psycopg.Connection, ours: Collection[str]) -> list[tuple[str, str]]:
    """What is done in the warehouse right now beside `ours`, and by whom: (lease, holder).

    Pulls and collectors are not among it: they fill the stream, which a rebuild leaves alone.
    """
    return [(name, holder) for name, holder in conn.execute(_OTHERS, [list(ours)])]


def has_models(conn: psycopg.Connection) -> bool:
    """Whether dbt's views and tables were made since the warehouse was emptied."""
    return conn.execute("select exists (select from ops.built_from where name = 'dbt')").fetchone() == (True,)


def origins(conn: psycopg.Connection) -> set[str]:
    """The keys of all raw objects that the warehouse was made of."""
    rows = conn.execute("select origin from ops.loads where origin like 'raw/%' and position(' replay ' in origin) = 0")
    return {origin for (origin,) in rows}


def was_judged(conn: psycopg.Connection, load_id: int, at: datetime) -> None:
    """A rejected load was judged as of that time (UTC)."""
    conn.execute("update ops.loads set audited_at = %s where load_id = %s and state = 'rejected'", [at, load_id])


def counts(conn: psycopg.Connection) -> tuple[int, int, int, int]:
    """Objects loaded, events in them, lines in quarantine that did not come in, loads that are rejected."""
    row = conn.execute(
        "select count(*), coalesce(sum(read_count), 0)::bigint, "
        "(select count(*) from raw.rejected_events where released_by is null), "
        "count(*) filter (where state = 'rejected') from ops.loads where position(' replay ' in origin) = 0"
    ).fetchone()
    return row or (0, 0, 0, 0)


def known_loads(conn: psycopg.Connection, origins: Collection[str]) -> dict[str, KnownLoad]:
    """The loads of these origins."""
    rows = conn.execute(
        "select origin, load_id, state, read_count from ops.loads where origin = any(%s)", [list(origins)]
    )
    return {origin: KnownLoad(*found) for origin, *found in rows}


def restore_range(
    conn: psycopg.Connection,
    *,
    stream: str,
    created_at: datetime,
    shard_id: str,
    first: str,
    last: str,
    records: int,
    events: int,
    arrived_at: datetime,
    key: str,
    landed_at: datetime,
) -> None:
    """Write down the range of the stream that an object holds, as loaded. Part of the caller's transaction."""
    conn.execute(
        _RANGE,
        {
            "stream": stream, "created_at": created_at, "shard_id": shard_id, "first": first, "last": last,
            "records": records, "events": events, "arrived_at": arrived_at, "key": key, "landed_at": landed_at,
        },
    )  # fmt: skip


def ends_of_shards(conn: psycopg.Connection) -> list[tuple[str, datetime, str, str, str]]:
    """Per shard of streams that are there: stream, made at, shard, last sequence number landed, its object's key."""
    return conn.execute(_ENDS, [UNKNOWN_STREAM]).fetchall()


def restore_position(
    conn: psycopg.Connection, stream: str, created_at: datetime, shard_id: str, sequence: str, arrived_at: datetime
) -> None:
    """The shard is read and loaded up to `sequence`, which arrived at `arrived_at` (UTC)."""
    conn.execute(
        _POSITION,
        {
            "stream": stream, "created_at": created_at, "shard_id": shard_id, "sequence": sequence,
            "arrived_at": arrived_at,
        },
    )  # fmt: skip


def number_resets_from(conn: psycopg.Connection, last: int) -> None:
    """The next reset of the stream gets a higher number than `last`: objects of the lake are named after those."""
    conn.execute(
        "select setval(s.name::regclass, greatest(%s, pg_sequence_last_value(s.name::regclass))) "
        "from (select pg_get_serial_sequence('ops.stream_resets', 'reset_id') as name) as s",
        [max(last, 1)],
    )


def cover_history(
    conn: psycopg.Connection, objects: Collection[tuple[str, str, str]], ids: Collection[tuple[str, str, str]]
) -> None:
    """Tell what of the past is covered by objects (key, source, kind); `ids` are (source, symbol, the vendor's id)."""
    keys, sources, kinds = zip(*objects, strict=True) if objects else ((), (), ())
    id_sources, id_symbols, names = zip(*ids, strict=True) if ids else ((), (), ())
    conn.execute(
        "update ops.history_pieces as p set load_id = l.load_id from ops.loads as l where l.origin = p.s3_key "
        "and p.load_id is distinct from l.load_id"
    )
    conn.execute(
        _COVERED,
        {
            "keys": list(keys), "sources": list(sources), "kinds": list(kinds), "id_sources": list(id_sources),
            "id_symbols": list(id_symbols), "ids": list(names),
        },
    )  # fmt: skip


def all_are_history(conn: psycopg.Connection) -> None:
    """All loads go the way of history from here on: built in slices, behind what comes live."""
    conn.execute("update ops.loads set is_live = false where is_live")


def silence(conn: psycopg.Connection, since: datetime) -> int:
    """Alerts written since then (UTC) and not sent are history: nobody is paged; how many they were."""
    row = conn.execute(_SILENCE, {"since": since}).fetchone()
    return int(row[0]) if row else 0
