with

closes as (

    {{ daily_closes() }}

),

compared as (

    select
        symbol,
        session_date,
        source,
        close,
        lag(close) over series as previous_close,
        lag(session_date) over series as previous_date
    from closes
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
