select
    ranges.source,
    ranges.symbol,
    minutes.candle_start
from {{ ref('int_changed_ranges') }} as ranges
cross join lateral generate_series(
    ranges.from_candle, ranges.until_candle - interval '1 minute', interval '1 minute'
) as minutes (candle_start)
