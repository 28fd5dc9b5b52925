{# The UTC day that a time falls in, whatever the session's time zone. #}
{% macro utc_day(time) -%}
    date_bin('1 day', {{ time }}, timestamptz '2000-01-01 00:00:00+00')
{%- endmacro %}
