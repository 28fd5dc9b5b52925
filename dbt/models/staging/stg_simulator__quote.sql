with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'simulator' and kind = 'quote'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- numerics
        {{ number('price') }} as price,
        {{ number('bid') }} as bid,
        {{ number('ask') }} as ask,
        {{ number('previous_close') }} as previous_close,
        {{ change_percent(number('price'), number('previous_close')) }} as change_percent,
        {{ number('day_volume') }} as day_volume,
        null::numeric as volume_24h,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
