-- Times in which a source was silent as a whole: each of its series of one calendar that was asked for and had candles
-- around it. Beyond chance by the product of the series' own chances, which no series need be alone.
with

runs as (

    select * from {{ ref('int_silent_runs') }}
    where minutes >= {{ var('gap_minutes') }}

),

series as (

    select * from {{ ref('stg_ops__gap_series') }}

),

edges as (

    select
        source,
        calendar,
        at as edge_start,
        lead(at) over (partition by source, calendar order by at) as edge_end
    from (
        select
            source,
            calendar,
            run_start as at
        from runs
        where reason = 'silent'
        union
        select
            source,
            calendar,
            run_end as at
        from runs
        where reason = 'silent'
    ) as points

),

silent as (

    select
        edges.source,
        edges.calendar,
        edges.edge_start,
        edges.edge_end,
        count(*) as silent_count,
        sum(runs.log_rate) as log_rate
    from edges
    inner join runs
        on
            edges.source = runs.source
            and edges.calendar = runs.calendar
            and runs.reason = 'silent'
            and edges.edge_start >= runs.run_start
            and edges.edge_end <= runs.run_end
    group by edges.source, edges.calendar, edges.edge_start, edges.edge_end

),

-- a series that was not asked for, or has no candle a day before and after, says nothing about its source
shared as (

    select silent.*
    from silent
    where not exists (
        select 1
        from series
        where
            series.source = silent.source
            and series.calendar = silent.calendar
            and series.first_candle < silent.edge_start
            and series.last_candle >= silent.edge_end
            and not exists (
                select 1
                from runs
                where
                    runs.source = series.source
                    and runs.symbol = series.symbol
                    and (
                        (runs.run_start <= silent.edge_start and runs.run_end >= silent.edge_end)
                        or (
                            runs.run_start <= silent.edge_start - interval '1 day'
                            and runs.run_end >= silent.edge_end + interval '1 day'
                        )
                    )
            )
    )

),

in_sessions as (

    select
        shared.source,
        shared.calendar,
        shared.edge_start,
        shared.edge_end,
        shared.log_rate,
        coalesce(
            sum(
                extract(
                    epoch from least(sessions.closes_at, shared.edge_end)
                    - greatest(sessions.opens_at, shared.edge_start)
                )
            ),
            0
        ) / 60 as minutes
    from shared
    left join {{ ref('stg_ops__session') }} as sessions
        on
            shared.calendar = sessions.calendar
            and sessions.opens_at > shared.edge_start - interval '1 day'
            and shared.edge_end > sessions.opens_at
            and shared.edge_start < sessions.closes_at
    group by shared.source, shared.calendar, shared.edge_start, shared.edge_end, shared.log_rate

),

numbered as (

    select
        *,
        sum(is_first) over (partition by source, calendar order by edge_start) as silence_number
    from (
        select
            *,
            case
                when lag(edge_end) over (partition by source, calendar order by edge_start) = edge_start then 0
                else 1
            end as is_first
        from in_sessions
    ) as edges_in_order

)

select
    source,
    calendar,
    min(edge_start) as silence_start,
    max(edge_end) as silence_end,
    sum(minutes) as minutes
from numbered
group by source, calendar, silence_number
having sum(minutes) >= {{ var('gap_minutes') }} and sum(minutes * log_rate) < {{ log_of_gap_chance() }}
