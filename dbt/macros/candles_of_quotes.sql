{#
    Candles of one minute out of the quotes of the changed ranges. Their volume is how much the day's volume grew since the last
    quote before the candle: that of the minute before, else it is looked up.
#}
{% macro candles_of_quotes() %}
    with grouped as (
        select
            symbol,
            source,
            minute as candle_start,
            array_agg(price order by event_time) as prices,
            max(price) as high,
            min(price) as low,
            (array_agg(day_volume order by event_time desc))[1] as day_volume,
            (array_agg(previous_close order by event_time desc))[1] as previous_close
        from (
            select
                in_range.*,
                {{ candle_of('in_range.event_time') }} as minute
            from {{ rows_of_ranges(ref('quotes'), 'event_time') }}
        ) as quotes
        group by symbol, source, minute
    ),

    ordered as (
        select
            *,
            {{ utc_day('candle_start') }} as day,
            lag(candle_start) over in_time = candle_start - interval '1 minute' as follows_a_minute,
            lag(day_volume) over in_time as day_volume_before
        from grouped
        window in_time as (partition by symbol, source order by candle_start)
    ),

    measured as (
        select
            ordered.*,
            ordered.day_volume - case
                when ordered.candle_start = ordered.day then null
                when ordered.follows_a_minute then ordered.day_volume_before
                else earlier.day_volume
            end as increase
        from ordered
        left join lateral (
            select quotes.day_volume
            from {{ ref('quotes') }} as quotes
            where
                ordered.follows_a_minute is not true
                and quotes.symbol = ordered.symbol
                and quotes.source = ordered.source
                and quotes.event_time < ordered.candle_start
                and quotes.event_time >= ordered.day
            order by quotes.event_time desc
            limit 1
        ) as earlier on true
    )

    select
        3 as precedence,
        symbol,
        source,
        candle_start,
        prices[1] as open,
        high,
        low,
        prices[cardinality(prices)] as close,
        -- a day's volume that goes down was reset: how much was traded is not known
        case when increase >= 0 then increase end as volume,
        null::numeric as vwap,
        null::bigint as trade_count,
        null::text as session,
        previous_close,
        null::timestamptz as event_time,
        null::text as vendor_id,
        null::timestamptz as received_at,
        null::uuid as payload_hash
    from measured
{% endmacro %}
