with

-- one candle per symbol and session, as in returns_1d; of a running session the one there is
chosen as (

    select distinct on (candles.symbol, candles.session_date)
        candles.*,
        instruments.calendar,
        adjusted.split_factor
    from {{ ref('candles_1d') }} as candles
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on candles.symbol = ranks.symbol and candles.source = ranks.source
    inner join {{ ref('instruments') }} as instruments on candles.symbol = instruments.symbol
    left join {{ ref('adjustments') }} as adjusted
        on
            candles.symbol = adjusted.symbol
            and candles.session_date < adjusted.ex_date
            and (adjusted.from_date is null or candles.session_date >= adjusted.from_date)
    order by candles.symbol asc, candles.session_date asc, candles.is_final desc, ranks.rank asc

),

compared as (

    select
        *,
        coalesce(split_factor, 1) as factor,
        lag(close * coalesce(split_factor, 1)::numeric) over series as previous_adjusted
    from chosen
    window series as (partition by symbol order by session_date)

)

select
    symbol,
    session_date,
    source,
    candle_start,
    open,
    high,
    low,
    close,
    volume,
    vwap,
    trade_count,
    is_final,
    previous_adjusted::double precision / factor as previous_close,
    (open::double precision * factor / nullif(previous_adjusted::double precision, 0) - 1) * 100 as gap_percent,
    (high - low)::double precision as range,
    ((high - low) / nullif(open, 0) * 100)::double precision as range_percent,
    -- answered only where it is asked for: it counts candles
    case
        when not is_final then null
        when {{ is_around_the_clock('calendar') }}
            then (
                select 1440 - count(*)::integer
                from {{ ref('candles_1m') }} as minutes
                where
                    minutes.symbol = compared.symbol
                    and minutes.source = compared.source
                    and minutes.candle_start >= compared.candle_start
                    and minutes.candle_start < compared.candle_start + interval '1 day'
            )
        else (
            select
                sum(
                    (extract(epoch from sessions.closes_at - sessions.opens_at) / 60)::integer
                    - (
                        select count(*)
                        from {{ ref('candles_1m') }} as minutes
                        where
                            minutes.symbol = compared.symbol
                            and minutes.source = compared.source
                            and minutes.candle_start >= sessions.opens_at
                            and minutes.candle_start < sessions.closes_at
                    )
                )::integer
            from {{ ref('stg_ops__session') }} as sessions
            where sessions.calendar = compared.calendar and sessions.session_date = compared.session_date
        )
    end as missing_minutes
from compared
