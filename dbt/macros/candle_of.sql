{# The start of the candle of `minutes` that a time falls in; UTC, whatever the session's time zone. #}
{% macro candle_of(time, minutes=1) -%}
    date_bin('{{ minutes }} minutes', {{ time }}, timestamptz '2000-01-01 00:00:00+00')
{%- endmacro %}
