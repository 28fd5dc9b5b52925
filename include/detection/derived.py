"""Numbers of candles that come from elsewhere than the candles: how far bid and ask were apart, and what is missing.

They are asked for a batch of rows at a time, and only of the rows that need them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import psycopg

from include.detection.rule import Ints, Rows

# Of each stretch the minutes' medians, in basis points, by source.
_SPREADS: Final = """
select q.place::int, q.minute::int, q.source, percentile_cont(0.5) within group (order by q.basis_points) as spread
from (
    select g.place, u.source, floor(date_part('epoch', u.event_time) / 60) as minute,
           ((u.ask - u.bid) * 20000 / (u.ask + u.bid))::double precision as basis_points
    from unnest(%(symbols)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        with ordinality as g (symbol, starts_at, ends_at, place)
    inner join marts.quotes as u
        on u.symbol = g.symbol and u.event_time >= g.starts_at and u.event_time < g.ends_at
    where u.bid > 0 and u.ask >= u.bid
) as q
group by q.place, q.minute, q.source
"""
# Of each span between two candles the minutes in which the exchange was open.
_OPEN: Final = """
select coalesce(
    case when n.calendar = '24/7' then date_part('epoch', g.ends_at - g.starts_at) / 60
    else (
        select sum(date_part('epoch', least(s.closes_at, g.ends_at) - greatest(s.opens_at, g.starts_at))) / 60
        from ops.sessions as s
        where s.calendar = n.calendar and s.closes_at > g.starts_at and s.opens_at < g.ends_at
    ) end, 0)
from unnest(%(symbols)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    with ordinality as g (symbol, starts_at, ends_at, place)
left join marts.instruments as n on n.symbol = g.symbol
order by g.place
"""


def with_spread(conn: psycopg.Connection, rows: Rows, minutes: int) -> Rows:
    """The candles with `spread`: the minute's median of (ask - bid) / mid in basis points, of the candle's source.

    NaN where there is no quote with both. Asked for of the new rows and the `minutes` before them.
    """
    spread = np.full(len(rows), np.nan)
    new = np.flatnonzero(rows.is_new)
    if len(new):
        # a stretch begins where the series does, at the latest where this batch does
        heads, firsts = np.unique(rows.begins[new], return_index=True)
        lasts = np.append(firsts[1:], len(new)) - 1
        starts, ends = rows.minutes[new[firsts]] - minutes, rows.minutes[new[lasts]] + 1
        given = {
            "symbols": [rows.symbol[at] for at in heads.tolist()],
            "starts": [_time(one) for one in starts.tolist()],
            "ends": [_time(one) for one in ends.tolist()],
        }
        place = np.searchsorted(heads, rows.begins) + 1
        at = {key: n for n, key in enumerate(zip(place.tolist(), rows.minutes.tolist(), rows.source, strict=True))}
        for *key, basis_points in conn.execute(_SPREADS, given, binary=True):
            if (n := at.get((key[0], key[1], key[2]))) is not None:
                spread[n] = basis_points
    return replace(rows, columns={**rows.columns, "spread": spread})


def with_missing(conn: psycopg.Connection, rows: Rows, always_open: Sequence[str], before: float = np.nan) -> Rows:
    """The candles with `missing`: the open minutes right before each of which there is no candle.

    Of the sources `always_open` every minute is open. NaN for the first row of a series; `before` is the minute of the
    row before these, if they go on with its series.
    """
    minutes = rows.minutes.astype(np.float64)
    missing = np.diff(minutes, prepend=before) - 1
    missing[rows.is_first] = np.nan
    asked: Ints = np.flatnonzero(missing > 0)
    asked = np.array([at for at in asked.tolist() if rows.source[at] not in always_open], dtype=np.int64)
    if len(asked):
        given = {
            "symbols": [rows.symbol[at] for at in asked.tolist()],
            "starts": [rows.at[at] - timedelta(minutes=missing[at]) for at in asked.tolist()],
            "ends": [rows.at[at] for at in asked.tolist()],
        }
        missing[asked] = [one for (one,) in conn.execute(_OPEN, given)]
    return replace(rows, columns={**rows.columns, "missing": missing})


def _time(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)
