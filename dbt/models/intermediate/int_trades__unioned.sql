select * from {{ ref('stg_replay__trade') }}
