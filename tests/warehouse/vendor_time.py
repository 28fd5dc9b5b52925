"""Time passes for the vendors in the warehouse: the database has the only clock, so what it knows is made older."""

from __future__ import annotations

import psycopg

_OLDER = """
update ops.vendors set
    break_until = break_until - %(by)s::interval, opened_at = opened_at - %(by)s::interval,
    open_until = open_until - %(by)s::interval, probe_until = probe_until - %(by)s::interval
"""
# Grouped, so that all are gone before the first one takes the place of another.
_CALLS_OLDER = """
with moved as (delete from ops.vendor_calls returning *)
insert into ops.vendor_calls
select vendor, span, starts_at - %(by)s::interval, sum(calls), sum(past_calls) from moved group by 1, 2, 3
"""


def pass_time(conn: psycopg.Connection, seconds: float) -> None:
    """As if so many seconds had passed since everything that happened."""
    with conn.transaction():
        conn.execute(_OLDER, {"by": f"{seconds} seconds"})
        conn.execute(_CALLS_OLDER, {"by": f"{seconds} seconds"})
