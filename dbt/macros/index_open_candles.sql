{# An index over the candles that are not final yet, made once with the table: there are few, and every batch asks for them. #}
{% macro index_open_candles() -%}
    {% if execute and not is_incremental() -%}
    create index on {{ this }} (candle_start) where not is_final
    {%- endif %}
{%- endmacro %}
