with

closes as materialized (

    {{ daily_closes(days=var('risk_span_days')) }}

),

returns as (

    select
        symbol,
        session_date,
        close / nullif(lag(close) over (partition by symbol order by session_date), 0) - 1 as return
    from closes

),

symbol_returns as (

    select
        'symbol' as scope,
        symbol as name,
        null::double precision as value,
        session_date,
        return,
        row_number() over (partition by symbol order by session_date desc) as age
    from returns
    where return is not null

),

positions as (

    select
        portfolio,
        symbol,
        value::double precision as value,
        portfolio_value::double precision as portfolio_value,
        count(*) over (partition by portfolio) as position_count
    from {{ ref('portfolio_value') }}
    where value is not null

),

-- the sessions that all positions have
held as (

    select
        portfolio,
        symbol,
        value,
        portfolio_value,
        session_date,
        close / nullif(lag(close) over series, 0) - 1 as return
    from (
        select
            positions.*,
            candles.session_date,
            candles.close,
            count(*) over (partition by positions.portfolio, candles.session_date) as there
        from positions
        inner join closes as candles on positions.symbol = candles.symbol
    ) as held_closes
    where there = position_count
    window series as (partition by portfolio, symbol order by session_date)

),

portfolio_returns as (

    select
        'portfolio' as scope,
        portfolio as name,
        max(portfolio_value) as value,
        session_date,
        sum(value * return order by symbol) / nullif(max(portfolio_value), 0) as return,
        row_number() over (partition by portfolio order by session_date desc) as age
    from held
    group by portfolio, session_date
    having count(return) = count(*)

),

latest as (

    select * from symbol_returns
    where age <= {{ var('risk_days') }}
    union all
    select * from portfolio_returns
    where age <= {{ var('risk_days') }} and return is not null

),

quantiles as (

    select
        scope,
        name,
        max(value) as value,
        min(session_date) as from_date,
        max(session_date) as until_date,
        count(*) as return_count,
        percentile_cont(0.05) within group (order by return) as return_5,
        percentile_cont(0.01) within group (order by return) as return_1
    from latest
    group by scope, name
    having count(*) >= {{ var('risk_minimum') }}

),

shortfalls as (

    select
        latest.scope,
        latest.name,
        avg(latest.return order by latest.return) filter (where latest.return <= quantiles.return_5) as shortfall_5,
        avg(latest.return order by latest.return) filter (where latest.return <= quantiles.return_1) as shortfall_1
    from latest
    inner join quantiles on latest.scope = quantiles.scope and latest.name = quantiles.name
    group by latest.scope, latest.name

)

select
    quantiles.scope,
    quantiles.name,
    quantiles.from_date,
    quantiles.until_date,
    quantiles.return_count,
    quantiles.value,
    -quantiles.return_5 as var_95,
    -quantiles.return_1 as var_99,
    -shortfalls.shortfall_5 as expected_shortfall_95,
    -shortfalls.shortfall_1 as expected_shortfall_99,
    -quantiles.return_5 * quantiles.value as var_95_amount,
    -quantiles.return_1 * quantiles.value as var_99_amount
from quantiles
inner join shortfalls on quantiles.scope = shortfalls.scope and quantiles.name = shortfalls.name
