-- A row here is a candle whose indicators are missing, or made of another close than that of the best candle there is.
with

compared as (

    select * from ({{ candles_and_indicators(ref('indicators_1m'), ref('candles_1m'), minutes=1) }}) as of_1m
    union all
    select * from ({{ candles_and_indicators(ref('indicators_5m'), ref('candles_5m'), minutes=5) }}) as of_5m
    union all
    select * from ({{ candles_and_indicators(ref('indicators_15m'), ref('candles_15m'), minutes=15) }}) as of_15m
    union all
    select * from ({{ candles_and_indicators(ref('indicators_1h'), ref('candles_1h'), minutes=60) }}) as of_1h
    union all
    select * from ({{ candles_and_indicators(ref('indicators_1d'), ref('candles_1d'), minutes=1440) }}) as of_1d

)

select * from compared
where
    (candle_start, source, close, is_final)
    is distinct from
    (candle_of_indicators, source_of_indicators, close_of_indicators, is_final_of_indicators)
