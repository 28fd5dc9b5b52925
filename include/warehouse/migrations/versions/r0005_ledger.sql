-- When the events of a load happened, from its first to its last one: what is built together lies together.
alter table ops.loads add column first_event_at timestamptz;
alter table ops.loads add column last_event_at timestamptz;
update ops.loads as l set first_event_at = e.first_at, last_event_at = e.last_at
from (
    select load_id, min(event_time) as first_at, max(event_time) as last_at
    from raw.market_events where load_id in (select load_id from ops.loads where state <> 'transformed')
    group by load_id
) as e
where e.load_id = l.load_id;

-- Which loads may have taken rows of one that waits.
create index loads_transformed on ops.loads (transformed_at);

-- Spans of candles to look at instead of everything from a candle on; what history changed waits apart from what came
-- live, so that it is looked at after it. An empty bound: no end.
alter table ops.detect_queue add column lane text not null default 'live' check (lane in ('live', 'history'));
alter table ops.detect_queue add column spans tstzmultirange check (not isempty(spans));
update ops.detect_queue set spans = tstzmultirange(tstzrange(from_candle, null));
alter table ops.detect_queue alter column lane drop default;
alter table ops.detect_queue alter column spans set not null;
alter table ops.detect_queue drop column from_candle;
alter table ops.detect_queue add column from_candle timestamptz generated always as (lower(spans)) stored;
alter table ops.detect_queue add column until_candle timestamptz generated always as (upper(spans)) stored;
alter table ops.detect_queue drop constraint detect_queue_pkey;
alter table ops.detect_queue add primary key (symbol, lane);

-- history: the candle was old when the alert was written down, so it was sent to nobody.
alter table marts.alerts drop constraint alerts_state_check;
alter table marts.alerts add constraint alerts_state_check check (state in ('new', 'sent', 'history'));
create index alerts_history on marts.alerts (symbol, candle_start) where state = 'history';

-- The same numbers as before, faster: nearly all are plain ones, and the simple pattern costs a third of the whole one.
create or replace function ops.to_number(value text) returns numeric
language sql immutable parallel safe
return case
    -- at most 45 characters, so squares and sums of it fit a double; counted repeats in the pattern would be 3 times slower
    when length(value) <= 45 and (
        value ~ '^-?[0-9]+[.]?[0-9]*$' or value ~ '^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?\s*$'
    ) then value::numeric
end;

-- A count; NULL when it is no whole number that fits a bigint. Nearly all are digits and nothing else.
create function ops.to_count(value text) returns bigint
language sql immutable parallel safe
return case
    when length(value) <= 18 and value ~ '^[0-9]+$' then value::bigint
    when ops.to_number(value) between 0 and 9223372036854775807
        and scale(trim_scale(ops.to_number(value))) = 0 then ops.to_number(value)::bigint
end;
