"""What a chart shows, read from the marts as the analyst: candles of one instrument, their indicators, its alerts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from include.charts.indicators import INDICATORS, columns_of, draw_lines, look_back
from include.errors import ConfigError
from include.warehouse.candles import (
    Candle,
    Selection,
    check_resolution,
    explain_none,
    read_candles,
    say_minute,
    step_of,
)

if TYPE_CHECKING:
    import pandas as pd

USUAL: Final = 120
"""How many candles are shown where nobody says how many."""
MOST: Final = 5_000
"""More candles than this are no chart any more."""

_NUMBERS: Final = ["open", "high", "low", "close", "volume"]

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
    known = check_resolution(conn, request.resolution)
    instrument = conn.execute("select currency from marts.instruments where symbol = %s", [request.symbol]).fetchone()
    wanted = Selection(request.symbol, request.resolution, request.source)
    count = request.candles or (MOST + 1 if request.start else USUAL)
    shown = read_candles(conn, wanted, request.start, request.end, count)
    if not shown:
        raise explain_none(conn, wanted, request.start, request.end)
    if len(shown) > MOST:
        raise ConfigError(
            f"the range from {say_minute(shown[0].candle_start)} has more than {MOST:,} candles of "
            f"{request.resolution}; take a shorter one, a coarser --resolution ({', '.join(known)}), or --candles"
        )
    first, last = shown[0].candle_start, shown[-1].candle_start
    lines = _lines_of_marts(conn, request, shown)
    before = read_candles(conn, wanted, None, first, look_back(request.indicators)) if lines is None else []
    if lines is None and any(INDICATORS[name].of_day for name in request.indicators):
        midnight = first.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        today = read_candles(conn, wanted, midnight, first, MOST)
        before = max(before, today, key=len)  # both end where the shown ones begin
    with conn.cursor(row_factory=class_row(Alert)) as cursor:
        span = {"symbol": request.symbol, "start": first, "end": last + known[request.resolution]}
        alerts = cursor.execute(_ALERTS, span).fetchall()
    return make_series(
        request.symbol, request.resolution, shown, before=before, indicators=request.indicators, alerts=alerts,
        currency=instrument[0] if instrument else "", lines=lines,
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
