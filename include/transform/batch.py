"""The batch: the loads that one transform takes, and how complete the sources were at that moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import psycopg

# One statement, so one snapshot: a watermark is taken only together with the loads that moved it. Loads of a run that
# crashed are still in the batch and stay.
_OPEN: Final = """
with taken as (
    insert into ops.transform_batch (load_id)
    select load_id from ops.loads where state = 'accepted'
    on conflict do nothing
)
insert into ops.transform_watermarks as w (source, complete_until)
select source, complete_until from ops.watermarks
on conflict (source) do update set complete_until = excluded.complete_until
where excluded.complete_until > w.complete_until
"""

# A first or a very large load: without statistics the planner would sort where an index is at hand.
_STALE: Final = """
select coalesce(sum(read_count), 0) > greatest(10000, 0.5 * (
    select reltuples from pg_class where oid = 'raw.market_events'::regclass))
from ops.loads where load_id in (select load_id from ops.transform_batch)
"""

_QUEUE: Final = """
insert into ops.detect_queue as q (symbol, from_candle)
select symbol, from_candle from intermediate.int_changed_symbols order by symbol  -- detection locks them in this order
on conflict (symbol) do update set from_candle = least(q.from_candle, excluded.from_candle), version = q.version + 1
"""


def open_batch(conn: psycopg.Connection) -> tuple[int, ...]:
    """Take every accepted load that is not transformed yet; the ids of the loads in the batch. Safe to repeat."""
    conn.execute(_OPEN)
    conn.execute("analyze ops.transform_batch")  # the planner must know that it is small
    if conn.execute(_STALE).fetchone() == (True,):
        conn.execute("analyze raw.market_events")
    return tuple(row[0] for row in conn.execute("select load_id from ops.transform_batch order by load_id"))


def close_batch(conn: psycopg.Connection, loads: Sequence[int]) -> None:
    """Queue the changed symbols for detection, mark these loads as transformed and empty the batch of them.

    To be called in one transaction, after the build that took them. The changed minutes are forgotten with the batch:
    as long as it is open (a build died), the next build adds to them.
    """
    conn.execute(_QUEUE)
    conn.execute("delete from intermediate.int_changed_minutes")
    conn.execute(
        "update ops.loads set state = 'transformed', transformed_at = clock_timestamp() "
        "where load_id = any(%s) and state = 'accepted'",
        [list(loads)],
    )
    conn.execute("delete from ops.transform_batch where load_id = any(%s)", [list(loads)])
