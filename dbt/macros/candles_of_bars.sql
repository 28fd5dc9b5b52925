{# Candles of one minute as the vendor made them, in the changed ranges; several where a minute has several bars. #}
{% macro candles_of_bars() %}
    select
        2 as precedence,
        in_range.symbol,
        in_range.source,
        {{ candle_of('in_range.event_time') }} as candle_start,
        in_range.open,
        in_range.high,
        in_range.low,
        in_range.close,
        in_range.volume,
        in_range.vwap,
        in_range.trade_count,
        in_range.session,
        null::numeric as previous_close,
        in_range.event_time,
        in_range.vendor_id,
        in_range.received_at,
        in_range.payload_hash
    from {{ rows_of_ranges(ref('int_bars__unioned'), 'event_time', condition="is_accepted and resolution = '1m'") }}
{% endmacro %}
