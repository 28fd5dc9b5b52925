"""What detection is to look at: its queue in the warehouse, and the stretches of time that follow from it.

A queued span says which candles changed. What is judged is more: what a rule says of a candle depends on those before
it, so as many candles after a span are judged with it as the rules look back. Cost follows the spans, not what lies
after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import psycopg
from psycopg.rows import class_row
from psycopg.types.multirange import TimestamptzMultirange

from include.events import Window

HOLD: Final = timedelta(minutes=10)  # how long a candle that is not final holds back the final ones after it

_QUEUE: Final = """
select q.symbol, q.lane, q.version, waiting.candle_start as wait_from,
       q.spans * tstzmultirange(tstzrange(null, waiting.candle_start)) as due,
       waiting.candle_start is not null
           and not isempty(q.spans * tstzmultirange(tstzrange(waiting.candle_start, null))) as is_waiting
from ops.detect_queue as q
left join lateral (
    select i.candle_start from marts.indicators_1m as i
    where i.symbol = q.symbol and i.is_final
    order by i.candle_start desc limit 1
) as newest on true
left join lateral (
    select i.candle_start from marts.indicators_1m as i
    where i.symbol = q.symbol and not i.is_final
      and i.candle_start >= greatest(q.from_candle, newest.candle_start - %(hold)s::interval)
    order by i.candle_start limit 1
) as waiting on true
where q.lane = %(lane)s
order by q.symbol
"""

_GIVEN: Final = """
given as (
    select * from unnest(
        %(symbols)s::text[], %(from_candles)s::timestamptz[], %(untils)s::timestamptz[], %(bounds)s::timestamptz[]
    ) as g (symbol, from_candle, until, bound)
)
"""

# The spans with what follows them, as one row per stretch: spans that meet then are one.
_STRETCHES: Final = """
select w.symbol, lower(stretch.span) as from_candle, upper(stretch.span) as until
from (
    select g.symbol, range_agg(
        tstzrange(g.from_candle, coalesce(following.candle_start + interval '1 minute', g.until))
    ) as spans
    from given as g
    left join lateral ({following}) as following on true
    group by g.symbol
) as w
cross join lateral unnest(w.spans) as stretch (span)
order by w.symbol, from_candle
"""

_CANDLES_AFTER: Final = """
    select max(i.candle_start) as candle_start
    from (
        select i.candle_start from marts.indicators_1m as i
        where i.symbol = g.symbol and i.is_final and i.candle_start >= g.until
          and (g.bound is null or i.candle_start < g.bound)
        order by i.candle_start limit %(length)s
    ) as i
"""

_CLOSES_AFTER: Final = """
    select max(d.candle_start) as candle_start
    from (
        select distinct d.source from marts.source_divergence as d
        where d.symbol = g.symbol and d.candle_start >= g.from_candle and d.candle_start < g.until
    ) as series
    cross join lateral (
        select d.candle_start from marts.source_divergence as d
        where d.symbol = g.symbol and d.source = series.source and d.candle_start >= g.until
          and (g.bound is null or d.candle_start < g.bound)
        order by d.candle_start limit %(length)s
    ) as d
"""

_CANDLE_STRETCHES: Final = "with " + _GIVEN + _STRETCHES.format(following=_CANDLES_AFTER)
_CLOSE_STRETCHES: Final = "with " + _GIVEN + _STRETCHES.format(following=_CLOSES_AFTER)


@dataclass(frozen=True, slots=True)
class Queued:
    """A symbol to look at: in its `due` spans, all of them before `wait_from` if there is a candle that is not final.

    `is_waiting`: the queue holds more of it, from there on.
    """

    symbol: str
    lane: str
    version: int
    wait_from: datetime | None
    due: TimestamptzMultirange
    is_waiting: bool

    @property
    def minutes(self) -> int:
        """How long the spans are; one without an end counts as a day."""
        return sum(
            int((span.upper - span.lower) / timedelta(minutes=1)) if span.upper and span.lower else 1440
            for span in self.due
        )


@dataclass(frozen=True, slots=True)
class Span:
    """The candles of a symbol that start in [from_candle, until); None: without an end. Nothing at or after `bound`."""

    symbol: str
    from_candle: datetime
    until: datetime | None
    bound: datetime | None = None


def read_queue(conn: psycopg.Connection, lane: str) -> list[Queued]:
    """What waits for detection in a lane (live or history), by symbol.

    A candle that is not final holds back its symbol, so that each candle is judged after the one before it. Where final
    candles go on for more than `HOLD` (its source fell silent and another took over) it no longer does.
    """
    with conn.cursor(row_factory=class_row(Queued)) as cursor:
        return cursor.execute(_QUEUE, {"hold": HOLD, "lane": lane}).fetchall()


def due_spans(queue: Iterable[Queued]) -> list[Span]:
    """The spans to look at now, by symbol and start."""
    return [Span(one.symbol, span.lower, span.upper, one.wait_from) for one in queue for span in one.due if span.lower]


def judged_candles(conn: psycopg.Connection, spans: Sequence[Span], length: int) -> list[Span]:
    """The spans, each with the `length` final candles after it; those that meet are one. By symbol and start."""
    return _stretches(conn, _CANDLE_STRETCHES, spans, length=length)


def judged_closes(conn: psycopg.Connection, spans: Sequence[Span], length: int) -> list[Span]:
    """The spans, each with the `length` closes after it of every source that has one in it. By symbol and start."""
    return _stretches(conn, _CLOSE_STRETCHES, spans, length=length)


def symbols_between(conn: psycopg.Connection, window: Window) -> list[Span]:
    """The window, for each symbol that has candles in it."""
    rows = conn.execute(
        "select distinct symbol from marts.indicators_1m where candle_start >= %s and candle_start < %s order by 1",
        [window.start, window.end],
    )
    return [Span(symbol, window.start, window.end) for (symbol,) in rows]


def settle_queue(conn: psycopg.Connection, queue: Sequence[Queued]) -> None:
    """Tick off what was looked at; what waits stays, from the waiting candle on.

    A row that changed since it was read stays as it is. Rows are locked by symbol, as whoever fills the queue does.
    """
    seen = [
        [q.symbol for q in queue], [q.lane for q in queue], [q.version for q in queue],
        [q.wait_from if q.is_waiting else None for q in queue],
    ]  # fmt: skip
    conn.execute(
        """
        with seen as (
            select q.symbol, q.lane, s.wait_from
            from ops.detect_queue as q
            join unnest(%s::text[], %s::text[], %s::bigint[], %s::timestamptz[]) as s (symbol, lane, version, wait_from)
                on q.symbol = s.symbol and q.lane = s.lane and q.version = s.version
            order by q.symbol for update of q
        ),
        moved as (
            update ops.detect_queue as q set spans = q.spans * tstzmultirange(tstzrange(s.wait_from, null))
            from seen as s where q.symbol = s.symbol and q.lane = s.lane and s.wait_from is not null
        )
        delete from ops.detect_queue as q using seen as s
        where q.symbol = s.symbol and q.lane = s.lane and s.wait_from is null
        """,
        seen,
    )


def _stretches(conn: psycopg.Connection, query: str, spans: Sequence[Span], **more: object) -> list[Span]:
    with conn.cursor(row_factory=class_row(Span)) as cursor:
        return cursor.execute(query, _columns(spans) | more).fetchall()


def _columns(spans: Sequence[Span]) -> dict[str, object]:
    return {
        "symbols": [one.symbol for one in spans],
        "from_candles": [one.from_candle for one in spans],
        "untils": [one.until for one in spans],
        "bounds": [one.bound for one in spans],
    }
