{# The start of the first whole minute that begins at a time or after it. #}
{% macro whole_minute_from(time) -%}
    {{ candle_of(time ~ " + interval '1 minute' - interval '1 microsecond'") }}
{%- endmacro %}
