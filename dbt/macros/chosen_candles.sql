{#
    One candle per symbol and minute, from the first changed one of each symbol on: the first in the order of the instrument's
    sources among those that are final, so that a source which fell silent in the middle of a minute does not hold back the
    others; without a final one the first of all. Sources without a rank do not count. Numbers as double precision, as the
    indicators use them.
#}
{% macro chosen_candles() %}
    select distinct on (candles.symbol, candles.candle_start)
        candles.symbol,
        candles.candle_start,
        candles.source,
        ranks.rank > 1 as is_fallback,
        candles.close::double precision as close,
        candles.volume::double precision as volume,
        candles.is_final,
        candles.previous_close::double precision as vendor_previous_close
    from (select in_series.* from {{ rows_of_symbols(ref('candles_1m')) }}) as candles
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on candles.symbol = ranks.symbol and candles.source = ranks.source
    order by candles.symbol, candles.candle_start, candles.is_final desc, ranks.rank
{% endmacro %}
