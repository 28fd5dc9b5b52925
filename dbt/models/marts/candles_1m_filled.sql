{{ config(tags=['on_demand']) }}

-- Every minute in which the exchange was open, from the first to the last candle of a series: its candle, or the last
-- close carried on. A view: no candle is made up in a table.
with

series as (

    select * from {{ ref('stg_ops__gap_series') }}

),

minutes as (

    select
        series.symbol,
        series.source,
        sessions.session_date,
        in_session.candle_start
    from series
    inner join {{ ref('stg_ops__session') }} as sessions
        on
            series.calendar = sessions.calendar
            and series.last_candle >= sessions.opens_at
            and series.first_candle < sessions.closes_at
    cross join lateral generate_series(
        greatest(sessions.opens_at, series.first_candle),
        least(sessions.closes_at - interval '1 minute', series.last_candle),
        interval '1 minute'
    ) as in_session (candle_start)

),

filled as (

    select
        minutes.symbol,
        minutes.source,
        minutes.candle_start,
        minutes.session_date,
        coalesce(here.open, before.close) as open,
        coalesce(here.high, before.close) as high,
        coalesce(here.low, before.close) as low,
        coalesce(here.close, before.close) as close,
        case when here.candle_start is null then 0 else here.volume end as volume,
        here.candle_start is null as is_filled
    from minutes
    left join lateral (
        select kept.*
        from {{ ref('candles_1m') }} as kept
        where
            kept.symbol = minutes.symbol
            and kept.source = minutes.source
            and kept.candle_start = minutes.candle_start
        offset 0
    ) as here on true
    left join lateral (
        select kept.close
        from {{ ref('candles_1m') }} as kept
        where
            here.candle_start is null
            and kept.symbol = minutes.symbol
            and kept.source = minutes.source
            and kept.candle_start < minutes.candle_start
        order by kept.candle_start desc
        limit 1
    ) as before on true

)

select * from filled
