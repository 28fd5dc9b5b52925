{# The columns of a candle with its prices and volume as if every later split and dividend had been before it. #}
{% macro adjusted_columns() -%}
    {%- set price_factor = 'coalesce(adjustments.split_factor * adjustments.dividend_factor, 1)' -%}
    {%- for name in ['open', 'high', 'low', 'close'] -%}
    candles.{{ name }}::double precision * {{ price_factor }} as {{ name }},
    {% endfor -%}
    candles.volume::double precision / coalesce(adjustments.split_factor, 1) as volume,
    candles.vwap::double precision * {{ price_factor }} as vwap,
    candles.trade_count,
    candles.basis,
    candles.is_final,
    coalesce(adjustments.split_factor, 1) as split_factor,
    coalesce(adjustments.dividend_factor, 1) as dividend_factor
{%- endmacro %}
