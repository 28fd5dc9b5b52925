-- Landing (raw), ledger (ops), alerts (marts). Everything else in staging, intermediate and marts is dbt's.

create schema if not exists raw;
create schema if not exists staging;
create schema if not exists intermediate;
create schema if not exists marts;

-- raw ---------------------------------------------------------------------------------------------------------------

-- Events of loads that the audit has accepted: the only rows that models read. A revision (same natural key, other
-- payload) is a further row; the latest received_at wins, in staging. load_id is the load that touched the row last.
create table raw.market_events (
    source text not null,
    kind text not null check (kind in ('quote', 'trade', 'bar')),
    symbol text not null,
    event_time timestamptz not null,
    vendor_id text not null default '',
    payload_hash uuid not null,
    payload jsonb not null,
    received_at timestamptz not null,
    loaded_at timestamptz not null default clock_timestamp(),
    load_id bigint not null,
    primary key (symbol, event_time, source, kind, vendor_id, payload_hash)
);
create index market_events_load on raw.market_events (load_id);

-- Events of loads that wait for their audit, or that were rejected by it, with where each came from.
create table raw.landed_events (
    load_id bigint not null,
    line_number integer not null,
    source text not null,
    kind text not null,
    symbol text not null,
    event_time timestamptz not null,
    vendor_id text not null default '',
    payload_hash uuid not null,
    payload jsonb not null,
    received_at timestamptz not null,
    loaded_at timestamptz not null default clock_timestamp(),
    primary key (load_id, line_number)
);

-- One normalisation for both: staging reads this view; the audit looks at the rows that are not accepted yet.
create view raw.events as
select source, kind, symbol, event_time, vendor_id, payload_hash, payload, received_at, loaded_at, load_id,
       true as is_accepted, null::integer as line_number
from raw.market_events
union all
select source, kind, symbol, event_time, vendor_id, payload_hash, payload, received_at, loaded_at, load_id,
       false as is_accepted, line_number
from raw.landed_events;

-- Quarantine: nothing is thrown away. `origin` is the s3 key or the file it came from.
create table raw.rejected_events (
    rejected_id bigint generated always as identity primary key,
    load_id bigint,
    origin text not null,
    line_number integer not null,
    source text,
    kind text,
    symbol text,
    event_time timestamptz,
    reason text not null,
    raw bytea not null,
    rejected_at timestamptz not null default clock_timestamp(),
    unique (origin, line_number)
);

-- ops ---------------------------------------------------------------------------------------------------------------

create table ops.leases (
    name text primary key,
    epoch bigint not null,
    holder text not null,
    backend_pid integer not null,
    backend_start timestamptz not null,
    acquired_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null
);

-- How far each shard is loaded. A stream that was deleted and made again has another creation time.
create table ops.checkpoints (
    stream text not null,
    stream_created_at timestamptz not null,
    shard_id text not null,
    sequence_number text not null,
    arrived_at timestamptz not null,
    updated_at timestamptz not null default clock_timestamp(),
    primary key (stream, stream_created_at, shard_id)
);

-- How far each shard was read: what arrived before `read_until` was. Older than the stream's retention means: something
-- may have been trimmed unread.
create table ops.shard_reads (
    stream text not null,
    stream_created_at timestamptz not null,
    shard_id text not null,
    read_until timestamptz not null default clock_timestamp(),
    primary key (stream, stream_created_at, shard_id)
);

-- The intent: this range of this shard goes under this key. Written before the object, so a retry repeats it exactly.
-- lost: the stream let go of it before it was landed; said by an alert, and kept here.
create table ops.stream_ranges (
    range_id bigint generated always as identity primary key,
    stream text not null,
    stream_created_at timestamptz not null,
    shard_id text not null,
    from_sequence text not null,
    to_sequence text not null,
    record_count integer not null,
    arrived_at timestamptz not null,
    s3_key text not null unique,
    sha256 text,
    state text not null default 'intended' check (state in ('intended', 'landed', 'loaded', 'lost')),
    created_at timestamptz not null default clock_timestamp(),
    landed_at timestamptz,
    loaded_at timestamptz
);
create index stream_ranges_open on ops.stream_ranges (state, range_id) where state in ('intended', 'landed');
create index stream_ranges_shard on ops.stream_ranges (stream, stream_created_at, shard_id, range_id);

create table ops.loads (
    load_id bigint generated always as identity primary key,
    origin text not null unique,
    state text not null default 'landed' check (state in ('landed', 'accepted', 'rejected', 'transformed')),
    is_live boolean not null,
    read_count integer not null,
    inserted_count integer,
    duplicate_count integer,
    quarantined_count integer not null default 0,
    complete_until jsonb not null default '{}',
    failures jsonb not null default '[]',
    loaded_at timestamptz not null default clock_timestamp(),
    audited_at timestamptz,
    transformed_at timestamptz,
    constraint ledger_balances check (
        state not in ('accepted', 'transformed')
        or read_count = inserted_count + duplicate_count + quarantined_count
    )
);
create index loads_open on ops.loads (state, load_id) where state <> 'transformed';

-- Up to when each source is complete: candles that end by then are final.
create table ops.watermarks (
    source text primary key,
    complete_until timestamptz not null
);

-- The loads that the running transform takes (drain, do not follow). dbt models read it; emptied when it is done.
create table ops.transform_batch (
    load_id bigint primary key
);

-- ops.watermarks as they were when that batch was taken: a candle is final only if the events that make it so are in it.
create table ops.transform_watermarks (
    source text primary key,
    complete_until timestamptz not null
);

-- What the warehouse was built from, by name: a hash of dbt/ and one of the file of instruments.
create table ops.built_from (
    name text primary key,
    hash text not null
);

-- Symbols with new or changed indicators, from the earliest changed candle on. Detection drains it.
create table ops.detect_queue (
    symbol text primary key,
    from_candle timestamptz not null,
    version bigint not null default 1
);

-- One row per attempt of anything that can fail.
create table ops.outcomes (
    outcome_id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    step text not null,
    source text,
    window_start timestamptz,
    window_end timestamptz,
    ok boolean not null,
    row_count bigint,
    seconds double precision,
    run_id text,
    error text,
    detail jsonb not null default '{}'
);
create index outcomes_step on ops.outcomes (step, at);
create index outcomes_window on ops.outcomes (source, window_end) where step = 'pull' and ok;

-- What the file of instruments says (dbt/seeds/instruments.csv, or the one set), kept equal to it by the transform.
create table ops.instruments (
    symbol text primary key,
    asset_class text not null,
    currency text not null,
    calendar text not null,
    primary_source text not null
);

-- Instruments registered while running (`--add-instruments`), beside dbt/seeds/instruments.csv.
create table ops.registered_instruments (
    symbol text primary key,
    asset_class text not null,
    currency text not null,
    calendar text not null,
    primary_source text not null,
    registered_at timestamptz not null default clock_timestamp()
);

-- What the simulator did on purpose; detection never reads it, scoring does.
create table ops.simulator_labels (
    seed bigint not null,
    symbol text not null,
    shock text not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    size double precision,
    primary key (seed, symbol, shock, starts_at)
);

-- The outbox: written with the alert in one transaction, sent afterwards, marked once SNS took it.
create table ops.outbox (
    outbox_id bigint generated always as identity primary key,
    alert_key text not null unique,
    subject text not null,
    body text not null,
    attributes jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default clock_timestamp(),
    last_error text,
    message_id text,
    sent_at timestamptz
);
create index outbox_unsent on ops.outbox (outbox_id) where sent_at is null;

-- marts.alerts: the one mart that detection writes ------------------------------------------------------------------

create table marts.alerts (
    alert_key text primary key,
    rule text not null,
    category text not null check (category in ('market', 'operations')),
    symbol text,
    candle_start timestamptz,
    severity text not null check (severity in ('info', 'warning', 'critical')),
    direction text,
    value double precision,
    threshold double precision,
    message text not null,
    state text not null default 'new' check (state in ('new', 'sent')),
    created_at timestamptz not null default clock_timestamp(),
    sent_at timestamptz
);
create index alerts_candle on marts.alerts (candle_start);
create index alerts_symbol on marts.alerts (symbol, candle_start);

-- Safe casts: NULL where the text is no finite number / no time, instead of an error that stops the model. -----------

create function ops.to_number(value text) returns numeric
language sql immutable parallel safe
return case
    -- at most 45 characters, so squares and sums of it fit a double; counted repeats in the pattern would be 3 times slower
    when length(value) <= 45 and value ~ '^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?\s*$' then value::numeric
end;

create function ops.to_time(value text) returns timestamptz
language sql stable parallel safe
return case when pg_input_is_valid(value, 'timestamptz') then value::timestamptz end;

comment on schema raw is 'Landing: what sources sent, unchanged.';
comment on schema ops is 'Ledger, checkpoints, leases, outbox.';
comment on schema marts is 'What analysts read.';
