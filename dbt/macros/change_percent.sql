{# How far a price is from the previous close, in percent; NULL without a previous close. #}
{% macro change_percent(price, previous_close) -%}
    trim_scale(round(({{ price }} / nullif({{ previous_close }}, 0) - 1) * 100, 10))
{%- endmacro %}
