select
    load_id,
    state,
    first_event_at,
    last_event_at
from {{ source('ops', 'loads') }}
