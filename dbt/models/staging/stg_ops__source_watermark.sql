select
    source,
    complete_until
from {{ source('ops', 'watermarks') }}
