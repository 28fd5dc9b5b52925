{#
    The minutes (source, symbol, candle_start) that a test looks at: those of this batch, or with `check: all` every one that has
    events.
#}
{% macro minutes_in_question() -%}
    {%- set changed, quotes, trades = ref('int_changed_minutes'), ref('quotes'), ref('trades') -%}
    {%- set bars = ref('int_bars__unioned') -%}
    {%- if var('check') == 'changed' -%}
    select * from {{ changed }}
    {%- else -%}
    select source, symbol, {{ candle_of('event_time') }} as candle_start from {{ quotes }}
    union
    select source, symbol, {{ candle_of('event_time') }} as candle_start from {{ trades }}
    union
    select source, symbol, {{ candle_of('event_time') }} as candle_start from {{ bars }}
    where is_accepted and resolution = '1m'
    {%- endif -%}
{%- endmacro %}
