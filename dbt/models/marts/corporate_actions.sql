with

-- few and seldom: a view, over an index of their own
events as (

    select * from {{ ref('int_actions__unioned') }}
    where is_accepted

),

-- of two revisions the later one
latest as (

    select distinct on (symbol, event_time, source, vendor_id)
        source,
        symbol,
        (event_time at time zone 'UTC')::date as ex_date,
        action,
        ratio,
        amount,
        currency,
        event_time,
        vendor_id,
        received_at
    from events
    order by symbol asc, event_time asc, source asc, vendor_id asc, received_at desc, payload_hash desc

)

select * from latest
