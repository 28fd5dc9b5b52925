{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['symbol', 'candle_start', 'source'],
        on_schema_change='fail',
        indexes=[{'columns': ['symbol', 'candle_start', 'source'], 'unique': true}],
        post_hook=["{{ index_open_candles() }}", "{{ fence() }}"]
    )
}}

-- depends_on: {{ ref('int_changed_ranges') }}

with

watermarks as (

    select * from {{ ref('stg_ops__watermark') }}

),

touched as (

    {% if is_incremental() -%}
    select
        source,
        symbol,
        from_candle,
        until_candle
    from {{ ref('int_changed_ranges') }}

    union all

    -- the days that have become final meanwhile
    select
        kept.source,
        kept.symbol,
        kept.candle_start as from_candle,
        kept.candle_start + interval '1 minute' as until_candle
    from {{ this }} as kept
    inner join watermarks on kept.source = watermarks.source
    inner join {{ ref('stg_ops__instrument') }} as instruments on kept.symbol = instruments.symbol
    where
        not kept.is_final
        and watermarks.complete_until >= case
            when {{ is_around_the_clock('instruments.calendar') }} then kept.candle_start + interval '1 day'
            else (
                select max(sessions.closes_at)
                from {{ ref('stg_ops__session') }} as sessions
                where sessions.calendar = instruments.calendar and sessions.session_date = kept.session_date
            )
        end
    {%- else -%}
    select
        source,
        symbol,
        min(candle_start) as from_candle,
        max(candle_start) + interval '5 minutes' as until_candle
    from {{ ref('candles_5m') }}
    group by source, symbol
    {%- endif %}

),

changed as (

    {{ days_of_ranges('touched') }}

),

parts as (

    select
        in_range.*,
        changed.session_date,
        changed.day_start,
        changed.day_end
    from {{ rows_of_ranges(ref('candles_5m'), 'candle_start', ranges=true) }}

),

combined as (

    select
        symbol,
        source,
        session_date,
        day_start,
        day_end,
        {{ combined_candles() }}
    from parts
    group by symbol, source, session_date, day_start, day_end

)

select
    combined.symbol,
    combined.source,
    combined.day_start as candle_start,
    combined.session_date,
    combined.open,
    combined.high,
    combined.low,
    combined.close,
    combined.volume,
    combined.vwap,
    combined.priced_volume,
    combined.trade_count,
    combined.basis,
    coalesce(combined.day_end <= watermarks.complete_until, false) as is_final
from combined
left join watermarks on combined.source = watermarks.source
