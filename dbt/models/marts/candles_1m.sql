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

    select * from {{ ref('int_changed_minutes') }}

),

combined as (

    select
        1 as precedence,
        trade_candles.*
    from ({{ candles_of_trades() }}) as trade_candles

    union all

    select
        2 as precedence,
        bar_candles.*
    from ({{ candles_of_bars() }}) as bar_candles

    union all

    select
        3 as precedence,
        quote_candles.*
    from ({{ candles_of_quotes() }}) as quote_candles

),

chosen as (

    select distinct on (symbol, candle_start, source) *
    from combined
    order by symbol, candle_start, source, precedence

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
    chosen.basis,
    chosen.session,
    chosen.previous_close,
    coalesce(chosen.candle_start + interval '1 minute' <= watermarks.complete_until, false) as is_final
from chosen
left join watermarks on chosen.source = watermarks.source
