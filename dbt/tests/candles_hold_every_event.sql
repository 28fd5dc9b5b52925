-- A row here is a minute with accepted trades, bars or quotes but without its candle, or a candle that does not count
-- the trades of its minute: the change tracking (int_changed_ranges) or the way candles are chosen has a hole.
with

changed as (

    {{ changed_ranges() }}

),

candles as (

    {{ rows_in_question(ref('candles_1m'), 'candle_start') }}

),

trade_candles as (

    select * from candles
    where basis = 'trade'

),

counted as (

    select
        symbol,
        source,
        {{ candle_of('event_time') }} as candle_start,
        count(*) as number_of_trades
    from ({{ rows_in_question(ref('trades'), 'event_time') }}) as trades
    group by symbol, source, {{ candle_of('event_time') }}

),

without_candle as (

    select
        symbol,
        source,
        candle_start
    from ({{ minutes_in_question() }}) as minutes
    except all
    select
        symbol,
        source,
        candle_start
    from candles

)

select
    coalesce(trade_candles.symbol, counted.symbol) as symbol,
    coalesce(trade_candles.source, counted.source) as source,
    coalesce(trade_candles.candle_start, counted.candle_start) as candle_start,
    trade_candles.basis,
    trade_candles.trade_count,
    counted.number_of_trades
from trade_candles
full outer join counted
    on
        trade_candles.symbol = counted.symbol
        and trade_candles.source = counted.source
        and trade_candles.candle_start = counted.candle_start
where trade_candles.trade_count is distinct from counted.number_of_trades
union all
select
    *,
    null as basis,
    null as trade_count,
    null as number_of_trades
from without_candle
