{{
    config(
        materialized='incremental',
        incremental_strategy='replace',
        on_schema_change='fail',
        full_refresh=false,
        tags=['on_demand']
    )
}}

-- Runs of minutes that were silent (or not asked for) without a break; time in which the exchange is closed does not
-- count. Only runs that may be outages by their length, each with how often its series is quiet: the share of quiet
-- minutes on the days of the run, the day before and the day after. The run itself does not count, nor do others there
-- that are beyond chance themselves. The chance that so many minutes in a row are quiet is that rate to their power.
with

in_parts as (

    select
        *,
        dense_rank() over (partition by source, symbol, run_start order by part_start) as part_number
    from {{ ref('int_silent_pieces') }}
    where not is_trailing

),

pieces as (

    select
        *,
        -- the next part of a silence goes on where the last one stopped, unless something known lies between them
        coalesce(
            lag(part_number) over in_time + 1 = part_number
            and lag(piece_end) over in_time = lag(part_end) over in_time
            and piece_start = part_start,
            false
        ) as goes_on
    from in_parts
    where reason in ('silent', 'unasked')
    window in_time as (partition by source, symbol, run_start, reason order by piece_start)

),

numbered as (

    select
        *,
        count(*) filter (where not goes_on) over (partition by source, symbol order by run_start, reason, piece_start)
            as run_number
    from pieces

),

runs as (

    select
        source,
        symbol,
        calendar,
        reason,
        min(piece_start) as run_start,
        max(piece_end) as run_end,
        sum(minutes) as minutes,
        min(session_date) as first_date,
        max(session_date) as last_date,
        bool_and(is_context) as is_context
    from numbered
    group by source, symbol, calendar, run_number, reason
    having
        sum(minutes)
        >= case when bool_and(is_quoted) then {{ var('gap_quote_minutes') }} else {{ var('gap_minutes') }} end

),

surroundings as (

    select
        runs.*,
        sum(days.asked_minutes) - runs.minutes as other_minutes,
        sum(days.quiet_minutes) - runs.minutes as other_quiet
    from runs
    inner join {{ ref('int_silent_days') }} as days
        on
            runs.source = days.source
            and runs.symbol = days.symbol
            and days.session_date between runs.first_date - 1 and runs.last_date + 1
    group by
        runs.source, runs.symbol, runs.calendar, runs.reason, runs.run_start, runs.run_end, runs.minutes,
        runs.first_date, runs.last_date, runs.is_context

),

first_look as (

    select
        *,
        {{ log_chance('minutes', 'other_quiet', 'other_minutes') }} < {{ log_of_gap_chance() }} as is_sure
    from surroundings

),

second_look as (

    select
        looked.*,
        looked.other_quiet - coalesce(sum(sure.minutes), 0) as quiet_around,
        looked.other_minutes - coalesce(sum(sure.minutes), 0) as minutes_around
    from first_look as looked
    left join first_look as sure
        on
            sure.is_sure
            and looked.source = sure.source
            and looked.symbol = sure.symbol
            and looked.run_start <> sure.run_start
            and sure.last_date >= looked.first_date - 1
            and sure.first_date <= looked.last_date + 1
    group by
        looked.source, looked.symbol, looked.calendar, looked.reason, looked.run_start, looked.run_end, looked.minutes,
        looked.first_date, looked.last_date, looked.is_context, looked.other_quiet, looked.other_minutes, looked.is_sure

)

select
    source,
    symbol,
    calendar,
    reason,
    run_start,
    run_end,
    minutes,
    first_date,
    last_date,
    is_context,
    {{ log_rate('quiet_around', 'minutes_around') }} as log_rate
from second_look
