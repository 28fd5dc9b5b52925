select
    source,
    calendar,
    from_at,
    until_at,
    found_at
from {{ source('ops', 'gap_scope') }}
