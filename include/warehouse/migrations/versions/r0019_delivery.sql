-- A row of the outbox is a message. An alert may have several, each with a key of its own; the one that says that it
-- opened has the alert's. Rows that older code writes have none: then it is the alert's too.
alter table ops.outbox add column if not exists message_key text;
alter table ops.outbox add column if not exists kind text not null default 'opened'
    check (kind in ('opened', 'escalated', 'resolved'));
update ops.outbox set message_key = alert_key where message_key is null;
alter table ops.outbox drop constraint if exists outbox_alert_key_key;
create unique index if not exists outbox_message_key_key on ops.outbox (message_key);
create index if not exists outbox_alert on ops.outbox (alert_key);

-- dead: SNS calls the message itself wrong, again and again. It is not tried any more, and holds back no other.
alter table ops.outbox
    add column refusals integer not null default 0,  -- runs in a row in which SNS called it wrong
    add column dead_at timestamptz,
    add column dead_reason text,
    add column topic text,              -- the topic that took it
    add column accepted_at timestamptz; -- when it did, by the sender's clock
drop index ops.outbox_unsent;
create index outbox_unsent on ops.outbox (outbox_id) where sent_at is null and dead_at is null;
create index outbox_dead on ops.outbox (dead_at) where dead_at is not null;

-- From the end of the candle until SNS had taken the alert; NULL for what no candle says, or nobody was sent.
alter table marts.alerts add column latency_seconds double precision;
create index alerts_sent on marts.alerts (sent_at) where sent_at is not null;
