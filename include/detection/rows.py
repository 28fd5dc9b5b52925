"""The rows of the stretches that are judged, each with its history, out of the marts and in batches.

All numbers of a row come as one array, whose bytes numpy takes as they are: of 1,000 instruments a minute with an hour
of history is 60,000 rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format

from include.detection.derived import with_missing, with_spread
from include.detection.reading import Span
from include.detection.rule import Numbers, Reads, Rows

BATCH: Final = 20_000  # rows in memory at once
_FLOATS: Final = 1022  # the oid of double precision[]
_HEAD: Final = 20  # bytes before the elements of an array of one dimension

# One index range per stretch for its rows, and one for the history before them.
_CANDLES: Final = """
select q.symbol, c.source, c.candle_start, array[q.place, (c.candle_start >= q.from_candle)::int, {numbers}]
from unnest(%(symbols)s::text[], %(from_candles)s::timestamptz[], %(untils)s::timestamptz[])
    with ordinality as q (symbol, from_candle, until, place)
cross join lateral (
    (
        select {columns} from marts.indicators_1m as i
        where i.symbol = q.symbol and i.is_final and i.candle_start < q.from_candle
        order by i.candle_start desc limit %(history)s
    )
    union all
    select {columns} from marts.indicators_1m as i
    where i.symbol = q.symbol and i.is_final and i.candle_start >= q.from_candle
      and (q.until is null or i.candle_start < q.until)
) as c
order by q.place, c.candle_start
"""

# Only series with something new; for each the older closes that the first new one is judged with.
_CLOSES: Final = """
with series as materialized (
    select q.symbol, q.from_candle, q.until, d.source, row_number() over (order by q.place, d.source) as place
    from unnest(%(symbols)s::text[], %(from_candles)s::timestamptz[], %(untils)s::timestamptz[])
        with ordinality as q (symbol, from_candle, until, place)
    cross join lateral (
        select distinct d.source from marts.source_divergence as d
        where d.symbol = q.symbol and d.candle_start >= q.from_candle
          and (q.until is null or d.candle_start < q.until)
    ) as d
)
select c.symbol, c.source, c.candle_start, array[s.place, (c.candle_start >= s.from_candle)::int, {numbers}]
from series as s
cross join lateral (
    select d.*, d.divergence_basis_points as divergence, sides.highest, sides.lowest
    from (
        (
            select d.* from marts.source_divergence as d
            where d.symbol = s.symbol and d.source = s.source and d.candle_start < s.from_candle
            order by d.candle_start desc limit %(history)s
        )
        union all
        select d.* from marts.source_divergence as d
        where d.symbol = s.symbol and d.source = s.source and d.candle_start >= s.from_candle
          and (s.until is null or d.candle_start < s.until)
    ) as d
    cross join lateral (
        select max(o.divergence_basis_points) as highest, min(o.divergence_basis_points) as lowest
        from marts.source_divergence as o
        where o.symbol = d.symbol and o.candle_start = d.candle_start
    ) as sides
) as c
order by s.place, c.candle_start
"""


class _Raw(Loader):
    """The bytes of a value."""

    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


def read_candles(
    conn: psycopg.Connection,
    spans: Sequence[Span],
    columns: Sequence[str],
    history: int,
    always_open: Sequence[str] = (),
    spread_minutes: int = 0,
) -> Iterator[Rows]:
    """The final candles of the spans, which are new, with the `history` ones before each span, which are not.

    `columns` are those of `marts.indicators_1m`; `missing`, as if all minutes were open for the sources `always_open`;
    and `spread`, of the new rows and `spread_minutes` before them. Needs a transaction (it reads through a cursor,
    `BATCH` rows at a time).
    """
    if not columns or not spans:
        return
    plain = [name for name in columns if name not in ("missing", "spread")]
    names = dict.fromkeys(["candle_start", "source", *plain])
    query = _CANDLES.format(numbers=_numbers(plain), columns=", ".join(f'i."{name}"' for name in names))
    before = np.nan
    for rows in _read(conn, "detect_candles", query, _spans(spans) | {"history": history}, plain, "candles"):
        whole = with_missing(conn, rows, always_open, before) if "missing" in columns else rows
        yield with_spread(conn, whole, spread_minutes) if "spread" in columns else whole
        before = float(rows.minutes[-1])


def read_closes(
    conn: psycopg.Connection, spans: Sequence[Span], columns: Sequence[str], history: int
) -> Iterator[Rows]:
    """The compared closes of the spans, with the `history` older ones of each source. Needs a transaction."""
    if not columns or not spans:
        return
    query = _CLOSES.format(numbers=_numbers(columns))
    yield from _read(conn, "detect_closes", query, _spans(spans) | {"history": history}, columns, "closes")


def _numbers(columns: Sequence[str]) -> str:
    """The columns as elements of an array, unknown ones as NaN."""
    return ", ".join(f"coalesce(c.\"{name}\"::double precision, 'NaN')" for name in columns)


def _spans(spans: Sequence[Span]) -> dict[str, object]:
    return {
        "symbols": [one.symbol for one in spans],
        "from_candles": [one.from_candle for one in spans],
        "untils": [one.until for one in spans],
    }


def _read(
    conn: psycopg.Connection,
    name: str,
    query: str,
    parameters: dict[str, object],
    columns: Sequence[str],
    reads: Reads,
) -> Iterator[Rows]:
    last = -1.0
    with conn.cursor(name, binary=True) as cursor:
        cursor.adapters.register_loader(_FLOATS, _Raw)
        cursor.execute(query, parameters)
        while rows := cursor.fetchmany(BATCH):
            yield _rows(rows, columns, reads, last)
            last = float(_table(rows[-1:], len(columns) + 2)[0, 0])


def _rows(rows: Sequence[tuple[Any, ...]], columns: Sequence[str], reads: Reads, last: float) -> Rows:
    """What the cursor gave as columns; `last` is the place of the stretch that the row before them was of."""
    table = _table(rows, len(columns) + 2)
    symbol, source, at, _ = zip(*rows, strict=True)
    return Rows(
        symbol, at, source, np.diff(table[:, 0], prepend=last) != 0,
        {name: table[:, 2 + number].copy() for number, name in enumerate(columns)}, table[:, 1] > 0, reads,
    )  # fmt: skip


def _table(rows: Sequence[tuple[Any, ...]], width: int) -> Numbers:
    """The arrays of the rows' last column, a line each: behind a head, every number has its length before it."""
    element = np.dtype([("length", ">i4"), ("number", ">f8")])
    line = np.dtype([("head", f"V{_HEAD}"), ("elements", element, (width,))])
    found: Numbers = np.frombuffer(b"".join(row[-1] for row in rows), line)["elements"]["number"].astype(np.float64)
    return found
