{#
    What a walk keeps with each candle, to go on from there: the function's word for it, the column's name, its type.
#}
{% macro kept_state() -%}
    {%- set wilder = var('wilder_window') -%}
    {{ return([
        ('candle_number', 'candle_number', 'integer'),
        ('ema_fast', 'ema_' ~ var('macd_fast'), 'double precision'),
        ('ema_slow', 'ema_' ~ var('macd_slow'), 'double precision'),
        ('macd_signal', 'macd_signal', 'double precision'),
        ('average_gain', 'average_gain_' ~ wilder, 'double precision'),
        ('average_loss', 'average_loss_' ~ wilder, 'double precision'),
        ('atr', 'atr_' ~ wilder, 'double precision'),
        ('smoothed_range', 'smoothed_range_' ~ wilder, 'double precision'),
        ('smoothed_plus', 'smoothed_plus_' ~ wilder, 'double precision'),
        ('smoothed_minus', 'smoothed_minus_' ~ wilder, 'double precision'),
        ('adx', 'adx_' ~ wilder, 'double precision'),
        ('session_start', 'session_start', 'timestamptz'),
        ('session_value', 'session_value', 'double precision'),
        ('session_volume', 'session_volume', 'double precision'),
        ('obv', 'obv', 'double precision'),
        ('running_high', 'running_high', 'double precision')
    ]) }}
{%- endmacro %}

{# How many candles after the first one every state is there. #}
{% macro settled_after() -%}
    {{ return([var('macd_slow') + var('macd_signal'), 2 * var('wilder_window') + 1] | max) }}
{%- endmacro %}

{% macro kept_columns(kept) -%}
    {{ kept }}.source,
    {{ kept }}.is_fallback,
    {{ kept }}.is_final,
    {{ kept }}.is_settled,
    {{ kept }}.high,
    {{ kept }}.low,
    {{ kept }}.close,
    {{ kept }}.volume,
    {{ kept }}.previous_close as reference_close
    {%- for name, column, _ in kept_state() %},
    {{ kept }}.{{ column }} as {{ name }}
    {%- endfor %}
{%- endmacro %}
