with

instruments as (

    select * from {{ ref('instruments') }}

),

ranks as (

    select * from {{ ref('stg_ops__instrument_source') }}

),

-- the clock of the data: up to when the platform's sources are complete
clock as (

    select max(complete_until) as as_of from {{ ref('stg_ops__watermark') }}

),

latest as (

    select last_quote.*
    from instruments
    cross join lateral (
        select quotes.*
        from {{ ref('quotes') }} as quotes
        inner join ranks on quotes.symbol = ranks.symbol and quotes.source = ranks.source
        where quotes.symbol = instruments.symbol
        order by quotes.event_time desc, ranks.rank asc
        limit 1
    ) as last_quote

)

select
    latest.symbol,
    latest.price,
    latest.bid,
    latest.ask,
    latest.previous_close,
    latest.change_percent,
    latest.event_time,
    latest.source,
    clock.as_of,
    greatest(clock.as_of - latest.event_time, interval '0') as age
from latest
cross join clock
