with

rejected as (

    select
        source,
        symbol,
        event_time
    from {{ source('raw', 'rejected_events') }}
    where symbol is not null and event_time is not null

),

-- a load that the audit rejected waits as a whole for a decision
landed as (

    select
        events.source,
        events.symbol,
        events.event_time
    from {{ source('raw', 'landed_events') }} as events
    inner join {{ source('ops', 'loads') }} as loads on events.load_id = loads.load_id
    where loads.state = 'rejected'

),

combined as (

    select * from rejected
    union all
    select * from landed

)

select * from combined
