-- The large tables are cut by time: here into Postgres's own partitions, in TimescaleDB into chunks (docs/timescale.md).

create schema parts;
comment on schema parts is 'The partitions of tables in raw and marts; read them through those.';

-- How many months a new partition holds. Those that are there stay as they are.
create table ops.partitioning (
    is_only boolean primary key default true check (is_only),
    months integer not null check (months in (1, 2, 3, 4, 6, 12))
);
insert into ops.partitioning (months) values (12);

-- Every partition, and the half-open time that it holds.
create view ops.partitions as
select
    i.inhparent::regclass as parent,
    i.inhrelid::regclass as part,
    (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\)'))[1]::timestamptz as from_at,
    (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz as until_at
from pg_inherits as i
inner join pg_class as c on c.oid = i.inhrelid
where c.relispartition and c.relkind = 'r' and c.relnamespace = 'parts'::regnamespace;

-- `native`: large tables have partitions; `timescale`: they are hypertables.
create function ops.cuts_by() returns text
language sql stable
as $$
select case relkind when 'p' then 'native' else 'timescale' end from pg_class where oid = 'raw.market_events'::regclass
$$;

-- Partitions of whole months (UTC) for the times that have none; how many were made. A time whose months are partly
-- there already gets its one month. Others go on reading and writing meanwhile. Of a table without partitions: 0.
create function ops.make_partitions(of_table regclass, times timestamptz[]) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    at timestamptz;
    first_month integer;
    low timestamptz;
    high timestamptz;
    part text;
    made integer := 0;
    is_locked boolean := false;
    months constant integer := (select p.months from ops.partitioning as p);
begin
    if (select relkind from pg_class where oid = of_table) <> 'p' then
        return 0;
    end if;
    -- what is here now is not dropped before the rows have come
    execute format('lock table only %s in row exclusive mode', of_table);
    for at in
        select distinct date_trunc('month', t, 'UTC') as since from unnest(times) as t
        where not exists (select from ops.partitions as k where k.parent = of_table and t >= k.from_at and t < k.until_at)
        order by since
    loop
        if not is_locked then
            execute format('lock table only %s in share update exclusive mode', of_table);
            is_locked := true;
        end if;
        continue when exists (
            select from ops.partitions as k where k.parent = of_table and at >= k.from_at and at < k.until_at);
        first_month := extract(year from at at time zone 'UTC') * 12 + extract(month from at at time zone 'UTC') - 1;
        first_month := first_month - first_month % months;
        low := make_timestamptz(first_month / 12, first_month % 12 + 1, 1, 0, 0, 0, 'UTC');
        high := (low at time zone 'UTC' + make_interval(months => months)) at time zone 'UTC';
        if exists (
            select from ops.partitions as k where k.parent = of_table and low < k.until_at and high > k.from_at)
        then
            low := at;
            high := (low at time zone 'UTC' + interval '1 month') at time zone 'UTC';
        end if;
        -- a table that is built anew exists twice for a while: the number tells their partitions apart
        part := format('parts.%I', format('%s_%s_%s',
            (select regexp_replace(relname, '__dbt_tmp$', '') from pg_class where oid = of_table),
            to_char(low at time zone 'UTC', 'YYYYMM'), of_table::oid));
        execute format('create table %s (like %s including defaults including constraints including storage)', part, of_table);
        execute format('alter table %s attach partition %s for values from (%L) to (%L)', of_table, part, low, high);
        made := made + 1;
    end loop;
    return made;
end
$$;

-- For the events, whose owner is not the pipeline.
create function ops.make_event_partitions(times timestamptz[]) returns integer
language sql security definer set search_path = pg_catalog, pg_temp
as $$ select ops.make_partitions('raw.market_events'::regclass, times) $$;
revoke execute on function ops.make_event_partitions(timestamptz[]) from public;

-- What is made of events lies in the months of events.
create function ops.follow_events(of_table regclass) returns integer
language sql set search_path = pg_catalog, pg_temp
as $$
select ops.make_partitions(of_table, (
    select array_agg(a_month)
    from ops.partitions as k
    cross join lateral generate_series(k.from_at, k.until_at - interval '1 day', interval '1 month', 'UTC') as a_month
    where k.parent = 'raw.market_events'::regclass
))
$$;

-- A partition (or chunk) of the events goes as a whole where nothing in it has to stay: its number of rows, or NULL if
-- something has. Bars and corporate actions stay, and what no transform has taken.
create function ops.drop_events(part regclass, from_at timestamptz, until_at timestamptz) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '5s' as $$
declare
    events constant regclass := 'raw.market_events';
    gone bigint;
    stays boolean;
begin
    if not exists (
        select from pg_inherits where inhparent = events and inhrelid = part)
    then
        raise insufficient_privilege using message = part || ' is no part of the events';
    end if;
    -- who writes into it is waited for; who reads, for a moment only
    execute format('lock table %s in share mode', part);
    execute format($query$
        select exists (
            select from %1$s as e where e.kind not in ('quote', 'trade')
            or exists (select from ops.loads as l where l.load_id = e.load_id and l.state <> 'transformed'))
    $query$, part) into stays;
    if stays then
        return null;
    end if;
    execute format('select count(*) from %s', part) into gone;
    if (select relispartition from pg_class where oid = part) then
        execute format('alter table %s detach partition %s', events, part);
        execute format('drop table %s', part);
    else
        execute format(
            'select public.drop_chunks(%L::regclass, older_than => %L::timestamptz, newer_than => %L::timestamptz)',
            events, until_at, from_at);
    end if;
    return gone;
end
$$;
revoke execute on function ops.drop_events(regclass, timestamptz, timestamptz) from public;

-- What asks TimescaleDB for something is text until it runs: Postgres alone does not know it.
create function ops.make_hypertable(of_table regclass, time_column name, chunk interval) returns void
language plpgsql as $$
begin
    execute format(
        'select create_hypertable(%L::regclass, by_range(%L, %L::interval), create_default_indexes => false)',
        of_table, time_column, chunk);
end
$$;

-- The statements that have chunks compressed once they are `days` old (0: never by themselves): a segment is a symbol,
-- since every question names one. `order_by` is the rest of the key beside the time, so that a late row finds its place.
create function ops.columnstore_statements(of_table regclass, time_column name, order_by text[], days integer)
returns setof text
language sql stable
as $$
select format(
    'alter table %s set (timescaledb.enable_columnstore = true, timescaledb.segmentby = %L, timescaledb.orderby = %L)',
    of_table, 'symbol', array_to_string(array[time_column || ' desc'] || order_by, ', '))
union all
select format('call remove_columnstore_policy(%L::regclass, if_exists => true)', of_table)
union all
select format('call add_columnstore_policy(%L::regclass, after => %L::interval)', of_table, days || ' days') where days > 0
$$;

create function ops.compress_by_symbol(of_table regclass, time_column name, order_by text[], days integer) returns void
language plpgsql as $$
declare
    statement text;
begin
    if ops.cuts_by() = 'native' then
        return;  -- partitions of Postgres are not compressed
    end if;
    for statement in select * from ops.columnstore_statements(of_table, time_column, order_by, days) loop
        execute statement;
    end loop;
end
$$;

-- Make a table anew with its rows, indexes and rights, cut by time: into partitions, or a hypertable with chunks of
-- `chunk`. Views that read it go on reading it. One transaction, in which nobody else reads or writes it.
create function ops.cut_by_time(of_table regclass, time_column name, chunk interval default null)
returns bigint
language plpgsql as $$
declare
    as_was constant text := of_table::text;
    aside text := (select format('%I.%I', n.nspname, c.relname || '__aside')
                   from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace where c.oid = of_table);
    bare constant text := (select relname from pg_class where oid = of_table);
    owned_by constant text := (select pg_get_userbyid(relowner) from pg_class where oid = of_table);
    rights aclitem[] := (select relacl from pg_class where oid = of_table);
    views text[];
    indexes text[];
    right_of record;
    statement text;
    times timestamptz[];
    moved bigint;
begin
    execute format('lock table %s in access exclusive mode', of_table);
    select array_agg(distinct format('create or replace view %s as %s', v.ev_class::regclass, pg_get_viewdef(v.ev_class)))
    into views
    from pg_depend as d
    inner join pg_rewrite as v on v.oid = d.objid
    where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = of_table
      and v.ev_class <> of_table;
    select array_agg(case
        when k.oid is null then regexp_replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ')
        else format('alter table %s add constraint %I %s', as_was, k.conname, pg_get_constraintdef(k.oid))
    end order by i.indexrelid)
    into indexes
    from pg_index as i
    left join pg_constraint as k on k.conindid = i.indexrelid and k.contype in ('p', 'u')
    where i.indrelid = of_table;

    execute format('alter table %s rename to %I', as_was, bare || '__aside');
    execute format('create table %s (like %s including defaults including constraints including storage)%s',
        as_was, aside, case when chunk is null then format(' partition by range (%I)', time_column) end);
    if owned_by <> current_user then
        execute format('grant usage, create on schema parts to %I', owned_by);  -- to own partitions there
        execute format('alter table %s owner to %I', as_was, owned_by);
    end if;
    for right_of in
        select a.privilege_type, case a.grantee when 0 then 'public' else format('%I', pg_get_userbyid(a.grantee)) end as grantee
        from aclexplode(rights) as a
    loop
        execute format('grant %s on %s to %s', right_of.privilege_type, as_was, right_of.grantee);
    end loop;
    if chunk is null then
        execute format('select array_agg(distinct date_trunc(''month'', %I, ''UTC'')) from %s', time_column, aside) into times;
        perform ops.make_partitions(as_was::regclass, times);
        for statement in
            select format('alter table %s owner to %I', k.part, owned_by) from ops.partitions as k
            where k.parent = as_was::regclass and owned_by <> current_user
        loop
            execute statement;
        end loop;
    else
        perform ops.make_hypertable(as_was::regclass, time_column, chunk);
    end if;
    execute format('insert into %s select * from %s', as_was, aside);
    get diagnostics moved = row_count;
    foreach statement in array coalesce(views, '{}') loop
        -- it was written down while the table had its name
        execute statement;
    end loop;
    execute format('drop table %s', aside);
    foreach statement in array coalesce(indexes, '{}') loop
        execute statement;
    end loop;
    execute format('analyze %s', as_was);
    return moved;
end
$$;
revoke execute on function ops.cut_by_time(regclass, name, interval) from public;
