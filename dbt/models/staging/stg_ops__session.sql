select
    calendar,
    session_date,
    opens_at,
    closes_at
from {{ source('ops', 'sessions') }}
