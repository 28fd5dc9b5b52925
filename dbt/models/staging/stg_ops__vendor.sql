select
    vendor as source,
    minute_limit,
    day_limit,
    break_until,
    failures as failures_in_a_row,
    opened_at,
    open_until,
    open_reason
from {{ source('ops', 'vendors') }}
