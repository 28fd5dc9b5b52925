{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['symbol', 'candle_start'],
        on_schema_change='fail',
        indexes=[{'columns': ['symbol', 'candle_start'], 'unique': true}],
        post_hook=["{{ index_unsettled() }}", "{{ fence() }}"]
    )
}}

-- depends_on: {{ ref('int_changed_ranges') }}
-- depends_on: {{ ref('stg_ops__session') }}
-- depends_on: {{ ref('stg_ops__watermark') }}

{{ indicators('candles_1h', minutes=60) }}
