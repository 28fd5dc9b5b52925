{#
    The candles of `relation` from the first changed one of each symbol on, by the CTE `changed` (symbol, from_candle); all
    candles on a full refresh. Each symbol is looked up by index.
#}
{% macro rows_of_symbols(relation) -%}
    {% if is_incremental() -%}
    changed
    cross join lateral (
        select changed_rows.*
        from {{ relation }} as changed_rows
        where
            changed_rows.symbol = changed.symbol
            and changed_rows.candle_start >= changed.from_candle
        offset 0
    ) as in_series
    {%- else -%}
    {{ relation }} as in_series
    {%- endif %}
{%- endmacro %}
