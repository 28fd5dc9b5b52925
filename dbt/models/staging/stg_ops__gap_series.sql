select
    source,
    symbol,
    calendar,
    first_candle,
    last_candle,
    asked_until,
    polled_from,
    asked_from,
    lag
from {{ source('ops', 'gap_series') }}
