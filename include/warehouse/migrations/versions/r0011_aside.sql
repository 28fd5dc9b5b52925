-- The changed minutes of a slice of history whose build did not end, put aside because live loads came: the next slice
-- of history takes them back. Half-open ranges, as in intermediate.int_changed_ranges.
create table ops.transform_set_aside (
    source text not null,
    symbol text not null,
    from_candle timestamptz not null,
    until_candle timestamptz not null
);
