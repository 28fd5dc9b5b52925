with

positions as (

    select
        positions.*,
        instruments.currency,
        latest.source,
        latest.candle_start,
        latest.close::numeric as price,
        latest.previous_close::numeric as previous_close
    from {{ ref('stg_ops__position') }} as positions
    left join {{ ref('instruments') }} as instruments on positions.symbol = instruments.symbol
    left join lateral (
        select
            candles.candle_start,
            candles.source,
            candles.close,
            candles.previous_close
        from {{ ref('indicators_1m') }} as candles
        where candles.symbol = positions.symbol
        order by candles.candle_start desc
        limit 1
    ) as latest on true

),

valued as (

    select
        *,
        quantity * price as value,
        quantity * (price - cost) as profit,
        quantity * (price - previous_close) as session_profit
    from positions

)

select
    portfolio,
    symbol,
    currency,
    quantity,
    cost,
    source,
    candle_start,
    price,
    trim_scale(value) as value,
    trim_scale(profit) as profit,
    ((price / nullif(cost, 0) - 1) * 100 * sign(quantity))::double precision as profit_percent,
    trim_scale(session_profit) as session_profit,
    (value / nullif(sum(abs(value)) over portfolio, 0))::double precision as weight,
    trim_scale(sum(value) over portfolio) as portfolio_value,
    trim_scale(sum(profit) over portfolio) as portfolio_profit
from valued
window portfolio as (partition by portfolio)
