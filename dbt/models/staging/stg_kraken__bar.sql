with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'kraken' and kind = 'bar'

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
        {{ number('open') }} as open,
        {{ number('high') }} as high,
        {{ number('low') }} as low,
        {{ number('close') }} as close,
        {{ number('volume') }} as volume,
        {{ whole_number('count') }} as trade_count,
        nullif({{ number('vwap') }}, 0) as vwap,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
