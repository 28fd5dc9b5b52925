-- A row here is a minute with accepted trades, bars or quotes but without its candle, or a candle that does not count
-- the trades of its minute: the change tracking (int_changed_minutes) or the way candles are chosen has a hole.
with

changed as (

    {{ minutes_in_question() }}

),

counted as (

    select
        changed.*,
        candles.basis,
        candles.trade_count,
        trades.number_of_trades
    from changed
    left join lateral (
        select
            kept.basis,
            kept.trade_count
        from {{ ref('candles_1m') }} as kept
        where
            kept.symbol = changed.symbol
            and kept.candle_start = changed.candle_start
            and kept.source = changed.source
        offset 0
    ) as candles on true
    cross join lateral (
        select count(*) as number_of_trades
        from {{ ref('trades') }} as kept
        where
            kept.symbol = changed.symbol
            and kept.event_time >= changed.candle_start
            and kept.event_time < changed.candle_start + interval '1 minute'
            and kept.source = changed.source
    ) as trades

)

select * from counted
where
    basis is null
    or (number_of_trades > 0) <> (basis = 'trade')
    or (basis = 'trade' and trade_count <> number_of_trades)
