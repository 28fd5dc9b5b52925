{{
    config(
        materialized='incremental',
        incremental_strategy='replace',
        post_hook='analyze {{ this }}'
    )
}}

-- depends_on: {{ ref('stg_ops__watermark') }}

-- The minutes that this batch touches. A table, because every later model asks for it, with statistics for the
-- planner. Emptied when the batch is closed; while it is open (a build died) what was found stays, because a candle
-- becomes final only once.
with

quote_minutes as (

    select distinct
        source,
        symbol,
        {{ candle_of('event_time') }} as candle_start
    from {{ ref('int_quotes__unioned') }}
    where is_accepted and {{ in_batch() }}

),

trade_minutes as (

    select distinct
        source,
        symbol,
        {{ candle_of('event_time') }} as candle_start
    from {{ ref('int_trades__unioned') }}
    where is_accepted and {{ in_batch() }}

),

bar_minutes as (

    select distinct
        source,
        symbol,
        {{ candle_of('event_time') }} as candle_start
    from {{ ref('int_bars__unioned') }}
    where is_accepted and resolution = '1m' and {{ in_batch() }}

),

-- quotes in the very next minute change with it anyway: only gaps need a look
before_gaps as (

    select
        source,
        symbol,
        candle_start + interval '1 minute' as minute_after
    from quote_minutes
    except
    select
        source,
        symbol,
        candle_start
    from quote_minutes

),

-- the volume of a quote candle is the day's volume since the quote before it: the next candle of that day changes as
-- well
following_minutes as (

    select
        before_gaps.source,
        before_gaps.symbol,
        {{ candle_of('next_quote.event_time') }} as candle_start
    from before_gaps
    cross join lateral (
        select quotes.event_time
        from {{ ref('int_quotes__unioned') }} as quotes
        where
            quotes.is_accepted
            and quotes.symbol = before_gaps.symbol
            and quotes.source = before_gaps.source
            and quotes.event_time >= before_gaps.minute_after
            and quotes.event_time < {{ utc_day("before_gaps.minute_after - interval '1 minute'") }} + interval '1 day'
        order by quotes.event_time
        limit 1
    ) as next_quote

),

final_minutes as (

    {{ minutes_final_now() }}

),

combined as (

    select * from quote_minutes
    union
    select * from trade_minutes
    union
    select * from bar_minutes
    union
    select * from following_minutes
    union
    select * from final_minutes
    {% if is_incremental() -%}
    union
    select
        source,
        symbol,
        candle_start
    from {{ this }}
    {%- endif %}

)

select * from combined
