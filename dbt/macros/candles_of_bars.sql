{# Candles of one minute as the vendor made them, in the changed minutes; of several bars of a minute the last one. #}
{% macro candles_of_bars() %}
    select distinct on (symbol, source, minute)
        'bar' as basis,
        symbol,
        source,
        minute as candle_start,
        open,
        high,
        low,
        close,
        volume,
        vwap,
        trade_count,
        session,
        null::numeric as previous_close
    from (
        select
            in_candle.*,
            {{ candle_of('in_candle.event_time') }} as minute
        from {{ rows_of_candles(ref('int_bars__unioned'), 'event_time', condition="is_accepted and resolution = '1m'") }}
    ) as bars
    order by
        symbol, source, minute, event_time desc, length(vendor_id) desc, vendor_id collate "C" desc,
        received_at desc, payload_hash desc
{% endmacro %}
