-- What is to be known of the marts that a rebuild compares with: kept, because an interrupted one tells it at its end.
alter table ops.rebuilds add column notes text[] not null default '{}';
