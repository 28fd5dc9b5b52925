"""What each role may do in the warehouse. Granted by its owner, after every migration; safe to repeat.

The pipeline changes rows everywhere, and makes relations only where dbt does, which it then owns. Views in marts read
with the rights of who owns them, so the analysts need none on what is below.
"""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import sql

from include.settings import Settings
from include.warehouse.db import connect

LEDGER: Final = ("raw", "ops")
MODELS: Final = ("staging", "intermediate", "marts", "parts")  # in `parts` the partitions of marts
_ROWS: Final = sql.SQL("select, insert, update, delete, truncate")
_TIMESCALE: Final = "select extnamespace::regnamespace::text from pg_extension where extname = 'timescaledb'"
_OWN_MARTS: Final = """
select relname from pg_class
where relnamespace = 'marts'::regnamespace and relkind in ('r', 'p') and pg_get_userbyid(relowner) = current_user
"""


def role_of(dsn: str) -> str:
    """The role that a DSN logs in as."""
    return str(psycopg.conninfo.conninfo_to_dict(dsn).get("user", ""))


def group_of(analyst: str) -> str:
    """The group that holds the rights of analysts, named after its first member: `analysts` for `analyst`."""
    return f"{analyst}s"


def grant_roles(settings: Settings) -> None:
    """Grant, as the owner of the settings' warehouse, what the pipeline and the analysts need.

    Raises NotRunningError if there is no server.
    """
    pipeline, analyst = (
        role_of(dsn.get_secret_value()) if dsn else None for dsn in (settings.warehouse_dsn, settings.analyst_dsn)
    )
    with connect(settings, role="owner") as conn:
        grant_rights(conn, pipeline=pipeline or "", analyst=analyst)


def grant_rights(conn: psycopg.Connection, *, pipeline: str, analyst: str | None) -> None:
    """The rights of the role `pipeline` and of the group of `analyst`. `conn` is the owner's; one transaction.

    Where somebody has made the roles without a group, the analyst itself gets them.
    """
    with conn.transaction():
        conn.execute("revoke all on schema public from public")
        if conn.execute("select current_user::text").fetchone() != (pipeline,):
            _grant_pipeline(conn, sql.Identifier(pipeline))
        if analyst is not None:
            _grant_analysts(conn, sql.Identifier(pipeline), analyst)


def _grant_pipeline(conn: psycopg.Connection, pipeline: sql.Identifier) -> None:
    """Rows of all that migrations make, what later ones make included; only the note of migrations is not its own."""
    ledger = sql.SQL(", ").join(map(sql.Identifier, LEDGER))
    there = {name for (name,) in conn.execute("select nspname from pg_namespace where nspname = any(%s)", [[*MODELS]])}
    models = sql.SQL(", ").join(sql.Identifier(name) for name in MODELS if name in there)
    timescale = conn.execute(_TIMESCALE).fetchone()  # its functions lie where it was made
    marts = [sql.Identifier("marts", name) for (name,) in conn.execute(_OWN_MARTS)]
    for statement in (
        "grant usage on schema {ledger} to {pipeline}",
        "grant usage, create on schema {models} to {pipeline}",
        "grant {rows} on all tables in schema {ledger} to {pipeline}",
        "grant usage, select, update on all sequences in schema {ledger} to {pipeline}",
        "grant execute on all routines in schema {ledger} to {pipeline}",
        *(["grant {rows} on {marts} to {pipeline}"] if marts else []),
        *(["grant usage on schema {timescale} to {pipeline}"] if timescale else []),
        "alter default privileges in schema {ledger}, marts grant {rows} on tables to {pipeline}",
        "alter default privileges in schema {ledger}, marts grant usage, select, update on sequences to {pipeline}",
        "revoke insert, update, delete, truncate on ops.migrations from {pipeline}",
    ):
        conn.execute(
            sql.SQL(statement).format(
                ledger=ledger,
                models=models,
                pipeline=pipeline,
                rows=_ROWS,
                marts=sql.SQL(", ").join(marts),
                timescale=sql.Identifier(*(timescale or ("public",))),
            )
        )


def _grant_analysts(conn: psycopg.Connection, pipeline: sql.Identifier, analyst: str) -> None:
    """Reading of marts, of what dbt and migrations will make there included; through the group alone."""
    grouped = conn.execute("select from pg_roles where rolname = %s", [group_of(analyst)]).fetchone() is not None
    group = group_of(analyst) if grouped else analyst
    of_before = (  # until there was a group, the analyst had them itself
        "revoke all on schema marts from {analyst}",
        "revoke all on all tables in schema marts from {analyst}",
        "alter default privileges for role {pipeline} in schema marts revoke all on tables from {analyst}",
    )
    for statement in (
        "grant usage on schema marts to {group}",
        "grant select on all tables in schema marts to {group}",
        "alter default privileges in schema marts grant select on tables to {group}",
        "alter default privileges for role {pipeline} in schema marts grant select on tables to {group}",
        *(of_before if grouped else ()),
    ):
        conn.execute(
            sql.SQL(statement).format(group=sql.Identifier(group), pipeline=pipeline, analyst=sql.Identifier(analyst))
        )
