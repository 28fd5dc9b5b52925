select
    source,
    symbol,
    from_candle,
    until_candle
from {{ source('ops', 'transform_set_aside') }}
