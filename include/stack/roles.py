"""Roles and databases on any Postgres: the embedded one, a container, RDS. What they are called is in the DSNs.

The pipeline's role owns the warehouse, Airflow's role owns its own database, and the analyst may only connect to the
warehouse; what it may read there is granted by the owner (`grant_analyst`).
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from include.errors import ConfigError, NotRunningError


@dataclass(frozen=True, slots=True)
class _Login:
    """Who connects to which database."""

    role: str
    password: str
    database: str


def make_roles(admin_dsn: str, *, warehouse_dsn: str, analyst_dsn: str, airflow_dsn: str) -> None:
    """Make the three roles and two databases, or set the passwords of roles that exist; safe to repeat.

    `admin_dsn` is a superuser's, or on RDS the master user's. Raises ConfigError for a DSN that lacks a part, and
    NotRunningError if the server does not answer.
    """
    warehouse, analyst, airflow = (
        _login("WAREHOUSE_DSN", warehouse_dsn), _login("ANALYST_DSN", analyst_dsn), _login("AIRFLOW_DSN", airflow_dsn),
    )  # fmt: skip
    if analyst.database != warehouse.database:
        raise ConfigError(
            f"QUANTSTREAM_ANALYST_DSN names the database {analyst.database!r} and QUANTSTREAM_WAREHOUSE_DSN "
            f"{warehouse.database!r}; they must name the same one"
        )
    with _connect(admin_dsn) as conn:
        for login in (airflow, warehouse, analyst):
            _make_role(conn, login)
        for owner in (airflow, warehouse):
            _make_database(conn, owner)
        _limit_analyst(conn, analyst)


def grant_analyst(conn: psycopg.Connection, role: str = "analyst") -> None:
    """Let `role` read marts, what dbt will make there included, and nothing else. Run by the warehouse's owner."""
    name = sql.Identifier(role)
    conn.execute("revoke all on schema public from public")
    conn.execute(sql.SQL("grant usage on schema marts to {}").format(name))
    conn.execute(sql.SQL("grant select on all tables in schema marts to {}").format(name))
    conn.execute(sql.SQL("alter default privileges in schema marts grant select on tables to {}").format(name))


def role_of(dsn: str) -> str:
    """The role that a DSN logs in as."""
    return str(psycopg.conninfo.conninfo_to_dict(dsn).get("user", ""))


def _make_role(conn: psycopg.Connection, login: _Login) -> None:
    """A role that can log in and nothing more. On RDS the master user joins it, to make a database that it owns."""
    exists = conn.execute("select 1 from pg_roles where rolname = %s", [login.role]).fetchone()
    conn.execute(
        sql.SQL("{} role {} login password {}").format(
            sql.SQL("alter" if exists else "create"), sql.Identifier(login.role), sql.Literal(login.password)
        )
    )
    superuser = conn.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
    if superuser != (True,):
        conn.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(login.role)))


def _make_database(conn: psycopg.Connection, owner: _Login) -> None:
    """From template0, so that nobody's session is in the way; in the C locale, so that text sorts the same anywhere."""
    name = sql.Identifier(owner.database)
    if not conn.execute("select 1 from pg_database where datname = %s", [owner.database]).fetchone():
        conn.execute(
            sql.SQL("create database {} owner {} template template0 encoding 'UTF8' locale 'C'").format(
                name, sql.Identifier(owner.role)
            )
        )
    conn.execute(sql.SQL("revoke all on database {} from public").format(name))


def _limit_analyst(conn: psycopg.Connection, analyst: _Login) -> None:
    role, database = sql.Identifier(analyst.role), sql.Identifier(analyst.database)
    conn.execute(sql.SQL("grant connect on database {} to {}").format(database, role))
    for setting, value in (
        ("default_transaction_read_only", "on"),
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "60s"),
        ("search_path", "marts"),
    ):
        conn.execute(
            sql.SQL("alter role {} in database {} set {} = {}").format(
                role, database, sql.Identifier(setting), sql.Literal(value)
            )
        )
    conn.execute(sql.SQL("alter role {} connection limit 20").format(role))


def _connect(dsn: str) -> psycopg.Connection:
    try:
        return psycopg.connect(dsn, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        where = psycopg.conninfo.conninfo_to_dict(dsn)
        raise NotRunningError(
            f"the Postgres at {where.get('host')}:{where.get('port', 5432)} (QUANTSTREAM_ADMIN_DSN) does not answer: "
            f"{str(error).strip()}"
        ) from None


def _login(setting: str, dsn: str) -> _Login:
    try:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise ConfigError(
            f"QUANTSTREAM_{setting} is no Postgres address; it looks like postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    missing = [what for what in ("user", "password", "dbname") if not parts.get(what)]
    if missing:
        raise ConfigError(
            f"QUANTSTREAM_{setting} lacks {', '.join(missing)}; roles and databases are made after it: "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    return _Login(str(parts["user"]), str(parts["password"]), str(parts["dbname"]))
