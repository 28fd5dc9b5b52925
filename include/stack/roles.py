"""Roles and databases on any Postgres: the embedded one, a container, RDS. What they are called is in the DSNs.

The owner has the warehouse, migrates it and grants (`include.warehouse.grants`); the pipeline works in it, and analysts
read marts. Airflow's role owns its own database. Run by an administrator, and by nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from include.errors import ConfigError, NotRunningError
from include.stack.analysts import Limits, is_superuser, limit, make_group, members, set_role
from include.warehouse.grants import LEDGER, MODELS, grant_rights

# Relations of the schemas that migrations fill, and of the marts those that they made before there was an owner.
_TO_HAND_OVER: Final = """
select case relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, relnamespace::regnamespace::text, relname, ''
from pg_class as c
where pg_get_userbyid(relowner) = %(pipeline)s and relkind in ('r', 'p', 'v', 'S')
  and (relnamespace::regnamespace::text = any(%(ledger)s)
       or c.oid in (to_regclass('marts.alerts'), to_regclass('marts.alert_history'))
       or exists (select from pg_inherits join pg_class as whole on whole.oid = inhparent
                  where inhrelid = c.oid and whole.relnamespace::regnamespace::text = any(%(ledger)s)))
  and not exists (select from pg_depend as d where d.objid = c.oid and d.deptype in ('a', 'i') and d.refclassid = 'pg_class'::regclass)
union all
select 'routine', pronamespace::regnamespace::text, proname, pg_get_function_identity_arguments(oid)
from pg_proc
where pg_get_userbyid(proowner) = %(pipeline)s and pronamespace::regnamespace::text = any(%(ledger)s)
"""  # noqa: E501
_SCHEMAS: Final = "select nspname from pg_namespace where pg_get_userbyid(nspowner) = %s and nspname = any(%s)"

# A lock of one's own choice could stop the pipeline, a large object fill the disk; both are open to all in Postgres.
_FOR_ALL: Final = """
select oid::regprocedure::text from pg_proc
where pronamespace = 'pg_catalog'::regnamespace and proname ~ '^(lo_|lowrite|pg_(try_)?advisory)'
  and has_function_privilege('public', oid, 'execute')
"""
_OTHER_DATABASES: Final = """
select
    datname,
    datname in ('postgres', 'template1') and pg_has_role(datdba, 'usage') and not exists (
        select from pg_roles where rolcanlogin and not rolsuper and rolname not in (select unnest(%(roles)s::text[]))
    ) as is_spare
from pg_database
where datallowconn and datname <> all(%(databases)s) and has_database_privilege('public', oid, 'connect')
order by datname
"""


@dataclass(frozen=True, slots=True)
class _Login:
    """Who connects to which database."""

    role: str
    password: str
    database: str


def make_roles(
    admin_dsn: str,
    *,
    warehouse_dsn: str,
    analyst_dsn: str,
    airflow_dsn: str,
    owner_dsn: str | None = None,
    limits: Limits | None = None,
) -> list[str]:
    """Make roles and databases, or set the passwords of roles that exist; safe to repeat.

    A warehouse that the pipeline's role owned until now is handed over. Without `owner_dsn` it stays with that role.
    `admin_dsn` is a superuser's, or on RDS the master user's. Returns the other databases of the server that anybody
    may enter. Raises ConfigError for a DSN that lacks a part, and NotRunningError if the server does not answer.
    """
    warehouse, analyst, airflow = (
        _login("WAREHOUSE_DSN", warehouse_dsn), _login("ANALYST_DSN", analyst_dsn), _login("AIRFLOW_DSN", airflow_dsn),
    )  # fmt: skip
    owner = warehouse if owner_dsn is None else _login("OWNER_DSN", owner_dsn)
    for setting, login in (("ANALYST", analyst), ("OWNER", owner)):
        if login.database != warehouse.database:
            raise ConfigError(
                f"QUANTSTREAM_{setting}_DSN names the database {login.database!r} and QUANTSTREAM_WAREHOUSE_DSN "
                f"{warehouse.database!r}; they must name the same one"
            )
    with connect_administrator(admin_dsn) as conn:
        for login in {one.role: one for one in (airflow, warehouse, analyst, owner)}.values():
            set_role(conn, login.role, login.password)
        if owner.role != warehouse.role:  # it may alter what the pipeline has made
            conn.execute(_text("grant {} to {}", warehouse.role, owner.role))
        for one in (airflow, owner):
            _make_database(conn, one)
        conn.execute(_text("grant connect, temporary on database {} to {}", warehouse.database, warehouse.role))
        make_group(conn, warehouse.database, analyst.role)
        limit(conn, warehouse.database, analyst.role, limits or Limits())
        roles = [airflow.role, warehouse.role, owner.role, *members(conn, analyst.role)]
        open_to_all = _close_spare_databases(conn, [warehouse.database, airflow.database], roles)
    with connect_administrator(admin_dsn, warehouse.database) as conn:
        _hand_over(conn, owner.role, warehouse.role, analyst.role)
        if is_superuser(conn):
            _close_functions(conn, {owner.role, warehouse.role})
    return open_to_all


def _make_database(conn: psycopg.Connection, owner: _Login) -> None:
    """From template0, so that nobody's session is in the way; in the C locale, so that text sorts the same anywhere."""
    found = conn.execute(
        "select pg_get_userbyid(datdba) from pg_database where datname = %s", [owner.database]
    ).fetchone()
    if found is None:
        conn.execute(
            _text(
                "create database {} owner {} template template0 encoding 'UTF8' locale 'C'", owner.database, owner.role
            )
        )
    elif found != (owner.role,):
        conn.execute(_text("alter database {} owner to {}", owner.database, owner.role))
    conn.execute(_text("revoke all on database {} from public", owner.database))


@retry(
    retry=retry_if_exception_type((psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable)),
    stop=stop_after_attempt(12), wait=wait_fixed(1), reraise=True,
)  # fmt: skip
def _hand_over(conn: psycopg.Connection, owner: str, pipeline: str, analyst: str) -> None:
    """Give the owner what the pipeline's role had of it before; all at once, so that a minute misses nothing."""
    if owner == pipeline:
        return
    with conn.transaction():
        conn.execute("set local lock_timeout = '5s'")
        schemas = conn.execute(_SCHEMAS, [pipeline, [*LEDGER, *MODELS]]).fetchall()
        for (schema,) in schemas:
            conn.execute(_text("alter schema {} owner to {}", schema, owner))
        found = conn.execute(_TO_HAND_OVER, {"pipeline": pipeline, "ledger": list(LEDGER)}).fetchall()
        for kind, schema, name, arguments in found:
            conn.execute(
                sql.SQL("alter {} {}{} owner to {}").format(
                    sql.SQL(kind), sql.Identifier(schema, name),
                    sql.SQL(f"({arguments})" if kind == "routine" else ""), sql.Identifier(owner),
                )
            )  # fmt: skip
        if (schemas or found) and conn.execute("select to_regclass('marts.alerts')").fetchone() != (None,):
            conn.execute(_text("set local role {}", owner))
            grant_rights(conn, pipeline=pipeline, analyst=analyst)


def _close_functions(conn: psycopg.Connection, roles: set[str]) -> None:
    for (function,) in conn.execute(_FOR_ALL).fetchall():
        conn.execute(sql.SQL(f"revoke execute on function {function} from public"))
        for role in roles:
            conn.execute(sql.SQL(f"grant execute on function {function} to {{}}").format(sql.Identifier(role)))


def _close_spare_databases(conn: psycopg.Connection, databases: list[str], roles: list[str]) -> list[str]:
    """Where the server is ours alone, nobody needs Postgres's own databases. Returns what stays open."""
    me = conn.execute("select current_user::text").fetchone() or ()
    ours = {"databases": [*databases, "rdsadmin"], "roles": [*roles, *me]}  # which nobody enters, on RDS
    others = conn.execute(_OTHER_DATABASES, ours).fetchall()
    if not all(is_spare for _, is_spare in others):
        return [name for name, _ in others]
    for name, _ in others:
        conn.execute(_text("revoke all on database {} from public", name))
    return []


def _text(statement: str, *names: str) -> sql.Composed:
    return sql.SQL(statement).format(*map(sql.Identifier, names))


def connect_administrator(dsn: str, database: str | None = None) -> psycopg.Connection:
    """A session of whoever makes roles, in `database` or the DSN's own. Raises NotRunningError without the password."""
    try:
        address = dsn if database is None else psycopg.conninfo.make_conninfo(dsn, dbname=database)
        return psycopg.connect(address, autocommit=True, connect_timeout=10)
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
