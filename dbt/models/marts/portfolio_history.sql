with

positions as (

    select * from {{ ref('stg_ops__position') }}

),

-- today's shares at the price of that day
closes as (

    select distinct on (candles.symbol, candles.session_date)
        candles.symbol,
        candles.session_date,
        candles.close / candles.dividend_factor as price
    from {{ ref('candles_1d_adjusted') }} as candles
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on candles.symbol = ranks.symbol and candles.source = ranks.source
    where candles.symbol in (select positions.symbol from positions)
    order by candles.symbol asc, candles.session_date asc, candles.is_final desc, ranks.rank asc

),

days as (

    select distinct
        positions.portfolio,
        closes.session_date
    from positions
    inner join closes on positions.symbol = closes.symbol

),

-- a day without a candle has the price of the day before
carried as (

    select
        positions.portfolio,
        positions.symbol,
        positions.quantity,
        positions.cost,
        days.session_date,
        closes.price,
        count(closes.price) over (
            partition by positions.portfolio, positions.symbol order by days.session_date
        ) as run
    from positions
    inner join days on positions.portfolio = days.portfolio
    left join closes on positions.symbol = closes.symbol and days.session_date = closes.session_date

),

priced as (

    select
        portfolio,
        symbol,
        session_date,
        quantity,
        cost,
        price is null as is_carried,
        max(price) over (partition by portfolio, symbol, run) as price
    from carried
    where run > 0

)

select
    portfolio,
    symbol,
    session_date,
    quantity,
    price,
    is_carried,
    quantity::double precision * price as value,
    quantity::double precision * (price - cost::double precision) as profit,
    sum(quantity::double precision * price) over portfolio_day as portfolio_value,
    sum(quantity::double precision * (price - cost::double precision)) over portfolio_day as portfolio_profit
from priced
window
    portfolio_day as (
        partition by portfolio, session_date order by symbol rows between unbounded preceding and unbounded following
    )
