select * from {{ ref('stg_simulator__quote') }}

union all

select * from {{ ref('stg_coingecko__quote') }}

union all

select * from {{ ref('stg_replay__quote') }}
