select
    candles.symbol,
    candles.source,
    candles.candle_start,
    candles.session_date,
    {{ adjusted_columns() }}
from {{ ref('candles_1d') }} as candles
left join {{ ref('adjustments') }} as adjustments
    on
        candles.symbol = adjustments.symbol
        and candles.session_date < adjustments.ex_date
        and (adjustments.from_date is null or candles.session_date >= adjustments.from_date)
