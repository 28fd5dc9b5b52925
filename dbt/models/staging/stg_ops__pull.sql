select
    outcome_id,
    at as ended_at,
    source,
    step,
    window_end,
    ok as is_ok,
    row_count,
    error
from {{ source('ops', 'outcomes') }}
where step in ('pull', 'collect') and source is not null
