with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'coinbase' and kind = 'quote'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- numerics; the ticker's volume is units of the last 24 hours, neither of the day nor a turnover
        {{ number('price') }} as price,
        {{ number('bid') }} as bid,
        {{ number('ask') }} as ask,
        null::numeric as previous_close,
        null::numeric as change_percent,
        null::numeric as day_volume,
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
