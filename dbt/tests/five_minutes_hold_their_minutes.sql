-- A row here is a candle of five minutes that disagrees with its minutes: it was not made again after one of them
-- changed.
with

changed as (

    select distinct
        source,
        symbol,
        {{ candle_of('candle_start', 5) }} as candle_start
    from ({{ minutes_in_question() }}) as minutes_in_question

),

summed as (

    select
        changed.*,
        minutes.*
    from changed
    cross join lateral (
        select
            max(kept.high) as high,
            min(kept.low) as low,
            sum(kept.volume) as volume
        from {{ ref('candles_1m') }} as kept
        where
            kept.symbol = changed.symbol
            and kept.candle_start >= changed.candle_start
            and kept.candle_start < changed.candle_start + interval '5 minutes'
            and kept.source = changed.source
    ) as minutes

)

select
    summed.*,
    candles.high as high_of_five,
    candles.low as low_of_five,
    candles.volume as volume_of_five
from summed
left join lateral (
    select kept.*
    from {{ ref('candles_5m') }} as kept
    where
        kept.symbol = summed.symbol
        and kept.candle_start = summed.candle_start
        and kept.source = summed.source
    offset 0
) as candles on true
where (summed.high, summed.low, summed.volume) is distinct from (candles.high, candles.low, candles.volume)
