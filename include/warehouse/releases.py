"""Quarantined lines that are read once more: those that came in are marked, those that are bad still stay as they are.

The loads of one object have its key as their origin; that of a replay has ` replay <id>` behind it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

import psycopg

# A line that lay in quarantine before is no news: its second row goes, and the load counts it as known already. Done
# once for a load: afterwards nobody could tell any more which of its lines were bad.
_SETTLE: Final = """
with load as (
    select load_id from ops.loads
    where load_id = %(load_id)s and state in ('accepted', 'transformed')
      and not exists (select from ops.replayed_loads as s where s.load_id = %(load_id)s)
    for update
), bad as (
    select line_number from raw.rejected_events where origin = %(origin)s
), earlier as (
    select rejected_id, line_number, source, released_by from raw.rejected_events
    where split_part(origin, ' replay ', 1) = %(key)s and origin <> %(origin)s
), doubled as (
    delete from raw.rejected_events as d using load
    where d.origin = %(origin)s and d.line_number in (select line_number from earlier)
    returning d.line_number
), released as (
    update raw.rejected_events as r set released_by = load.load_id, released_at = clock_timestamp()
    from earlier as e, load
    where r.rejected_id = e.rejected_id and e.released_by is null
      and e.line_number not in (select line_number from bad)
      and (%(sources)s::text[] is null or e.source = any(%(sources)s))
    returning 1
), counted as (
    update ops.loads as l
    set quarantined_count = quarantined_count - known.lines, duplicate_count = duplicate_count + known.lines
    from load, (select count(*)::integer as lines from doubled) as known
    where l.load_id = load.load_id and known.lines > 0
)
insert into ops.replayed_loads (load_id, released_count, still_bad_count)
select load_id, (select count(*) from released), (select count(*) from doubled) from load
on conflict do nothing
"""


def origin_of_replay(key: str, replay_id: str) -> str:
    """What the load of an object is called in the ledger when a replay brings it."""
    return f"{key} replay {replay_id}"


def settle_quarantine(
    conn: psycopg.Connection, load_id: int, key: str, origin: str, sources: Collection[str] | None
) -> tuple[int, int]:
    """Settle what a replay says of the lines of an object that were in quarantine before; how many came in, and stay.

    Nothing changes while the load is not accepted. `sources`: the load holds only lines of these. Safe to repeat.
    """
    with conn.transaction():
        conn.execute(
            _SETTLE,
            {
                "load_id": load_id, "key": key, "origin": origin,
                "sources": None if sources is None else list(sources),
            },
        )  # fmt: skip
        row = conn.execute(
            "select released_count, still_bad_count from ops.replayed_loads where load_id = %s", [load_id]
        ).fetchone()
    return row or (0, 0)


def is_settled(conn: psycopg.Connection, load_id: int) -> bool:
    """Whether a load of a replay came to its end."""
    found = conn.execute("select exists (select from ops.replayed_loads where load_id = %s)", [load_id]).fetchone()
    return found == (True,)


def begin_replay(
    conn: psycopg.Connection,
    replay_id: str,
    start: datetime,
    end: datetime,
    sources: Collection[str] | None,
    *,
    started_at: datetime | None = None,
) -> tuple[datetime, datetime, list[str] | None, datetime]:
    """Write a replay down, or find it again: the window (UTC), the sources, and when it was begun with them."""
    conn.execute(
        "insert into ops.replays (replay_id, from_time, to_time, sources, started_at) "
        "values (%s, %s, %s, %s, coalesce(%s, clock_timestamp())) on conflict (replay_id) do nothing",
        [replay_id, start, end, None if sources is None else sorted(sources), started_at],
    )
    row = conn.execute(
        "select from_time, to_time, sources, started_at from ops.replays where replay_id = %s", [replay_id]
    ).fetchone()
    assert row is not None  # noqa: S101  # it was inserted just now, or there before
    return row[0], row[1], row[2], row[3]


def end_replay(conn: psycopg.Connection, replay_id: str) -> None:
    """All of it is read."""
    conn.execute("update ops.replays set finished_at = clock_timestamp() where replay_id = %s", [replay_id])


def known_replay(conn: psycopg.Connection, replay_id: str) -> tuple[datetime, datetime] | None:
    """The window (UTC) of a replay that was begun; None if there was none of this id."""
    return conn.execute("select from_time, to_time from ops.replays where replay_id = %s", [replay_id]).fetchone()


def replayed_objects(conn: psycopg.Connection, replay_id: str) -> tuple[int, int]:
    """How many objects a replay has brought in until now, and events in them."""
    row = conn.execute(
        "select count(*), coalesce(sum(read_count), 0)::bigint from ops.loads "
        "where state <> 'landed' and right(origin, %s) = %s",
        [len(suffix := origin_of_replay("", replay_id)), suffix],
    ).fetchone()
    return row or (0, 0)
