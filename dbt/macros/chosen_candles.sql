{#
    One candle per symbol and minute, from the first changed one of each symbol on: of the primary source, else of the other
    sources by name. Numbers as double precision, as the indicators use them.
#}
{% macro chosen_candles() %}
    select distinct on (candles.symbol, candles.candle_start)
        candles.symbol,
        candles.candle_start,
        candles.source,
        candles.close::double precision as close,
        candles.volume::double precision as volume,
        candles.is_final,
        candles.previous_close::double precision as vendor_previous_close
    from (select in_series.* from {{ rows_of_symbols(ref('candles_1m')) }}) as candles
    left join {{ ref('instruments') }} as instruments on candles.symbol = instruments.symbol
    order by
        candles.symbol, candles.candle_start,
        coalesce(candles.source = instruments.primary_source, false) desc, candles.source collate "C"
{% endmacro %}
