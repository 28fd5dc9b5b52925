with

closes as materialized (

    {{ daily_closes(days=var('risk_span_days')) }}

),

-- over the sessions that both have: a weekend of one is one return of the other too
paired as (

    select
        a.symbol,
        b.symbol as other_symbol,
        a.session_date,
        ln(a.close / lag(a.close) over pair) as log_return,
        ln(b.close / lag(b.close) over pair) as other_return
    from closes as a
    inner join closes as b on a.session_date = b.session_date and a.symbol < b.symbol
    where a.close > 0 and b.close > 0
    window pair as (partition by a.symbol, b.symbol order by a.session_date)

),

rolled as (

    select
        symbol,
        other_symbol,
        session_date,
        row_number() over pair - 1 as return_count,
        corr(log_return, other_return) over last_short as correlation_short,
        corr(log_return, other_return) over last_long as correlation_long,
        -- moving at all: what was constant leaves a rounding error
        least(var_pop(log_return) over last_short, var_pop(other_return) over last_short) > 1e-20 as is_moving_short,
        least(var_pop(log_return) over last_long, var_pop(other_return) over last_long) > 1e-20 as is_moving_long
    from paired
    window
        pair as (partition by symbol, other_symbol order by session_date),
        last_short as (pair rows between {{ var('correlation_short') | int(20) - 1 }} preceding and current row),
        last_long as (pair rows between {{ var('correlation_long') | int(60) - 1 }} preceding and current row)

)

select
    symbol,
    other_symbol,
    session_date,
    return_count,
    case
        when return_count >= {{ var('correlation_short') }} and is_moving_short
            then greatest(-1, least(1, correlation_short))
    end as correlation_short,
    case
        when return_count >= {{ var('correlation_long') }} and is_moving_long
            then greatest(-1, least(1, correlation_long))
    end as correlation_long
from rolled
