"""The ledger of loads: `landed -> accepted | rejected -> transformed`, and the rows that move with it.

Each change is one transaction, refused to whoever lost the lease. An accepted load balances: read = inserted +
duplicate + quarantined, or it is rolled back (the constraint `ledger_balances`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import orjson
import psycopg
from psycopg.rows import class_row

from include.errors import BalanceError, LedgerError
from include.warehouse.leases import Lease

State = Literal["landed", "accepted", "rejected", "transformed"]

_COLUMNS: Final = (
    "load_id, origin, state, is_live, read_count, inserted_count, duplicate_count, quarantined_count, failures, "
    "first_event_at, last_event_at, loaded_at, audited_at, transformed_at"
)

# `raw` is the event as it would travel again: the fields of include.events.Event.
_QUARANTINE: Final = """
with bad as (
    select * from unnest(%(lines)s::integer[], %(reasons)s::text[]) as q (line_number, reason)
), gone as (
    delete from raw.landed_events as e using bad
    where e.load_id = %(load_id)s and e.line_number = bad.line_number
    returning e.*, bad.reason
)
insert into raw.rejected_events (load_id, origin, line_number, source, kind, symbol, event_time, reason, raw)
select load_id, %(origin)s, line_number, source, kind, symbol, event_time, reason,
       convert_to(json_build_object(
           'source', source, 'kind', kind, 'symbol', symbol,
           'event_time', to_char(event_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           'vendor_id', vendor_id,
           'received_at', to_char(received_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           'payload', payload)::text, 'UTF8')
from gone
"""

# Whether another load may have brought a row of this one: a look at the span of each series tells. A repeat inside the
# load is no question, one of them stays.
_OVERLAPS: Final = """
select exists (
    select from (
        select symbol, source, kind, min(event_time) as first_at, max(event_time) as last_at
        from raw.landed_events where load_id = %(load_id)s group by symbol, source, kind
    ) as l
    cross join lateral (
        select from raw.market_events as e
        where e.symbol = l.symbol and e.event_time between l.first_at and l.last_at
          and e.source = l.source and e.kind = l.kind
        limit 1
    ) as e
)
"""
# All loads take their rows in one order, so those with rows in common wait for each other, but never in a circle.
_LATEST: Final = """
    select distinct on (symbol, event_time, source, kind, vendor_id, payload_hash)
        source, kind, symbol, event_time, vendor_id, payload_hash, payload, received_at,
        transaction_timestamp() as loaded_at, load_id
    from raw.landed_events where load_id = %(load_id)s
    order by symbol, event_time, source, kind, vendor_id, payload_hash, received_at desc
"""
_INSERT: Final = f"""
insert into raw.market_events as e (
    source, kind, symbol, event_time, vendor_id, payload_hash, payload, received_at, loaded_at, load_id)
{_LATEST}
"""
# An exact duplicate only makes its row younger. `loaded_at` is when the row came in first: it equals `audited_at` of
# the load that inserted it.
_MERGE: Final = f"""
with merged as (
    {_INSERT}
    on conflict (symbol, event_time, source, kind, vendor_id, payload_hash) do update
    set received_at = excluded.received_at, load_id = excluded.load_id
    where excluded.received_at > e.received_at
    returning e.loaded_at = transaction_timestamp() as is_new
)
select count(*) from merged where is_new
"""  # noqa: S608
_PARTITIONS: Final = """
select ops.make_event_partitions((
    select array_agg(distinct date_trunc('month', event_time, 'UTC')) from raw.landed_events where load_id = %(load_id)s
))
"""
_CLEAR: Final = "delete from raw.landed_events where load_id = %(load_id)s"

# What a load says about completeness holds at once if nothing of it waits for the stream. Every statement that moves
# watermarks takes the sources in the same order, and is the only one of its transaction: lanes do not block each other.
_SAID: Final = """
    select c.key as source, c.value::timestamptz as complete_until
    from ops.loads as l, jsonb_each_text(l.complete_until) as c
    where l.load_id = %(load_id)s and c.key <> all (%(set_aside)s)
      and not exists (select from ops.pending_watermarks as p where p.load_id = l.load_id)
"""
_MOVED: Final = """
insert into ops.watermarks as w (source, complete_until)
select source, max(complete_until) from due group by source order by source
on conflict (source) do update set complete_until = excluded.complete_until
where excluded.complete_until > w.complete_until
"""
_SAY: Final = f"with due as ({_SAID}) {_MOVED}"

# What was set aside says nothing about completeness: nothing of it came in.
_FORGET: Final = "delete from ops.pending_watermarks where load_id = %(load_id)s and source = any (%(set_aside)s)"

# Of the stream: what an event says holds once all that arrived before it is judged. So no other shard may be unread up
# to then (its own is read in order), no range may wait to be landed or loaded, no live load for its audit. One
# statement, so one snapshot: landing writes a range down before it says how far it has read, and each later step moves
# it on at once.
_RELEASE: Final = f"""
with released as (
    delete from ops.pending_watermarks as p
    using ops.loads as l
    where l.load_id = p.load_id and l.state in ('accepted', 'transformed')
      and not exists (
          select from ops.shard_reads as s
          where s.stream = p.stream and not s.is_drained and s.read_until <= p.arrived_at
            and (s.stream_created_at, s.shard_id) <> (p.stream_created_at, p.shard_id)
            and s.stream_created_at = (
                select max(n.stream_created_at) from ops.shard_reads as n where n.stream = p.stream)
      )
      and not exists (
          select from ops.stream_ranges as r
          where r.stream = p.stream and r.state in ('intended', 'landed') and r.arrived_at <= p.arrived_at
      )
      and not exists (
          select from ops.loads as o
          inner join ops.stream_ranges as r on o.origin = r.s3_key
          where o.state = 'landed' and o.is_live and r.stream = p.stream and r.arrived_at <= p.arrived_at
      )
    returning p.source, p.complete_until
), due as (
    select source, complete_until from released union all ({_SAID})
)
{_MOVED}
"""  # noqa: S608

_ACCEPT: Final = """
update ops.loads
set state = 'accepted', audited_at = transaction_timestamp(),
    inserted_count = %s, duplicate_count = %s, quarantined_count = %s, failures = coalesce(%s::jsonb, failures)
where load_id = %s
"""


@dataclass(frozen=True, slots=True)
class Load:
    """One row of `ops.loads`. The counts that the audit makes are None before it.

    A live load came through the stream, any other one is history. Its events happened from `first_event_at` to
    `last_event_at` (None: it has none).
    """

    load_id: int
    origin: str
    state: State
    is_live: bool
    read_count: int
    inserted_count: int | None
    duplicate_count: int | None
    quarantined_count: int
    failures: list[dict[str, Any]]
    first_event_at: datetime | None
    last_event_at: datetime | None
    loaded_at: datetime
    audited_at: datetime | None
    transformed_at: datetime | None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A line of a load that goes to quarantine, and why."""

    line_number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a load's rows. `quarantined` counts those that were malformed when it was loaded, too."""

    inserted: int
    duplicates: int
    quarantined: int


def loads(conn: psycopg.Connection, state: State | None = None, *, limit: int | None = None) -> list[Load]:
    """The loads (of one state), oldest first; with `limit` the newest ones."""
    with conn.cursor(row_factory=class_row(Load)) as cursor:
        found = cursor.execute(
            f"select {_COLUMNS} from ops.loads where %(state)s::text is null or state = %(state)s "  # noqa: S608
            "order by load_id desc limit %(limit)s",
            {"state": state, "limit": limit},
        ).fetchall()
    return found[::-1]


def landed_loads(conn: psycopg.Connection) -> list[Load]:
    """The live loads that wait for their audit, oldest first. Whoever brought history has it audited."""
    return [load for load in loads(conn, "landed") if load.is_live]


def get_load(conn: psycopg.Connection, load_id: int, *, lock: bool = False) -> Load:
    """One load, locked until the transaction ends if asked. Raises LedgerError if there is none."""
    with conn.cursor(row_factory=class_row(Load)) as cursor:
        query = f"select {_COLUMNS} from ops.loads where load_id = %s"  # noqa: S608
        found = cursor.execute(query + " for update" if lock else query, [load_id]).fetchone()
    if found is None:
        raise LedgerError(f"there is no load {load_id}; `quantstream loads` lists them")
    return found


def accept(
    conn: psycopg.Connection,
    lease: Lease,
    load_id: int,
    quarantine: Iterable[BadRow] = (),
    *,
    was: State = "landed",
    set_aside: Iterable[str] = (),
    failures: Sequence[dict[str, Any]] | None = None,
) -> Accepted:
    """Bring a load's rows into `raw.market_events`, its bad ones into quarantine, and move the sources' watermarks.

    What a load of the stream says about completeness waits until it holds for all shards (`release_watermarks`); what
    history says holds at once. Loads with overlapping rows may be accepted at once: each takes its rows in one order.
    The sources in `set_aside`, whose rows are all among the bad ones, keep their watermarks; `failures` are kept with
    the load, as by `reject`. One transaction. `was` is the state the load must be in: a rejected one is accepted only
    by a person. Exact duplicates, of other loads and of itself, keep one row with the latest `received_at`. Raises
    FencedError (another process took the step over), LedgerError (no such load, or not in that state) or BalanceError,
    and writes nothing.
    """
    bad = list(quarantine)
    with conn.transaction():
        load = _claim(conn, lease, load_id, was)
        conn.execute(
            _QUARANTINE,
            {
                "load_id": load_id,
                "origin": load.origin,
                "lines": [row.line_number for row in bad],
                "reasons": [row.reason.replace("\x00", "\\0") for row in bad],
            },
        )
        inserted = _insert(conn, load_id)
        moved = conn.execute(_CLEAR, {"load_id": load_id}).rowcount
        accepted = Accepted(inserted, moved - inserted, load.quarantined_count + len(bad))
        aside = {"load_id": load_id, "set_aside": list(set_aside)}
        conn.execute(_FORGET, aside)
        told = None if failures is None else _json(failures)
        try:
            conn.execute(_ACCEPT, [accepted.inserted, accepted.duplicates, accepted.quarantined, told, load_id])
        except psycopg.errors.CheckViolation as violation:
            if violation.diag.constraint_name != "ledger_balances":
                raise
            raise BalanceError(_explain(load, accepted)) from None
        conn.execute(_RELEASE if load.is_live else _SAY, aside)
    return accepted


def _insert(conn: psycopg.Connection, load_id: int) -> int:
    """Bring a load's rows into `raw.market_events`; how many were new.

    Rows that nobody else has are inserted as they are, in little more than half of the time that a merge takes.
    """
    which = {"load_id": load_id}
    conn.execute(_PARTITIONS, which)
    conn.execute("set local work_mem = '128MB'")  # a load of history is sorted in memory
    if conn.execute(_OVERLAPS, which).fetchone() == (False,):
        with suppress(psycopg.errors.UniqueViolation), conn.transaction():  # somebody brings the same right now
            return conn.execute(_INSERT, which).rowcount
    return int((conn.execute(_MERGE, which).fetchone() or (0,))[0])


def release_watermarks(conn: psycopg.Connection, lease: Lease) -> None:
    """Move the watermarks up to what holds for all shards by now. `accept` does it too; a later landing may allow more.

    Raises FencedError.
    """
    with conn.transaction():
        lease.fence()
        conn.execute(_RELEASE, {"load_id": None, "set_aside": []})


def reject(conn: psycopg.Connection, lease: Lease, load_id: int, failures: Sequence[dict[str, Any]]) -> None:
    """Mark a landed load as rejected, with the expectations that failed. Its rows stay where they are.

    Raises FencedError or LedgerError like `accept`.
    """
    with conn.transaction():
        _claim(conn, lease, load_id, "landed")
        conn.execute(
            "update ops.loads set state = 'rejected', audited_at = clock_timestamp(), failures = %s::jsonb "
            "where load_id = %s",
            [_json(failures), load_id],
        )


def _json(failures: Sequence[dict[str, Any]]) -> str:
    return orjson.dumps(list(failures), default=str).decode().replace("\\u0000", "\\ufffd")


def _claim(conn: psycopg.Connection, lease: Lease, load_id: int, state: State) -> Load:
    lease.fence()
    load = get_load(conn, load_id, lock=True)
    if load.state != state:
        raise LedgerError(f"load {load_id} ({load.origin}) is {load.state}, not {state}; nothing was changed")
    return load


def _explain(load: Load, counts: Accepted) -> str:
    total = counts.inserted + counts.duplicates + counts.quarantined
    return (
        f"load {load.load_id} ({load.origin}) does not balance: read {load.read_count}, but inserted {counts.inserted} "
        f"+ duplicate {counts.duplicates} + quarantined {counts.quarantined} = {total}; it was rolled back. "
        f"Compare the object with raw.landed_events where load_id = {load.load_id}."
    )
