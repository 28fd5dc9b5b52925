with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'kraken' and kind = 'trade'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- text: `b` and `s` from REST, whole words from the feed
        case left(payload ->> 'side', 1) when 'b' then 'buy' when 's' then 'sell' end as side,

        -- numerics
        {{ number('price') }} as price,
        coalesce({{ number('volume') }}, {{ number('qty') }}) as size,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
