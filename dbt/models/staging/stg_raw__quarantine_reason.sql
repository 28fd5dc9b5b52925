select
    load_id,
    reason,
    count(*) as failed_rows
from {{ source('raw', 'rejected_events') }}
where load_id is not null
group by load_id, reason
