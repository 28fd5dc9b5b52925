-- What was removed after its time, and up to when: the marts keep what they were made of it, and the lake keeps it all.
create table ops.removed (
    what text primary key,
    before timestamptz not null,
    row_count bigint not null default 0,
    removed_at timestamptz not null default clock_timestamp()
);

-- Retention looks for what is old.
create index if not exists rejected_events_at on raw.rejected_events (rejected_at);
create index outbox_sent on ops.outbox (sent_at) where sent_at is not null;
