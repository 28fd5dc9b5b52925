select
    'file' as source,
    symbol,
    ex_date,
    action,
    ratio,
    amount,
    currency
from {{ source('ops', 'listed_actions') }}
