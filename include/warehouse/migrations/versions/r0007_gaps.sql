-- When exchanges are open, and what the search for gaps has to look at again.

-- Half-open, UTC. A lunch break parts a day's session in two rows; what never closes has UTC days. Kept equal to
-- include/calendars.py for the days that there are candles of.
create table ops.sessions (
    calendar text not null,
    session_date date not null,
    opens_at timestamptz not null,
    closes_at timestamptz not null,
    primary key (calendar, opens_at),
    check (opens_at < closes_at and closes_at <= opens_at + interval '1 day')
);
create index sessions_date on ops.sessions (calendar, session_date);

-- The series that there are candles of, from the first to the last one; up to when more of it was asked for; since when
-- the platform polls its source (polled_from) or asked it for anything (asked_from). lag: by how much the source is
-- behind the market.
create table ops.gap_series (
    source text not null,
    symbol text not null,
    calendar text not null,
    first_candle timestamptz not null,
    last_candle timestamptz not null,
    asked_until timestamptz,
    polled_from timestamptz,
    asked_from timestamptz,
    lag interval not null default '0',
    primary key (source, symbol)
);

-- What the running search looks at: candles that are read again, both bounds included, and times whose silences are
-- judged again.
create table ops.gap_spans (
    source text not null,
    symbol text not null,
    from_at timestamptz not null,
    until_at timestamptz not null,
    primary key (source, symbol, from_at)
);
create table ops.gap_scope (
    source text not null,
    calendar text not null,
    from_at timestamptz not null,
    until_at timestamptz not null,
    found_at timestamptz not null,  -- what this search finds was found then
    primary key (source, calendar, from_at)
);

-- One row, the last search that came to its end: what the ledgers said before `searched_until` (this database's clock)
-- is in it. `found_until`: what was found up to then is told.
create table ops.gap_searches (
    is_only boolean primary key default true check (is_only),
    searched_until timestamptz not null,
    found_until timestamptz not null
);

-- Loads whose candles no search has seen yet.
alter table ops.loads add column searched_at timestamptz;
create index loads_unsearched on ops.loads (load_id) where state = 'transformed' and searched_at is null;

create index outcomes_asked on ops.outcomes (source, window_end) where window_end is not null;
create index history_coverage_fetched on ops.history_coverage (fetched_at);
create index rejected_events_at on raw.rejected_events (rejected_at);
create index rejected_events_minute on raw.rejected_events (source, symbol, event_time);
