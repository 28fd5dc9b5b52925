-- History: what was asked for, which raw objects hold it, and what of the past is covered by that.

-- The intent and what became of it: this part of what a vendor said about its past lies under this key.
--   intended   written down; the object may or may not be there
--   landed     the object is in the lake, and what it covers is in ops.history_coverage
--   loaded     its load was judged (ops.loads says how)
--   void       the process died before the object was put; nothing of it counts
--   superseded its load was rejected, and all of it was asked for again
create table ops.history_pieces (
    piece_id uuid primary key,
    source text not null,
    kind text not null,
    -- the window that was asked for: whoever works on it holds the lease of its start
    window_start timestamptz not null,
    window_end timestamptz not null,
    symbols text[] not null,
    s3_key text not null unique,
    event_count integer not null,
    first_event_at timestamptz not null,
    last_event_at timestamptz not null,
    -- rows of ops.history_coverage, written when the object is landed
    covers jsonb not null,
    state text not null default 'intended' check (state in ('intended', 'landed', 'loaded', 'void', 'superseded')),
    sha256 text,
    load_id bigint,
    run_id text,
    created_at timestamptz not null default clock_timestamp(),
    landed_at timestamptz,
    loaded_at timestamptz,
    check (window_start < window_end),
    check ((sha256 is null) = (state in ('intended', 'void')))
);
create index history_pieces_open on ops.history_pieces (source, kind, window_start)
where state in ('intended', 'landed');
create index history_pieces_load on ops.history_pieces (source, kind, first_event_at) where state = 'loaded';

-- What of the past was asked for and is there: [covered_from, covered_until) of a symbol, as known under `asked_as` to
-- the vendor. `ended`: events came, the vendor has none (empty), or it refuses to tell (reason says why).
create table ops.history_coverage (
    coverage_id bigint generated always as identity primary key,
    source text not null,
    kind text not null,
    symbol text not null,
    asked_as text not null,
    covered_from timestamptz not null,
    covered_until timestamptz not null,
    events bigint not null,
    ended text not null check (ended in ('events', 'empty', 'refused')),
    reason text,
    run_id text,
    fetched_at timestamptz not null default clock_timestamp(),
    check (covered_from < covered_until)
);
create index history_coverage_span on ops.history_coverage (source, kind, symbol, covered_from);
