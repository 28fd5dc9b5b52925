with

series as (

    select
        instruments.symbol,
        instruments.calendar,
        newest.candle_start as last_candle,
        newest.candle_start - interval '{{ var("profile_days") }} days' as after
    from {{ ref('instruments') }} as instruments
    cross join lateral (
        select candles.candle_start
        from {{ ref('candles_15m') }} as candles
        where candles.symbol = instruments.symbol
        order by candles.candle_start desc
        limit 1
    ) as newest

),

-- of each hour (of a session: each quarter) the first in the order of the instrument's sources that tells a volume
whole_hours as (

    select distinct on (candles.symbol, candles.candle_start)
        candles.symbol,
        'utc' as clock,
        (candles.candle_start at time zone 'UTC')::date as day,
        extract(hour from candles.candle_start at time zone 'UTC')::integer as hour,
        candles.volume::double precision as volume
    from series
    inner join {{ ref('candles_1h') }} as candles
        on series.symbol = candles.symbol and series.after < candles.candle_start
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on candles.symbol = ranks.symbol and candles.source = ranks.source
    where candles.volume is not null
    order by candles.symbol asc, candles.candle_start asc, ranks.rank asc

),

quarters as (

    select distinct on (candles.symbol, candles.candle_start)
        candles.symbol,
        'session' as clock,
        sessions.session_date as day,
        floor(extract(epoch from candles.candle_start - sessions.opens_at) / 3600)::integer as hour,
        candles.volume::double precision as volume
    from series
    inner join {{ ref('stg_ops__session') }} as sessions
        on
            series.calendar = sessions.calendar
            and series.after < sessions.opens_at
            and series.last_candle >= sessions.opens_at
    inner join {{ ref('candles_15m') }} as candles
        on
            series.symbol = candles.symbol
            and sessions.opens_at <= candles.candle_start
            and sessions.closes_at > candles.candle_start
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on candles.symbol = ranks.symbol and candles.source = ranks.source
    where candles.volume is not null and not {{ is_around_the_clock('series.calendar') }}
    order by candles.symbol asc, candles.candle_start asc, ranks.rank asc

),

clocked as (

    select * from whole_hours
    union all
    select * from quarters

),

hours as (

    select
        symbol,
        clock,
        day,
        hour,
        sum(volume order by volume) as volume
    from clocked
    group by symbol, clock, day, hour

),

means as (

    select
        symbol,
        clock,
        hour,
        count(*) as day_count,
        avg(volume order by day) as mean_volume,
        percentile_cont(0.5) within group (order by volume) as median_volume
    from hours
    group by symbol, clock, hour

)

select
    symbol,
    clock,
    hour,
    day_count,
    mean_volume,
    median_volume,
    mean_volume / nullif(sum(mean_volume) over whole, 0) as volume_share
from means
window whole as (partition by symbol, clock order by hour rows between unbounded preceding and unbounded following)
