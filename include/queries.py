"""The queries that people begin with on the marts.

One text each for Postgres, for DuckDB over the same rows as Parquet, and for docs/analyst_guide.md. Times are those of
the data, never of the clock. A time range comes with a symbol or on a small table: the keys of the large ones begin
with the symbol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Query:
    """One question, and the SQL that answers it with the tables of the schema marts in the search path."""

    title: str
    sql: str


QUERIES: Final[Mapping[str, Query]] = {
    "quick-look": Query(
        "the last ten minutes of an instrument",
        """
select candle_start, source, open, high, low, close, volume, trade_count, is_final
from candles_1m
where symbol = 'BTC-USD'
order by candle_start desc, source
limit 10
""",
    ),
    "top-movers": Query(
        "the instruments whose price moved furthest in the last 24 hours",
        """
with clock as (
    select max(candle_start) as as_of
    from indicators_1h
),
spans as (
    select symbol, min(candle_start) as first_candle, max(candle_start) as last_candle
    from indicators_1h
    where candle_start >= (select as_of - interval '24 hours' from clock)
    group by symbol
)
select spans.symbol, earlier.close as before, later.close as now,
    round((100 * (later.close / earlier.close - 1))::numeric, 2) as change_percent
from spans
inner join indicators_1h as earlier on spans.symbol = earlier.symbol and spans.first_candle = earlier.candle_start
inner join indicators_1h as later on spans.symbol = later.symbol and spans.last_candle = later.candle_start
order by abs(later.close / earlier.close - 1) desc, spans.symbol
limit 10
""",
    ),
    "average-volume": Query(
        "the average volume of a day, by instrument",
        """
select symbol, count(*) as days, round(avg(volume)::numeric, 2) as average_volume
from indicators_1d
group by symbol
order by symbol
""",
    ),
    "moves-over-5-percent": Query(
        "the hours in which a price went more than 5 % away from where it opened",
        """
select symbol, source, candle_start, open, high, low, close,
    round((100 * greatest(high / open - 1, 1 - low / open))::numeric, 2) as furthest_percent
from candles_1h
where greatest(high / open - 1, 1 - low / open) > 0.05
order by candle_start desc, symbol, source
limit 100
""",
    ),
    "candles-of-a-range": Query(
        "a day of five-minute candles",
        """
select candle_start, source, open, high, low, close, volume, vwap
from candles_5m
where symbol = 'BTC-USD'
    and candle_start >= (select max(candle_start) - interval '1 day' from candles_5m where symbol = 'BTC-USD')
order by candle_start, source
""",
    ),
    "latest-prices": Query(
        "the newest quote of each instrument",
        """
select symbol, price, bid, ask, event_time, source
from latest_quotes
order by symbol
""",
    ),
    "hourly-volume": Query(
        "at which hour of the day (UTC) an instrument is traded most",
        """
select extract(hour from candle_start at time zone 'UTC') as hour, count(*) as days,
    round(avg(volume)::numeric, 2) as average_volume
from candles_1h
where symbol = 'BTC-USD'
group by 1
order by average_volume desc, hour
""",
    ),
    "correlation": Query(
        "how alike two instruments move: the correlation of their hourly log returns",
        """
select round(corr(a.log_return, b.log_return)::numeric, 3) as correlation, count(*) as hours
from indicators_1h as a
inner join indicators_1h as b on a.candle_start = b.candle_start
where a.symbol = 'BTC-USD' and b.symbol = 'ETH-USD'
""",
    ),
    "indicator-screen": Query(
        "the instruments by their RSI 14 of the hour: oversold (below 30) first, overbought (above 70) last",
        """
with newest as (
    select symbol, max(candle_start) as candle_start
    from indicators_1h
    group by symbol
)
select newest.symbol, newest.candle_start, now.close, round(now.rsi_14::numeric, 1) as rsi_14,
    round(now.sma_20::numeric, 2) as sma_20, round(now.macd_histogram::numeric, 4) as macd_histogram
from newest
inner join indicators_1h as now on newest.symbol = now.symbol and newest.candle_start = now.candle_start
where now.rsi_14 is not null
order by now.rsi_14, newest.symbol
limit 50
""",
    ),
    "gaps": Query(
        "what is missing, the longest first",
        """
select source, symbol, gap_start, gap_end, minutes, reason
from gaps
order by minutes desc, source, symbol, gap_start
limit 50
""",
    ),
    "alert-history": Query(
        "the last alerts of the market",
        """
select candle_start, severity, rule, symbol, message
from alerts
where category = 'market'
order by candle_start desc, symbol, rule
limit 50
""",
    ),
    "vwap-deviation": Query(
        "the minutes of the last day in which a price was furthest from the day's VWAP",
        """
select candle_start, close, round(vwap_session::numeric, 4) as vwap_session,
    round((10000 * (close / vwap_session - 1))::numeric, 1) as basis_points
from indicators_1m
where symbol = 'BTC-USD'
    and candle_start >= (select max(candle_start) - interval '1 day' from indicators_1m where symbol = 'BTC-USD')
order by abs(close / vwap_session - 1) desc nulls last, candle_start
limit 20
""",
    ),
}
