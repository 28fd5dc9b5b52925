"""The closes of an instrument's last hours, for the picture in an alert."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import psycopg

_CLOSES: Final = """
select w.id, p.place, (array_agg(i.close::float8 order by i.candle_start desc))[1] as close
from unnest(%(ids)s::bigint[], %(symbols)s::text[], %(at)s::timestamptz[]) as w (id, symbol, at)
inner join marts.indicators_1m as i
    on i.symbol = w.symbol and i.candle_start <= w.at and i.candle_start > w.at - %(span)s
cross join lateral (select floor(extract(epoch from w.at - i.candle_start) / %(step)s)::integer as place) as p
group by w.id, p.place
"""


def closes_before(
    conn: psycopg.Connection,
    wanted: Mapping[int, tuple[str, datetime]],
    *,
    span: timedelta,
    count: int,
    seconds: float = 2.0,
) -> dict[int, list[float | None]]:
    """`count` closes over the time `span`, the last that of the candle itself; None where there was none.

    `wanted` is symbol and candle (its start, UTC) by a number of the caller's, and so is the answer; without candles a
    number is absent. Takes no longer than `seconds`; raises psycopg.Error, also where there is no such mart yet.
    """
    found: dict[int, list[float | None]] = {}
    if not wanted:
        return found
    with conn.transaction():
        conn.execute("select set_config('statement_timeout', %s, true)", [str(int(seconds * 1000))])
        rows = conn.execute(
            _CLOSES,
            {
                "ids": list(wanted), "symbols": [symbol for symbol, _ in wanted.values()],
                "at": [at for _, at in wanted.values()], "span": span, "count": count,
                "step": span.total_seconds() / count,
            },
        )  # fmt: skip
        for number, place, close in rows:
            found.setdefault(number, [None] * count)[count - 1 - place] = close
    return found
