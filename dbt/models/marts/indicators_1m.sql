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
{%- set lookback = [20, window] | max %}

with

changed as (

    select * from {{ ref('int_changed_symbols') }}

),

series as (

    select
        chosen.*,
        true as is_changed
    from ({{ chosen_candles() }}) as chosen

    {% if is_incremental() %}
    union all

    select
        earlier.symbol,
        earlier.candle_start,
        null as source,
        null as is_fallback,
        earlier.close,
        null as volume,
        null as is_final,
        null as vendor_previous_close,
        false as is_changed
    from ({{ closes_before(lookback) }}) as earlier
    {% endif %}

),

day_closes as (

    select distinct on (symbol, {{ utc_day('candle_start') }})
        symbol,
        {{ utc_day('candle_start') }} as day,
        close
    from series
    order by symbol, {{ utc_day('candle_start') }}, candle_start desc

),

previous_days as (

    select
        symbol,
        day,
        lag(close) over (partition by symbol order by day) as close
    from day_closes

),

windowed as (

    select
        *,
        lag(close) over series_order as close_before,
        count(*) over last_5 as count_5,
        avg(close) over last_5 as mean_5,
        count(*) over last_20 as count_20,
        avg(close) over last_20 as mean_20,
        count(*) over last_n as count_n,
        avg(close) over last_n as mean_n,
        -- exactly 0 where nothing moved: the sum of squares may leave a rounding error
        case when max(close) over last_n > min(close) over last_n then stddev_pop(close) over last_n else 0 end as std_n
    from series
    window
        series_order as (partition by symbol order by candle_start),
        last_5 as (partition by symbol order by candle_start rows between 4 preceding and current row),
        last_20 as (partition by symbol order by candle_start rows between 19 preceding and current row),
        last_n as (partition by symbol order by candle_start rows between {{ window - 1 }} preceding and current row)

),

compared as (

    select
        windowed.*,
        coalesce(windowed.vendor_previous_close, previous_days.close) as previous_close
    from windowed
    left join previous_days
        on
            windowed.symbol = previous_days.symbol
            and {{ utc_day('windowed.candle_start') }} = previous_days.day
    where windowed.is_changed

)

select
    symbol,
    candle_start,
    source,
    is_fallback,
    close,
    volume,
    is_final,
    close / nullif(close_before, 0) - 1 as return,
    previous_close,
    (close / nullif(previous_close, 0) - 1) * 100 as change_percent,
    case when count_5 = 5 then mean_5 end as sma_5,
    case when count_20 = 20 then mean_20 end as sma_20,
    case when count_n = {{ window }} then mean_n end as rolling_mean,
    case when count_n = {{ window }} then std_n end as rolling_std,
    case when count_n = {{ window }} then (close - mean_n) / nullif(std_n, 0) end as zscore
from compared
