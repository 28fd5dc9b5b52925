"""What portfolios are worth, minute by minute, as rows: today's shares at the last closes.

A minute is one in which one of the instruments has a final candle; the others count with their last close before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import psycopg

from include.detection.reading import Span
from include.detection.rule import Ints, Numbers, Rows

_LEAST, _MOST = 20, 250  # daily returns that a value at risk is told from
_DAY: Final = 1440
_ONE_DAY: Final = timedelta(days=1)
_PIECE: Final = timedelta(days=7)

# A close counts until the next one of its instrument.
_STRETCHES: Final = """
select w.portfolio, lower(stretch.span) as from_candle, upper(stretch.span) as until
from (
    select s.portfolio, range_agg(s.span) as spans
    from (
        select p.portfolio, tstzrange(g.from_candle, following.until + %(minutes)s * interval '1 minute') as span
        from unnest(%(symbols)s::text[], %(from_candles)s::timestamptz[], %(untils)s::timestamptz[])
            as g (symbol, from_candle, until)
        inner join ops.portfolio_positions as p on p.symbol = g.symbol
        cross join lateral (
            select case
                when not %(is_followed)s then g.until
                else (
                    select i.candle_start from marts.indicators_1m as i
                    where i.symbol = g.symbol and i.is_final and i.candle_start >= g.until
                    order by i.candle_start limit 1
                )
            end as until
        ) as following
        union all
        select portfolio, tstzrange(from_candle, until)
        from unnest(%(portfolios)s::text[], %(from_days)s::timestamptz[], %(until_days)s::timestamptz[])
            as d (portfolio, from_candle, until)
    ) as s
    group by s.portfolio
) as w
cross join lateral unnest(w.spans) as stretch (span)
order by w.portfolio, from_candle
"""
# Each position's closes since `start`, and the last one before.
_CLOSES: Final = """
select h.symbol, h.quantity::double precision, c.minute, c.close
from ops.portfolio_positions as h
left join lateral (
    (
        select date_part('epoch', i.candle_start) / 60 as minute, i.close from marts.indicators_1m as i
        where i.symbol = h.symbol and i.is_final and i.candle_start < %(start)s
        order by i.candle_start desc limit 1
    )
    union all
    select date_part('epoch', i.candle_start) / 60, i.close from marts.indicators_1m as i
    where i.symbol = h.symbol and i.is_final and i.candle_start >= %(start)s
      and (%(until)s::timestamptz is null or i.candle_start < %(until)s)
) as c on true
where h.portfolio = %(portfolio)s
order by h.symbol, c.minute
"""
_NEWEST: Final = """
select max(i.candle_start) from ops.portfolio_positions as h
cross join lateral (
    select i.candle_start from marts.indicators_1m as i
    where i.symbol = h.symbol and i.is_final order by i.candle_start desc limit 1
) as i
where h.portfolio = %s
"""
_DAYS: Final = """
select v.portfolio, v.session_date, max(v.portfolio_value) as value
from marts.portfolio_history as v
inner join (
    select portfolio, count(*) as positions from ops.portfolio_positions group by portfolio
) as p on p.portfolio = v.portfolio
group by v.portfolio, v.session_date
having count(*) = max(p.positions)
order by v.portfolio, v.session_date
"""
_JUDGED_DAYS: Final = "select portfolio, session_date, value from ops.judged_days"
_FORGET_DAYS: Final = """
delete from ops.judged_days as d using unnest(%s::text[], %s::date[]) as g (portfolio, session_date)
where (d.portfolio, d.session_date) = (g.portfolio, g.session_date)
"""
_KEEP_DAYS: Final = """
insert into ops.judged_days as d (portfolio, session_date, value)
select * from unnest(%s::text[], %s::date[], %s::double precision[]) as g (portfolio, session_date, value)
order by portfolio, session_date
on conflict (portfolio, session_date) do update set value = excluded.value
"""

Days = Mapping[str, Mapping[date, float]]
"""What each portfolio was worth at the end of each day, in order; without days on which a position had no price."""


def read_days(conn: psycopg.Connection) -> Days:
    """The daily values as they are now."""
    days: dict[str, dict[date, float]] = {}
    for portfolio, day, value in conn.execute(_DAYS):
        days.setdefault(portfolio, {})[day] = value
    return days


def days_to_judge(conn: psycopg.Connection, days: Days) -> list[Span]:
    """The days whose value at risk is another by now than when they were judged; these values are noted.

    Of a portfolio of which nothing is noted (it is new, or its positions are) there are none. Part of the caller's
    transaction.
    """
    noted: dict[str, dict[date, float]] = {}
    for portfolio, day, value in conn.execute(_JUDGED_DAYS):
        noted.setdefault(portfolio, {})[day] = value
    spans, gone, kept = [], [], []
    for portfolio in sorted({*days, *noted}):
        now, before = days.get(portfolio, {}), noted.get(portfolio, {})
        changed = sorted(day for day in {*now, *before} if now.get(day) != before.get(day))
        gone += [(portfolio, day) for day in changed if day not in now]
        kept += [(portfolio, day, now[day]) for day in changed if day in now]
        usable = [day for day, value in now.items() if value > 0]
        spans += [Span(portfolio, *_told_from(day, usable)) for day in (changed if before else ())]
    if gone:
        conn.execute(_FORGET_DAYS, [list(column) for column in zip(*gone, strict=True)])
    if kept:
        conn.execute(_KEEP_DAYS, [list(column) for column in zip(*kept, strict=True)])
    return spans


def _told_from(day: date, usable: Sequence[date]) -> tuple[datetime, datetime | None]:
    """From when until when the value at risk is told from the value of a day among others; pure."""
    last = bisect_right(usable, day) + _MOST
    return _midnight(day) + _ONE_DAY, _midnight(usable[last]) + _ONE_DAY if last < len(usable) else None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def judged_portfolios(
    conn: psycopg.Connection, spans: Sequence[Span], minutes: int, days: Sequence[Span] = ()
) -> list[Span]:
    """The stretches of each portfolio that the spans of its instruments have to do with; `symbol` is its name.

    A close counts until the next one of its instrument; what its value says of the `minutes` after that follows from it
    too, and what it lost on the day after. With `minutes` 0 the spans alone. `days` are spans of portfolios.
    """
    given = {
        "symbols": [one.symbol for one in spans],
        "from_candles": [one.from_candle for one in spans],
        "untils": [one.until for one in spans],
        "is_followed": minutes > 0,
        "minutes": max(minutes, 2 * _DAY) if minutes else 0,
        "portfolios": [one.symbol for one in days],
        "from_days": [one.from_candle for one in days],
        "until_days": [one.until for one in days],
    }
    return [Span(*row) for row in conn.execute(_STRETCHES, given)]


def read_portfolios(
    conn: psycopg.Connection, stretches: Sequence[Span], columns: Sequence[str], history: int, days: Days
) -> Iterator[Rows]:
    """The value of each minute of the stretches, with those of the `history` minutes before; a week at a time.

    `value` and `day_value`, that at the end of the UTC day before, are in the currency; `var_95` and `var_99` are
    fractions, out of the daily values before that day. A minute is left out while a position has no price.
    """
    if not columns:
        return
    for one in (piece for stretch in stretches for piece in _pieces(conn, stretch)):
        start = one.from_candle.astimezone(UTC) - timedelta(minutes=max(history, _DAY))
        closes = conn.execute(_CLOSES, {"portfolio": one.symbol, "start": start, "until": one.until}).fetchall()
        rows = valued(one, closes, history)
        if needs_days(columns) and len(rows):
            rows = _with_risk(rows, days.get(one.symbol, {}))
        yield rows


def needs_days(columns: Sequence[str]) -> bool:
    """Whether one of these columns is told from the values of days."""
    return any(name.startswith("var_") for name in columns)


def _pieces(conn: psycopg.Connection, stretch: Span) -> Iterator[Span]:
    """The stretch in pieces of a week, up to the newest candle where it has no end."""
    start, end = stretch.from_candle, stretch.until
    if end is None:
        ((newest,),) = conn.execute(_NEWEST, [stretch.symbol]).fetchall()
        end = start if newest is None else newest + timedelta(minutes=1)
    while start < end:
        until = min(start + _PIECE, end)
        yield Span(stretch.symbol, start, until)
        start = until


def valued(stretch: Span, closes: Sequence[tuple[Any, ...]], history: int) -> Rows:
    """The rows of a stretch out of (symbol, quantity, minute, close), ordered; pure."""
    series: dict[str, tuple[float, list[float], list[float]]] = {}
    for symbol, quantity, minute, close in closes:
        _, minutes, prices = series.setdefault(symbol, (quantity, [], []))
        if minute is not None and close is not None:
            minutes.append(minute)
            prices.append(close)
    begin = stretch.from_candle.timestamp() / 60
    known = [np.array(minutes) for _, minutes, _ in series.values()]
    every = np.unique(np.concatenate(known)) if known else np.zeros(0)
    every = every[every >= begin - history]
    value, day_value = np.zeros(len(every)), np.zeros(len(every))
    for quantity, minutes, prices in series.values():
        value += quantity * _as_of(minutes, prices, every, "right")
        day_value += quantity * _as_of(minutes, prices, every // _DAY * _DAY, "left")
    there = ~np.isnan(value)
    every, value, day_value = every[there], value[there], day_value[there]
    is_first = np.arange(len(every)) == 0
    at = [datetime.fromtimestamp(minute * 60, UTC) for minute in every.tolist()]
    return Rows(
        [stretch.symbol] * len(at), at, [""] * len(at), is_first, {"value": value, "day_value": day_value},
        every >= begin, "portfolios",
    )  # fmt: skip


def value_at_risk(values: Numbers) -> tuple[float, float]:
    """The historical 95 % and 99 % value at risk of a day out of daily values, as fractions; NaN out of too few."""
    usable = values[values > 0][-_MOST - 1 :]
    if len(usable) <= _LEAST:
        return np.nan, np.nan
    returns = usable[1:] / usable[:-1] - 1
    return -float(np.percentile(returns, 5)), -float(np.percentile(returns, 1))


def _with_risk(rows: Rows, days: Mapping[date, float]) -> Rows:
    values = np.array(list(days.values()), dtype=np.float64)
    ordinals: Ints = np.array([day.toordinal() for day in days], dtype=np.int64)
    today = np.array([at.toordinal() for at in rows.at], dtype=np.int64)
    risk = {day: value_at_risk(values[: np.searchsorted(ordinals, day)]) for day in np.unique(today).tolist()}
    table = np.array([risk[day] for day in today.tolist()], dtype=np.float64)
    columns = {**rows.columns, "var_95": table[:, 0], "var_99": table[:, 1]}
    return Rows(rows.symbol, rows.at, rows.source, rows.is_first, columns, rows.is_new, rows.reads)


def _as_of(minutes: Sequence[float], prices: Sequence[float], at: Numbers, side: Any) -> Numbers:
    """The last price at or before (`right`), or before (`left`), each time."""
    place = np.searchsorted(np.array(minutes), at, side=side) - 1
    return np.where(place >= 0, np.array([*prices, np.nan])[place], np.nan)
