-- A row here is a candle of a higher resolution that disagrees with the shorter ones it is made of, or is missing, or
-- is made of none: it was not made again after one of them changed; or one whose open or close lies outside of it.
with

compared as (

    select * from ({{ parts_and_wholes(ref('candles_5m'), ref('candles_1m'), minutes=5) }}) as of_5m
    union all
    select * from ({{ parts_and_wholes(ref('candles_15m'), ref('candles_5m'), minutes=15) }}) as of_15m
    union all
    select * from ({{ parts_and_wholes(ref('candles_1h'), ref('candles_15m'), minutes=60) }}) as of_1h
    union all
    select * from ({{ parts_and_days(ref('candles_1d'), ref('candles_5m')) }}) as of_1d

)

select * from compared
where
    (start_of_parts, high_of_parts, low_of_parts, volume_of_parts, trade_count_of_parts)
    is distinct from
    (candle_start, high, low, volume, trade_count)
    or open not between low and high
    or close not between low and high
