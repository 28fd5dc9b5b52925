"""Bring the warehouse's schema up to date: Alembic over plain SQL files."""

from __future__ import annotations

from pathlib import Path

from include.settings import Settings


def migrate(settings: Settings, *, revision: str = "head") -> str:
    """Apply what is missing up to `revision`, return the one reached. Safe to run twice at once (an advisory lock)."""
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext

    from include.warehouse.db import connect

    connect(settings).close()  # a clear error if there is no server
    assert settings.warehouse_dsn is not None  # noqa: S101  # connect() has checked it
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: connect(settings, autocommit=False))
    with engine.connect() as conn:
        conn.execute(sa.text("select pg_advisory_lock(hashtext('quantstream migrations'))"))
        conn.execute(sa.text("create schema if not exists ops"))
        conn.commit()
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = conn
        command.upgrade(config, revision)
        conn.commit()
        reached = MigrationContext.configure(
            conn, opts={"version_table": "migrations", "version_table_schema": "ops"}
        ).get_current_revision()
        conn.execute(sa.text("select pg_advisory_unlock(hashtext('quantstream migrations'))"))
        conn.commit()
    engine.dispose()
    return str(reached)
