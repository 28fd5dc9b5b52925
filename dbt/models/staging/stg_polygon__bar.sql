with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'polygon' and kind = 'bar'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- text: minutes are all that is asked for
        '1m' as resolution,
        null::text as session,

        -- numerics
        {{ number('o') }} as open,
        {{ number('h') }} as high,
        {{ number('l') }} as low,
        {{ number('c') }} as close,
        {{ number('v') }} as volume,
        {{ whole_number('n') }} as trade_count,
        {{ number('vw') }} as vwap,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
