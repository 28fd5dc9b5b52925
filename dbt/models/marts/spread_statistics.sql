with

hours as (

    {{ steps_of(ref('quotes'), 'event_time', '1 hour') }}

)

select
    instruments.symbol,
    spreads.source,
    hours.starts_at as hour_start,
    spreads.quote_count,
    spreads.crossed_count,
    spreads.median_spread,
    spreads.median_basis_points,
    spreads.p95_basis_points,
    spreads.time_weighted_basis_points
from hours
cross join {{ ref('instruments') }} as instruments
cross join lateral (

    with

    quoted as (

        select
            quotes.source,
            (quotes.ask - quotes.bid)::double precision as spread,
            (quotes.ask + quotes.bid)::double precision / 2 as mid,
            quotes.event_time,
            lead(quotes.event_time, 1, hours.starts_at + interval '1 hour') over (
                partition by quotes.source order by quotes.event_time
            ) as next_time
        from {{ ref('quotes') }} as quotes
        where
            quotes.symbol = instruments.symbol
            and quotes.event_time >= hours.starts_at
            and quotes.event_time < hours.starts_at + interval '1 hour'
            and quotes.bid > 0
            and quotes.ask > 0

    ),

    standing as (

        select
            *,
            spread * 10000 / mid as basis_points,
            extract(epoch from next_time - event_time)::double precision as seconds
        from quoted

    )

    select
        source,
        count(*) filter (where spread >= 0) as quote_count,
        count(*) filter (where spread < 0) as crossed_count,
        percentile_cont(0.5) within group (order by spread) filter (where spread >= 0) as median_spread,
        percentile_cont(0.5) within group (order by basis_points) filter (where spread >= 0) as median_basis_points,
        percentile_cont(0.95) within group (order by basis_points) filter (where spread >= 0) as p95_basis_points,
        sum(basis_points * seconds) filter (where spread >= 0)
        / nullif(sum(seconds) filter (where spread >= 0), 0) as time_weighted_basis_points
    from standing
    group by source

) as spreads
