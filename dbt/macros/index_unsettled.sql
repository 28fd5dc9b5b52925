{# An index over the candles that may yet be another one, made once with the table: there are few, and every batch asks for them. #}
{% macro index_unsettled() -%}
    {% if execute and not is_incremental() -%}
    create index on {{ this }} (candle_start) where not is_settled
    {%- endif %}
{%- endmacro %}
