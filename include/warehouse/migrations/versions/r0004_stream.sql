-- The stream at scale: several events in one record, many shards, and what may be called final.

-- `record_count` counts the stream's records, `event_count` the lines of the object: an aggregated record gives several.
alter table ops.stream_ranges add column event_count integer;
update ops.stream_ranges set event_count = record_count;
alter table ops.stream_ranges alter column event_count set not null;

-- A closed shard that was read to its end: nobody waits for it any more. Shards that the stream forgot long ago are.
alter table ops.shard_reads add column is_drained boolean not null default false;
update ops.shard_reads as r set is_drained = true
where r.read_until < (select max(n.read_until) from ops.shard_reads as n where n.stream = r.stream) - interval '1 hour';

-- What events of the stream say about the completeness of their source. It is true once all that arrived before it is
-- loaded and judged, in every shard; then it moves ops.watermarks and is gone from here.
create table ops.pending_watermarks (
    load_id bigint not null,
    source text not null,
    complete_until timestamptz not null,
    stream text not null,
    stream_created_at timestamptz not null,
    shard_id text not null,
    arrived_at timestamptz not null,
    primary key (load_id, source, complete_until)
);
