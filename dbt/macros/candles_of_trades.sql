{# Candles of one minute out of the trades of the changed ranges. #}
{% macro candles_of_trades() %}
    select
        1 as precedence,
        symbol,
        source,
        {{ candle_of('event_time') }} as candle_start,
        (array_agg(price order by event_time, length(vendor_id), vendor_id collate "C"))[1] as open,
        max(price) as high,
        min(price) as low,
        (array_agg(price order by event_time, length(vendor_id), vendor_id collate "C"))[count(*)] as close,
        sum(size) as volume,
        sum(price * size) / nullif(sum(size), 0) as vwap,
        count(*) as trade_count,
        null::text as session,
        null::numeric as previous_close,
        null::timestamptz as event_time,
        null::text as vendor_id,
        null::timestamptz as received_at,
        null::uuid as payload_hash
    from (
        select in_range.*
        from {{ rows_of_ranges(ref('trades'), 'event_time') }}
    ) as trades
    group by symbol, source, {{ candle_of('event_time') }}
{% endmacro %}
