with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'polygon' and kind = 'trade'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- text: who was the taker is not said
        null::text as side,

        -- numerics; the last trade of a ticker comes under short names
        coalesce({{ number('price') }}, {{ number('p') }}) as price,
        coalesce({{ number('size') }}, {{ number('s') }}) as size,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
