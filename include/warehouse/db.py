"""Connections to the warehouse."""

from __future__ import annotations

import psycopg

from include.errors import NotRunningError
from include.settings import PREFIX, Settings

Connection = psycopg.Connection[tuple[object, ...]]


def connect(settings: Settings, *, role: str = "pipeline", autocommit: bool = True) -> psycopg.Connection:
    """A connection as `pipeline` (reads and writes), `analyst` (reads marts) or `owner` (migrates and grants).

    The session's time zone is UTC. Where no owner is named, the pipeline's role owns the warehouse.
    Autocommit is on: a transaction is always an explicit `with conn.transaction():`.
    Raises NotRunningError if there is no server or no address for it.
    """
    dsn = {"analyst": settings.analyst_dsn, "owner": settings.owner_dsn or settings.warehouse_dsn}.get(
        role, settings.warehouse_dsn
    )
    if dsn is None:
        raise NotRunningError(
            f"no connection for the role {role}: run `make up` (embedded Postgres), "
            f"or set {PREFIX}{'ANALYST' if role == 'analyst' else 'WAREHOUSE'}_DSN"
        )
    try:
        return psycopg.connect(
            dsn.get_secret_value(),
            autocommit=autocommit,
            connect_timeout=10,
            options="-c timezone=UTC",
            application_name=f"quantstream-{role}",
        )
    except psycopg.OperationalError as error:
        where = psycopg.conninfo.conninfo_to_dict(dsn.get_secret_value())
        raise NotRunningError(
            f"the warehouse at {where.get('host')}:{where.get('port')} does not answer: {str(error).strip()}\n"
            "`quantstream status` shows what runs; `make up` starts the local one."
        ) from None
