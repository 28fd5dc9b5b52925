{# The minutes that hold this batch's events of `relation`, as ranges of each source and symbol. #}
{% macro batch_ranges(relation) -%}
    {%- set minutes %}(
        select distinct
            source,
            symbol,
            {{ candle_of('event_time') }} as from_candle,
            {{ candle_of('event_time') }} + interval '1 minute' as until_candle
        from {{ relation }}
        where is_accepted and {{ in_batch() }}
    ) as batch_minutes
    {%- endset -%}
    {{ islands(minutes, ['source', 'symbol']) }}
{%- endmacro %}
