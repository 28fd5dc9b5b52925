with

days as (

    {{ steps_of(ref('candles_1m'), 'candle_start', '1 day') }}

)

select
    (days.starts_at at time zone 'UTC')::date as day,
    instruments.symbol,
    pairs.*
from days
cross join {{ ref('instruments') }} as instruments
cross join lateral (

    with

    closes as materialized (

        select
            candles.source,
            candles.candle_start,
            candles.close::double precision as close,
            count(*) over (partition by candles.source) as minutes
        from {{ ref('candles_1m') }} as candles
        where
            candles.symbol = instruments.symbol
            and candles.candle_start >= days.starts_at
            and candles.candle_start < days.starts_at + interval '1 day'
            and candles.is_final
            and {{ is_live('candles.source') }}

    ),

    differences as (

        select
            a.source,
            b.source as other_source,
            a.minutes,
            b.minutes as other_minutes,
            (a.close - b.close) * 20000 / nullif(a.close + b.close, 0) as basis_points
        from closes as a
        inner join closes as b on a.candle_start = b.candle_start and a.source < b.source

    )

    select
        source,
        other_source,
        min(minutes) as minutes,
        min(other_minutes) as other_minutes,
        count(*) as common_minutes,
        count(*)::double precision / (min(minutes) + min(other_minutes) - count(*)) as coverage,
        percentile_cont(0.5) within group (order by basis_points) as median_basis_points,
        percentile_cont(0.5) within group (order by abs(basis_points)) as median_distance,
        max(abs(basis_points)) as max_distance
    from differences
    group by source, other_source

) as pairs
