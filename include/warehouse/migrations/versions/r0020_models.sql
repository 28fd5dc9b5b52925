-- Trained models. Their files are in the lake under s3_key; sha256 is that of the JSON file, which holds the arrays'.
create table ops.models (
    name text not null,
    version text not null,
    state text not null check (state in ('candidate', 'approved', 'rejected', 'retired')),
    trained_from timestamptz not null,
    trained_until timestamptz not null,  -- half open; no candle from here on was looked at
    held_out_until timestamptz not null,  -- scored on the candles from trained_until up to here
    data_sha256 text not null,
    sha256 text not null,
    s3_key text not null,
    params jsonb not null,
    scores jsonb not null,
    reason text not null,
    created_at timestamptz not null default clock_timestamp(),
    approved_at timestamptz,
    primary key (name, version),
    constraint window_is_a_window check (trained_from < trained_until and trained_until <= held_out_until)
);
create unique index models_approved on ops.models (name) where state = 'approved';
