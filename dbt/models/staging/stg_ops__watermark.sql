select
    source,
    complete_until
from {{ source('ops', 'transform_watermarks') }}
