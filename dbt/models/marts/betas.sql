with

closes as materialized (

    {{ daily_closes(days=var('risk_span_days')) }}

),

benchmarks as (

    select
        symbol,
        case asset_class
            when 'equity' then '{{ var("benchmark_equity") }}'
            when 'crypto' then '{{ var("benchmark_crypto") }}'
        end as benchmark
    from {{ ref('instruments') }}

),

-- over the sessions that both have
paired as (

    select
        benchmarks.symbol,
        benchmarks.benchmark,
        own.session_date,
        own.close / nullif(lag(own.close) over series, 0) - 1 as own_return,
        market.close / nullif(lag(market.close) over series, 0) - 1 as market_return,
        row_number() over (partition by benchmarks.symbol order by own.session_date desc) as age
    from benchmarks
    inner join closes as own on benchmarks.symbol = own.symbol
    inner join closes as market on benchmarks.benchmark = market.symbol and own.session_date = market.session_date
    window series as (partition by benchmarks.symbol order by own.session_date)

),

fitted as (

    select
        symbol,
        benchmark,
        min(session_date) as from_date,
        max(session_date) as until_date,
        count(*) as return_count,
        regr_slope(own_return, market_return order by session_date) as beta,
        regr_intercept(own_return, market_return order by session_date) as alpha,
        corr(own_return, market_return order by session_date) as correlation,
        count(*) >= {{ var('risk_minimum') }} and var_pop(market_return) > 1e-20 as is_defined,
        var_pop(own_return) > 1e-20 as is_moving
    from paired
    where age <= {{ var('risk_days') }} and own_return is not null and market_return is not null
    group by symbol, benchmark

)

select
    symbol,
    benchmark,
    from_date,
    until_date,
    return_count,
    case when is_defined then beta end as beta,
    case when is_defined then alpha end as alpha,
    case when is_defined and is_moving then correlation ^ 2 end as r_squared
from fitted
