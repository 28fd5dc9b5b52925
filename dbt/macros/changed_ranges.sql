{#
    The ranges (of `keys`) that hold all changed candles of `minutes` minutes (those of the sources that fulfil `condition`), to
    be read by one scan each. Those a few minutes
    apart are one: to make an unchanged candle again changes nothing, and a market with every other minute absent would
    be looked up minute by minute.
#}
{% macro changed_ranges(keys=['source', 'symbol'], minutes=1, condition='true') -%}
    {%- set whole %}(
        select
            source,
            symbol,
            {{ candle_of('from_candle', minutes) }} as from_candle,
            {{ candle_of("until_candle - interval '1 minute'", minutes) }} + interval '{{ minutes }} minutes' as until_candle
        from {{ ref('int_changed_ranges') }}
        where {{ condition }}
    ) as changed_ranges
    {%- endset -%}
    {{ islands(whole, keys, gap=5) }}
{%- endmacro %}
