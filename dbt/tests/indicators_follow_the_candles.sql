-- A row here is a changed minute whose indicators are missing, or made of another close than that of the candle they
-- name, or of a source although the primary one has a candle.
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
    kept.source,
    kept.close,
    candles.close as close_of_candle
from changed
left join lateral (
    select indicators.*
    from {{ ref('indicators_1m') }} as indicators
    where indicators.symbol = changed.symbol and indicators.candle_start = changed.candle_start
    offset 0
) as kept on true
left join lateral (
    select candles_1m.*
    from {{ ref('candles_1m') }} as candles_1m
    where
        candles_1m.symbol = changed.symbol
        and candles_1m.candle_start = changed.candle_start
        and candles_1m.source = kept.source
    offset 0
) as candles on true
where
    candles.close is null
    or kept.close <> candles.close::double precision
    or exists (
        select 1
        from {{ ref('candles_1m') }} as other
        inner join {{ ref('instruments') }} as instruments
            on other.symbol = instruments.symbol and other.source = instruments.primary_source
        where
            other.symbol = changed.symbol
            and other.candle_start = changed.candle_start
            and other.source <> kept.source
    )
