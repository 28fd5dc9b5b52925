with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'binance' and kind = 'trade'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- text: `m` says that the buyer was the maker
        case payload ->> 'm' when 'true' then 'sell' when 'false' then 'buy' end as side,

        -- numerics
        {{ number('p') }} as price,
        {{ number('q') }} as size,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
