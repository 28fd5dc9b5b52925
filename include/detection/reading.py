"""What detection reads and ticks off in the warehouse: its queue, and the candles and closes of the queued symbols."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from include.events import Window

BATCH: Final = 20_000  # candles in memory at once
HOLD: Final = timedelta(minutes=10)  # how long a candle that is not final holds back the final ones after it

_QUEUE: Final = """
select q.symbol, q.from_candle, q.version, waiting.candle_start as wait_from
from ops.detect_queue as q
left join lateral (
    select i.candle_start from marts.indicators_1m as i
    where i.symbol = q.symbol and i.is_final
    order by i.candle_start desc limit 1
) as newest on true
left join lateral (
    select i.candle_start from marts.indicators_1m as i
    where i.symbol = q.symbol and not i.is_final
      and i.candle_start >= greatest(q.from_candle, newest.candle_start - %s::interval)
    order by i.candle_start limit 1
) as waiting on true
order by q.symbol
"""

# One index look-up per symbol for the candle before, one index range for the new ones.
_CANDLES: Final = """
select c.*
from unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) as q (symbol, from_candle, until)
cross join lateral (
    (
        select i.symbol, i.candle_start, i.close, i.zscore, i.change_percent, i.sma_5, i.sma_20, false as is_new
        from marts.indicators_1m as i
        where i.symbol = q.symbol and i.is_final and i.candle_start < q.from_candle
        order by i.candle_start desc limit 1
    )
    union all
    select i.symbol, i.candle_start, i.close, i.zscore, i.change_percent, i.sma_5, i.sma_20, true
    from marts.indicators_1m as i
    where i.symbol = q.symbol and i.is_final and i.candle_start >= q.from_candle
      and (q.until is null or i.candle_start < q.until)
) as c
order by c.symbol, c.candle_start
"""

# Only series with something new; for each the older closes that the first new one is judged with.
_CLOSES: Final = """
with series as materialized (
    select q.symbol, q.from_candle, q.until, d.source
    from unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) as q (symbol, from_candle, until)
    cross join lateral (
        select distinct d.source from marts.source_divergence as d
        where d.symbol = q.symbol and d.candle_start >= q.from_candle
          and (q.until is null or d.candle_start < q.until)
    ) as d
)
select c.symbol, c.source, c.candle_start, c.close, c.divergence_basis_points, c.source_count,
       sides.highest, sides.lowest, c.candle_start >= s.from_candle as is_new
from series as s
cross join lateral (
    (
        select d.* from marts.source_divergence as d
        where d.symbol = s.symbol and d.source = s.source and d.candle_start < s.from_candle
        order by d.candle_start desc limit %s
    )
    union all
    select d.* from marts.source_divergence as d
    where d.symbol = s.symbol and d.source = s.source and d.candle_start >= s.from_candle
      and (s.until is null or d.candle_start < s.until)
) as c
cross join lateral (
    select max(d.divergence_basis_points) as highest, min(d.divergence_basis_points) as lowest
    from marts.source_divergence as d
    where d.symbol = c.symbol and d.candle_start = c.candle_start
) as sides
order by c.symbol, c.source, c.candle_start
"""


@dataclass(frozen=True, slots=True)
class Queued:
    """A symbol to look at from `from_candle` on; up to `wait_from`, if there is a candle that is not final yet."""

    symbol: str
    from_candle: datetime
    version: int
    wait_from: datetime | None


def read_queue(conn: psycopg.Connection) -> list[Queued]:
    """What waits for detection, by symbol.

    A candle that is not final holds back its symbol, so that each candle is judged after the one before it. Where final
    candles go on for more than `HOLD` (its source fell silent and another took over) it no longer does.
    """
    with conn.cursor(row_factory=class_row(Queued)) as cursor:
        return cursor.execute(_QUEUE, [HOLD]).fetchall()


def read_candles(conn: psycopg.Connection, queue: Sequence[Queued]) -> Iterator[list[tuple[Any, ...]]]:
    """The final candles of the queued symbols with the one before each, as batches of `Row` fields.

    Ordered by symbol and candle_start. Needs a transaction (it reads through a cursor, `BATCH` candles at a time).
    """
    yield from _read(conn, "detect_candles", _CANDLES, _spans(queue))


def read_closes(conn: psycopg.Connection, queue: Sequence[Queued], before: int) -> Iterator[list[tuple[Any, ...]]]:
    """The compared closes of the queued symbols with the `before` older ones of each source, as batches of `Close`.

    Ordered by symbol, source and candle_start. Needs a transaction.
    """
    yield from _read(conn, "detect_closes", _CLOSES, [*_spans(queue), before])


def symbols_between(conn: psycopg.Connection, window: Window) -> list[Queued]:
    """All symbols with candles that start in the window, as if they were queued from its start to its end."""
    rows = conn.execute(
        "select distinct symbol from marts.indicators_1m where candle_start >= %s and candle_start < %s",
        [window.start, window.end],
    )
    return [Queued(symbol, window.start, 0, window.end) for (symbol,) in rows]


def settle_queue(conn: psycopg.Connection, queue: Sequence[Queued]) -> None:
    """Tick off what was looked at; what waits stays, from the waiting candle on.

    A row that changed since it was read stays as it is. Rows are locked by symbol, as whoever fills the queue does.
    """
    seen = [[q.symbol for q in queue], [q.version for q in queue], [q.wait_from for q in queue]]
    conn.execute(
        """
        with seen as (
            select q.symbol, s.wait_from
            from ops.detect_queue as q
            join unnest(%s::text[], %s::bigint[], %s::timestamptz[]) as s (symbol, version, wait_from)
                on q.symbol = s.symbol and q.version = s.version
            order by q.symbol for update of q
        ),
        moved as (
            update ops.detect_queue as q set from_candle = s.wait_from
            from seen as s where q.symbol = s.symbol and s.wait_from is not null
        )
        delete from ops.detect_queue as q using seen as s where q.symbol = s.symbol and s.wait_from is null
        """,
        seen,
    )


def _spans(queue: Sequence[Queued]) -> list[object]:
    return [[q.symbol for q in queue], [q.from_candle for q in queue], [q.wait_from for q in queue]]


def _read(conn: psycopg.Connection, name: str, query: str, parameters: list[object]) -> Iterator[list[tuple[Any, ...]]]:
    with conn.cursor(name, binary=True) as cursor:
        cursor.execute(query, parameters)
        while rows := cursor.fetchmany(BATCH):
            yield rows
