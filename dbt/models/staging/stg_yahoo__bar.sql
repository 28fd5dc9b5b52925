with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'yahoo' and kind = 'bar'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- text
        payload ->> 'dataGranularity' as resolution,
        payload ->> 'session' as session,

        -- numerics
        {{ number('open') }} as open,
        {{ number('high') }} as high,
        {{ number('low') }} as low,
        {{ number('close') }} as close,
        -- of a coin it is turnover in the currency, which is not how many were traded
        case payload ->> 'instrumentType'
            when 'CRYPTOCURRENCY' then null else {{ number('volume') }}
        end as volume,
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
