select
    symbol,
    source,
    rank
from {{ source('ops', 'instrument_sources') }}
