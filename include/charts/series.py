"""What a chart shows, read from the marts as the analyst: candles of one instrument, their indicators, its alerts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from include.charts.indicators import INDICATORS, columns_of, draw_lines, look_back
from include.errors import ConfigError, QuantStreamError
from include.instruments import REPLAY, SIMULATOR

if TYPE_CHECKING:
    import pandas as pd

USUAL: Final = 120
"""How many candles are shown where nobody says how many."""
MOST: Final = 5_000
"""More candles than this are no chart any more."""

_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_NUMBERS: Final = ["open", "high", "low", "close", "volume"]

# One candle per time, chosen as the indicators of the marts do: the first in the order of the instrument's sources
# among those that are final, without a final one the first of all.
_CANDLES: Final = """
select distinct on (candle_start)
    candle_start, source, open::float8 as open, high::float8 as high, low::float8 as low, close::float8 as close,
    volume::float8 as volume, is_final
from {table}
where symbol = %(symbol)s
  and (%(source)s = '' or source = %(source)s)
  and source <> %(left_out)s
  and candle_start >= coalesce(%(start)s::timestamptz, '-infinity')
  and candle_start < coalesce(%(end)s::timestamptz, 'infinity')
order by candle_start desc, is_final desc, array_position(%(order)s::text[], source), source
limit %(limit)s
"""
# The lines as they are in the marts; none unless they are of these very candles.
_HAS_COLUMNS: Final = """
select count(*) = cardinality(%(columns)s::text[]) from information_schema.columns
where table_schema = 'marts' and table_name = %(table)s and column_name = any(%(columns)s::text[])
"""
_LINES: Final = """
select {columns}
from unnest(%(starts)s::timestamptz[], %(sources)s::text[], %(closes)s::float8[]) as shown (candle_start, source, close)
inner join {table} as made on made.symbol = %(symbol)s
    and (made.candle_start, made.source, made.close) = (shown.candle_start, shown.source, shown.close)
order by made.candle_start
"""
_ALERTS: Final = """
select candle_start, rule, direction
from marts.alerts
where symbol = %(symbol)s and category = 'market' and candle_start >= %(start)s and candle_start < %(end)s
order by candle_start, rule, alert_key
"""


class NoCandlesError(QuantStreamError):
    """Nothing is wrong with the question, but there are no candles yet; the text says how to get some."""


@dataclass(frozen=True, slots=True)
class Request:
    """Which candles are wanted: those that start in `[start, end)` (UTC; None: no bound), the last `candles` of them.

    `candles` is None for all of a range that has a start, else for `USUAL`. `source` is "" for the instrument's own
    choice. `indicators` are names of `INDICATORS`.
    """

    symbol: str
    resolution: str = "1m"
    source: str = ""
    start: datetime | None = None
    end: datetime | None = None
    candles: int | None = None
    indicators: tuple[str, ...] = ()


class Candle(NamedTuple):
    """A candle as doubles, for drawing only. What the source does not say is None."""

    candle_start: datetime
    source: str
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None
    is_final: bool = True


class Alert(NamedTuple):
    """What was detected at the candle (of one minute) that starts then."""

    candle_start: datetime
    rule: str
    direction: str | None = None


@dataclass(frozen=True)
class Series:
    """What is drawn. `candles` and `lines` have one row per candle, by its start (UTC), in order.

    `candles` has the columns of `Candle`; `lines` one column per line of an indicator, NaN where it has no value.
    """

    symbol: str
    resolution: str
    step: timedelta
    candles: pd.DataFrame
    lines: pd.DataFrame
    alerts: tuple[Alert, ...] = ()
    currency: str = ""

    @property
    def starts(self) -> list[datetime]:
        """When each candle starts, UTC."""
        return [start.to_pydatetime() for start in self.candles.index]

    @property
    def title(self) -> str:
        """Symbol, resolution, source and range."""
        first, *others = Counter(self.candles["source"]).most_common()
        sources = ", ".join([first[0], *(f"{count} of {name}" for name, count in others)])
        start, end = self.starts[0], self.starts[-1] + self.step
        until = f"{end:%H:%M}" if end.date() == start.date() else f"{end:%Y-%m-%d %H:%M}"
        return f"{self.symbol} {self.resolution} · {sources} · {start:%Y-%m-%d %H:%M} to {until} UTC"


def read(conn: psycopg.Connection, request: Request) -> Series:
    """The candles, indicators and alerts that are asked for. `conn` is the analyst's.

    Raises ConfigError naming what does not exist and what there is, or a range without candles or with more than
    `MOST`; NoCandlesError where nothing is wrong but no candle is there yet.
    """
    known = resolutions(conn)
    if request.resolution not in known:
        if not known:
            raise _nothing_yet(request.resolution)
        raise ConfigError(f"--resolution {request.resolution}: there are candles of {', '.join(known)}")
    instrument = conn.execute(
        "select currency, array_prepend(primary_source, fallbacks) from marts.instruments where symbol = %s",
        [request.symbol],
    ).fetchone()
    currency, order = instrument or ("", [])
    left_out = "" if request.source or _is_invented(conn, request.symbol) else SIMULATOR

    def candles(start: datetime | None, end: datetime | None, limit: int) -> list[Candle]:
        with conn.cursor(row_factory=class_row(Candle)) as cursor:
            query = sql.SQL(_CANDLES).format(table=_table(request.resolution))
            values = {
                "symbol": request.symbol, "source": request.source, "left_out": left_out, "order": order,
                "start": start, "end": end, "limit": limit,
            }  # fmt: skip
            return cursor.execute(query, values).fetchall()[::-1]

    count = request.candles or (MOST + 1 if request.start else USUAL)
    shown = candles(request.start, request.end, count)
    if not shown:
        raise _explain(conn, request)
    if len(shown) > MOST:
        raise ConfigError(
            f"the range from {_said(shown[0].candle_start)} has more than {MOST:,} candles of {request.resolution}; "
            f"take a shorter one, a coarser --resolution ({', '.join(known)}), or --candles"
        )
    first, last = shown[0].candle_start, shown[-1].candle_start
    lines = _lines_of_marts(conn, request, shown)
    before = candles(None, first, look_back(request.indicators)) if lines is None else []
    if lines is None and any(INDICATORS[name].of_day for name in request.indicators):
        midnight = first.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        before = max(before, candles(midnight, first, MOST), key=len)  # both end where the shown ones begin
    with conn.cursor(row_factory=class_row(Alert)) as cursor:
        span = {"symbol": request.symbol, "start": first, "end": last + known[request.resolution]}
        alerts = cursor.execute(_ALERTS, span).fetchall()
    return make_series(
        request.symbol, request.resolution, shown, before=before, indicators=request.indicators, alerts=alerts,
        currency=currency, lines=lines,
    )  # fmt: skip


def make_series(
    symbol: str,
    resolution: str,
    shown: Sequence[Candle],
    *,
    before: Sequence[Candle] = (),
    indicators: Sequence[str] = (),
    alerts: Sequence[Alert] = (),
    currency: str = "",
    lines: pd.DataFrame | None = None,
) -> Series:
    """Candles to draw, with the lines over them: `lines` by their place, or computed where that is None.

    `before` are candles that computed lines look back on and nobody sees.
    """
    import pandas as pd

    frame = pd.DataFrame([*before, *shown], columns=list(Candle._fields))
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop("candle_start"), utc=True))
    frame[_NUMBERS] = frame[_NUMBERS].astype("float64")
    drawn = draw_lines(frame, indicators).iloc[len(before) :] if lines is None else lines.set_axis(frame.index)
    return Series(symbol, resolution, step_of(resolution), frame.iloc[len(before) :], drawn, tuple(alerts), currency)


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


def _table(resolution: str) -> sql.Identifier:
    return sql.Identifier("marts", f"candles_{resolution}")


def _lines_of_marts(conn: psycopg.Connection, request: Request, shown: Sequence[Candle]) -> pd.DataFrame | None:
    """The indicators as `marts.indicators_<resolution>` has them, a row per candle; None if it has not all of them."""
    import pandas as pd

    columns = columns_of(request.indicators)
    asked = {"columns": list(columns.values()), "table": f"indicators_{request.resolution}"}
    if not columns or request.source or conn.execute(_HAS_COLUMNS, asked).fetchone() != (True,):
        return None
    query = sql.SQL(_LINES).format(
        columns=sql.SQL(", ").join(sql.Identifier(column) for column in columns.values()),
        table=sql.Identifier("marts", f"indicators_{request.resolution}"),
    )
    starts, sources, closes = ([getattr(one, name) for one in shown] for name in ("candle_start", "source", "close"))
    values = {"symbol": request.symbol, "starts": starts, "sources": sources, "closes": closes}
    found = conn.execute(query, values).fetchall()
    if len(found) < len(shown):
        return None
    return pd.DataFrame(found, columns=list(columns), dtype="float64")


def _is_invented(conn: psycopg.Connection, symbol: str) -> bool:
    """Whether the simulator counts for the instrument: not where a live source does (`ops.instrument_sources`)."""
    newest = conn.execute(
        "select source from marts.indicators_1m where symbol = %s order by candle_start desc limit 1", [symbol]
    ).fetchone()
    return newest is None or newest[0] in (SIMULATOR, REPLAY)


def _explain(conn: psycopg.Connection, request: Request) -> QuantStreamError:
    """Why there is not one candle: of the warehouse, the symbol, the source or the range."""
    table, symbol, source, resolution = _table(request.resolution), request.symbol, request.source, request.resolution

    def ask(query: str, *values: object) -> tuple[object, ...]:
        return conn.execute(sql.SQL(query).format(table=table), values).fetchone() or ()

    if ask("select exists (select from {table})") == (False,):
        return _nothing_yet(resolution)
    first, last = ask(
        "select min(candle_start), max(candle_start) from {table} where symbol = %s and (%s = '' or source = %s)",
        symbol, source, source,
    )  # fmt: skip
    if isinstance(first, datetime) and isinstance(last, datetime):
        whose = f"{symbol} of {source}" if source else symbol
        return ConfigError(
            f"no {resolution} candle of {whose} starts {_bounds(request.start, request.end)}; "
            f"there are some from {_said(first)} to {_said(last)}"
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


def _nothing_yet(resolution: str) -> NoCandlesError:
    return NoCandlesError(
        f"the warehouse has no {resolution} candle yet; `make up` brings the first ones within minutes, "
        "`quantstream status` shows whether they come, `quantstream backfill --from DATE` fetches the past"
    )


def _bounds(start: datetime | None, end: datetime | None) -> str:
    if start and end:
        return f"between {_said(start)} and {_said(end)}"
    return f"at {_said(start)} or later" if start else f"before {_said(end)}" if end else "at any time"


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
