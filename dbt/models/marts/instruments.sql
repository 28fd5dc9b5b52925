select
    symbol,
    asset_class,
    currency,
    calendar,
    primary_source,
    fallbacks
from {{ ref('stg_ops__instrument') }}
