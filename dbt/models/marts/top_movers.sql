with

newest as (

    select
        instruments.asset_class,
        latest.*
    from {{ ref('instruments') }} as instruments
    cross join lateral (
        select
            candles.symbol,
            candles.candle_start,
            candles.source,
            candles.close,
            candles.is_final,
            candles.change_percent
        from {{ ref('indicators_1m') }} as candles
        where candles.symbol = instruments.symbol
        order by candles.candle_start desc
        limit 1
    ) as latest

),

compared as (

    select
        newest.*,
        (newest.close / nullif(hour_before.close, 0) - 1) * 100 as change_1h,
        (newest.close / nullif(day_before.close, 0) - 1) * 100 as change_24h,
        max(newest.candle_start) over () - newest.candle_start as age
    from newest
    left join lateral (
        select candles.close
        from {{ ref('indicators_1m') }} as candles
        where candles.symbol = newest.symbol and candles.candle_start <= newest.candle_start - interval '1 hour'
        order by candles.candle_start desc
        limit 1
    ) as hour_before on true
    left join lateral (
        select candles.close
        from {{ ref('indicators_1m') }} as candles
        where candles.symbol = newest.symbol and candles.candle_start <= newest.candle_start - interval '24 hours'
        order by candles.candle_start desc
        limit 1
    ) as day_before on true

)

select
    symbol,
    asset_class,
    source,
    candle_start,
    close,
    is_final,
    age,
    change_1h,
    change_24h,
    change_percent as change_session,
    case when change_1h is not null then rank() over (order by abs(change_1h) desc nulls last) end as rank_1h,
    case when change_24h is not null then rank() over (order by abs(change_24h) desc nulls last) end as rank_24h,
    case when change_percent is not null then rank() over (order by abs(change_percent) desc nulls last) end
        as rank_session
from compared
