with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'simulator' and kind = 'trade'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- text
        payload ->> 'side' as side,

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
