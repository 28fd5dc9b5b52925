-- How many minutes of each day a series was open, asked for, and quiet. Of the days around what is judged.
with

pieces as (

    select * from {{ ref('int_silent_pieces') }}

),

series as (

    select * from {{ ref('stg_ops__gap_series') }}

),

days as (

    select
        source,
        symbol,
        calendar,
        day.session_date
    from (
        select
            source,
            symbol,
            calendar,
            min(session_date) - 1 as first_date,
            max(session_date) + 1 as last_date
        from pieces
        group by source, symbol, calendar
    ) as spans
    cross join lateral (
        select distinct sessions.session_date
        from {{ ref('stg_ops__session') }} as sessions
        where
            sessions.calendar = spans.calendar
            and sessions.session_date between spans.first_date and spans.last_date
    ) as day

),

open_minutes as (

    select
        days.source,
        days.symbol,
        days.session_date,
        sum(
            extract(
                epoch from least(sessions.closes_at, series.last_candle + interval '1 minute')
                - greatest(sessions.opens_at, series.first_candle)
            )
        )::bigint / 60 as minutes
    from days
    inner join series on days.source = series.source and days.symbol = series.symbol
    inner join {{ ref('stg_ops__session') }} as sessions
        on
            days.calendar = sessions.calendar
            and days.session_date = sessions.session_date
            and series.last_candle >= sessions.opens_at
            and series.first_candle < sessions.closes_at
    group by days.source, days.symbol, days.session_date

),

silent_minutes as (

    select
        source,
        symbol,
        session_date,
        sum(minutes) filter (where reason in ('silent', 'unasked')) as quiet,
        sum(minutes) filter (where reason not in ('silent', 'unasked')) as known
    from pieces
    where not is_trailing
    group by source, symbol, session_date

)

select
    open_minutes.source,
    open_minutes.symbol,
    open_minutes.session_date,
    open_minutes.minutes - coalesce(silent_minutes.known, 0) as asked_minutes,
    coalesce(silent_minutes.quiet, 0) as quiet_minutes
from open_minutes
left join silent_minutes
    on
        open_minutes.source = silent_minutes.source
        and open_minutes.symbol = silent_minutes.symbol
        and open_minutes.session_date = silent_minutes.session_date
