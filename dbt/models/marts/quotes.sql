{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['symbol', 'event_time', 'source'],
        on_schema_change='fail',
        indexes=[{'columns': ['symbol', 'event_time', 'source'], 'unique': true}],
        post_hook="{{ fence() }}"
    )
}}

-- depends_on: {{ ref('stg_ops__transform_batch') }}

with

{% if is_incremental() %}
changed as (

    {{ batch_ranges(ref('int_quotes__unioned')) }}

),
{% endif %}

events as (

    select in_range.*
    from {{ rows_of_ranges(ref('int_quotes__unioned'), 'event_time', condition='is_accepted') }}

),

-- of two revisions the later one; of two quotes with the same time the one with the higher vendor id
latest as (

    select distinct on (symbol, event_time, source)
        source,
        symbol,
        event_time,
        vendor_id,
        price,
        bid,
        ask,
        previous_close,
        change_percent,
        day_volume,
        volume_24h,
        received_at
    from events
    order by
        symbol asc, event_time asc, source asc,
        length(vendor_id) desc, vendor_id collate "C" desc,
        received_at desc, payload_hash desc

)

select * from latest
