{{
    config(
        materialized='incremental',
        incremental_strategy='respan',
        on_schema_change='fail',
        full_refresh=false,
        tags=['on_demand'],
        indexes=[
            {'columns': ['source', 'symbol', 'part_start'], 'unique': true},
            {'columns': ['source', 'symbol', 'run_end']},
        ],
        post_hook='analyze {{ this }}'
    )
}}

-- What lies between two candles of a series that follow each other but not at once: whole minutes without a candle, the
-- parts of them in which the exchange was open. Whether that is a gap is not said here.
with

spans as (

    select * from {{ ref('stg_ops__gap_span') }}

),

series as (

    select * from {{ ref('stg_ops__gap_series') }}

),

sessions as (

    select * from {{ ref('stg_ops__session') }}

),

in_spans as (

    select
        spans.source,
        spans.symbol,
        spans.from_at,
        in_span.candle_start,
        in_span.basis
    from spans
    cross join lateral (
        select
            kept.candle_start,
            kept.basis
        from {{ ref('candles_1m') }} as kept
        where
            kept.symbol = spans.symbol
            and kept.source = spans.source
            and kept.candle_start >= spans.from_at
            and kept.candle_start <= spans.until_at
        offset 0
    ) as in_span

),

candles as (

    select
        source,
        symbol,
        candle_start + interval '1 minute' as run_start,
        lead(candle_start) over in_time as run_end,
        basis = 'quote' and lead(basis) over in_time = 'quote' as is_quoted
    from in_spans
    window in_time as (partition by source, symbol, from_at order by candle_start)

),

runs as (

    select
        candles.*,
        series.calendar
    from candles
    inner join series on candles.source = series.source and candles.symbol = series.symbol
    where candles.run_end > candles.run_start

),

-- no session is longer than a day, so those that a run meets begin a day before it at the earliest
in_sessions as (

    select
        runs.source,
        runs.symbol,
        sessions.session_date,
        greatest(runs.run_start, sessions.opens_at) as part_start,
        least(runs.run_end, sessions.closes_at) as part_end,
        runs.run_start,
        runs.run_end,
        runs.is_quoted
    from runs
    inner join sessions
        on
            runs.calendar = sessions.calendar
            and sessions.opens_at > runs.run_start - interval '1 day'
            and runs.run_end > sessions.opens_at
            and runs.run_start < sessions.closes_at

)

select * from in_sessions
