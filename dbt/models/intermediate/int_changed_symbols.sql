select
    symbol,
    min(candle_start) as from_candle
from {{ ref('int_changed_minutes') }}
group by symbol
