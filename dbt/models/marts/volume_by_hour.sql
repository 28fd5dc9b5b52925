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

in_period as (

    select
        series.symbol,
        sessions.session_date,
        sessions.opens_at,
        sessions.closes_at
    from series
    inner join {{ ref('stg_ops__session') }} as sessions
        on
            series.calendar = sessions.calendar
            and series.after < sessions.opens_at
            and series.last_candle >= sessions.opens_at
    where not {{ is_around_the_clock('series.calendar') }}

),

-- by one scan of an index for each session
in_session as (

    select
        in_period.*,
        candles.source,
        candles.candle_start,
        candles.volume
    from in_period
    cross join lateral (
        select quarters.*
        from {{ ref('candles_15m') }} as quarters
        where
            quarters.symbol = in_period.symbol
            and quarters.candle_start >= in_period.opens_at
            and quarters.candle_start < in_period.closes_at
            and quarters.volume is not null
        offset 0
    ) as candles

),

quarters as (

    select distinct on (in_session.symbol, in_session.candle_start)
        in_session.symbol,
        'session' as clock,
        in_session.session_date as day,
        floor(extract(epoch from in_session.candle_start - in_session.opens_at) / 3600)::integer as hour,
        in_session.volume::double precision as volume
    from in_session
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on in_session.symbol = ranks.symbol and in_session.source = ranks.source
    order by in_session.symbol asc, in_session.candle_start asc, ranks.rank asc

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
