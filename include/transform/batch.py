"""The batch: the loads that one build takes, and how complete the sources were at that moment.

What is live comes first, all of it at once. History comes in slices that lie together in time, so that a build costs
what its slice costs, whatever waits behind it. A slice whose build did not end makes room for what is live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import psycopg

Lane = Literal["live", "history"]

# What is live never waits for a slice of history whose build did not end, for whatever reason: the slice is put back.
# The minutes that it changed are kept: a candle that its build has made final is not found a second time.
_PUT_BACK: Final = """
delete from ops.transform_batch
where exists (select from ops.transform_batch join ops.loads using (load_id) where not is_live)
  and exists (select from ops.loads where is_live and state = 'accepted')
"""
_SET_ASIDE: Final = """
with changed as (delete from intermediate.int_changed_ranges returning source, symbol, from_candle, until_candle)
insert into ops.transform_set_aside select source, symbol, from_candle, until_candle from changed
"""
_TAKE_BACK: Final = """
with aside as (delete from ops.transform_set_aside returning source, symbol, from_candle, until_candle)
insert into intermediate.int_changed_ranges (source, symbol, from_candle, until_candle)
select source, symbol, from_candle, until_candle from aside
"""

# One statement, so one snapshot: a watermark is taken only together with the loads that moved it. The batch of a run
# that crashed stays, with what is live by now if it is a live one. A slice counts the rows that its loads hold: those
# that they brought, and those of older loads that they touched.
_OPEN: Final = """
with before as (
    select count(*) as loads, coalesce(bool_or(not l.is_live), false) as is_history
    from ops.transform_batch as b left join ops.loads as l using (load_id)
),
live as (
    select l.load_id from ops.loads as l, before
    where l.state = 'accepted' and l.is_live and not before.is_history
),
history as (
    select
        load_id,
        row_number() over earlier = 1
            or sum(coalesce(inserted_count, 0) + coalesce(duplicate_count, 0)) over earlier <= %(events)s as fits
    from ops.loads
    where state = 'accepted' and not is_live
    window earlier as (order by first_event_at nulls last, load_id rows unbounded preceding)
),
taken as (
    insert into ops.transform_batch (load_id)
    select load_id from live
    union all
    select history.load_id from history, before
    where history.fits and before.loads = 0 and not exists (select from live)
    on conflict do nothing
)
insert into ops.transform_watermarks as w (source, complete_until)
select m.source, m.complete_until from ops.watermarks as m, before where not before.is_history
on conflict (source) do update set complete_until = excluded.complete_until
where excluded.complete_until > w.complete_until
"""

_FOLLOW: Final = """
select ops.follow_events(oid::regclass) from pg_class where relnamespace = 'marts'::regnamespace and relkind = 'p'
"""
_IS_HISTORY: Final = """
select exists (select from ops.transform_batch join ops.loads using (load_id) where not is_live)
"""

# A first or a very large load: without statistics the planner would sort where an index is at hand.
_STALE: Final = """
select coalesce(sum(read_count), 0) > greatest(10000, 0.5 * (
    select reltuples from pg_class where oid = 'raw.market_events'::regclass))
from ops.loads where load_id in (select load_id from ops.transform_batch)
"""

_QUEUE: Final = """
insert into ops.detect_queue as q (symbol, lane, spans)
select symbol, %s, range_agg(tstzrange(from_candle, until_candle)) from intermediate.int_changed_spans
group by symbol order by symbol  -- detection locks them in this order
on conflict (symbol, lane) do update set spans = q.spans + excluded.spans, version = q.version + 1
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many accepted loads no build has taken to its end yet."""

    live: int = 0
    history: int = 0

    def __bool__(self) -> bool:
        return bool(self.live or self.history)


def backlog(conn: psycopg.Connection) -> Backlog:
    """What waits, the loads of a batch that a crash left open included."""
    row = conn.execute(
        "select count(*) filter (where is_live), count(*) filter (where not is_live) "
        "from ops.loads where state = 'accepted'"
    ).fetchone()
    return Backlog(*row) if row else Backlog()


def open_batch(conn: psycopg.Connection, history_events: int) -> tuple[int, ...]:
    """Take every accepted live load; without one, the next loads of history up to `history_events` rows (at least one).

    The ids of the loads in the batch. Safe to repeat: a batch of history that is open already stays as it is, unless
    live loads came since.
    """
    with conn.transaction():
        has_ranges = conn.execute("select to_regclass('intermediate.int_changed_ranges')").fetchone() != (None,)
        if conn.execute(_PUT_BACK).rowcount and has_ranges:
            conn.execute(_SET_ASIDE)
        conn.execute(_OPEN, {"events": history_events})
        is_history = conn.execute(_IS_HISTORY).fetchone() == (True,)
        if is_history and has_ranges:
            conn.execute(_TAKE_BACK)
    conn.execute("select ops.refresh_statistics('ops.transform_batch')")  # the planner must know that it is small
    if conn.execute(_STALE).fetchone() == (True,):
        conn.execute("select ops.refresh_statistics('raw.market_events')")
    conn.execute(_FOLLOW)  # before rows of a new month come
    return tuple(row[0] for row in conn.execute("select load_id from ops.transform_batch order by load_id"))


def lane_of(conn: psycopg.Connection, loads: Sequence[int]) -> Lane:
    """Which lane these loads of one batch came by; that of no load at all is live."""
    row = conn.execute("select bool_and(is_live) from ops.loads where load_id = any(%s)", [list(loads)]).fetchone()
    return "history" if row == (False,) else "live"


def close_batch(conn: psycopg.Connection, loads: Sequence[int]) -> None:
    """Queue the changed candles for detection, mark these loads as transformed and empty the batch of them.

    To be called in one transaction, after the build that took them. The changed minutes are forgotten with the batch:
    as long as it is open (a build died), the next build adds to them.
    """
    conn.execute(_QUEUE, [lane_of(conn, loads)])
    conn.execute("delete from intermediate.int_changed_ranges")
    conn.execute(
        "update ops.loads set state = 'transformed', transformed_at = clock_timestamp() "
        "where load_id = any(%s) and state = 'accepted'",
        [list(loads)],
    )
    conn.execute("delete from ops.transform_batch where load_id = any(%s)", [list(loads)])
