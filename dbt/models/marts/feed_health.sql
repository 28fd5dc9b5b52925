-- The one mart that asks for the time: how late a feed is, is a question about now.
with

clock as (

    select now() as asked_at

),

pulls as (

    select * from {{ ref('stg_ops__pull') }}

),

vendors as (

    select * from {{ ref('stg_ops__vendor') }}

),

-- the newest candles of each symbol tell which sources are heard
latest as (

    select
        candles.source,
        candles.candle_start
    from {{ ref('instruments') }} as instruments
    cross join lateral (
        select
            minutes.source,
            minutes.candle_start
        from {{ ref('candles_1m') }} as minutes
        where minutes.symbol = instruments.symbol
        order by minutes.candle_start desc
        limit 60
    ) as candles

),

newest as (

    select
        source,
        max(candle_start) + interval '1 minute' as newest_until
    from latest
    group by source

),

watermarks as (

    select * from {{ ref('stg_ops__source_watermark') }}

),

sources as (

    select source from newest
    union
    select source from watermarks
    union
    select source from vendors

),

recent as (

    select
        pulls.source,
        count(*) as pulls_last_hour,
        count(*) filter (where not pulls.is_ok) as errors_last_hour
    from pulls
    cross join clock
    where pulls.ended_at > clock.asked_at - interval '1 hour'
    group by pulls.source

),

used as (

    select
        calls.source,
        sum(calls.calls) filter (
            where calls.span = '1 second' and calls.starts_at > clock.asked_at - interval '1 minute 1 second'
        ) as minute_used,
        sum(calls.calls) filter (
            where calls.span = '5 minutes' and calls.starts_at > clock.asked_at - interval '24 hours 5 minutes'
        ) as day_used
    from {{ ref('stg_ops__vendor_call') }} as calls
    cross join clock
    group by calls.source

)

select
    sources.source,
    clock.asked_at,
    newest.newest_until,
    watermarks.complete_until,
    -- greatest() and least() take NULL for nothing
    case
        when num_nonnulls(newest.newest_until, watermarks.complete_until) > 0
            then clock.asked_at - least(clock.asked_at, greatest(newest.newest_until, watermarks.complete_until))
    end as lag,
    last_pull.ended_at as last_pull_at,
    last_pull.is_ok as last_pull_ok,
    last_pull.row_count as last_pull_rows,
    last_pull.error as last_error,
    coalesce(recent.pulls_last_hour, 0) as pulls_last_hour,
    coalesce(recent.errors_last_hour, 0) as errors_last_hour,
    case
        when vendors.source is null then null
        when vendors.opened_at is null then 'closed'
        when vendors.open_until > clock.asked_at then 'open'
        else 'half-open'
    end as circuit,
    vendors.failures_in_a_row,
    case when vendors.break_until > clock.asked_at and isfinite(vendors.break_until) then vendors.break_until end
        as break_until,
    vendors.minute_limit,
    case when vendors.source is not null then coalesce(used.minute_used, 0)::bigint end as minute_used,
    vendors.day_limit,
    case when vendors.source is not null then coalesce(used.day_used, 0)::bigint end as day_used
from sources
cross join clock
left join newest on sources.source = newest.source
left join watermarks on sources.source = watermarks.source
left join recent on sources.source = recent.source
left join vendors on sources.source = vendors.source
left join used on sources.source = used.source
left join lateral (
    select pulls.*
    from pulls
    where pulls.source = sources.source and pulls.window_end is not null
    order by pulls.window_end desc, pulls.outcome_id desc
    limit 1
) as last_pull on true
