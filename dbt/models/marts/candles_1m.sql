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

with

watermarks as (

    select * from {{ ref('stg_ops__watermark') }}

),

changed as (

    {{ changed_ranges() }}

),

combined as (

    select * from ({{ candles_of_trades() }}) as trade_candles
    union all
    select * from ({{ candles_of_bars() }}) as bar_candles
    union all
    select * from ({{ candles_of_quotes() }}) as quote_candles

),

-- trades before bars before quotes; of several bars of a minute the last one
chosen as (

    select distinct on (symbol, candle_start, source) *
    from combined
    order by
        symbol asc, candle_start asc, source asc, precedence asc,
        event_time desc, length(vendor_id) desc, vendor_id collate "C" desc, received_at desc, payload_hash desc

)

select
    chosen.symbol,
    chosen.source,
    chosen.candle_start,
    chosen.open,
    chosen.high,
    chosen.low,
    chosen.close,
    trim_scale(chosen.volume) as volume,
    trim_scale(chosen.vwap) as vwap,
    chosen.trade_count,
    (array['trade', 'bar', 'quote'])[chosen.precedence] as basis,
    chosen.session,
    chosen.previous_close,
    coalesce(chosen.candle_start + interval '1 minute' <= watermarks.complete_until, false) as is_final
from chosen
left join watermarks on chosen.source = watermarks.source
