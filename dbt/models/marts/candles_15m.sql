{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['symbol', 'candle_start', 'source'],
        on_schema_change='fail',
        indexes=[{'columns': ['symbol', 'candle_start', 'source'], 'unique': true}],
        post_hook=["{{ index_open_candles() }}", "{{ fence() }}"]
    )
}}

-- depends_on: {{ ref('int_changed_ranges') }}

{{ candles_of_candles(ref('candles_5m'), minutes=15) }}
