{#
    Candles of `minutes` minutes, made of the shorter ones in `parts`: those that the changed minutes lie in, and those that have
    become final meanwhile. `priced_volume`: what a part's vwap is weighted by.
#}
{% macro candles_of_candles(parts, minutes, priced_volume='priced_volume') %}
with

watermarks as (

    select * from {{ ref('stg_ops__watermark') }}

),

{% if is_incremental() %}
to_be_made as (

    {{ changed_ranges(minutes=minutes) }}

    union all

    select
        kept.source,
        kept.symbol,
        kept.candle_start as from_candle,
        kept.candle_start + interval '{{ minutes }} minutes' as until_candle
    from {{ this }} as kept
    inner join watermarks on kept.source = watermarks.source
    where
        not kept.is_final
        and kept.candle_start + interval '{{ minutes }} minutes' <= watermarks.complete_until

),

changed as (

    {{ islands('to_be_made', ['source', 'symbol']) }}

),
{% endif %}

parts as (

    select
        in_range.*,
        {{ candle_of('in_range.candle_start', minutes) }} as whole_start
    from {{ rows_of_ranges(parts, 'candle_start') }}

),

combined as (

    select
        symbol,
        source,
        whole_start,
        {{ combined_candles(priced_volume) }}
    from parts
    group by symbol, source, whole_start

)

select
    combined.symbol,
    combined.source,
    combined.whole_start as candle_start,
    combined.open,
    combined.high,
    combined.low,
    combined.close,
    combined.volume,
    combined.vwap,
    combined.priced_volume,
    combined.trade_count,
    combined.basis,
    coalesce(
        combined.whole_start + interval '{{ minutes }} minutes' <= watermarks.complete_until, false
    ) as is_final
from combined
left join watermarks on combined.source = watermarks.source
{% endmacro %}
