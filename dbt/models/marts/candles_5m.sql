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

{% if is_incremental() %}
-- the candles that the changed minutes lie in, and those that have become final meanwhile
to_be_made as (

    {{ changed_ranges(minutes=5) }}

    union all

    select
        kept.source,
        kept.symbol,
        kept.candle_start as from_candle,
        kept.candle_start + interval '5 minutes' as until_candle
    from {{ this }} as kept
    inner join watermarks on kept.source = watermarks.source
    where not kept.is_final and kept.candle_start + interval '5 minutes' <= watermarks.complete_until

),

changed as (

    {{ islands('to_be_made', ['source', 'symbol']) }}

),
{% endif %}

minutes as (

    select
        in_range.*,
        {{ candle_of('in_range.candle_start', 5) }} as five_minutes
    from {{ rows_of_ranges(ref('candles_1m'), 'candle_start') }}

),

combined as (

    select
        symbol,
        source,
        five_minutes as candle_start,
        (array_agg(open order by candle_start))[1] as open,
        max(high) as high,
        min(low) as low,
        (array_agg(close order by candle_start desc))[1] as close,
        sum(volume) as volume,
        sum(vwap * volume) / nullif(sum(volume) filter (where vwap is not null), 0) as vwap,
        sum(trade_count)::bigint as trade_count,
        -- the weakest of its minutes
        (array['trade', 'bar', 'quote'])[
            max(case basis when 'trade' then 1 when 'bar' then 2 else 3 end)
        ] as basis
    from minutes
    group by symbol, source, five_minutes

)

select
    combined.symbol,
    combined.source,
    combined.candle_start,
    combined.open,
    combined.high,
    combined.low,
    combined.close,
    trim_scale(combined.volume) as volume,
    trim_scale(combined.vwap) as vwap,
    combined.trade_count,
    combined.basis,
    coalesce(combined.candle_start + interval '5 minutes' <= watermarks.complete_until, false) as is_final
from combined
left join watermarks on combined.source = watermarks.source
