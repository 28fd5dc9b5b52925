-- After the last candle of a series, up to when more of it was asked for; the parts in which the exchange was open.
with

series as (

    select * from {{ ref('stg_ops__gap_series') }}

),

sessions as (

    select * from {{ ref('stg_ops__session') }}

),

in_sessions as (

    select
        series.source,
        series.symbol,
        sessions.session_date,
        greatest(series.last_candle + interval '1 minute', sessions.opens_at) as part_start,
        least(series.asked_until, sessions.closes_at) as part_end,
        series.last_candle + interval '1 minute' as run_start,
        series.asked_until as run_end,
        false as is_quoted
    from series
    inner join sessions
        on
            series.calendar = sessions.calendar
            and series.asked_until > sessions.opens_at
            and sessions.closes_at > series.last_candle + interval '1 minute'
    where series.asked_until > series.last_candle + interval '1 minute'

)

select * from in_sessions
