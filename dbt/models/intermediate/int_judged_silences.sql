{{
    config(
        materialized='incremental',
        incremental_strategy='replace',
        on_schema_change='fail',
        full_refresh=false,
        tags=['on_demand'],
        post_hook='analyze {{ this }}'
    )
}}

-- The silences that this search judges, whole runs of them, and as context what lies two days around them. Minutes that
-- may still come are left out: beyond the source's watermark, or in a load that is not transformed yet.
with

scope as (

    select * from {{ ref('stg_ops__gap_scope') }}

),

series as (

    select * from {{ ref('stg_ops__gap_series') }}

),

silences as (

    select
        kept.*,
        false as is_trailing
    from {{ ref('int_silences') }} as kept

    union all

    select
        last_silences.*,
        true as is_trailing
    from {{ ref('int_trailing_silences') }} as last_silences

),

in_series as (

    select
        series.*,
        scope.from_at,
        scope.until_at
    from scope
    inner join series on scope.source = series.source and scope.calendar = series.calendar

),

hulls as (

    select
        in_series.source,
        in_series.calendar,
        in_series.from_at,
        in_series.until_at,
        least(min(silences.run_start), in_series.from_at) - interval '2 days' as context_from,
        greatest(max(silences.run_end), in_series.until_at) + interval '2 days' as context_until
    from in_series
    inner join silences
        on
            in_series.source = silences.source
            and in_series.symbol = silences.symbol
            and in_series.from_at < silences.run_end
            and in_series.until_at > silences.run_start
    group by in_series.source, in_series.calendar, in_series.from_at, in_series.until_at

),

looked_at as (

    select
        silences.*,
        series.calendar,
        bool_and(silences.run_end <= hulls.from_at or silences.run_start >= hulls.until_at) as is_context
    from hulls
    inner join series on hulls.source = series.source and hulls.calendar = series.calendar
    inner join silences
        on
            series.source = silences.source
            and series.symbol = silences.symbol
            and hulls.context_from < silences.run_end
            and hulls.context_until > silences.run_start
    group by
        silences.source, silences.symbol, silences.session_date, silences.part_start, silences.part_end,
        silences.run_start, silences.run_end, silences.is_quoted, silences.is_trailing, series.calendar

),

on_the_way as (

    select coalesce(range_agg(tstzrange(first_event_at, last_event_at, '[]')), '{}') as spans
    from {{ ref('stg_ops__load') }}
    where state in ('landed', 'accepted')

),

complete as (

    select
        looked_at.*,
        unnest(
            tstzmultirange(tstzrange(looked_at.part_start, looked_at.part_end))
            - on_the_way.spans
            - case
                when looked_at.is_trailing or watermarks.complete_until is null then tstzmultirange()
                else tstzmultirange(tstzrange(watermarks.complete_until, null))
            end
        ) as part
    from looked_at
    cross join on_the_way
    left join {{ ref('stg_ops__watermark') }} as watermarks on looked_at.source = watermarks.source

)

select
    source,
    symbol,
    calendar,
    session_date,
    {{ whole_minute_from('lower(part)') }} as part_start,
    {{ candle_of('upper(part)') }} as part_end,
    run_start,
    run_end,
    is_quoted,
    is_trailing,
    is_context
from complete
where {{ candle_of('upper(part)') }} > {{ whole_minute_from('lower(part)') }}
