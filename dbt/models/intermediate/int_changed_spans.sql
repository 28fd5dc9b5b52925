{%- set lookback = [20, var('zscore_window') | int(20)] | max -%}

-- What of each symbol's series is made again: the changed candles; the next ones, as many as look back on them; the
-- rest of a day whose day before changed; and, where the last candle of a day changed, the next day that has candles.
-- Two spans of a symbol are so far apart that neither looks back on a candle that the other changes.
with

changed as (

    {{ changed_ranges(keys=['symbol']) }}

),

sources as (

    select
        symbol,
        array_agg(source) as names
    from {{ ref('stg_ops__instrument_source') }}
    group by symbol

),

followed as (

    select
        changed.*,
        {{ utc_day("changed.until_candle - interval '1 minute'") }} as last_day,
        following.next_candle,
        following.last_candle
    from changed
    left join sources on changed.symbol = sources.symbol
    cross join lateral (
        select
            min(later.candle_start) as next_candle,
            max(later.candle_start) as last_candle
        from (
            select distinct candles.candle_start
            from {{ ref('candles_1m') }} as candles
            where
                candles.symbol = changed.symbol
                and candles.candle_start >= changed.until_candle
                and candles.source = any(sources.names)
            order by candles.candle_start
            limit {{ lookback }}
        ) as later
    ) as following

),

-- the day whose previous close changed
days as (

    select
        *,
        case
            when {{ utc_day('next_candle') }} > last_day then {{ utc_day('next_candle') }}
            when {{ utc_day('from_candle') }} < last_day then last_day
        end as other_day
    from followed

),

extended as (

    select
        days.symbol,
        days.from_candle,
        greatest(
            days.until_candle, days.last_candle + interval '1 minute', in_day.last_candle + interval '1 minute'
        ) as until_candle
    from days
    cross join lateral (
        select max(candles.candle_start) as last_candle
        from {{ ref('candles_1m') }} as candles
        where
            candles.symbol = days.symbol
            and candles.candle_start >= days.other_day
            and candles.candle_start < days.other_day + interval '1 day'
    ) as in_day

)

{{ islands('extended', ['symbol']) }}
