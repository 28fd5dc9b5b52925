with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'binance' and kind = 'quote'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- numerics; all but the prices are of the last 24 hours, not of a day
        {{ number('lastPrice') }} as price,
        {{ number('bidPrice') }} as bid,
        {{ number('askPrice') }} as ask,
        null::numeric as previous_close,
        {{ number('priceChangePercent') }} as change_percent,
        null::numeric as day_volume,
        {{ number('quoteVolume') }} as volume_24h,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
