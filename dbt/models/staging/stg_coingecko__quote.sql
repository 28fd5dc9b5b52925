with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'coingecko' and kind = 'quote'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- numerics; a point of the past has the price and the turnover only
        coalesce({{ number('current_price') }}, {{ number('price') }}) as price,
        null::numeric as bid,
        null::numeric as ask,
        null::numeric as previous_close,
        {{ number('price_change_percentage_24h') }} as change_percent,
        null::numeric as day_volume,
        {{ number('total_volume') }} as volume_24h,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
