{# Candles of one minute out of the trades of the changed minutes. #}
{% macro candles_of_trades() %}
    select
        'trade' as basis,
        symbol,
        source,
        minute as candle_start,
        (array_agg(price order by event_time, length(vendor_id), vendor_id collate "C"))[1] as open,
        max(price) as high,
        min(price) as low,
        (array_agg(price order by event_time, length(vendor_id), vendor_id collate "C"))[count(*)] as close,
        sum(size) as volume,
        sum(price * size) / nullif(sum(size), 0) as vwap,
        count(*) as trade_count,
        null::text as session,
        null::numeric as previous_close
    from (
        select
            in_candle.*,
            {{ candle_of('in_candle.event_time') }} as minute
        from {{ rows_of_candles(ref('trades'), 'event_time') }}
    ) as trades
    group by symbol, source, minute
{% endmacro %}
