{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['symbol', 'event_time', 'source', 'vendor_id'],
        on_schema_change='fail',
        indexes=[{'columns': ['symbol', 'event_time', 'source', 'vendor_id'], 'unique': true}],
        post_hook="{{ fence() }}"
    )
}}

-- depends_on: {{ ref('stg_ops__transform_batch') }}

with

{% if is_incremental() %}
changed as (

    {{ batch_ranges(ref('int_trades__unioned')) }}

),
{% endif %}

events as (

    select in_range.*
    from {{ rows_of_ranges(ref('int_trades__unioned'), 'event_time', condition='is_accepted') }}

),

-- of two revisions the later one
latest as (

    select distinct on (symbol, event_time, source, vendor_id)
        source,
        symbol,
        -- a vendor may use an id again (a line number in the next file): with the time it is unique
        (extract(epoch from event_time) * 1000000)::bigint || ':' || vendor_id as trade_id,
        event_time,
        vendor_id,
        price,
        size,
        side,
        received_at
    from events
    order by symbol asc, event_time asc, source asc, vendor_id asc, received_at desc, payload_hash desc

)

select * from latest
