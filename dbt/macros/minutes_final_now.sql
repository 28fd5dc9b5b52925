{#
    The minutes of candles that were not final in the last build and are complete by now. Reads marts.candles_1m as that build
    left it, and so not by ref(): the candles are made after, and out of, the model that asks. Before the first build and on a
    full refresh there are none. Those of a slice of history that was set aside wait for it.
#}
{% macro minutes_final_now() -%}
    {%- set candles = none -%}
    {%- if execute and not should_full_refresh() -%}
    {%- set candles = adapter.get_relation(this.database, 'marts', 'candles_1m') -%}
    {%- endif -%}
    select
        kept.source,
        kept.symbol,
        kept.candle_start as from_candle
    {% if candles -%}
    from {{ candles }} as kept
    inner join {{ ref('stg_ops__watermark') }} as watermarks on kept.source = watermarks.source
    where
        not kept.is_final and kept.candle_start + interval '1 minute' <= watermarks.complete_until
        and not exists (
            select from {{ ref('stg_ops__set_aside') }} as set_aside
            where
                set_aside.source = kept.source and set_aside.symbol = kept.symbol
                and kept.candle_start >= set_aside.from_candle and kept.candle_start < set_aside.until_candle
        )
    {%- else -%}
    from (select null::text as source, null::text as symbol, null::timestamptz as candle_start) as kept
    where false
    {%- endif %}
{%- endmacro %}
