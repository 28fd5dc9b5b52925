{%- set previous_close = 'coalesce(' ~ number('previousClose') ~ ', ' ~ number('chartPreviousClose') ~ ')' %}

with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'yahoo' and kind = 'quote'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- numerics
        {{ number('regularMarketPrice') }} as price,
        null::numeric as bid,
        null::numeric as ask,
        {{ previous_close }} as previous_close,
        {{ change_percent(number('regularMarketPrice'), previous_close) }} as change_percent,
        -- of a coin it is the turnover of the last 24 hours
        case payload ->> 'instrumentType'
            when 'CRYPTOCURRENCY' then null else {{ number('regularMarketVolume') }}
        end as day_volume,
        case payload ->> 'instrumentType'
            when 'CRYPTOCURRENCY' then {{ number('regularMarketVolume') }}
        end as volume_24h,

        -- provenance
        received_at,
        payload_hash,
        load_id,
        is_accepted,
        line_number

    from source

)

select * from renamed
