with

-- of each day one split and one dividend: what the file says, before a source
actions as (

    select distinct on (symbol, ex_date, action) *
    from {{ ref('corporate_actions') }}
    order by symbol asc, ex_date asc, action asc, source = 'file' desc, source asc, received_at desc, event_time asc

),

-- in shares of the ex-date: Yahoo states a dividend in shares of the day on which it is asked
stated as (

    select
        actions.*,
        case
            when actions.source <> 'yahoo' then actions.amount
            else actions.amount * (
                select {{ product('later.ratio') }}
                from actions as later
                where
                    later.symbol = actions.symbol
                    and later.action = 'split'
                    and later.ex_date > actions.ex_date
                    and later.event_time <= actions.received_at
            )
        end as dividend
    from actions

),

days as (

    select
        symbol,
        ex_date,
        max(ratio) as split_ratio,
        trim_scale(max(dividend)) as dividend
    from stated
    group by symbol, ex_date

),

priced as (

    select
        days.*,
        {{ exchange_midnight('days.ex_date', 'instruments.calendar') }} as until_time,
        trim_scale(before.close / coalesce(days.split_ratio, 1)) as previous_close
    from days
    inner join {{ ref('instruments') }} as instruments on days.symbol = instruments.symbol
    left join lateral (
        select candles.close
        from {{ ref('candles_1d') }} as candles
        inner join {{ ref('stg_ops__instrument_source') }} as ranks
            on candles.symbol = ranks.symbol and candles.source = ranks.source
        where
            candles.symbol = days.symbol
            and candles.session_date < days.ex_date
            -- the same, but for an index
            and candles.candle_start < {{ exchange_midnight('days.ex_date', 'instruments.calendar') }}
        order by candles.candle_start desc, candles.is_final desc, ranks.rank asc
        limit 1
    ) as before on true

),

factored as (

    select
        *,
        case when dividend < previous_close then 1 - dividend / previous_close end as day_factor
    from priced

)

select
    symbol,
    ex_date,
    lag(ex_date) over (partition by symbol order by ex_date) as from_date,
    lag(until_time) over (partition by symbol order by ex_date) as from_time,
    until_time,
    split_ratio,
    dividend,
    previous_close,
    (1 / {{ product('split_ratio', ' over later') }})::double precision as split_factor,
    {{ product('day_factor', ' over later') }}::double precision as dividend_factor
from factored
window later as (partition by symbol order by ex_date desc rows unbounded preceding)
