-- A row here is a changed minute whose indicators are missing, or made of another close than that of the best candle
-- there is: a final one before one that is not, then by the order of the instrument's sources.
with

changed as (

    select distinct
        symbol,
        candle_start
    from ({{ minutes_in_question() }}) as minutes_in_question

)

select
    changed.symbol,
    changed.candle_start,
    best.source,
    best.close,
    kept.source as source_of_indicators,
    kept.close as close_of_indicators
from changed
inner join lateral (
    select
        candles.source,
        candles.close,
        candles.is_final
    from {{ ref('candles_1m') }} as candles
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on candles.symbol = ranks.symbol and candles.source = ranks.source
    where candles.symbol = changed.symbol and candles.candle_start = changed.candle_start
    order by candles.is_final desc, ranks.rank asc
    limit 1
) as best on true
left join lateral (
    select indicators.*
    from {{ ref('indicators_1m') }} as indicators
    where indicators.symbol = changed.symbol and indicators.candle_start = changed.candle_start
    offset 0
) as kept on true
where
    (kept.source, kept.close, kept.is_final)
    is distinct from
    (best.source, best.close::double precision, best.is_final)
