"""Candles and indicators out of the marts for a backtest: final ones, and as many before as the strategy needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from include.backtest.measures import candles_a_year
from include.backtest.run import Market
from include.backtest.strategy import PRICES, Params, Strategy
from include.errors import ConfigError
from include.warehouse.candles import (
    Candle,
    Selection,
    explain_none,
    read_candles,
    say_minute,
    step_of,
)

if TYPE_CHECKING:
    import pandas as pd

MOST: Final = 600_000
"""A year of minutes. More candles of an instrument than this are refused."""

_INDICATORS: Final = """
select candle_start, {columns}
from {table}
where symbol = %s and candle_start >= %s and candle_start <= %s
order by candle_start
"""
_ACTION: Final = """
select ex_date
from marts.adjustments
where symbol = %s and until_time > %s and until_time <= %s
order by ex_date
limit 1
"""


def read_market(
    conn: psycopg.Connection,
    selection: Selection,
    strategy: Strategy,
    grid: Sequence[Params],
    start: datetime | None,
    end: datetime | None,
) -> Market:
    """The final candles that start in `[start, end)` (UTC; None: no bound), and earlier ones that `grid` looks back on.

    Prices are adjusted for later splits and dividends. A strategy that needs the marts' indicators, which are of prices
    as traded, gets prices as traded, and no range with a split or a dividend in it.
    Raises ConfigError naming what is wrong with the question, NoCandlesError where there is nothing to read yet.
    """
    named = [name for name in strategy.needs if name not in PRICES]
    selection = replace(selection, adjusted=not named)
    table = _indicators(conn, selection.resolution, strategy, named) if named else None
    found = [one for one in read_candles(conn, selection, start, end, MOST + 1) if one.is_final]
    if not found:
        raise explain_none(conn, selection, start, end)
    if len(found) > MOST:
        raise ConfigError(
            f"{selection.symbol}: more than {MOST:,} candles of {selection.resolution}; take a shorter range "
            "(--from, --to) or a coarser --resolution"
        )
    first = found[0].candle_start
    before = read_candles(conn, selection, None, first, max(map(strategy.history, grid)))
    candles = _frame([*(one for one in before if one.is_final), *found])
    if table:
        candles = candles.join(_read_indicators(conn, table, named, selection.symbol, candles))
    calendar = conn.execute("select calendar from marts.instruments where symbol = %s", [selection.symbol]).fetchone()
    minutes = step_of(selection.resolution) // timedelta(minutes=1)
    return Market(selection.symbol, candles, first, candles_a_year(calendar[0] if calendar else "24/7", minutes))


def _frame(candles: Sequence[Candle]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(candles, columns=list(Candle._fields))
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop("candle_start"), utc=True))
    return frame[list(PRICES)].astype("float64")


def _indicators(conn: psycopg.Connection, resolution: str, strategy: Strategy, named: Sequence[str]) -> sql.Identifier:
    """Raises ConfigError where the marts lack the table or a column, with the resolutions that have all of them."""
    rows = conn.execute(
        "select table_name::text from information_schema.columns where table_schema = 'marts' "
        "and table_name like 'indicators\\_%%' and column_name = any(%s) group by table_name having count(*) = %s",
        [list(named), len(named)],
    ).fetchall()
    known = sorted((name.removeprefix("indicators_") for (name,) in rows), key=step_of)
    if resolution not in known:
        raise ConfigError(
            f"--resolution {resolution}: {strategy.name} needs {', '.join(named)} of the marts' indicators, which "
            f"there are of {', '.join(known) or 'no resolution'}"
        )
    return sql.Identifier("marts", f"indicators_{resolution}")


def _read_indicators(
    conn: psycopg.Connection, table: sql.Identifier, named: Sequence[str], symbol: str, candles: pd.DataFrame
) -> pd.DataFrame:
    import pandas as pd

    first, last = candles.index[0].to_pydatetime(), candles.index[-1].to_pydatetime()
    if action := conn.execute(_ACTION, [symbol, first, last]).fetchone():
        raise ConfigError(
            f"{symbol} had a split or a dividend on {action[0]}, between {say_minute(first)} and {say_minute(last)}: "
            f"{', '.join(named)} of the marts is of prices as traded; take a range on one side of it"
        )
    columns = sql.SQL(", ").join(map(sql.Identifier, named))
    query = sql.SQL(_INDICATORS).format(columns=columns, table=table)
    rows = conn.execute(query, [symbol, first, last]).fetchall()
    frame = pd.DataFrame(rows, columns=["candle_start", *named])
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop("candle_start"), utc=True))
    return frame.astype("float64")
