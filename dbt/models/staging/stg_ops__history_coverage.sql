select
    source,
    symbol,
    covered_from,
    covered_until,
    ended
from {{ source('ops', 'history_coverage') }}
