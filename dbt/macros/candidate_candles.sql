{#
    The candles of the changed spans that may be the one of their minute. Sources without a rank do not count. Numbers as double
    precision, as the indicators use them.
#}
{% macro candidate_candles() %}
    select
        in_range.symbol,
        {{ 'changed.from_candle' if is_incremental() else "timestamptz '-infinity'" }} as span,
        {{ utc_day('in_range.candle_start') }} as day,
        in_range.candle_start,
        in_range.source,
        ranks.rank,
        in_range.close::double precision as close,
        in_range.volume::double precision as volume,
        in_range.is_final,
        in_range.previous_close::double precision as vendor_previous_close,
        true as is_changed
    from {{ rows_of_ranges(ref('candles_1m'), 'candle_start', source=false) }}
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on in_range.symbol = ranks.symbol and in_range.source = ranks.source
{% endmacro %}
