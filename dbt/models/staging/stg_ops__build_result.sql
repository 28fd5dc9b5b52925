select
    name,
    kind,
    state,
    rows,
    built_at,
    message
from {{ source('ops', 'build_results') }}
