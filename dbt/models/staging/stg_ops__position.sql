select
    portfolio,
    symbol,
    quantity,
    cost
from {{ source('ops', 'portfolio_positions') }}
