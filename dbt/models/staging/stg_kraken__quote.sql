with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'kraken' and kind = 'quote'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- numerics; of two values the first is of the day (UTC), the second of the last 24 hours
        {{ number(['c', '0']) }} as price,
        {{ number(['b', '0']) }} as bid,
        {{ number(['a', '0']) }} as ask,
        null::numeric as previous_close,
        null::numeric as change_percent,
        {{ number(['v', '0']) }} as day_volume,
        trim_scale(round({{ number(['v', '1']) }} * {{ number(['p', '1']) }}, 10)) as volume_24h,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
