{#- 0 stands for "nothing yet"; what a plan does not have is absent. -#}
{%- set prices = [['lastTrade', 'p'], ['min', 'c'], ['day', 'c']] %}
{%- set price %}coalesce({% for path in prices %}nullif({{ number(path) }}, 0){{ ', ' if not loop.last }}{% endfor %}){% endset %}
{%- set previous_close = 'nullif(' ~ number(['prevDay', 'c']) ~ ', 0)' %}

with

source as (

    select * from {{ source('raw', 'events') }}
    where source = 'polygon' and kind = 'quote'

),

renamed as (

    select
        -- ids
        source,
        symbol,
        event_time,
        vendor_id,

        -- numerics
        {{ price }} as price,
        nullif({{ number(['lastQuote', 'p']) }}, 0) as bid,
        nullif({{ number(['lastQuote', 'P']) }}, 0) as ask,
        {{ previous_close }} as previous_close,
        {{ change_percent(price, previous_close) }} as change_percent,
        {{ number(['day', 'v']) }} as day_volume,
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
