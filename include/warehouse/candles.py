"""Candles of one instrument out of the marts, as whoever may read them (the analyst): one candle of each time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from include.errors import ConfigError, QuantStreamError
from include.instruments import REPLAY, SIMULATOR

_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

# One candle per time, chosen as the indicators of the marts do: the first in the order of the instrument's sources
# among those that are final, without a final one the first of all.
_CANDLES: Final = """
select distinct on (candle_start) {columns}
from {table} as candles
{adjustments}
where candles.symbol = %(symbol)s
  and (%(source)s = '' or source = %(source)s)
  and source <> %(left_out)s
  and candle_start >= coalesce(%(start)s::timestamptz, '-infinity')
  and candle_start < coalesce(%(end)s::timestamptz, 'infinity')
order by candle_start desc, is_final desc, array_position(%(order)s::text[], source), source
limit %(limit)s
"""
_AS_TRADED: Final = """
    candle_start, source, open::float8 as open, high::float8 as high, low::float8 as low, close::float8 as close,
    volume::float8 as volume, vwap::float8 as vwap, is_final
"""
# As marts.candles_1m_adjusted, of any resolution.
_PRICE_FACTOR: Final = "coalesce(adjustments.split_factor * adjustments.dividend_factor, 1)"
_ADJUSTED: Final = f"""
    candle_start, source, open::float8 * {_PRICE_FACTOR} as open, high::float8 * {_PRICE_FACTOR} as high,
    low::float8 * {_PRICE_FACTOR} as low, close::float8 * {_PRICE_FACTOR} as close,
    volume::float8 / coalesce(adjustments.split_factor, 1) as volume, vwap::float8 * {_PRICE_FACTOR} as vwap, is_final
"""
_ADJUSTMENTS: Final = """
left join marts.adjustments as adjustments
    on candles.symbol = adjustments.symbol
    and candles.candle_start < adjustments.until_time
    and (adjustments.from_time is null or candles.candle_start >= adjustments.from_time)
"""


class NoCandlesError(QuantStreamError):
    """Nothing is wrong with the question, but there are no candles yet; the text says how to get some."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Whose candles: `source` is "" for the instrument's own choice. `adjusted`: for later splits and dividends."""

    symbol: str
    resolution: str = "1m"
    source: str = ""
    adjusted: bool = False


class Candle(NamedTuple):
    """A candle as doubles. What the source does not say is None."""

    candle_start: datetime
    source: str
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None
    vwap: float | None = None
    is_final: bool = True


def read_candles(
    conn: psycopg.Connection, selection: Selection, start: datetime | None, end: datetime | None, limit: int
) -> list[Candle]:
    """The last `limit` candles that start in `[start, end)` (UTC; None: no bound), in order.

    Without a source, what the simulator made up is left out where a live source has the instrument.
    The resolution must be one of which there are candles (`check_resolution`).
    """
    order = conn.execute(
        "select array_prepend(primary_source, fallbacks) from marts.instruments where symbol = %s", [selection.symbol]
    ).fetchone()
    query = sql.SQL(_CANDLES).format(
        table=_table(selection.resolution),
        columns=sql.SQL(_ADJUSTED if selection.adjusted else _AS_TRADED),
        adjustments=sql.SQL(_ADJUSTMENTS if selection.adjusted else ""),
    )
    values = {
        "symbol": selection.symbol, "source": selection.source, "order": order[0] if order else [],
        "left_out": "" if selection.source or _is_invented(conn, selection.symbol) else SIMULATOR,
        "start": start, "end": end, "limit": limit,
    }  # fmt: skip
    with conn.cursor(row_factory=class_row(Candle)) as cursor:
        return cursor.execute(query, values).fetchall()[::-1]


def check_resolution(conn: psycopg.Connection, resolution: str) -> Mapping[str, timedelta]:
    """All resolutions. Raises ConfigError where this is none of them, NoCandlesError where there are none at all."""
    known = resolutions(conn)
    if not known:
        raise _nothing_yet(resolution)
    if resolution not in known:
        raise ConfigError(f"--resolution {resolution}: there are candles of {', '.join(known)}")
    return known


def resolutions(conn: psycopg.Connection) -> Mapping[str, timedelta]:
    """The resolutions of which there are tables of candles, the finest first."""
    rows = conn.execute(
        "select table_name::text from information_schema.tables "
        "where table_schema = 'marts' and table_name ~ '^candles_[1-9][0-9]*[mhdw]$'"
    )
    found = {name.removeprefix("candles_"): step_of(name.removeprefix("candles_")) for (name,) in rows}
    return dict(sorted(found.items(), key=lambda one: one[1]))


def step_of(resolution: str) -> timedelta:
    """How long a candle of this resolution is: `5m`, `1h`, `1d`."""
    match = re.fullmatch(r"(\d+)([mhdw])", resolution)
    if match is None:
        raise ConfigError(f"--resolution {resolution}: write a number and m, h, d or w, as in 5m")
    return int(match[1]) * _UNITS[match[2]]


def explain_none(
    conn: psycopg.Connection, selection: Selection, start: datetime | None, end: datetime | None
) -> QuantStreamError:
    """Why there is not one candle: of the warehouse, the symbol, the source or the range."""
    symbol, source, resolution = selection.symbol, selection.source, selection.resolution

    def ask(query: str, *values: object) -> Sequence[Any]:
        return conn.execute(sql.SQL(query).format(table=_table(resolution)), values).fetchone() or ()

    if ask("select exists (select from {table})") == (False,):
        return _nothing_yet(resolution)
    first, last = ask(
        "select min(candle_start), max(candle_start) from {table} where symbol = %s and (%s = '' or source = %s)",
        symbol, source, source,
    )  # fmt: skip
    if isinstance(first, datetime) and isinstance(last, datetime):
        whose = f"{symbol} of {source}" if source else symbol
        return ConfigError(
            f"no {resolution} candle of {whose} starts {_bounds(start, end)}; "
            f"there are some from {say_minute(first)} to {say_minute(last)}"
        )
    (others,) = ask("select array_agg(distinct source order by source) from {table} where symbol = %s", symbol)
    if source and isinstance(others, list):
        theirs = f"{', '.join(others)} {'has' if len(others) == 1 else 'have'} some"
        return ConfigError(f"--source {source}: has no {resolution} candle of {symbol}; {theirs}")
    listed = [name for (name,) in conn.execute("select symbol from marts.instruments order by symbol")]
    if symbol in listed:
        return NoCandlesError(
            f"there is no {resolution} candle of {symbol} yet; "
            f"`quantstream backfill --symbols {symbol} --from DATE` fetches the past"
        )
    hint = f" (did you mean {symbol.upper()}?)" if symbol.upper() in listed else ""
    return ConfigError(f"{symbol}: not among the instruments{hint}; known are {', '.join(listed)}")


def say_minute(moment: datetime) -> str:
    """`2026-03-02 10:00 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _table(resolution: str) -> sql.Identifier:
    return sql.Identifier("marts", f"candles_{resolution}")


def _is_invented(conn: psycopg.Connection, symbol: str) -> bool:
    """Whether the simulator counts for the instrument: not where a live source does (`ops.instrument_sources`)."""
    newest = conn.execute(
        "select source from marts.indicators_1m where symbol = %s order by candle_start desc limit 1", [symbol]
    ).fetchone()
    return newest is None or newest[0] in (SIMULATOR, REPLAY)


def _nothing_yet(resolution: str) -> NoCandlesError:
    return NoCandlesError(
        f"the warehouse has no {resolution} candle yet; `make up` brings the first ones within minutes, "
        "`quantstream status` shows whether they come, `quantstream backfill --from DATE` fetches the past"
    )


def _bounds(start: datetime | None, end: datetime | None) -> str:
    if start and end:
        return f"between {say_minute(start)} and {say_minute(end)}"
    return f"at {say_minute(start)} or later" if start else f"before {say_minute(end)}" if end else "at any time"
