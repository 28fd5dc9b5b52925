"""Roles and databases on a server that somebody else runs: what the DSNs say, and no more rights than needed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from include.errors import ConfigError, NotRunningError
from include.settings import Settings
from include.stack.roles import grant_analyst, make_roles, role_of
from include.warehouse.migrate import migrate
from tests.conftest import Servers, free_port

pytestmark = pytest.mark.stack
PASSWORD = "it's a secret"


@dataclass(frozen=True)
class Names:
    """The DSNs of one foreign server: its roles and databases are called unlike ours."""

    server: str
    mark: str

    def dsn(self, role: str, database: str, password: str) -> str:
        quoted = password.replace("'", r"\'")
        return f"{self.server} user={role}_{self.mark} password='{quoted}' dbname={database}_{self.mark}"

    def dsns(self, password: str = PASSWORD) -> dict[str, str]:
        return {
            "warehouse_dsn": self.dsn("owner", "house", password),
            "analyst_dsn": self.dsn("reader", "house", password),
            "airflow_dsn": self.dsn("scheduler", "meta", password),
        }


@pytest.fixture
def names(servers: Servers) -> Iterator[Names]:
    made = Names(f"host=127.0.0.1 port={servers.postgres_port}", uuid.uuid4().hex[:8])
    yield made
    with servers.admin() as conn:
        for database in ("house", "meta"):
            conn.execute(f'drop database if exists "{database}_{made.mark}" with (force)')
        for role in ("owner", "reader", "scheduler", "master"):
            conn.execute(f'drop role if exists "{role}_{made.mark}"')


def superuser(servers: Servers) -> str:
    return f"postgresql://postgres:{servers.passwords.postgres}@127.0.0.1:{servers.postgres_port}/postgres"


def test_the_dsns_say_what_is_made_and_a_second_time_changes_the_passwords(servers: Servers, names: Names) -> None:
    make_roles(superuser(servers), **names.dsns())
    make_roles(superuser(servers), **names.dsns("another one"))
    with psycopg.connect(names.dsns("another one")["warehouse_dsn"]) as conn:
        conn.execute("create schema mine")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(names.dsns()["warehouse_dsn"])


def test_a_master_user_that_is_no_superuser_is_enough_as_on_rds(servers: Servers, names: Names) -> None:
    with servers.admin() as conn:
        conn.execute(f"create role master_{names.mark} login createrole createdb password 'master'")
    master = f"{names.server} user=master_{names.mark} password=master dbname=postgres"
    make_roles(master, **names.dsns())
    make_roles(master, **names.dsns())
    with psycopg.connect(names.dsns()["airflow_dsn"]) as conn:
        conn.execute("create table alembic_version (version_num text)")


def test_the_analyst_reads_marts_and_nothing_else(servers: Servers, names: Names) -> None:
    dsns = names.dsns()
    make_roles(superuser(servers), **dsns)
    migrate(Settings(_env_file=None, **dsns))
    with psycopg.connect(dsns["warehouse_dsn"], autocommit=True) as owner:
        grant_analyst(owner, role_of(dsns["analyst_dsn"]))
        owner.execute("create table marts.later (n integer)")
    with psycopg.connect(dsns["analyst_dsn"], autocommit=True) as analyst:
        assert analyst.execute("select count(*) from alerts").fetchone() == (0,)
        assert analyst.execute("select count(*) from later").fetchone() == (0,)
        for forbidden in ("table raw.market_events", "table ops.loads", "create table public.x (n int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                analyst.execute("set default_transaction_read_only = off")
                analyst.execute(forbidden)
        assert analyst.execute("show statement_timeout").fetchone() == ("30s",)


def test_nobody_else_may_connect_to_the_databases(servers: Servers, names: Names) -> None:
    make_roles(superuser(servers), **names.dsns())
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(names.dsn("reader", "meta", PASSWORD))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"warehouse_dsn": "host=h user=u dbname=d"}, "QUANTSTREAM_WAREHOUSE_DSN lacks password"),
        ({"airflow_dsn": "no address"}, "QUANTSTREAM_AIRFLOW_DSN is no Postgres address"),
        ({"analyst_dsn": "host=h user=a password=p dbname=other"}, "they must name the same one"),
    ],
)
def test_a_dsn_that_lacks_something_is_refused_by_name(wrong: dict[str, str], told: str) -> None:
    good = dict.fromkeys(("warehouse_dsn", "analyst_dsn", "airflow_dsn"), "host=h user=u password=p dbname=d")
    with pytest.raises(ConfigError, match=told):
        make_roles("host=h", **(good | wrong))


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    port = free_port()
    good = dict.fromkeys(("warehouse_dsn", "analyst_dsn", "airflow_dsn"), "host=h user=u password=p dbname=d")
    with pytest.raises(NotRunningError, match=rf"127\.0\.0\.1:{port} \(QUANTSTREAM_ADMIN_DSN\)") as told:
        make_roles(f"host=127.0.0.1 port={port} user=postgres password=hush", **good)
    assert "hush" not in str(told.value)
