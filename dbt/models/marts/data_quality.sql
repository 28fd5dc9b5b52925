select
    kind,
    name,
    rule,
    checked_at,
    state,
    row_count,
    failed_rows,
    detail
from {{ ref('stg_ops__verdict') }}
