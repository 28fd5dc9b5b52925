"""What each role must not do, tried; and what it must be able to do: a whole cycle, and reading every mart."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from include.settings import Settings
from include.stack import postgres
from include.stack.roles import make_roles
from include.transform.runner import build_changed
from include.warehouse.db import connect
from include.warehouse.migrate import migrate
from tests.conftest import Servers, make_warehouse, warehouse_settings
from tests.stack.house import superuser
from tests.stack.must_not import EVERYBODY, MUST_NOT
from tests.transform.events import accept, quote, trade

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def lived(servers: Servers, template_marts: str) -> Iterator[Settings]:
    """A warehouse as `up` arranges it, with a minute in it, which the pipeline has made without knowing the owner."""
    make_warehouse(servers, "rights", template=template_marts)
    settings = warehouse_settings(servers, "rights")
    make_roles(superuser(servers), **{
        name: dsn if name == "airflow_dsn" else dsn.rsplit("/", 1)[0] + "/rights"
        for name, dsn in postgres.dsns(servers.postgres_port, servers.passwords).items()
    })  # fmt: skip
    running = settings.model_copy(update={"owner_dsn": None})
    with connect(running) as conn:
        accept(conn, [quote("AAPL", "10:00", 10), trade("BTC-USD", "10:00", 5, 1, "1")])
        build_changed(running)
    yield settings
    with servers.admin() as conn:
        conn.execute("drop database rights with (force)")


@pytest.mark.parametrize(
    ("role", "statement"),
    [(role, line) for role, lines in MUST_NOT.items() for line in (lines + EVERYBODY).splitlines() if line],
)
def test_what_a_role_must_not_do_is_refused(lived: Settings, role: str, statement: str) -> None:
    with connect(lived, role=role) as conn:
        conn.execute("set default_transaction_read_only = off")  # which anybody may: the rights are the border
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(statement.encode())


def test_the_pipeline_can_pass_none_of_its_rights_on(lived: Settings) -> None:
    with connect(lived) as conn, connect(lived, role="analyst") as analyst:
        conn.execute("grant select on raw.market_events to analyst")  # Postgres warns, and grants nothing
        conn.execute("grant usage on schema raw to analyst")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute("table raw.market_events")


def test_by_default_an_analyst_only_reads_and_not_for_ever(lived: Settings) -> None:
    with connect(lived, role="analyst") as conn:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            conn.execute("create temporary table mine (n int)")
        conn.execute("set statement_timeout = '1ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute("select pg_sleep(30)")


def test_an_analyst_sees_nobody_elses_queries(lived: Settings) -> None:
    with connect(lived), connect(lived, role="analyst") as conn:
        seen = {
            row[0]
            for row in conn.execute("select query from pg_stat_activity where usename <> current_user and datid > 0")
        }
        assert seen == {"<insufficient privilege>"}


def test_the_analyst_reads_every_mart_and_every_new_one(lived: Settings) -> None:
    """Views of marts read staging and ops with the rights of the pipeline, whose they are."""
    with connect(lived) as pipeline:  # as dbt does it: another view, and a table that takes the place of the old one
        pipeline.execute("create view marts.new_view as select count(*) from raw.market_events")
        pipeline.execute("create table marts.new__dbt_tmp as select 1 as n")
        pipeline.execute("alter table marts.new__dbt_tmp rename to new")
    with connect(lived, role="analyst") as conn:
        here = (
            "select oid::regclass::text from pg_class where relnamespace = 'marts'::regnamespace and relkind = any(%s)"
        )
        marts = [row[0] for row in conn.execute(here, [["r", "p", "v"]])]
        assert {"candles_1m", "gaps", "candles_1m_filled", "latest_quotes", "alerts", "new_view", "new"} <= set(marts)
        for mart in marts:
            conn.execute(f"table {mart}".encode())
        assert conn.execute("select * from new_view").fetchone() == (2,)
        assert conn.execute("select symbol, price::int from latest_quotes").fetchone() == ("AAPL", 10)


def test_no_view_of_the_marts_reads_with_the_rights_of_who_asks(lived: Settings) -> None:
    with connect(lived) as conn:
        wrong = "select relname from pg_class where relkind = 'v' and array_to_string(reloptions, ',') like '%invoker%'"
        assert conn.execute(wrong).fetchall() == []


def test_the_pipeline_can_do_what_is_not_of_every_minute(lived: Settings) -> None:
    """For a large load it renews statistics; for a rebuild it empties tables and sets their counters."""
    running = lived.model_copy(update={"owner_dsn": None})
    with connect(running) as conn:
        conn.execute("select ops.refresh_statistics('raw.market_events')")
        with conn.transaction(force_rollback=True):
            conn.execute("truncate raw.market_events, marts.alerts")
            conn.execute("select setval(pg_get_serial_sequence('ops.loads', 'load_id'), 7000)")
    assert migrate(running) == migrate(lived)
