"""Shards that are read again: from where on, what was read of them before, and how their new objects are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg

from include.warehouse.leases import Lease

_SET_BACK: Final = """
with forgotten as (
    delete from ops.checkpoints
    where stream = %(stream)s and stream_created_at = %(created_at)s and shard_id = %(shard_id)s
)
insert into ops.stream_resets (stream, stream_created_at, shard_id, at_sequence, read_to, last_range_id, asked)
select %(stream)s, %(created_at)s, %(shard_id)s, %(at)s, %(read_to)s, coalesce(max(range_id), 0), %(asked)s
from ops.stream_ranges
returning reset_id
"""

# What was read once: the objects that it went to first. A range that the two ends cut is counted whole.
_READ: Final = """
select count(*), coalesce(sum(record_count), 0), coalesce(sum(event_count), 0),
       coalesce(bool_or(from_sequence::numeric < %(at)s::numeric), false)
from ops.stream_ranges
where stream = %(stream)s and stream_created_at = %(created_at)s and shard_id = %(shard_id)s and state <> 'lost'
  and s3_key !~ '-again[0-9]+[.]jsonl[.]gz$'
  and to_sequence::numeric >= %(at)s::numeric and from_sequence::numeric < %(before)s::numeric
"""


@dataclass(frozen=True, slots=True)
class Read:
    """Ranges with their records and events, as they were landed first; `is_cut`: the first of them begins earlier."""

    ranges: int
    records: int
    events: int
    is_cut: bool


NOTHING: Final = Read(0, 0, 0, is_cut=False)


def set_back(
    lease: Lease, *, stream: str, created_at: datetime, shard_id: str, at_sequence: str | None, read_to: str, asked: str
) -> int:
    """Read a shard again from `at_sequence` on (None: the oldest there is); the number of this reset.

    `read_to` is its position until now, `asked` the words in which somebody asked for it. Part of the caller's
    transaction; `lease` is that of the landing. Raises FencedError.
    """
    lease.fence()
    row = lease.conn.execute(
        _SET_BACK,
        {
            "stream": stream, "created_at": created_at, "shard_id": shard_id, "at": at_sequence, "read_to": read_to,
            "asked": asked,
        },
    ).fetchone()  # fmt: skip
    assert row is not None  # noqa: S101  # an aggregate always gives a row to insert
    return int(row[0])


def again(conn: psycopg.Connection, stream: str, created_at: datetime, shard_id: str, first: str) -> int:
    """For the how-manieth time a record of a shard is read: the number of the reset that led to it; 0: the first."""
    row = conn.execute(
        "select coalesce(max(reset_id), 0) from ops.stream_resets "
        "where stream = %s and stream_created_at = %s and shard_id = %s and read_to::numeric >= %s::numeric",
        [stream, created_at, shard_id, first],
    ).fetchone()
    return int(row[0]) if row else 0


def was_read_to(conn: psycopg.Connection, stream: str, created_at: datetime, shard_id: str) -> str | None:
    """The position of a shard before it was set back the last time; None if it never was."""
    row = conn.execute(
        "select read_to from ops.stream_resets where stream = %s and stream_created_at = %s and shard_id = %s "
        "order by reset_id desc limit 1",
        [stream, created_at, shard_id],
    ).fetchone()
    return row[0] if row else None


def to_read_again(conn: psycopg.Connection, stream: str, created_at: datetime) -> set[str]:
    """The shards that were set back and, if they are closed, not read to their end since."""
    rows = conn.execute(
        "select distinct shard_id from ops.stream_resets "
        "where stream = %s and stream_created_at = %s and finished_at is null",
        [stream, created_at],
    )
    return {shard_id for (shard_id,) in rows}


def read_between(
    conn: psycopg.Connection, stream: str, created_at: datetime, shard_id: str, at: str, before: str
) -> Read:
    """What was landed of a shard from `at` on and before `before`, as far as the ledger still knows."""
    row = conn.execute(
        _READ, {"stream": stream, "created_at": created_at, "shard_id": shard_id, "at": at, "before": before}
    ).fetchone()
    return Read(*row) if row else NOTHING
