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

-- depends_on: {{ ref('int_changed_ranges') }}

with

candles as not materialized (

    select * from {{ ref('candles_1m') }}
    where is_final and {{ is_live('source') }}

),

{% if is_incremental() %}
-- the changed ranges in which two live sources or more have candles
changed as (

    select ranges.*
    from ({{ changed_ranges(keys=['symbol'], condition=is_live('source')) }}) as ranges
    where (
        select min(candles.source) < max(candles.source)
        from candles
        where
            candles.symbol = ranges.symbol
            and candles.candle_start >= ranges.from_candle
            and candles.candle_start < ranges.until_candle
    )

),
{% endif %}

closes as (

    select
        in_range.symbol,
        in_range.candle_start,
        in_range.source,
        in_range.close::double precision as close
    from {{ rows_of_ranges('candles', 'candle_start', source=false) }}

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
