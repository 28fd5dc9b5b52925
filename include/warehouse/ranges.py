"""What of the stream was read, landed and loaded: intent rows and checkpoints.

A range is written down before its object is put (`intended`), then `landed`, then `loaded` together with its rows and
the checkpoint. A retry finds the row and repeats exactly that range. Every write is fenced by the lease it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import psycopg
from psycopg.rows import class_row

from include.errors import LakeConflictError
from include.warehouse.leases import Lease

State = Literal["intended", "landed", "loaded", "lost"]

_COLUMNS: Final = (
    "range_id, stream, stream_created_at, shard_id, from_sequence, to_sequence, record_count, event_count, arrived_at, "
    "s3_key, sha256, state"
)

# A range that was taken for lost and came back under the same key is intended once more.
_INTEND: Final = f"""
insert into ops.stream_ranges as r (
    stream, stream_created_at, shard_id, from_sequence, to_sequence, record_count, event_count, arrived_at, s3_key)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (s3_key) do update
set state = 'intended', from_sequence = excluded.from_sequence, record_count = excluded.record_count,
    event_count = excluded.event_count
where r.state = 'lost' and r.stream_created_at = excluded.stream_created_at
returning {_COLUMNS}
"""  # noqa: S608

# Ranges of a shard are written in its order, so the youngest one reaches furthest. The checkpoint counts where ranges
# were cleaned away. Where the shard was set back, only what was written down since then counts.
_POSITION: Final = """
with reset as (
    select at_sequence, last_range_id from ops.stream_resets
    where stream = %(stream)s and stream_created_at = %(created_at)s and shard_id = %(shard_id)s
    order by reset_id desc limit 1
), known as (
    (select to_sequence as sequence_number from ops.stream_ranges
     where stream = %(stream)s and stream_created_at = %(created_at)s and shard_id = %(shard_id)s and state <> 'lost'
       and range_id > coalesce((select last_range_id from reset), 0)
     order by range_id desc limit 1)
    union all
    select sequence_number from ops.checkpoints
    where stream = %(stream)s and stream_created_at = %(created_at)s and shard_id = %(shard_id)s
)
select (select sequence_number from known order by sequence_number::numeric desc limit 1),
       (select at_sequence from reset)
"""

# A range that was written down before the shard was set back no longer moves the checkpoint.
_CHECKPOINT: Final = """
insert into ops.checkpoints as c (stream, stream_created_at, shard_id, sequence_number, arrived_at)
select %(stream)s, %(created_at)s, %(shard_id)s, %(sequence)s, %(arrived_at)s
where not exists (
    select from ops.stream_resets as r
    where r.stream = %(stream)s and r.stream_created_at = %(created_at)s and r.shard_id = %(shard_id)s
      and r.last_range_id >= %(range_id)s)
on conflict (stream, stream_created_at, shard_id) do update
set sequence_number = excluded.sequence_number, arrived_at = excluded.arrived_at, updated_at = clock_timestamp()
where excluded.sequence_number::numeric > c.sequence_number::numeric
"""

_NOTE_READ: Final = """
insert into ops.shard_reads as r (stream, stream_created_at, shard_id, read_until) values (%s, %s, %s, %s)
on conflict (stream, stream_created_at, shard_id) do update set read_until = excluded.read_until
where excluded.read_until > r.read_until
"""

# What arrives in a child arrived after all that its parent holds, so the child is read as far as the parent is.
_DRAINED: Final = """
with drained as (
    insert into ops.shard_reads as r (stream, stream_created_at, shard_id, read_until, is_drained)
    values (%(stream)s, %(created_at)s, %(shard_id)s, %(created_at)s, true)
    on conflict (stream, stream_created_at, shard_id) do update set is_drained = true
    returning r.read_until
), read_again as (
    update ops.stream_resets set finished_at = clock_timestamp()
    where stream = %(stream)s and stream_created_at = %(created_at)s and shard_id = %(shard_id)s
      and finished_at is null
)
insert into ops.shard_reads (stream, stream_created_at, shard_id, read_until)
select %(stream)s, %(created_at)s, child, read_until from drained, unnest(%(children)s::text[]) as child
on conflict do nothing
"""

_PENDING: Final = """
insert into ops.pending_watermarks (
    load_id, source, complete_until, stream, stream_created_at, shard_id, arrived_at)
select %s, source, complete_until, %s, %s, %s, arrived_at
from unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) as said (source, complete_until, arrived_at)
"""


@dataclass(frozen=True, slots=True)
class StreamRange:
    """Records `from_sequence` to `to_sequence`, both included, of one shard; they go under `s3_key`.

    `event_count` is the number of lines that they give: an aggregated record gives several. `arrived_at` is when the
    first of them arrived; `sha256` (hex) is of the object's body, once landed.
    """

    range_id: int
    stream: str
    stream_created_at: datetime
    shard_id: str
    from_sequence: str
    to_sequence: str
    record_count: int
    event_count: int
    arrived_at: datetime
    s3_key: str
    sha256: str | None
    state: State

    def __str__(self) -> str:
        return f"{self.stream}/{self.shard_id} {self.from_sequence}..{self.to_sequence} ({self.record_count} records)"


def in_state(conn: psycopg.Connection, state: State) -> list[StreamRange]:
    """The ranges in a state, in the order in which they were written down (per shard: the shard's)."""
    with conn.cursor(row_factory=class_row(StreamRange)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.stream_ranges where state = %s order by range_id",  # noqa: S608
            [state],
        ).fetchall()


def of_key(conn: psycopg.Connection, s3_key: str) -> StreamRange | None:
    """The range that went under this key; None if there is none (any more)."""
    with conn.cursor(row_factory=class_row(StreamRange)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.stream_ranges where s3_key = %s",  # noqa: S608
            [s3_key],
        ).fetchone()


def landed_keys(conn: psycopg.Connection, start: datetime | None, end: datetime | None) -> dict[str, datetime]:
    """The keys of all objects that were put and arrived in `[start, end)` (UTC; None: no bound), with their times."""
    return dict(
        conn.execute(
            "select s3_key, arrived_at from ops.stream_ranges where state in ('landed', 'loaded') "
            "and (%(start)s::timestamptz is null or arrived_at >= %(start)s) "
            "and (%(end)s::timestamptz is null or arrived_at < %(end)s)",
            {"start": start, "end": end},
        ).fetchall()
    )


def position(conn: psycopg.Connection, stream: str, created_at: datetime, shard_id: str) -> str | None:
    """The sequence number up to which a shard is read (written down, at least); None: nothing of it yet.

    Nothing, too, of one that was set back and not read on since: `start` says where it begins.
    """
    return start(conn, stream, created_at, shard_id)[0]


def start(conn: psycopg.Connection, stream: str, created_at: datetime, shard_id: str) -> tuple[str | None, str | None]:
    """Where reading a shard goes on: behind the first number; where that is None, at the second one.

    Where both are None, at the oldest record that the stream holds.
    """
    row = conn.execute(_POSITION, {"stream": stream, "created_at": created_at, "shard_id": shard_id}).fetchone()
    after, at = row or (None, None)
    return after, None if after is not None else at


def intend(
    lease: Lease,
    *,
    stream: str,
    stream_created_at: datetime,
    shard_id: str,
    from_sequence: str,
    to_sequence: str,
    record_count: int,
    arrived_at: datetime,
    s3_key: str,
    event_count: int | None = None,
) -> StreamRange:
    """Write a range down, committed. Raises LakeConflictError if its key is another range's, FencedError.

    `event_count` is `record_count` unless given.
    """
    events = record_count if event_count is None else event_count
    with lease.conn.transaction(), lease.conn.cursor(row_factory=class_row(StreamRange)) as cursor:
        lease.fence()
        row = cursor.execute(
            _INTEND,
            [stream, stream_created_at, shard_id, from_sequence, to_sequence, record_count, events, arrived_at, s3_key],
        ).fetchone()
        if row is None:
            raise LakeConflictError(
                f"the key {s3_key} belongs to a range that was read before (ops.stream_ranges); nothing was written. "
                "A stream whose sequence numbers start again needs another name."
            )
        return row


def mark_landed(lease: Lease, range_: StreamRange, sha256: str) -> None:
    """The range's object lies in the lake. Raises FencedError."""
    with lease.conn.transaction():
        lease.fence()
        lease.conn.execute(
            "update ops.stream_ranges set state = 'landed', sha256 = %s, landed_at = clock_timestamp() "
            "where range_id = %s and state = 'intended'",
            [sha256, range_.range_id],
        )


def mark_lost(lease: Lease, range_: StreamRange) -> None:
    """The stream let go of the range before it was landed. Part of the caller's transaction; raises FencedError."""
    lease.fence()
    lease.conn.execute(
        "update ops.stream_ranges set state = 'lost' where range_id = %s and state = 'intended'", [range_.range_id]
    )


def mark_loaded(lease: Lease, range_: StreamRange, arrived_at: datetime) -> None:
    """The range's rows are loaded; the checkpoint moves with them (`arrived_at`: of the last record, UTC).

    Part of the caller's transaction, which holds the rows; raises FencedError.
    """
    lease.fence()
    lease.conn.execute(
        "update ops.stream_ranges set state = 'loaded', loaded_at = clock_timestamp() where range_id = %s",
        [range_.range_id],
    )
    lease.conn.execute(
        _CHECKPOINT,
        {
            "stream": range_.stream, "created_at": range_.stream_created_at, "shard_id": range_.shard_id,
            "sequence": range_.to_sequence, "arrived_at": arrived_at, "range_id": range_.range_id,
        },
    )  # fmt: skip


def read_until(conn: psycopg.Connection, stream: str) -> dict[tuple[datetime, str], datetime]:
    """For each shard of each stream that had this name, (made at, shard): up to when it was read. All UTC."""
    rows = conn.execute(
        "select stream_created_at, shard_id, read_until from ops.shard_reads where stream = %s", [stream]
    )
    return {(created_at, shard_id): until for created_at, shard_id, until in rows}


def note_read(lease: Lease, stream: str, created_at: datetime, shard_id: str, until: datetime) -> None:
    """What arrived in the shard before `until` (UTC) was read; it only moves forward. Raises FencedError."""
    with lease.conn.transaction():
        lease.fence()
        lease.conn.execute(_NOTE_READ, [stream, created_at, shard_id, until])


def drained(conn: psycopg.Connection, stream: str, created_at: datetime) -> set[str]:
    """The closed shards of a stream that were read to their end."""
    rows = conn.execute(
        "select shard_id from ops.shard_reads where stream = %s and stream_created_at = %s and is_drained",
        [stream, created_at],
    )
    return {shard_id for (shard_id,) in rows}


def note_drained(lease: Lease, stream: str, created_at: datetime, shard_id: str, children: Iterable[str]) -> None:
    """A closed shard was read to its end; what it waited for, its children are waited for now. Raises FencedError."""
    with lease.conn.transaction():
        lease.fence()
        lease.conn.execute(
            _DRAINED,
            {"stream": stream, "created_at": created_at, "shard_id": shard_id, "children": list(children)},
        )


def hold_watermarks(
    conn: psycopg.Connection, range_: StreamRange, load_id: int, marks: Mapping[tuple[str, datetime], datetime]
) -> None:
    """Keep what a load's events say, `(source, complete until) -> arrived at` (UTC), until it holds for all shards.

    Part of the caller's transaction. `ledger.release_watermarks` lets go of it.
    """
    if marks:
        sources, untils = zip(*marks, strict=True)
        conn.execute(
            _PENDING,
            [
                load_id, range_.stream, range_.stream_created_at, range_.shard_id,
                list(sources), list(untils), list(marks.values()),
            ],
        )  # fmt: skip
