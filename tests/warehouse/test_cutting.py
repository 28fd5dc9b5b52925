"""Large tables lie in partitions: an old warehouse gets them, rows find theirs, TimescaleDB is asked as it wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from include.errors import ConfigError
from include.pipeline.cutting import enable_timescale
from include.settings import Settings
from include.transform.project import cut_tables
from include.warehouse.cutting import CutTable, to_hypertables, to_partitions
from include.warehouse.db import connect
from include.warehouse.migrate import migrate
from tests.conftest import Servers

pytestmark = pytest.mark.stack
EVENT = """
insert into raw.market_events (source, kind, symbol, event_time, payload_hash, payload, received_at, load_id)
values ('binance', 'trade', 'BTC-USD', %s, gen_random_uuid(), '{}', '2026-03-02Z', 1)
"""
OLD_MART = """
create table marts.candles_1m as
select 'BTC-USD' as symbol, t as candle_start, 'binance' as source, true as is_final
from unnest('{2019-12-31T23:59Z,2026-03-02Z}'::timestamptz[]) as t;
create unique index of_before on marts.candles_1m (symbol, candle_start, source);
create view marts.of_candles as select symbol, candle_start from marts.candles_1m;
"""
# What TimescaleDB 2.29 documents of its functions, as far as we call them: a call that does not fit fails.
DOCUMENTED = """
create table public.asked (asked text);
grant all on public.asked to public;
create function public.by_range(column_name name, partition_interval anyelement default null::bigint) returns text
language sql as $$ select format('by_range(%s, %s)', column_name, partition_interval) $$;
create function public.create_hypertable(
    relation regclass, dimension text, create_default_indexes boolean default true, if_not_exists boolean default false,
    migrate_data boolean default false) returns void
language sql as $$ insert into public.asked values (format('%s %s %s', relation, dimension, create_default_indexes)) $$;
"""


@pytest.fixture
def conn(settings: Settings) -> Iterator[psycopg.Connection]:
    with connect(settings, role="owner") as connection:
        yield connection


def parts(conn: psycopg.Connection, table: str = "raw.market_events") -> list[tuple[str, str]]:
    found = conn.execute("select from_at, until_at from ops.partitions where parent = %s::regclass order by 1", [table])
    return [(f"{since:%Y-%m}", f"{until:%Y-%m}") for since, until in found]


def make(conn: psycopg.Connection, *times: str) -> int:
    row = conn.execute("select ops.make_event_partitions(%s::timestamptz[])", [list(times)]).fetchone()
    assert row is not None
    return int(row[0])


def test_a_warehouse_of_before_keeps_its_rows_views_rights_and_indexes(make_settings: Callable[..., Settings]) -> None:
    old = make_settings(template="template0")
    migrate(old, revision="0015")
    with connect(old) as pipeline:
        for at in ("2019-12-31T23:59:59Z", "2020-01-01Z", "2026-03-02Z"):
            pipeline.execute(EVENT, [at])
        pipeline.execute(OLD_MART)

    migrate(old)

    with connect(old) as pipeline, connect(old, role="analyst") as analyst:
        assert parts(pipeline) == [("2019-01", "2020-01"), ("2020-01", "2021-01"), ("2026-01", "2027-01")]
        assert pipeline.execute("select count(*) from raw.events").fetchone() == (3,)
        assert parts(pipeline, "marts.candles_1m") == [("2019-01", "2020-01"), ("2026-01", "2027-01")]
        assert analyst.execute("select count(*) from marts.of_candles").fetchone() == (2,)
        indexes = "select indexname from pg_indexes where tablename in ('market_events', 'candles_1m') order by 1"
        assert [name for (name,) in pipeline.execute(indexes)] == [
            "market_events_actions", "market_events_load", "market_events_pkey", "of_before",
        ]  # fmt: skip
        owners = "select distinct pg_get_userbyid(relowner) from pg_class where relname like 'candles_1m%'"
        assert pipeline.execute(owners).fetchall() == [("quantstream",)]
        pipeline.execute(EVENT, ["2026-03-02T00:01Z"])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            pipeline.execute("drop table raw.market_events")


def test_a_time_gets_its_year_or_its_month_where_months_are_there_already(conn: psycopg.Connection) -> None:
    conn.execute("update ops.partitioning set months = 1")
    assert make(conn, "1999-12-31T23:59:59.999999Z", "1999-12-01Z") == 1
    conn.execute("update ops.partitioning set months = 12")
    assert make(conn, "1999-03-15Z", "2000-02-29Z", "2000-01-01Z") == 2
    assert make(conn, "1999-03-01Z", "2000-12-31Z") == 0
    assert parts(conn)[:3] == [("1999-03", "1999-04"), ("1999-12", "2000-01"), ("2000-01", "2001-01")]


def test_a_row_without_a_partition_is_refused_and_not_hidden(conn: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="no partition of relation"):
        conn.execute(EVENT, ["1970-01-01Z"])


def test_of_the_pipelines_own_tables_those_follow_the_events(conn: psycopg.Connection, settings: Settings) -> None:
    make(conn, "2014-06-09Z")
    with connect(settings) as pipeline:
        pipeline.execute("create table marts.many (symbol text, at timestamptz) partition by range (at)")
        pipeline.execute("select ops.follow_events('marts.many')")
        assert parts(pipeline, "marts.many") == parts(pipeline)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            pipeline.execute("select ops.make_partitions('raw.market_events', '{2001-01-01Z}')")


def test_every_table_that_is_cut_has_the_time_in_its_key() -> None:
    assert {name: (column, *order_by) for name, column, order_by in cut_tables()} == {
        "quotes": ("event_time", "source"),
        "trades": ("event_time", "source", "vendor_id"),
        "candles_1m": ("candle_start", "source"),
        "candles_5m": ("candle_start", "source"),
        "indicators_1m": ("candle_start",),
        "indicators_5m": ("candle_start",),
    }


def test_the_switch_asks_timescale_as_it_is_documented_and_loses_no_row(
    conn: psycopg.Connection, settings: Settings, servers: Servers
) -> None:
    with servers.admin(conn.info.dbname) as admin:
        admin.execute(DOCUMENTED)
        admin.execute("grant usage on schema public to quantstream_owner")
    conn.execute(  # what Postgres alone does not parse is held below
        "create or replace function ops.columnstore_statements(of_table regclass, time_column name, order_by text[], "
        "days integer) returns setof text language sql as $$ select 'select 1' $$"
    )
    make(conn, "2025-12-31Z")
    for at in ("2025-12-31Z", "2026-03-02Z"):
        conn.execute(EVENT, [at])

    assert to_hypertables(conn, [], chunk_days=7, compress_days=30) == {"raw.market_events": 2}
    assert conn.execute("table public.asked").fetchall() == [("raw.market_events by_range(event_time, 7 days) f",)]
    assert conn.execute("select ops.cuts_by(), count(*) from raw.events").fetchone() == ("timescale", 2)
    assert to_hypertables(conn, [], chunk_days=7, compress_days=30) == {}, "a second time there is nothing to do"

    assert to_partitions(conn, []) == {"raw.market_events": 2}
    assert conn.execute("select ops.cuts_by(), count(*) from raw.events").fetchone() == ("native", 2)
    assert parts(conn) == [("2025-01", "2026-01"), ("2026-01", "2027-01")]


def test_what_timescale_is_asked_to_compress(conn: psycopg.Connection) -> None:
    table = CutTable("raw.market_events", "event_time", ("source", "kind"))
    query = "select * from ops.columnstore_statements(%s::regclass, %s, %s, %s)"
    asked = [one for (one,) in conn.execute(query, [table.name, table.column, list(table.order_by), 30])]
    assert asked == [
        "alter table raw.market_events set (timescaledb.enable_columnstore = true, timescaledb.segmentby = 'symbol', "
        "timescaledb.orderby = 'event_time desc, source, kind')",
        "call remove_columnstore_policy('raw.market_events'::regclass, if_exists => true)",
        "call add_columnstore_policy('raw.market_events'::regclass, after => '30 days'::interval)",
    ]
    never = [one for (one,) in conn.execute(query, [table.name, table.column, [], 0])]
    assert never[0].endswith("orderby = 'event_time desc')") and len(never) == 2


def test_a_server_without_timescale_says_so_and_nothing_changes(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="this Postgres has no TimescaleDB"):
        enable_timescale(settings)
    with connect(settings) as pipeline:
        assert pipeline.execute("select ops.cuts_by()").fetchone() == ("native",)
