select
    symbol,
    asset_class,
    currency,
    calendar,
    primary_source
from {{ ref('stg_ops__instrument') }}
