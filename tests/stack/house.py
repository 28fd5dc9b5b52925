"""A foreign server's roles and databases, called unlike ours: made for one test or one file, and gone after it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from pydantic import SecretStr

from include.settings import Settings
from tests.conftest import Servers

PASSWORD = "it's a secret"
ROLES = ("owner", "pipeline", "analyst", "airflow", "master", "maria", "jim")


@dataclass(frozen=True)
class House:
    """The DSNs of one warehouse: database `house_<mark>`, Airflow's `meta_<mark>`, roles `<role>_<mark>`."""

    server: str
    mark: str

    def role(self, name: str) -> str:
        return f"{name}_{self.mark}"

    def dsn(self, role: str, database: str, password: str) -> str:
        quoted = password.replace("'", r"\'")
        return f"{self.server} user={self.role(role)} password='{quoted}' dbname={database}_{self.mark}"

    def dsns(self, password: str = PASSWORD) -> dict[str, str]:
        return {
            "owner_dsn": self.dsn("owner", "house", password),
            "warehouse_dsn": self.dsn("pipeline", "house", password),
            "analyst_dsn": self.dsn("analyst", "house", password),
            "airflow_dsn": self.dsn("airflow", "meta", password),
        }

    def secrets(self, *names: str) -> dict[str, SecretStr]:
        return {name: SecretStr(dsn) for name, dsn in self.dsns().items() if name in names}

    def settings(self, **overrides: object) -> Settings:
        return Settings(_env_file=None, **{**self.dsns(), "postgres": "external", **overrides})  # type: ignore[arg-type]

    def master(self, servers: Servers) -> str:
        """An administrator that is no superuser: it may create roles and databases."""
        with servers.admin() as conn:
            conn.execute(f"create role {self.role('master')} login createrole createdb password 'master'")
            conn.execute(f"grant connect on database postgres to {self.role('master')}")
        return f"{self.server} user={self.role('master')} password=master dbname=postgres"


def superuser(servers: Servers) -> str:
    return f"postgresql://postgres:{servers.passwords.postgres}@127.0.0.1:{servers.postgres_port}/postgres"


@contextmanager
def house(servers: Servers) -> Iterator[House]:
    with house_on(f"host=127.0.0.1 port={servers.postgres_port}", servers.admin) as made:
        yield made


@contextmanager
def house_on(server: str, admin: Callable[[], psycopg.Connection]) -> Iterator[House]:
    """Names on any server, whose superuser `admin` connects as."""
    made = House(server, uuid.uuid4().hex[:8])
    yield made
    with admin() as conn:
        for database in ("house", "meta", "strange"):
            conn.execute(f'drop database if exists "{database}_{made.mark}" with (force)')
        for role in (*ROLES, "analyst_group"):
            name = f"{made.role('analyst')}s" if role == "analyst_group" else made.role(role)
            if conn.execute("select from pg_roles where rolname = %s", [name]).fetchone() is not None:
                conn.execute(f'drop owned by "{name}"')
                conn.execute(f'drop role "{name}"')
