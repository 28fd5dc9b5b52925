"""Bring the warehouse's schema up to date: Alembic over plain SQL files."""

from __future__ import annotations

from pathlib import Path

from include.errors import QuantStreamError
from include.settings import Settings


def migrate(settings: Settings, *, revision: str = "head") -> str:
    """Apply what is missing up to `revision`, return the one reached. Safe to run twice at once (an advisory lock).

    The warehouse's owner does it, and grants the other roles what they need. Processes of the running platform do not
    know the owner's address: for them nothing may be missing, else QuantStreamError.
    """
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from include.warehouse.db import connect
    from include.warehouse.grants import grant_roles

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    options = {"version_table": "migrations", "version_table_schema": "ops"}
    wanted = ScriptDirectory.from_config(config).get_current_head() if revision == "head" else revision
    with connect(settings, role="owner") as probe:  # a clear error if there is no server
        may = probe.execute("select has_database_privilege(current_database(), 'create')").fetchone() == (True,)
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: connect(settings, role="owner", autocommit=False)
    )  # fmt: skip
    with engine.connect() as conn:
        if not may:
            there = MigrationContext.configure(conn, opts=options).get_current_revision()
            if there != wanted:
                raise QuantStreamError(
                    f"the warehouse's schema is at revision {there} and this program needs {wanted}; only its "
                    "owner may change it: run `quantstream up`, or on a server of your own `quantstream provision`"
                )
            return str(there)
        conn.execute(sa.text("select pg_advisory_lock(hashtext('quantstream migrations'))"))
        conn.execute(sa.text("create schema if not exists ops"))
        conn.commit()
        config.attributes["connection"] = conn
        command.upgrade(config, revision)
        conn.commit()
        reached = MigrationContext.configure(conn, opts=options).get_current_revision()
        grant_roles(settings)
        conn.execute(sa.text("select pg_advisory_unlock(hashtext('quantstream migrations'))"))
        conn.commit()
    engine.dispose()
    return str(reached)
