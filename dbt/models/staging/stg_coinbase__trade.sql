with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'coinbase' and kind = 'trade'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- text: the vendor's side is the maker's, the taker's is the other one
        case payload ->> 'side' when 'sell' then 'buy' when 'buy' then 'sell' end as side,

        -- numerics
        {{ number('price') }} as price,
        {{ number('size') }} as size,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
