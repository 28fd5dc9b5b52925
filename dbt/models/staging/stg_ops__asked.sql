-- a pull asks for all instruments of its source, a collector is told of all; part of them may be missing in the answer
select
    source,
    window_start as asked_from,
    window_end as asked_until,
    ok as is_answered,
    coalesce(detail -> 'missing', '[]') as missing
from {{ source('ops', 'outcomes') }}
where
    step in ('pull', 'collect')
    and window_end is not null
    and window_start < window_end
    and coalesce((detail ->> 'asked')::integer, 1) > 0
