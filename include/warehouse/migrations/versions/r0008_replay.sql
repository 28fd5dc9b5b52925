-- Reading again: quarantined lines that came in after all, checkpoints that were set back, rebuilds.

-- released_by: the load with which the line came in after all. Loads of one object share its name up to ' replay '.
alter table raw.rejected_events add column released_at timestamptz;
alter table raw.rejected_events add column released_by bigint;
create index rejected_events_object on raw.rejected_events (split_part(origin, ' replay ', 1), line_number);

-- What was read of the lake once more, by whom it was asked for.
create table ops.replays (
    replay_id text primary key,
    from_time timestamptz not null,
    to_time timestamptz not null,
    sources text[],
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz
);

-- Loads of replays that were settled with the quarantine: lines that came in, lines that were bad before and still are.
create table ops.replayed_loads (
    load_id bigint primary key,
    released_count integer not null,
    still_bad_count integer not null
);

-- A shard that is read again from `at_sequence` on (null: from the oldest record that the stream holds). Ranges up to
-- last_range_id were written down before; records up to read_to had an object then, and get another one.
create table ops.stream_resets (
    reset_id bigint generated always as identity primary key,
    stream text not null,
    stream_created_at timestamptz not null,
    shard_id text not null,
    at_sequence text,
    read_to text not null,
    last_range_id bigint not null,
    asked text not null,
    reset_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz  -- of a closed shard: it was read to its end once more
);
create index stream_resets_shard on ops.stream_resets (stream, stream_created_at, shard_id, reset_id);

-- The whole warehouse out of the lake. The youngest row is the one that goes on after a crash.
create table ops.rebuilds (
    rebuild_id bigint generated always as identity primary key,
    phase text not null default 'load' check (phase in ('load', 'transform', 'detect', 'done')),
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    before jsonb,
    paused text[] not null default '{}'
);
create unique index rebuilds_open on ops.rebuilds ((true)) where phase <> 'done';

-- Alerts that were sent are noted in the lake: a lost database must not have them sent again.
alter table ops.outbox add column kept_at timestamptz;
create index outbox_to_keep on ops.outbox (outbox_id) where sent_at is not null and kept_at is null;
