-- kept_at: since when the lake has a note of the row as it is; NULL: it has none yet.
alter table ops.models
    add column decided_at timestamptz not null default clock_timestamp(),
    add column kept_at timestamptz;
update ops.models set decided_at = coalesce(approved_at, created_at);
alter table ops.mutes add column kept_at timestamptz;
