select load_id from {{ source('ops', 'transform_batch') }}
