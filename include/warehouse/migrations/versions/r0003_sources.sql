-- Several sources of an instrument; corporate actions are events like any other.

alter table raw.market_events drop constraint market_events_kind_check;
alter table raw.market_events add constraint market_events_kind_check check (kind in ('quote', 'trade', 'bar', 'action'));

-- Each staging view asks for the rows of its own source and kind among those of a load.
drop index raw.market_events_load;
create index market_events_load on raw.market_events (load_id, kind, source);
create index market_events_actions on raw.market_events (symbol, event_time) where kind = 'action';

alter table ops.instruments add column fallbacks text[] not null default '{}';

-- Which sources an instrument's one series (marts.indicators_1m) is made of, the first with the lowest rank; a source that
-- is not listed does not count. Kept equal to the file of instruments and the settings by the transform.
create table ops.instrument_sources (
    symbol text not null,
    source text not null,
    rank integer not null check (rank > 0),
    primary key (symbol, source),
    unique (symbol, rank)
);

-- Marts that dbt made before: a bar's session is a column of its candle now, and the indicators say more and follow
-- another order, so the next transform makes them anew.
alter table if exists marts.candles_1m add column if not exists session text;
insert into ops.built_from (name, hash)
select 'indicators', 'outdated' where to_regclass('marts.indicators_1m') is not null
on conflict (name) do update set hash = excluded.hash;
