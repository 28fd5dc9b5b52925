{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['symbol', 'candle_start'],
        on_schema_change='fail',
        indexes=[{'columns': ['symbol', 'candle_start'], 'unique': true}],
        post_hook="{{ fence() }}"
    )
}}

{%- set window = var('zscore_window') | int(20) -%}
{%- set lookback = [20, window] | max -%}
{%- set last_n = 'last_20' if window == 20 else 'last_n' %}

with

changed as (

    select * from {{ ref('int_changed_spans') }}

),

candidates as (

    {{ candidate_candles() }}

    {% if is_incremental() %}
    union all

    select
        earlier.symbol,
        earlier.span,
        {{ utc_day('earlier.candle_start') }} as day,
        earlier.candle_start,
        null as source,
        null as rank,
        earlier.close,
        null as volume,
        null as is_final,
        null as vendor_previous_close,
        false as is_changed
    from ({{ closes_before(lookback) }}) as earlier
    {% endif %}

),

-- One candle per symbol and minute: the first in the order of the instrument's sources among those that are final, so
-- that a source which fell silent in the middle of a minute does not hold back the others; without a final one the
-- first of all. Everything below keeps this order, so that it is sorted once.
series as (

    select distinct on (symbol, span, day, candle_start) *
    from candidates
    order by symbol asc, span asc, day asc, candle_start asc, is_final desc, rank asc

),

windowed as (

    select
        *,
        lag(close) over series_order as close_before,
        row_number() over series_order as number,
        avg(close) over last_5 as mean_5,
        avg(close) over last_20 as mean_20,
        avg(close) over {{ last_n }} as mean_n,
        -- exactly 0 where nothing moved: the sum of squares may leave a rounding error
        case
            when max(close) over {{ last_n }} > min(close) over {{ last_n }} then stddev_pop(close) over {{ last_n }}
            else 0
        end as std_n
    from series
    window
        series_order as (partition by symbol, span order by day, candle_start),
        last_5 as (series_order rows between 4 preceding and current row),
        last_20 as (series_order rows between 19 preceding and current row),
        last_n as (series_order rows between {{ window - 1 }} preceding and current row)

),

compared as (

    select
        *,
        coalesce(
            vendor_previous_close,
            -- the close before the first candle of a day is that of the day before
            first_value(close_before) over (partition by symbol, span, day order by candle_start)
        ) as previous_close
    from windowed

)

select
    symbol,
    candle_start,
    source,
    rank > 1 as is_fallback,
    close,
    volume,
    is_final,
    close / nullif(close_before, 0) - 1 as return,
    previous_close,
    (close / nullif(previous_close, 0) - 1) * 100 as change_percent,
    case when number >= 5 then mean_5 end as sma_5,
    case when number >= 20 then mean_20 end as sma_20,
    case when number >= {{ window }} then mean_n end as rolling_mean,
    case when number >= {{ window }} then std_n end as rolling_std,
    case when number >= {{ window }} then (close - mean_n) / nullif(std_n, 0) end as zscore
from compared
where is_changed
