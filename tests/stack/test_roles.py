"""Roles and databases on a server that somebody else runs: what the DSNs say, and no more rights than needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from include.errors import ConfigError, NotRunningError, QuantStreamError
from include.settings import ROOT, Settings
from include.stack.analysts import Limits
from include.stack.roles import make_roles
from include.warehouse.migrate import migrate
from tests.conftest import Servers, free_port
from tests.stack.house import PASSWORD, House, house, superuser

pytestmark = pytest.mark.stack
OWNED = """
select pg_get_userbyid(c.relowner) as owner, n.nspname, c.relname from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
where n.nspname in ('raw', 'ops', 'staging', 'intermediate', 'marts') and c.relkind in ('r', 'v', 'S')
"""


@pytest.fixture
def names(servers: Servers) -> Iterator[House]:
    with house(servers) as made:
        yield made


def test_the_dsns_say_what_is_made_and_a_second_time_changes_the_passwords(servers: Servers, names: House) -> None:
    make_roles(superuser(servers), **names.dsns())
    make_roles(superuser(servers), **names.dsns("another one"))
    with psycopg.connect(names.dsns("another one")["owner_dsn"]) as conn:
        conn.execute("create schema mine")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(names.dsns()["warehouse_dsn"])


def test_the_server_never_sees_a_password(servers: Servers, names: House) -> None:
    with servers.admin() as conn:
        conn.execute("alter system set log_statement = 'all'")
        conn.execute("select pg_reload_conf()")
    make_roles(superuser(servers), **names.dsns("neverseen"))
    with servers.admin() as conn:
        conn.execute("alter system reset log_statement")
        conn.execute("select pg_reload_conf()")
    log = (servers.home / "postgres.log").read_text()
    assert f'role "{names.role("owner")}" login password' in log.replace("\n", " ") and "neverseen" not in log


@pytest.mark.parametrize("admin", ["superuser", "a master user as on RDS"])
def test_a_warehouse_of_before_is_handed_over_to_its_owner(servers: Servers, names: House, admin: str) -> None:
    """Until now the pipeline's role owned all of it; a master user may create roles and databases, and no more."""
    before = {name: dsn for name, dsn in names.dsns().items() if name != "owner_dsn"}
    as_admin = superuser(servers) if admin == "superuser" else names.master(servers)
    make_roles(as_admin, **before)
    old = Settings(_env_file=None, home=servers.home / "homes" / names.mark, **before)
    migrate(old)
    with psycopg.connect(before["warehouse_dsn"], autocommit=True) as conn:
        conn.execute("create table marts.candles as select 1 as n; create view staging.stg as select * from ops.loads")
        conn.execute("grant select on marts.candles to " + names.role("analyst"))

    make_roles(as_admin, **names.dsns())
    with psycopg.connect(before["warehouse_dsn"], autocommit=True) as conn:  # nothing is missing in between
        conn.execute("insert into ops.loads (origin, state, is_live, read_count) values ('raw/a', 'landed', true, 1)")
    new = old.model_copy(update=names.secrets("owner_dsn"))
    migrate(new)
    owner, pipeline = names.role("owner"), names.role("pipeline")
    with psycopg.connect(before["warehouse_dsn"], autocommit=True) as conn:
        assert {(str(row[0]), str(row[2])) for row in conn.execute(OWNED) if row[1] in ("staging", "intermediate")} == {
            (pipeline, "stg")
        }
        assert {row[0] for row in conn.execute(OWNED) if row[1] in ("raw", "ops")} == {owner}
        assert {(str(row[0]), str(row[2])) for row in conn.execute(OWNED) if row[1] == "marts"} == {
            (owner, "alerts"), (owner, "alert_history"), (owner, "alert_history_seq_seq"), (pipeline, "candles"),
        }  # fmt: skip
        assert conn.execute("select pg_get_userbyid(datdba) from pg_database where datname = current_database()"
                            ).fetchone() == (owner,)  # fmt: skip
        conn.execute("create table marts.later as select 2 as n")
    with psycopg.connect(before["analyst_dsn"], autocommit=True) as conn:
        assert conn.execute("select candles.n, later.n from candles, later").fetchone() == (1, 2)


def test_only_the_owner_migrates_and_who_is_not_told_of_it_says_so(servers: Servers, names: House) -> None:
    make_roles(superuser(servers), **names.dsns())
    running = names.settings(owner_dsn=None)
    with pytest.raises(QuantStreamError, match=r"at revision None .+ only its owner .+ `quantstream up`"):
        migrate(running)
    assert migrate(names.settings()) == migrate(running)


def test_nothing_that_runs_knows_the_owner_or_a_superuser(tmp_path: Path) -> None:
    from include.stack.arrange import arrange, write_stack_env
    from include.stack.layout import Layout
    from include.stack.secrets import load_secrets

    layout = Layout(tmp_path)
    layout.make()
    secrets = load_secrets(layout)
    settings, _ = arrange(
        Settings(_env_file=None, home=tmp_path), secrets, running=["postgres", "aws", "api-server"], airflow=True
    )
    assert settings.owner_dsn is not None and secrets.postgres.owner in settings.owner_dsn.get_secret_value()
    write_stack_env(settings)
    told = layout.stack_env.read_text()
    assert secrets.postgres.quantstream in told
    assert secrets.postgres.owner not in told and secrets.postgres.postgres not in told
    assert "postgres:" not in (ROOT / "dbt" / "profiles.yml").read_text()


def test_nobody_else_may_connect_to_the_databases(servers: Servers, names: House) -> None:
    make_roles(superuser(servers), **names.dsns())
    for role in ("analyst", "pipeline", "owner"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(names.dsn(role, "meta", PASSWORD))
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(names.dsn("airflow", "house", PASSWORD))


def test_on_a_server_of_its_own_nobody_enters_the_spare_databases(servers: Servers, names: House) -> None:
    """The tests' server was made that way; one with a stranger's database is left as it is, and says so."""
    make_roles(superuser(servers), **names.dsns())
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(names.dsn("analyst", "meta", PASSWORD), dbname="postgres")
    with servers.admin() as conn:
        conn.execute(f'create database "strange_{names.mark}"')
        conn.execute("grant connect on database template1 to public")
    open_to_all = make_roles(superuser(servers), **names.dsns())
    with servers.admin() as conn:
        conn.execute("revoke connect on database template1 from public")
    assert {f"strange_{names.mark}", "template1"} <= set(open_to_all)


def test_a_limit_that_is_changed_is_that_of_every_analyst(servers: Servers, names: House) -> None:
    make_roles(superuser(servers), **names.dsns(), limits=Limits(7, 1, 5))
    with psycopg.connect(names.dsns()["analyst_dsn"], autocommit=True) as conn:
        for setting, value in {"statement_timeout": "7s", "lock_timeout": "5s", "work_mem": "5MB",
                               "idle_in_transaction_session_timeout": "1min", "search_path": "marts",
                               "temp_file_limit": "4GB", "default_transaction_read_only": "on"}.items():  # fmt: skip
            assert conn.execute("select current_setting(%s)", [setting]).fetchone() == (value,)
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            psycopg.connect(names.dsns()["analyst_dsn"])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"warehouse_dsn": "host=h user=u dbname=d"}, "QUANTSTREAM_WAREHOUSE_DSN lacks password"),
        ({"airflow_dsn": "no address"}, "QUANTSTREAM_AIRFLOW_DSN is no Postgres address"),
        ({"analyst_dsn": "host=h user=a password=p dbname=other"}, "they must name the same one"),
        ({"owner_dsn": "host=h user=o password=p dbname=other"}, "QUANTSTREAM_OWNER_DSN names the database 'other'"),
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
