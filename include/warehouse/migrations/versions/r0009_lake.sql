-- What of the lake is Parquet: arrival days, the raw objects that went in, the files that came out.

create table ops.lake_days (
    arrival_day date primary key,
    object_count integer not null,
    raw_bytes bigint not null,
    line_count bigint not null,
    row_count bigint not null,
    repeated_count bigint not null,
    malformed_count bigint not null,
    file_count integer not null,
    parquet_bytes bigint not null,
    views_hash text not null,  -- of the staging views that made the columns
    seconds double precision not null,
    compacted_at timestamptz not null default clock_timestamp(),
    constraint lake_day_balances check (line_count = row_count + repeated_count + malformed_count)
);

-- The raw objects that are in the files of their day. One that is in the lake and not here came later: the day is due.
create table ops.lake_objects (
    key text primary key,
    arrival_day date not null,
    bytes bigint not null,
    line_count integer not null
);
create index lake_objects_day on ops.lake_objects (arrival_day);

-- A file holds the rows of one arrival day, kind and event date from (first_symbol, first_event_at) on, up to where the
-- next one of these begins; null: from the beginning. It stays so, so that one put replaces exactly what it replaces.
-- is_announced: about to be written; a run that died may have written it or not.
create table ops.lake_files (
    key text primary key,
    arrival_day date not null,
    kind text not null,
    event_date date not null,
    first_symbol text,
    first_event_at timestamptz,
    row_count bigint not null,
    bytes bigint not null,
    checksum numeric not null,
    sha256 text not null,
    is_announced boolean not null,
    check ((first_symbol is null) = (first_event_at is null))
);
create index lake_files_day on ops.lake_files (arrival_day);
