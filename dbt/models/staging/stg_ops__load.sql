select
    load_id,
    origin,
    state,
    first_event_at,
    last_event_at,
    audited_at,
    read_count,
    quarantined_count,
    failures
from {{ source('ops', 'loads') }}
