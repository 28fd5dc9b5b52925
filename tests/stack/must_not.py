"""What the roles of the warehouse must not do, a statement a line: each is refused for lack of rights."""

EVERYBODY = """
table pg_authid
table pg_statistic
table pg_largeobject
select pg_read_file('/etc/passwd')
select pg_ls_dir('.')
select lo_import('/etc/passwd')
copy (select 1) to program 'true'
copy (select 1) to '/tmp/mine'
alter system set work_mem = '1GB'
select pg_reload_conf()
create database another
create role another
alter role current_user superuser
alter role current_user createrole
alter role current_user connection limit -1
set role postgres
set session authorization postgres
set role airflow
select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres'
grant pg_read_all_data to analyst
"""

MUST_NOT = {
    "analyst": """
table raw.market_events
table raw.rejected_events
table ops.loads
table ops.migrations
table staging.stg_ops__load
table intermediate.int_changed_ranges
select ops.to_number('1')
select ops.refresh_statistics('raw.market_events')
insert into marts.candles_1m default values
update marts.alerts set state = 'sent'
delete from marts.quotes
truncate marts.alerts
begin; lock table marts.alerts in exclusive mode
drop table marts.candles_1m
alter view marts.gaps rename to holes
create index on marts.alerts (severity)
create table marts.mine (n int)
create view marts.mine as select 1
create table public.mine (n int)
create function public.mine() returns int language sql as 'select 1'
create schema mine
create temporary table mine (n int)
select 1 as n into temporary mine
create publication mine
select lo_create(0)
select lo_from_bytea(0, 'x')
select lo_get(1)
select pg_advisory_lock(1)
select pg_try_advisory_xact_lock(1, 2)
set role quantstream
set role quantstream_owner
alter role quantstream password 'x'
alter role analysts login
grant quantstream to analyst
grant analysts to airflow
grant select on raw.market_events to analyst
""",
    "pipeline": """
drop table raw.market_events
alter table ops.loads add column mine int
create index on raw.market_events (load_id)
create table raw.mine (n int)
create table ops.mine (n int)
create table public.mine (n int)
create schema mine
drop schema marts cascade
alter schema marts rename to mine
alter database rights rename to mine
alter table marts.alerts disable trigger all
drop table marts.alerts
drop function ops.to_number(text)
update ops.migrations set version_num = '0001'
select ops.refresh_statistics('ops.loads')
grant quantstream to analyst
set role quantstream_owner
set role analyst
alter role analyst password 'x'
""",
    "owner": """
set role analyst
alter role quantstream password 'x'
alter role analyst connection limit 99
grant quantstream_owner to quantstream
grant analysts to quantstream
""",
}
