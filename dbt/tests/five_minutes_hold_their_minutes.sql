-- A row here is a candle of five minutes that disagrees with its minutes: it was not made again after one of them
-- changed.
with

changed as (

    {{ changed_ranges(minutes=5) }}

),

summed as (

    select
        symbol,
        source,
        {{ candle_of('candle_start', 5) }} as candle_start,
        max(high) as high,
        min(low) as low,
        sum(volume) as volume
    from ({{ rows_in_question(ref('candles_1m'), 'candle_start') }}) as minutes
    group by symbol, source, {{ candle_of('candle_start', 5) }}

),

candles as (

    {{ rows_in_question(ref('candles_5m'), 'candle_start') }}

)

select
    summed.*,
    candles.candle_start as candle_of_five,
    candles.high as high_of_five,
    candles.low as low_of_five,
    candles.volume as volume_of_five
from summed
full outer join candles
    on
        summed.symbol = candles.symbol
        and summed.source = candles.source
        and summed.candle_start = candles.candle_start
where
    (summed.candle_start, summed.high, summed.low, summed.volume)
    is distinct from
    (candles.candle_start, candles.high, candles.low, candles.volume)
