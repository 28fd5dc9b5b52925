with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'yahoo' and kind = 'action'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- text
        vendor_id as action,

        -- numerics
        trim_scale(round({{ number('numerator') }} / nullif({{ number('denominator') }}, 0), 10)) as ratio,
        {{ number('amount') }} as amount,

        -- text
        payload ->> 'currency' as currency,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
