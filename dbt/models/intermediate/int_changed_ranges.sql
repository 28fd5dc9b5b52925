{{
    config(
        materialized='incremental',
        incremental_strategy='replace',
        post_hook='analyze {{ this }}'
    )
}}

{%- set before = minutes_of_before() %}

-- depends_on: {{ ref('stg_ops__watermark') }}
-- depends_on: {{ ref('stg_ops__set_aside') }}

-- The minutes that this batch touches, as ranges. A table, because every later model asks for it, with statistics for
-- the planner. Emptied when the batch is closed; while it is open (a build died) what was found stays, because a candle
-- becomes final only once.
with

quote_ranges as (

    {{ batch_ranges(ref('int_quotes__unioned')) }}

),

trade_ranges as (

    {{ batch_ranges(ref('int_trades__unioned')) }}

),

bar_minutes as (

    select
        source,
        symbol,
        {{ candle_of('event_time') }} as from_candle
    from {{ ref('int_bars__unioned') }}
    where is_accepted and resolution = '1m' and {{ in_batch() }}

),

-- the volume of a quote candle is the day's volume since the quote before it: the next candle of that day changes as
-- well
following_minutes as (

    select
        quote_ranges.source,
        quote_ranges.symbol,
        {{ candle_of('next_quote.event_time') }} as from_candle
    from quote_ranges
    cross join lateral (
        select quotes.event_time
        from {{ ref('int_quotes__unioned') }} as quotes
        where
            quotes.is_accepted
            and quotes.symbol = quote_ranges.symbol
            and quotes.source = quote_ranges.source
            and quotes.event_time >= quote_ranges.until_candle
            and quotes.event_time < {{ utc_day("quote_ranges.until_candle - interval '1 minute'") }} + interval '1 day'
            -- what waits for a batch of its own has no candle yet
            and not exists (
                select loads.load_id
                from {{ ref('stg_ops__load') }} as loads
                where loads.load_id = quotes.load_id and loads.state = 'accepted'
            )
        order by quotes.event_time
        limit 1
    ) as next_quote

),

final_minutes as (

    {{ minutes_final_now() }}

),

single_minutes as (

    select * from bar_minutes
    union all
    select * from following_minutes
    union all
    select * from final_minutes

),

combined as (

    select * from quote_ranges
    union all
    select * from trade_ranges
    union all
    select
        *,
        from_candle + interval '1 minute' as until_candle
    from single_minutes
    {% if is_incremental() -%}
    union all
    select
        source,
        symbol,
        from_candle,
        until_candle
    from {{ this }}
    {%- elif before %}
    union all
    select
        source,
        symbol,
        candle_start as from_candle,
        candle_start + interval '1 minute' as until_candle
    from {{ before }}
    {%- endif %}

)

{{ islands('combined', ['source', 'symbol']) }}
