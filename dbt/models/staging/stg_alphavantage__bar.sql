with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'alphavantage' and kind = 'bar'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- text
        payload ->> 'resolution' as resolution,
        null::text as session,

        -- numerics
        {{ number('1. open') }} as open,
        {{ number('2. high') }} as high,
        {{ number('3. low') }} as low,
        {{ number('4. close') }} as close,
        {{ number('5. volume') }} as volume,
        null::bigint as trade_count,
        null::numeric as vwap,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
