-- What rules and models point at, candle by candle; alerts follow from these rows.
create table ops.findings (
    rule text not null,
    scope text not null check (scope in ('instrument', 'source', 'portfolio')),
    symbol text not null,
    source text not null default '',
    candle_start timestamptz not null,
    direction text not null default '',
    value double precision,
    threshold double precision,
    severity text not null check (severity in ('info', 'warning', 'critical')),
    message text not null,
    close double precision,
    cooldown_minutes integer not null check (cooldown_minutes between 1 and 1440),
    measures jsonb not null default '[]',
    found_at timestamptz not null default clock_timestamp(),
    -- symbol and candle first: what was judged is a span of a symbol
    primary key (symbol, candle_start, rule, scope, source)
);

-- Up to which candle (its start) a symbol or a portfolio was judged: the clock by which alerts resolve.
create table ops.judged (
    symbol text not null,
    scope text not null,
    until_candle timestamptz not null,
    primary key (symbol, scope)
);

-- Who is not to be told about what, and until when. What is NULL matches everything.
create table ops.mutes (
    mute_id bigint generated always as identity primary key,
    symbol text,
    rule text,
    asset_class text,
    severity text check (severity in ('info', 'warning', 'critical')),
    from_at timestamptz not null default clock_timestamp(),
    until_at timestamptz not null,
    reason text,
    made_by text not null,
    made_at timestamptz not null default clock_timestamp(),
    check (until_at >= from_at)
);

alter table marts.alerts drop constraint alerts_state_check;
alter table marts.alerts add constraint alerts_state_check
    check (state in ('new', 'sent', 'history', 'muted', 'grouped'));
alter table marts.alerts
    add column status text not null default 'open' check (status in ('open', 'acknowledged', 'resolved')),
    add column scope text not null default 'instrument',
    add column source text not null default '',
    add column asset_class text,
    add column last_candle timestamptz,
    add column finding_count integer not null default 1,
    add column cooldown_minutes integer not null default 0,
    add column latest_message text,
    add column peak_value double precision,
    add column peak_threshold double precision,
    add column peak_candle timestamptz,
    add column measures jsonb not null default '[]',
    add column updates integer not null default 0,
    add column group_key text,
    add column told_by text,
    add column symbols text[],
    add column acknowledged_at timestamptz,
    add column acknowledged_by text,
    add column resolved_at timestamptz,
    add column resolved_by text,
    add column is_withdrawn boolean not null default false,
    add column raised_to text check (raised_to in ('warning', 'critical')),
    add column escalations integer not null default 0,
    add column escalated_at timestamptz;
create index alerts_open on marts.alerts (symbol) where status <> 'resolved';
create index alerts_group on marts.alerts (group_key) where group_key is not null;
create index alerts_told_by on marts.alerts (told_by) where told_by is not null;
create index alerts_cause on marts.alerts (rule, candle_start);
create index alerts_series on marts.alerts (symbol, rule, candle_start);

-- What happened to each alert, from the first moment on.
create table marts.alert_history (
    seq bigint generated always as identity primary key,
    alert_key text not null,
    at timestamptz not null default clock_timestamp(),
    event text not null check (event in (
        'opened', 'updated', 'grouped', 'acknowledged', 'escalated', 'muted', 'unmuted', 'sent', 'resolved', 'reopened',
        'withdrawn', 'dead', 'redelivered')),
    by text,
    note text,
    detail jsonb not null default '{}'
);
create index alert_history_alert on marts.alert_history (alert_key, seq);
create index alert_history_at on marts.alert_history (at);

-- Alerts of before: they are over, and nobody is called again for them. Which source one of a divergence was about is
-- not known any more, so those have no finding.
update marts.alerts set
    status = 'resolved', resolved_at = coalesce(candle_start, created_at), last_candle = candle_start,
    peak_value = value, peak_threshold = threshold, peak_candle = candle_start,
    latest_message = message, cooldown_minutes = case category when 'market' then 15 else 0 end,
    scope = case rule when 'source_divergence' then 'source' else 'instrument' end;
insert into ops.findings (
    rule, scope, symbol, candle_start, direction, value, threshold, severity, message, cooldown_minutes)
select rule, scope, symbol, candle_start, coalesce(direction, ''), value, threshold, severity, message, 15
from marts.alerts
where category = 'market' and rule <> 'source_divergence' and symbol is not null and candle_start is not null;
insert into marts.alert_history (alert_key, at, event, detail)
select alert_key, at, event, '{}'
from marts.alerts
cross join lateral (values (created_at, 'opened'), (sent_at, 'sent'), (resolved_at, 'resolved')) as e (at, event)
where at is not null;

-- A row of the outbox is a message: an alert may have several.
alter table ops.outbox add column if not exists message_key text;
alter table ops.outbox add column if not exists kind text not null default 'opened';
update ops.outbox set message_key = alert_key where message_key is null;
alter table ops.outbox drop constraint if exists outbox_alert_key_key;
alter table ops.outbox drop constraint if exists outbox_message_key_key;
alter table ops.outbox add constraint outbox_message_key_key unique (message_key);
alter table ops.outbox drop constraint if exists outbox_kind_check;
alter table ops.outbox add constraint outbox_kind_check check (kind in ('opened', 'escalated', 'resolved'));
create index if not exists outbox_alert on ops.outbox (alert_key);
