with

-- few and seldom: a view, over an index of their own
events as (

    select * from {{ ref('int_actions__unioned') }}
    where is_accepted

),

-- of two revisions the later one
of_sources as (

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

),

-- what a person lists is in no source
listed as (

    select actions.*
    from {{ ref('stg_ops__listed_action') }} as actions
    inner join {{ ref('instruments') }} as instruments on actions.symbol = instruments.symbol

)

select * from of_sources
union all
select
    source,
    symbol,
    ex_date,
    action,
    trim_scale(ratio) as ratio,
    trim_scale(amount) as amount,
    currency,
    ex_date::timestamp at time zone 'UTC' as event_time,
    action as vendor_id,
    null as received_at
from listed
