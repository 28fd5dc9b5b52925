select
    vendor as source,
    span,
    starts_at,
    calls
from {{ source('ops', 'vendor_calls') }}
