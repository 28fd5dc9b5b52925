select
    source,
    symbol,
    from_at,
    until_at
from {{ source('ops', 'gap_spans') }}
