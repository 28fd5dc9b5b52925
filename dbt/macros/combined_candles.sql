{#
    The columns of a candle that is made of shorter ones (the rows of a group), by their times. `priced_volume` is what a part's
    vwap is weighted by.
#}
{% macro combined_candles(priced_volume='priced_volume') -%}
    (array_agg(open order by candle_start))[1] as open,
    max(high) as high,
    min(low) as low,
    (array_agg(close order by candle_start desc))[1] as close,
    trim_scale(sum(volume)) as volume,
    trim_scale(sum(vwap * {{ priced_volume }}) / nullif(sum({{ priced_volume }}), 0)) as vwap,
    trim_scale(sum({{ priced_volume }})) as priced_volume,
    sum(trade_count)::bigint as trade_count,
    -- the weakest of its parts
    (array['trade', 'bar', 'quote'])[
        max(case basis when 'trade' then 1 when 'bar' then 2 else 3 end)
    ] as basis
{%- endmacro %}
