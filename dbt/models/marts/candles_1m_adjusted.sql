select
    candles.symbol,
    candles.source,
    candles.candle_start,
    {{ adjusted_columns() }}
from {{ ref('candles_1m') }} as candles
left join {{ ref('adjustments') }} as adjustments
    on
        candles.symbol = adjustments.symbol
        and candles.candle_start < adjustments.until_time
        and (adjustments.from_time is null or candles.candle_start >= adjustments.from_time)
