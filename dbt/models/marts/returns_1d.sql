with

-- one candle per symbol and session: the first in the order of the instrument's sources that is final
chosen as (

    select distinct on (candles.symbol, candles.session_date) candles.*
    from {{ ref('candles_1d_adjusted') }} as candles
    inner join {{ ref('stg_ops__instrument_source') }} as ranks
        on candles.symbol = ranks.symbol and candles.source = ranks.source
    where candles.is_final
    order by candles.symbol asc, candles.session_date asc, ranks.rank asc

),

compared as (

    select
        symbol,
        session_date,
        source,
        close,
        lag(close) over series as previous_close,
        lag(session_date) over series as previous_date
    from chosen
    window series as (partition by symbol order by session_date)

)

select
    symbol,
    session_date,
    source,
    close,
    previous_close,
    previous_date,
    close / nullif(previous_close, 0) - 1 as return,
    case when close > 0 and previous_close > 0 then ln(close / previous_close) end as log_return
from compared
