with

closes as materialized (

    {{ daily_closes(days=var('correlation_span_days')) }}

),

-- the newest sessions that both have: a weekend of one is one return of the other too
common as (

    select
        a.symbol,
        b.symbol as other_symbol,
        a.session_date,
        a.close,
        b.close as other_close,
        row_number() over (partition by a.symbol, b.symbol order by a.session_date desc) as age
    from closes as a
    inner join closes as b on a.session_date = b.session_date and a.symbol < b.symbol
    where a.close > 0 and b.close > 0

),

paired as (

    select
        symbol,
        other_symbol,
        session_date,
        age,
        ln(close / lead(close) over pair) as log_return,
        ln(other_close / lead(other_close) over pair) as other_return
    from common
    where age <= {{ var('correlation_long') }} + 1
    window pair as (partition by symbol, other_symbol order by age)

),

-- moving at all: what was constant leaves a rounding error
measured as (

    select
        symbol,
        other_symbol,
        max(session_date) as session_date,
        count(log_return) as return_count,
        corr(log_return, other_return) filter (where age <= {{ var('correlation_short') }}) as correlation_short,
        least(
            var_pop(log_return) filter (where age <= {{ var('correlation_short') }}),
            var_pop(other_return) filter (where age <= {{ var('correlation_short') }})
        ) > 1e-20 as is_moving_short,
        corr(log_return, other_return) filter (where age <= {{ var('correlation_long') }}) as correlation_long,
        least(
            var_pop(log_return) filter (where age <= {{ var('correlation_long') }}),
            var_pop(other_return) filter (where age <= {{ var('correlation_long') }})
        ) > 1e-20 as is_moving_long
    from paired
    group by symbol, other_symbol

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
from measured
