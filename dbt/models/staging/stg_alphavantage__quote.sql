with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'alphavantage' and kind = 'quote'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- numerics: shares have "05. price", coins have "5. Exchange Rate"
        coalesce({{ number('05. price') }}, {{ number('5. Exchange Rate') }}) as price,
        {{ number('8. Bid Price') }} as bid,
        {{ number('9. Ask Price') }} as ask,
        {{ number('08. previous close') }} as previous_close,
        {{ change_percent(number('05. price'), number('08. previous close')) }} as change_percent,
        {{ number('06. volume') }} as day_volume,
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
