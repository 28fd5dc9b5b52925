-- A row here is a minute whose indicators are missing, or made of another close than that of the best candle there is:
-- a final one before one that is not, then by the order of the instrument's sources.
with

changed as (

    {{ changed_ranges(keys=['symbol']) }}

),

best as (

    select distinct on (candles.symbol, candles.candle_start)
        candles.symbol,
        candles.candle_start,
        candles.source,
        candles.close::double precision as close,
        candles.is_final
    from ({{ rows_in_question(ref('candles_1m'), 'candle_start', source=false) }}) as candles
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on candles.symbol = ranks.symbol and candles.source = ranks.source
    order by candles.symbol asc, candles.candle_start asc, candles.is_final desc, ranks.rank asc

),

indicators as (

    {{ rows_in_question(ref('indicators_1m'), 'candle_start', source=false) }}

)

select
    best.*,
    indicators.candle_start as candle_of_indicators,
    indicators.source as source_of_indicators,
    indicators.close as close_of_indicators
from best
full outer join indicators
    on best.symbol = indicators.symbol and best.candle_start = indicators.candle_start
where
    (best.source, best.close, best.is_final)
    is distinct from
    (indicators.source, indicators.close, indicators.is_final)
