with

hours as (

    {{ steps_of(ref('indicators_1m'), 'candle_start', '1 hour') }}

)

select
    pairs.symbol,
    pairs.other_symbol,
    hours.starts_at as hour_start,
    pairs.return_count,
    pairs.correlation
from hours
cross join lateral (

    with

    closes as (

        select
            candles.symbol,
            candles.candle_start,
            candles.close,
            lag(candles.candle_start) over series as minute_before,
            lag(candles.close) over series as close_before
        from {{ ref('instruments') }} as instruments
        inner join {{ ref('indicators_1m') }} as candles on instruments.symbol = candles.symbol
        where
            instruments.asset_class = 'crypto'
            and candles.candle_start >= hours.starts_at - interval '1 minute'
            and candles.candle_start < hours.starts_at + interval '1 hour'
        window series as (partition by candles.symbol order by candles.candle_start)

    ),

    minutes as materialized (

        select
            symbol,
            candle_start,
            ln(close / close_before) as log_return
        from closes
        where candle_start = minute_before + interval '1 minute' and close > 0 and close_before > 0

    )

    select
        a.symbol,
        b.symbol as other_symbol,
        count(*) as return_count,
        case
            when
                count(*) >= {{ var('risk_minimum') }}
                and var_pop(a.log_return) > 1e-20
                and var_pop(b.log_return) > 1e-20
                then greatest(-1, least(1, corr(a.log_return, b.log_return)))
        end as correlation
    from minutes as a
    inner join minutes as b on a.candle_start = b.candle_start and a.symbol < b.symbol
    group by a.symbol, b.symbol

) as pairs
