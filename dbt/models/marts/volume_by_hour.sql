with

series as (

    select
        instruments.symbol,
        instruments.calendar,
        newest.candle_start as last_candle
    from {{ ref('instruments') }} as instruments
    cross join lateral (
        select candles.candle_start
        from {{ ref('candles_15m') }} as candles
        where candles.symbol = instruments.symbol
        order by candles.candle_start desc
        limit 1
    ) as newest

),

-- one candle of a quarter of an hour: the first in the order of the instrument's sources that tells a volume
quarters as (

    select distinct on (candles.symbol, candles.candle_start)
        candles.symbol,
        series.calendar,
        candles.candle_start,
        candles.volume::double precision as volume
    from series
    inner join {{ ref('candles_15m') }} as candles
        on
            series.symbol = candles.symbol
            and series.last_candle - interval '{{ var("profile_days") }} days' < candles.candle_start
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on candles.symbol = ranks.symbol and candles.source = ranks.source
    where candles.volume is not null
    order by candles.symbol asc, candles.candle_start asc, ranks.rank asc

),

clocked as (

    select
        symbol,
        'utc' as clock,
        (candle_start at time zone 'UTC')::date as day,
        extract(hour from candle_start at time zone 'UTC')::integer as hour,
        volume
    from quarters

    union all

    select
        quarters.symbol,
        'session' as clock,
        sessions.session_date as day,
        floor(extract(epoch from quarters.candle_start - sessions.opens_at) / 3600)::integer as hour,
        quarters.volume
    from quarters
    inner join {{ ref('stg_ops__session') }} as sessions
        on
            quarters.calendar = sessions.calendar
            and quarters.candle_start >= sessions.opens_at
            and quarters.candle_start < sessions.closes_at
    where quarters.calendar <> '24/7'

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
