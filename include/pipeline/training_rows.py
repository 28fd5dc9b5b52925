"""The candles that models are trained and scored on: the columns of `include.models.features`, a symbol at a time."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import psycopg

from include.models.features import COLUMNS

_ROWS: Final = """
select (extract(epoch from i.candle_start) / 60)::float8, i.close::float8, i.volume::float8, i.volatility_20::float8,
    s.spread
from marts.indicators_1m as i
left join (
    select q.source, date_trunc('minute', q.event_time, 'UTC') as minute,
        percentile_cont(0.5) within group (
            order by (q.ask - q.bid)::float8 * 20000 / (q.ask + q.bid)::float8
        ) as spread
    from marts.quotes as q
    where q.symbol = %(symbol)s and q.event_time >= %(start)s and q.event_time < %(end)s
        and q.bid > 0 and q.ask >= q.bid
    group by q.source, minute
) as s on s.source = i.source and s.minute = i.candle_start
where i.symbol = %(symbol)s and i.candle_start >= %(start)s and i.candle_start < %(end)s and i.is_final
order by i.candle_start
"""
_SYMBOLS: Final = """
select i.symbol, count(*), min(i.candle_start), max(i.candle_start)
from marts.indicators_1m as i
where i.candle_start >= %(start)s and i.candle_start < %(end)s and i.is_final
group by i.symbol order by i.symbol
"""


class TrainingRows(NamedTuple):
    """Rows of a symbol by ascending time: minutes since 1970, and the columns (NaN: not known)."""

    minutes: npt.NDArray[np.int64]
    columns: dict[str, npt.NDArray[np.float64]]

    def add_to(self, digest: Any, symbol: str) -> None:
        """Add to a SHA-256 of everything that was read."""
        digest.update(f"{symbol} {len(self.minutes)}\n".encode())
        digest.update(self.minutes.tobytes())
        for name in COLUMNS:
            digest.update(self.columns[name].tobytes())


class Held(NamedTuple):
    """How many final candles a symbol has in a window, and its first and last."""

    symbol: str
    candles: int
    first: datetime
    last: datetime


def read_rows(conn: psycopg.Connection, symbol: str, start: datetime, end: datetime) -> TrainingRows:
    """The final candles of a symbol that start in `[start, end)`, with the spread of their source's quotes."""
    with conn.cursor(binary=True) as cursor:
        found = cursor.execute(_ROWS, {"symbol": symbol, "start": start, "end": end}).fetchall()
    table = np.array(found, dtype=np.float64).reshape(len(found), 1 + len(COLUMNS))
    return TrainingRows(
        table[:, 0].astype(np.int64), {name: np.ascontiguousarray(table[:, n]) for n, name in enumerate(COLUMNS, 1)}
    )


def symbols_held(conn: psycopg.Connection, start: datetime, end: datetime) -> list[Held]:
    """Each symbol with final candles in `[start, end)`, by name."""
    return [Held(*row) for row in conn.execute(_SYMBOLS, {"start": start, "end": end})]


def candles_range(conn: psycopg.Connection) -> tuple[datetime, datetime] | None:
    """The first and the last final candle of all; None where there is none."""
    row = conn.execute("select min(candle_start), max(candle_start) from marts.indicators_1m where is_final").fetchone()
    return None if row is None or row[0] is None else (row[0], row[1])


def new_digest() -> Any:
    return hashlib.sha256()
