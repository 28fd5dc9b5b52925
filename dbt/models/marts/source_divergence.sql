{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['symbol', 'candle_start', 'source'],
        on_schema_change='fail',
        indexes=[{'columns': ['symbol', 'candle_start', 'source'], 'unique': true}],
        post_hook="{{ fence() }}"
    )
}}

with

changed as (

    select distinct
        symbol,
        candle_start
    from {{ ref('int_changed_minutes') }}
    where {{ is_live('source') }}

),

candles as (

    select * from {{ ref('candles_1m') }}
    where is_final and {{ is_live('source') }}

),

closes as (

    select
        in_minute.symbol,
        in_minute.candle_start,
        in_minute.source,
        in_minute.close::double precision as close
    {% if is_incremental() -%}
    from changed
    inner join lateral (
        select candles.*
        from candles
        where candles.symbol = changed.symbol and candles.candle_start = changed.candle_start
        offset 0
    ) as in_minute on true
    {%- else -%}
    from candles as in_minute
    {%- endif %}

),

compared as (

    select
        closes.symbol,
        closes.candle_start,
        closes.source,
        closes.close,
        percentile_cont(0.5) within group (order by others.close) as reference,
        count(*) + 1 as source_count
    from closes
    inner join closes as others
        on
            closes.symbol = others.symbol
            and closes.candle_start = others.candle_start
            and closes.source <> others.source
    group by closes.symbol, closes.candle_start, closes.source, closes.close

),

measured as (

    select
        *,
        (close - reference) * 10000 / reference as divergence_basis_points
    from compared

)

select
    symbol,
    candle_start,
    source,
    close,
    reference,
    divergence_basis_points,
    source_count,
    abs(divergence_basis_points) > {{ var('divergence_basis_points') }} as is_flagged
from measured
